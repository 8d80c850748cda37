// The topics: the daemon's number of events, the rate that the page computes from it, and the last value that the page has received.

import { ask, whileSeen } from "/page/api.js";
import { $, beginning, button, count, element, rate, rowsOf, setText } from "/page/dom.js";

const EVERY = 2000; // ms
const ROWS = 200;
const VALUES = 2000; // number of last values that are kept; the least recently updated are dropped first
const VALUE = 200; // maximum characters of a value
// With more topics than this, listing all of them would keep page and daemon busy.
const TOO_MANY = 5000;

export function topics(watch) {
  const section = $("topics"), note = $("topics-note"), none = section.querySelector(".none");
  const update = rowsOf(section.querySelector("tbody"), make);
  const values = new Map();
  let sort = "topic", before = new Map(), beforeAt = 0, many, last = [];

  // Stores an event's data as the last value of its topic.
  function event({ id, topic, data }) {
    values.delete(topic);
    values.set(topic, { number: numberOf(id), text: data.length > VALUE ? beginning(data, VALUE) + " …" : data });
    if (values.size > VALUES) values.delete(values.keys().next().value);
  }

  function make({ topic }) {
    const root = element("tr"), name = element("th", "", "", root);
    name.scope = "row";
    const chosen = button("topic", topic, () => watch(topic), name);
    chosen.title = topic;
    const mark = element("span", "mark", "", name);
    const [value, published, second] = ["value", "number", "number"].map((kind) => element("td", kind, "", root));
    return { root, mark, value, published, second };
  }

  function show({ mark, value, published, second }, topic) {
    setText(mark, topic.retained ? "retained" : "");
    const known = values.get(topic.topic);
    // Without a newer value from the stream, the known one may be outdated.
    const isLast = known && (!topic.last_id || known.number >= numberOf(topic.last_id));
    setText(value, isLast ? known.text : "–");
    value.classList.toggle("faint", !isLast);
    setText(published, count(topic.published));
    setText(second, topic.rate === undefined ? "–" : rate(topic.rate));
  }

  function render() {
    const by = { topic: () => 0, published: (a, b) => b.published - a.published, rate: (a, b) => (b.rate ?? 0) - (a.rate ?? 0) };
    const shown = [...last].sort(by[sort]).slice(0, ROWS);
    update(shown, (topic) => topic.topic, show);
    none.hidden = shown.length > 0;
    setText(note, last.length > shown.length ? `${shown.length} of ${count(last.length)}` : count(last.length));
  }

  async function look() {
    if (many === undefined) return; // the status shows the error
    if (many > TOO_MANY) {
      last = [];
      update([], undefined, show);
      setText(none, "Too many topics to list here; use sse-busctl topics.");
      none.hidden = false;
      setText(note, count(many));
      return;
    }
    let listed;
    try {
      listed = await ask("/topics");
    } catch {
      return; // the status shows the error
    }
    const now = performance.now(), seconds = (now - beforeAt) / 1000;
    for (const topic of listed) {
      const then = before.get(topic.topic);
      // A new or restarted topic has no rate yet.
      if (then <= topic.published) topic.rate = (topic.published - then) / seconds;
    }
    [before, beforeAt] = [new Map(listed.map((topic) => [topic.topic, topic.published])), now];
    last = listed;
    setText(none, "No topics yet.");
    render();
  }

  for (const head of section.querySelectorAll("thead button")) {
    head.onclick = () => {
      sort = head.dataset.sort;
      for (const other of section.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
      head.parentElement.setAttribute("aria-sort", sort === "topic" ? "ascending" : "descending");
      render();
    };
  }

  const lookNow = whileSeen(EVERY, look);
  function status(status) {
    const isFirst = many === undefined;
    many = status.topics;
    if (isFirst) lookNow();
  }
  return { event, status };
}

const numberOf = (id) => Number(id.slice(id.lastIndexOf("-") + 1));
