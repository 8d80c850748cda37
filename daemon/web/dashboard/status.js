// The status of the daemon: its version, its history, limits that are nearly reached, refused pages, and whether it
// answers.

import { ask, whileSeen } from "/page/api.js";
import { $, ago, button, bytes, copy, count, counted, duration, element, rowsOf, say, setText } from "/page/dom.js";

const EVERY = 1000; // ms

export function status(client, listeners) {
  const about = facts($("about"));
  // Origins such as `null` cannot be allowed.
  const origins = refusedNames("refused", (name) => /^https?:\/\//.test(name) && "--allow-origin");
  const hosts = refusedNames("misdirected", () => "--allow-host");
  const notices = rowsOf($("notices"), ({ kind }) => ({ root: element("p", kind) }));
  let stream = "connecting", why, goneSince, gone, last, pid;

  // The state of the stream.
  function state(now, reason) {
    if (now === "open" && stream !== "open") say("connected");
    if (now !== "open" && stream === "open") say("the connection was lost");
    [stream, why] = [now, reason];
    const shown = { open: "connected", connecting: "connecting", waiting: "disconnected", refused: "refused" }[now];
    $("state").dataset.state = now;
    setText($("state"), shown);
    document.title = now === "open" ? "sse-bus" : `${shown} · sse-bus`;
    notice();
  }

  async function look() {
    try {
      last = await ask("/status");
      goneSince = undefined;
    } catch (error) {
      goneSince ??= Date.now();
      // Browsers do not report why a request failed; a response does.
      gone = error.constructor === Error ? ` (${error.message})` : "";
      return notice();
    }
    if (pid !== undefined && pid !== last.pid) say("the daemon has restarted");
    pid = last.pid;
    for (const listener of listeners) listener(last);
    describe(last);
    notice();
  }

  function describe(now) {
    const up = duration(now.uptime_ms);
    setText($("facts"), `${now.version} · up ${up}`);
    about.set("Version", `sse-busd ${now.version}, process ${now.pid}`);
    about.set("Up", up);
    about.set("Clients", `${counted(now.subscribers, "subscriber")}, ${counted(now.publishers, "publisher")}`);
    about.set("Topics", `${count(now.topics)}, ${count(now.retained)} retained`);
    about.set("Events", `${count(now.published)} in, ${count(now.delivered)} out`);
    about.set("History", `${counted(now.history_events, "event")} ${now.history === "disk" ? "on disk" : "in " + now.history}`);
    about.meter("Room", `${bytes(now.history_bytes)} of ${bytes(now.history_budget)}`, now.history_bytes / now.history_budget);
    about.set("Problems", `${counted(now.gaps, "gap")}, ${counted(now.slow_disconnects, "slow disconnect")}`);
    const fullest = [...(now.limits ?? [])].sort((a, b) => b.used / b.bound - a.used / a.bound)[0];
    if (fullest) {
      const share = fullest.used / fullest.bound;
      about.meter("Limits", `${fullest.limit} ${share < 0.01 ? "< 1" : Math.round(100 * share)} %`, share);
    }
    about.set("Address", now.urls?.join(" ") || now.url || "none");
    about.set("Socket", now.socket);
    about.set("This page", client, "client");
    origins(now.refused_origins.map(({ origin, ...rest }) => ({ name: origin, ...rest })));
    hosts((now.refused_hosts ?? []).map(({ host, ...rest }) => ({ name: host, ...rest })));
  }

  // Problems that the user should fix.
  function notice() {
    const current = [];
    if (goneSince) current.push({ kind: "bad", text: `The daemon has not answered since ${new Date(goneSince).toLocaleTimeString("en-GB")}${gone}. This page reconnects automatically.` });
    else if (stream === "refused") current.push({ kind: "bad", text: `The stream was refused: ${why}` });
    else if (stream === "waiting") current.push({ kind: "wait", text: `The stream is not open: ${why}. The page will retry soon.` });
    if (last?.history_error) current.push({ kind: "bad", text: `History is not written to disk: ${last.history_error}` });
    for (const { limit, used, bound } of last?.limits ?? []) {
      if (used < 0.8 * bound) continue;
      const shown = limit.endsWith("_bytes") ? bytes : count;
      current.push({ kind: "wait", text: `${shown(used)} of ${limit} = ${shown(bound)} are used; requests above the limit are refused. Raise it under [limits] of the configuration.` });
    }
    notices(current, ({ kind, text }) => kind + text, (row, { text }) => setText(row.root, text));
    $("notices").hidden = current.length === 0;
  }

  whileSeen(EVERY, look);
  return { state };
}

// A list of refused names, each with the command that allows it. `flagOf` returns false for names that cannot be
// allowed.
function refusedNames(id, flagOf) {
  const make = ({ name }) => {
    const root = element("li");
    element("span", "origin", name, root);
    const times = element("span", "faint", "", root);
    const flag = flagOf(name);
    if (flag) {
      const line = element("div", "command", "", root);
      // Only well-formed names are listed; brackets are their only characters that a shell might interpret.
      const command = `sse-busd ${flag} ${name.includes("[") ? `'${name}'` : name}`;
      element("code", "", command, line);
      const copied = button("quiet", "Copy", () => copy(command, copied), line);
      copied.setAttribute("aria-label", `Copy the command that allows ${name}`);
    }
    return { root, times };
  };
  const rows = rowsOf($(id).querySelector("ul"), make);
  return (refused) => {
    $(id).hidden = refused.length === 0;
    rows(refused, ({ name }) => name, (row, { times, last }) => setText(row.times, `${counted(times, "time")}, ${ago(last)}`));
  };
}

// A list of names and values. Each row is created once.
function facts(list) {
  const values = new Map();
  const of = (name, className) => {
    if (!values.has(name)) {
      const pair = element("div", "", "", list);
      element("dt", "", name, pair);
      const value = element("dd", "", "", pair);
      const text = element("span", "", "", value);
      if (className) text.id = className;
      values.set(name, { value, text });
    }
    return values.get(name);
  };
  return {
    set(name, text, id) {
      const fact = of(name, id);
      setText(fact.text, text);
      fact.text.title = text; // in case the text is truncated
    },
    meter(name, text, share) {
      const fact = of(name);
      setText(fact.text, text);
      fact.meter ??= element("meter", "", "", fact.value);
      fact.meter.setAttribute("aria-label", name);
      fact.meter.value = Math.min(share, 1);
    },
  };
}
