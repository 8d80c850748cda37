// The topics as a tree that folds by level: numbers of events, rates of the last minute, and last values.

import { $, ago, button, count, element, rate, rowsOf, setText } from "/page/dom.js";
import { lastValues } from "/page/last_values.js";
import { sparkline } from "/page/sparkline.js";
import { filterOf, recentOf, treeOf } from "/page/tree.js";

const OPEN_ROWS = 24; // levels are unfolded at first as long as there are at most this many rows
const ROWS = 40; // more on request
const MORE_ROWS = 200;
const DEEPEST = 8; // levels that are indented

// `watch` is called with the filter to subscribe to, `open` with a last event to show.
export function topics(watch, open) {
  const section = $("topics"), note = $("topics-note"), none = section.querySelector(".none"), more = $("topics-more");
  const update = rowsOf(section.querySelector("tbody"), make);
  const values = lastValues(() => render());
  const chosen = new Map(), unfolded = new Set(); // by path: what the user has chosen, and what was unfolded at first
  let sort = "topic", most = ROWS, listed, tree;

  function make(node) {
    const root = element("tr"), name = element("th", "", "", root);
    name.scope = "row";
    const fold = button("fold", "", () => {
      chosen.set(node.path, fold.getAttribute("aria-expanded") !== "true");
      render();
    }, name);
    const topic = button("topic", "", () => watch([row.filter]), name);
    const mark = element("span", "mark", "", name);
    const value = element("td", "value", "", root);
    const last = button("open", "", () => open(values.get(node.path)), value);
    const draw = sparkline(element("td", "recent", "", root));
    const [published, second] = ["number", "number"].map((kind) => element("td", kind, "", root));
    const row = { root, fold, topic, mark, last, draw, published, second, filter: "" };
    return row;
  }

  function show(row, node) {
    const { fold, topic, mark, last, draw, published, second } = row;
    row.root.style.setProperty("--depth", Math.min(node.depth, DEEPEST));
    const isGroup = node.children.length > 0;
    fold.classList.toggle("blank", !isGroup);
    fold.disabled = !isGroup;
    fold.setAttribute("aria-expanded", String(node.isOpen));
    fold.setAttribute("aria-label", isGroup ? `Levels below ${node.path}` : "No levels below");
    row.filter = filterOf(node);
    setText(topic, node.label);
    topic.title = row.filter;
    // A folded group stands for all its topics.
    setText(mark, isGroup && !node.isOpen ? count(node.topics.length) : node.topic?.retained ? "retained" : "");
    mark.title = isGroup && !node.isOpen ? "number of topics" : "";
    const known = node.topic && values.get(node.path);
    last.hidden = !known;
    if (known) {
      setText(last, known.text || "(empty)");
      const isOld = !values.isCurrent(node.topic);
      last.classList.toggle("faint", isOld || !known.text);
      last.title = isOld ? "There is a newer event." : `${ago(known.time)}: opens the event`;
    }
    draw(recentOf(node));
    const own = node.isOpen && isGroup ? node.topic : node;
    setText(published, own ? count(own.published) : "");
    setText(second, !own ? "" : own.rate === undefined ? "–" : rate(own.rate));
  }

  // Unfolds levels of the tree as long as there are few rows: all entries of a level, or none, so that they look alike.
  function unfold(rows) {
    const queue = [tree];
    for (const at of queue) {
      const groups = at.children.filter((node) => node.children.length);
      const more = groups.reduce((sum, node) => sum + node.children.length, 0);
      const isOpen = groups.some((node) => unfolded.has(node.path));
      if (!isOpen && rows + more > OPEN_ROWS) continue;
      rows += more;
      for (const node of groups) unfolded.add(node.path);
      queue.push(...groups);
    }
  }

  // Returns the rows in order.
  function rows() {
    const by = { topic: () => 0, published: (a, b) => b.published - a.published, rate: (a, b) => (b.rate ?? 0) - (a.rate ?? 0) };
    unfold(tree.children.length);
    const found = [];
    const stack = [...tree.children].sort(by[sort]).reverse().map((node) => [node, 0]);
    while (stack.length && found.length <= most) {
      const [node, depth] = stack.pop();
      node.depth = depth;
      node.isOpen = node.children.length > 0 && (chosen.get(node.path) ?? unfolded.has(node.path));
      found.push(node);
      if (node.isOpen) stack.push(...[...node.children].sort(by[sort]).reverse().map((child) => [child, depth + 1]));
    }
    return found;
  }

  function render() {
    if (!tree) return;
    const all = rows(), shown = all.slice(0, most);
    update(shown, (node) => node.path, show);
    none.hidden = shown.length > 0;
    more.hidden = all.length <= most;
    return shown;
  }

  function lists({ topics, many }) {
    listed = topics;
    tree = treeOf(listed ?? []);
    setText(none, listed ? "No topics yet. A topic appears with its first event." : "Too many topics to list here; use sse-busctl topics.");
    setText(note, count(listed?.length ?? many.topics));
    const shown = render();
    if (listed) values.refresh(shown.flatMap(({ topic }) => topic ?? []));
  }

  more.onclick = () => {
    most += MORE_ROWS;
    render();
  };
  for (const head of section.querySelectorAll("thead button")) {
    head.onclick = () => {
      sort = head.dataset.sort;
      for (const other of section.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
      head.parentElement.setAttribute("aria-sort", sort === "topic" ? "ascending" : "descending");
      render();
    };
  }
  return { event: values.event, lists };
}
