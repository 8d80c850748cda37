// The consumers: what waits, what is in flight, what is dead, and how fast their workers are. Hidden while there are none.

import { $, button, count, counted, duration, element, rate, rowsOf, setText } from "/page/dom.js";

const ROWS = 20; // more on request
const MORE_ROWS = 200;

// `watch` is called with filters whose events to show, `open` with the name of a consumer whose dead letters to show.
export function consumers(watch, open) {
  const section = $("consumers"), note = $("consumers-note"), none = section.querySelector(".none"), more = $("consumers-more");
  const update = rowsOf(section.querySelector("tbody"), make);
  let most = ROWS, listed = [];

  function make({ name }) {
    const root = element("tr"), who = element("th", "", "", root), row = { root, filters: [] };
    who.scope = "row";
    button("name", name, () => watch(row.filters), who).title = "Show the events of its topics";
    row.marks = [0, 1, 2].map(() => element("span", "mark", "", who));
    row.topics = element("div", "from", "", who);
    row.detail = element("div", "from detail", "", who);
    const cells = ["number", "number wide", "number", "number wide", "number wide", "number wide"].map((kind) => element("td", kind, "", root));
    [row.pending, row.flight, row.dead, row.oldest, row.workers, row.second] = cells;
    row.letters = button("bad", "", () => open(name), row.dead);
    row.alive = element("span", "", "0", row.dead);
    return row;
  }

  function show(row, consumer) {
    const { pending, pending_exact, waiting, in_flight, dead, oldest_ms, workers } = consumer;
    row.filters = consumer.filters;
    setText(row.topics, consumer.filters.join(" "));
    row.topics.title = row.topics.textContent;
    mark(row.marks[0], consumer.paused && "paused", "It delivers nothing until it is resumed.");
    mark(row.marks[1], !consumer.holding && "inactive", `It had no worker for ${consumer.inactive_after}. History may evict its events.`);
    mark(row.marks[2], consumer.missed > 0 && `${count(consumer.missed)} missed`, "Events that history evicted before they were done");
    const ready = count(pending + waiting) + (pending_exact ? "" : "+");
    setText(row.pending, ready);
    row.pending.title = `${count(pending)} wait for their first delivery, ${count(waiting)} to be delivered again`;
    setText(row.flight, count(in_flight));
    row.letters.hidden = !(row.alive.hidden = dead > 0);
    setText(row.letters, count(dead));
    row.letters.setAttribute("aria-label", `${counted(dead, "dead letter")} of ${consumer.name}`);
    const oldest = oldest_ms == null ? "–" : duration(oldest_ms);
    setText(row.oldest, oldest);
    setText(row.workers, count(workers));
    const second = consumer.recent.length ? rate(consumer.mean) : "–";
    setText(row.second, second);
    // What a small window has no columns for.
    setText(row.detail, `${count(in_flight)} in flight · ${counted(workers, "worker")} · oldest ${oldest} · ${second}/s`);
  }

  function lists({ consumers, many }) {
    section.hidden = $("consumers-link").hidden = many.consumers === 0;
    listed = consumers ?? [];
    render();
    const dead = listed.reduce((sum, consumer) => sum + consumer.dead, 0);
    setText(note, dead ? counted(dead, "dead letter") : count(many.consumers));
    note.classList.toggle("bad", dead > 0);
  }

  function render() {
    update(listed.slice(0, most), ({ name, created }) => `${name} ${created}`, show);
    none.hidden = listed.length > 0;
    more.hidden = listed.length <= most;
    setText(more, `Show ${counted(Math.min(listed.length - most, MORE_ROWS), "more consumer")}`);
  }

  more.onclick = () => {
    most += MORE_ROWS;
    render();
  };
  return { lists };
}

function mark(node, text, title) {
  setText(node, text || "");
  node.title = text ? title : "";
}
