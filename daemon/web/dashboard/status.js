// The status of the daemon: whether it answers, its version, its history, and its limits.

import { ask, whileSeen } from "/page/api.js";
import { $, bytes, count, counted, duration, element, say, setText } from "/page/dom.js";
import { notices } from "/page/notices.js";

const EVERY = 1000; // ms
const STATES = { open: "connected", connecting: "connecting", waiting: "disconnected", refused: "refused" };

// `client` is the name of this page; `listeners` receive each status.
export function status(client, listeners) {
  const about = facts($("about")), notify = notices();
  let stream = { state: "connecting" }, gone, denied, last;

  // The state of the stream, with the reason as text.
  function state(state, why) {
    if (state === "open" && stream.state !== "open") say("connected");
    if (state !== "open" && stream.state === "open") say("the connection was lost");
    stream = { state, why };
    $("state").dataset.state = state;
    setText($("state"), STATES[state]);
    document.title = state === "open" ? "sse-bus" : `${STATES[state]} · sse-bus`;
    notice();
  }

  async function look() {
    let now;
    try {
      now = await ask("/status");
      gone = denied = undefined;
    } catch (error) {
      if (error.status === 401) return;
      denied = error.status === 403 ? error.message : undefined;
      // Browsers do not report why a request failed; a response does.
      const why = error.constructor === Error ? ` (${error.message})` : "";
      gone = denied ? undefined : { since: gone?.since ?? Date.now(), why };
      return notice();
    }
    if (last && last.pid !== now.pid) say("the daemon has restarted");
    last = now;
    for (const listener of listeners) listener(last);
    describe(last);
    notice();
  }

  function notice() {
    // Without its figures, the panels would look empty.
    document.body.classList.toggle("limited", Boolean(denied));
    notify({ stream, gone, denied, status: denied ? undefined : last });
  }

  function describe(now) {
    const up = duration(now.uptime_ms);
    setText($("facts"), `${now.version} · up ${up}`);
    about.set("Version", `sse-busd ${now.version}, process ${now.pid}`);
    about.set("Running for", up);
    about.set("Topics", `${count(now.topics)}, ${count(now.retained)} with a retained event`);
    about.set("Events", `${count(now.published)} in, ${count(now.delivered)} out`);
    about.set("History", `${counted(now.history_events, "event")} ${now.history === "disk" ? "on disk" : "in " + now.history}`);
    about.meter("History size", `${bytes(now.history_bytes)} of ${bytes(now.history_budget)}`, now.history_bytes / now.history_budget);
    about.set("Gaps", `${counted(now.gaps, "gap")} reported to subscribers`);
    about.set("Slow clients", `${count(now.slow_disconnects)} disconnected`);
    const fullest = [...(now.limits ?? [])].sort((a, b) => b.used / b.bound - a.used / a.bound)[0];
    if (fullest) {
      const share = fullest.used / fullest.bound;
      about.meter("Fullest limit", `${fullest.limit} ${share < 0.01 ? "< 1" : Math.round(100 * share)} %`, share);
    }
    about.set("Address", now.urls?.join(" ") || now.url || "none");
    about.set("Socket", now.socket);
  }

  about.set("This page", client, "client");
  whileSeen(EVERY, look);
  return { state };
}

// A list of names and values. Each row is created once.
function facts(list) {
  const values = new Map();
  const of = (name, id) => {
    if (!values.has(name)) {
      const pair = element("div", "", "", list);
      element("dt", "", name, pair);
      const value = element("dd", "", "", pair);
      const text = element("span", "", "", value);
      if (id) text.id = id;
      values.set(name, { value, text });
    }
    return values.get(name);
  };
  return {
    set(name, text, id) {
      const fact = of(name, id);
      setText(fact.text, text);
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
