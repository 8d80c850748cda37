// Problems that the user should fix, above everything else: a daemon that does not answer, a refused stream, limits, and
// pages that the daemon refused, with the commands that allow them.

import { $, ago, bytes, command, count, counted, element, rowsOf, setText } from "/page/dom.js";

// Limits that the configuration cannot raise, each with what frees it.
const QUEUE = "start more workers, or delete consumers that are not needed";
const FIXED = {
  consumers: "delete consumers that are not needed", workers: "stop workers that are idle", unfinished_events: QUEUE, held_bytes: QUEUE,
  dead_letters: "retry or drop dead letters", schedules: "cancel schedules", schedules_bytes: "cancel schedules",
  responders: "stop responders that are idle", requests: "start more responders",
};

// `current` returns the state of the stream and of the requests.
export function notices() {
  const region = $("notices"), rows = rowsOf($("problems"), ({ kind }) => ({ root: element("p", kind) }));
  // Origins such as `null` cannot be allowed.
  const origins = refused("refused", (name) => /^https?:\/\//.test(name) && "--allow-origin");
  const hosts = refused("misdirected", () => "--allow-host");

  // `stream` is `{ state, why }`, `gone` is `{ since, why }` while the daemon does not answer.
  return ({ stream, gone, denied, status }) => {
    const current = [];
    const add = (kind, text) => current.push({ kind, text });
    if (gone) add("bad", `The daemon has not answered since ${new Date(gone.since).toLocaleTimeString("en-GB")}${gone.why}. This page reconnects automatically.`);
    else if (stream.state === "refused") add("bad", `The stream was refused. ${stream.why}`);
    else if (stream.state === "waiting") add("wait", `The stream is not open: ${stream.why}. The page will retry soon.`);
    if (denied) add("wait", `Only events are shown: ${denied}.`);
    if (status?.history_error) add("bad", `History is not written: ${status.history_error}`);
    for (const { limit, used, bound } of status?.limits ?? []) {
      if (used < 0.8 * bound) continue;
      const shown = limit.endsWith("_bytes") ? bytes : count;
      const fix = Object.hasOwn(FIXED, limit) ? FIXED[limit] : "raise it under [limits] of the configuration";
      add("wait", `${shown(used)} of ${limit} = ${shown(bound)} are used; requests above the limit are refused. To fix it, ${fix}.`);
    }
    rows(current, ({ kind, text }) => kind + text, (row, { text }) => setText(row.root, text));
    const named = (list, key) => (list ?? []).map((entry) => ({ name: entry[key], times: entry.times, last: entry.last }));
    const areRefused = [origins(named(status?.refused_origins, "origin")), hosts(named(status?.refused_hosts, "host"))];
    region.hidden = current.length === 0 && !areRefused.some(Boolean);
  };
}

// A list of refused names, each with the command that allows it. `flagOf` returns false for names that cannot be allowed.
// Returns true if something is shown: a list that was dismissed is shown again after the next refusal.
function refused(id, flagOf) {
  const root = $(id);
  let shown = [], dismissed = 0;
  const rows = rowsOf(root.querySelector("ul"), ({ name }) => {
    const item = element("li");
    element("span", "origin", name, item);
    const times = element("span", "faint", "", item);
    const flag = flagOf(name);
    // Only well-formed names are listed; brackets are their only characters that a shell might interpret.
    if (flag) command(`sse-busd ${flag} ${name.includes("[") ? `'${name}'` : name}`, `Copy the command that allows ${name}`, item);
    return { root: item, times };
  });
  const draw = () => {
    root.hidden = !shown.some(({ last }) => last > dismissed);
    rows(shown, ({ name }) => name, (row, { times, last }) => setText(row.times, `${counted(times, "time")}, ${ago(last)}`));
    return !root.hidden;
  };
  root.querySelector(".dismiss").onclick = () => {
    dismissed = Math.max(...shown.map(({ last }) => last));
    draw();
  };
  return (list) => {
    shown = list;
    return draw();
  };
}
