// The map: publishers on the left, topics in the middle, subscribers on the right, and lines between them, as wide as
// their rates. The nodes are buttons, the lines are pictures behind them. A click shows the events of a node.

import { $, button, count, element, rate, rowsOf, setText, shape } from "/page/dom.js";
import { mapModel } from "/page/map_model.js";

const WIDTH = 100; // of the pictures, in units of their own
const ROW = 100; // height of a node in the same way
const [THIN, WIDE, NARROW] = [1, 14, 6]; // pixels; the last one in small windows
const SIDES = ["publishers", "topics", "subscribers"];

// `own` is the name of this page; `watch` is called with filters.
export function map(own, watch) {
  const section = $("map"), model = mapModel();
  const columns = SIDES.map((side) => column(section.querySelector(`.${side}`)));
  const lines = ["sent", "received"].map((name) => section.querySelector(`svg.${name}`));
  const paths = new Map(); // by the ids of their nodes
  let isSeen = false, isDrawn = false, last, near = new Map(), lit;

  function column(root) {
    const list = root.querySelector("ul"), none = root.querySelector(".none");
    const update = rowsOf(list, make);
    return { list, draw(nodes, rows) {
      list.style.setProperty("--rows", rows);
      update(nodes, (node) => node.id, show);
      none.hidden = nodes.length > 0;
      // Each column is one stop of the Tab key; the arrow keys move within it and between them.
      if (nodes.length && !list.querySelector("[tabindex='0']")) list.querySelector(".node").tabIndex = 0;
    } };
  }

  function make() {
    const root = element("li"), node = button("node", "", () => choose(row.filters), root);
    const label = element("span", "label", "", node), detail = element("span", "detail", "", node);
    const second = element("span", "rate", "", node);
    node.tabIndex = -1;
    node.onpointerenter = () => light(row.id);
    node.onfocus = () => {
      for (const other of root.parentElement.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
      node.tabIndex = 0;
      light(row.id);
    };
    node.onpointerleave = node.onblur = () => light();
    const row = { root, node, label, detail, second, id: "", filters: [] };
    return row;
  }

  function show(row, { id, label, detail, rate: each, filters }) {
    [row.id, row.filters, row.node.dataset.id] = [id, filters, id];
    setText(row.label, label);
    setText(row.detail, detail);
    setText(row.second, each ? `${rate(each)}/s` : "");
    row.node.title = [label, detail, `${rate(each)} events per second`].filter(Boolean).join(", ");
    row.node.classList.toggle("idle", !each);
  }

  // A subscription has a bounded number of filters.
  function choose(filters) {
    if (filters.length) watch(filters.length > 60 ? ["**"] : filters);
  }

  function draw() {
    isDrawn = true;
    const { topics, clients } = last;
    const tooMany = !topics || !clients;
    setText($("map-note"), tooMany ? "Too many topics or clients to draw." : "");
    const { links, ...nodes } = tooMany ? { publishers: [], topics: [], subscribers: [], links: [] } : model(last, own);
    const rows = Math.max(3, ...SIDES.map((side) => nodes[side].length));
    SIDES.forEach((side, n) => columns[n].draw(nodes[side], rows));
    const height = rows * ROW;
    const at = new Map(SIDES.flatMap((side) => nodes[side].map((node, n) => [node.id, ((n + 0.5) * height) / nodes[side].length])));
    const most = Math.max(1, ...links.map((link) => link.rate));
    const widest = lines[0].clientWidth > 60 ? WIDE : NARROW;
    near = new Map();
    const wanted = new Set();
    for (const { from, to, rate: each } of links) {
      const key = `${from} ${to}`, isSent = from.startsWith("p ");
      wanted.add(key);
      if (!paths.has(key)) paths.set(key, { path: shape("path", "", lines[isSent ? 0 : 1]), from, to });
      const { path } = paths.get(key), [a, b] = [at.get(from), at.get(to)];
      set(path, "d", `M0 ${a}C${WIDTH / 2} ${a} ${WIDTH / 2} ${b} ${WIDTH} ${b}`);
      path.style.strokeWidth = `${(each ? THIN + (widest - THIN) * Math.sqrt(each / most) : THIN).toFixed(1)}px`;
      path.classList.toggle("idle", !each);
      for (const [one, other] of [[from, to], [to, from]]) near.set(one, (near.get(one) ?? new Set()).add(other));
    }
    for (const [key, { path }] of paths) {
      if (wanted.has(key)) continue;
      path.remove();
      paths.delete(key);
    }
    for (const svg of lines) {
      set(svg, "viewBox", `0 0 ${WIDTH} ${height}`);
      svg.style.setProperty("--rows", rows);
    }
    light(lit);
    describe(nodes, links);
  }

  // Lights a node up, with the lines through it and the nodes at their ends.
  function light(id) {
    lit = near.has(id) ? id : undefined;
    // From a topic in both directions; from a client through its topics to the others.
    const around = new Set(near.get(lit));
    if (lit && !lit.startsWith("t ")) for (const topic of near.get(lit)) for (const other of near.get(topic) ?? []) around.add(other);
    section.classList.toggle("lit", Boolean(lit));
    for (const node of section.querySelectorAll(".node")) node.classList.toggle("near", node.dataset.id === lit || around.has(node.dataset.id));
    const isNear = (one) => one === lit || around.has(one);
    for (const { path, from, to } of paths.values()) path.classList.toggle("near", isNear(from) && isNear(to));
  }

  function describe({ publishers, topics, subscribers }, links) {
    const busiest = [...links].sort((a, b) => b.rate - a.rate)[0];
    const name = (id) => [...publishers, ...topics, ...subscribers].find((node) => node.id === id)?.label;
    const most = busiest?.rate ? `; the busiest line is from ${name(busiest.from)} to ${name(busiest.to)}` : "";
    for (const svg of lines) set(svg, "aria-label", `Lines between ${count(publishers.length)} publishers, ${count(topics.length)} topics and ${count(subscribers.length)} subscribers${most}`);
  }

  // The arrow keys move between the nodes.
  section.onkeydown = (key) => {
    const node = key.target.closest(".node");
    const side = columns.findIndex(({ list }) => list.contains(node));
    if (side < 0 || key.ctrlKey || key.altKey || key.metaKey) return;
    const nodes = columns.map(({ list }) => [...list.querySelectorAll(".node")]), at = nodes[side].indexOf(node);
    const beside = nodes[side + { ArrowLeft: -1, ArrowRight: 1 }[key.key]] ?? [];
    const to = { ArrowUp: nodes[side][at - 1], ArrowDown: nodes[side][at + 1], Home: nodes[side][0], End: nodes[side].at(-1) }[key.key]
      ?? beside.find((other) => near.get(node.dataset.id)?.has(other.dataset.id)) ?? beside[Math.min(at, beside.length - 1)];
    if (!to) return;
    key.preventDefault();
    to.focus();
  };

  new IntersectionObserver((seen) => {
    isSeen = seen.at(-1).isIntersecting;
    if (isSeen && last) draw();
  }).observe(section);

  function lists(listed) {
    last = listed;
    // Drawn once, so that its height is known; then only while it is seen.
    if (isSeen || !isDrawn) draw();
  }
  return { lists };
}

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
