// The nodes of a bus on several machines, and the log that they share. Hidden on one machine.

import { $, count, duration, element, rowsOf, setText } from "/page/dom.js";

const STATES = { up: "", silent: "does not answer", lost: "lost" };

export function nodes() {
  const section = $("nodes"), note = $("nodes-note"), error = $("nodes-error");
  const update = rowsOf(section.querySelector("tbody"), make);

  function make({ name }) {
    const root = element("tr"), head = element("th", "", "", root);
    head.scope = "row";
    element("span", "name", name, head);
    const mark = element("span", "mark", "", head), from = element("div", "from", "", head);
    const [clients, lag, heard] = ["number", "number", "number heard"].map((kind) => element("td", kind, "", root));
    return { root, mark, from, clients, lag, heard };
  }

  function show({ mark, from, clients, lag, heard }, node) {
    setText(mark, node.own ? "this page" : STATES[node.state] ?? node.state);
    setText(from, [node.error, node.version, node.url].filter(Boolean).join(" · "));
    from.title = from.textContent;
    setText(clients, count(node.clients));
    setText(lag, node.lag === null || node.lag === undefined ? "–" : count(node.lag));
    setText(heard, node.own ? "" : `${duration(node.age_ms)} ago`);
  }

  function status({ log, nodes: listed = [] }) {
    section.hidden = $("nodes-link").hidden = !log;
    if (!log) return;
    const time = log.round_trip_us === null || log.round_trip_us === undefined ? "" : `, ${(log.round_trip_us / 1000).toFixed(2)} ms away`;
    setText(note, `stream ${log.stream} on ${log.server || "no server"}${time}`);
    setText(error, log.error ?? "");
    update(listed, ({ name }) => name, show);
  }

  return { status };
}
