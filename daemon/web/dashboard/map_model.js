// What the map shows: publishers, topics and subscribers, and the rates between them. Beyond a few dozen, topics are
// grouped by their levels, and clients by program, page or name.

import { covers } from "/page/client.js";
import { filterOf, treeOf } from "/page/tree.js";

const MOST = 24; // nodes of a column
const OTHERS = "others";

// Returns `{ publishers, topics, subscribers, links }`. A node has `id`, `label`, `detail`, `rate` and `filters`, which
// select its events; a link has `from`, `to` and `rate`.
export function mapModel() {
  const matching = matches();
  return ({ topics, clients }, own) => {
    const middle = topicNodes(topics);
    const nodeOf = new Map(middle.flatMap((node) => node.topics.map((topic) => [topic.topic, node])));
    const byName = new Map(topics.map((topic) => [topic.topic, topic]));
    const links = new Map();
    const link = (from, to, rate) => {
      const key = `${from.id} ${to.id}`;
      const known = links.get(key) ?? { from: from.id, to: to.id, rate: 0 };
      known.rate += rate;
      links.set(key, known);
    };

    const left = grouped(clients.filter(({ role }) => role === "publisher"), "p", own);
    const unexplained = new Map(topics.map((topic) => [topic.topic, topic.mean]));
    for (const group of left) {
      const sent = new Set();
      for (const client of group.clients) {
        const known = (client.published_to ?? []).filter((name) => byName.has(name));
        const weight = (name) => byName.get(name).mean + 1e-9;
        const sum = known.reduce((sum, name) => sum + weight(name), 0);
        for (const name of known) {
          // A publisher's events are divided among its topics as theirs are.
          const share = (client.mean * weight(name)) / sum;
          link(group, nodeOf.get(name), share);
          unexplained.set(name, unexplained.get(name) - share);
          sent.add(name);
        }
      }
      group.filters = [...sent];
    }
    const others = { id: "p others", label: "others", detail: "over HTTP, or disconnected", rate: 0, filters: [], clients: [] };
    for (const [name, rate] of unexplained) {
      // Counters are not read at the same moment: small differences mean nothing.
      if (rate < 0.1 || rate < 0.25 * byName.get(name).mean) continue;
      link(others, nodeOf.get(name), rate);
      others.rate += rate;
      others.filters.push(name);
    }
    if (others.filters.length) left.push(others);

    const right = grouped(clients.filter(({ role }) => role === "subscriber"), "s", own);
    matching.update(topics);
    for (const group of right) {
      const wanted = new Map();
      for (const client of group.clients) wanted.set(client.filters.join(" "), [...(wanted.get(client.filters.join(" ")) ?? []), client]);
      for (const same of wanted.values()) {
        const received = new Set(same[0].filters.flatMap((filter) => matching.of(filter)));
        for (const topic of received) link(nodeOf.get(topic.topic), group, topic.mean * same.length);
      }
      group.filters = [...new Set(group.clients.flatMap(({ filters }) => filters))];
    }
    const all = [...links.values()];
    return { publishers: beside(left, middle, all), topics: middle, subscribers: beside(right, middle, all), links: all };
  };
}

// Topics, or the beginnings of topics. The levels below one entry are opened as long as there is room: all of them or
// none, so that they look alike.
function topicNodes(topics) {
  const tree = treeOf(topics);
  let nodes = tree.children;
  const queue = [tree];
  for (const at of queue) {
    const groups = at.children.filter((node) => node.children.length);
    const opened = (node) => [...(node.topic ? [{ ...node, topics: [node.topic], children: [] }] : []), ...node.children];
    const more = groups.reduce((sum, node) => sum + opened(node).length - 1, 0);
    if (!groups.length || nodes.length + more > MOST) continue;
    nodes = nodes.flatMap((node) => (groups.includes(node) ? opened(node) : node));
    queue.push(...groups);
  }
  const made = nodes.map((node) => {
    const label = node.children.length ? `${node.path}/…` : node.path;
    const detail = node.children.length ? `${node.topics.length} topics` : "";
    return { id: `t ${node.path}`, label, detail, rate: node.topics.reduce((sum, topic) => sum + topic.mean, 0), filters: [filterOf(node)], topics: node.topics };
  });
  return limited(made, "t", (rest) => ({ topics: rest.flatMap((node) => node.topics) }));
}

// Clients with the same program, page or name, as far as there are too many to show each.
function grouped(clients, side, own) {
  const each = clients.length <= MOST;
  const groups = new Map();
  for (const client of clients) {
    const label = labelOf(client, own, each);
    const key = each ? client.id : label;
    if (!groups.has(key)) groups.set(key, { id: `${side} ${key}`, label, detail: "", rate: 0, filters: [], clients: [] });
    const group = groups.get(key);
    group.clients.push(client);
    group.rate += client.mean;
  }
  const all = [...groups.values()];
  for (const group of all) {
    const [first, ...more] = group.clients;
    group.detail = more.length ? `× ${group.clients.length}` : detailOf(first, group.label);
  }
  return limited(all, side, (rest) => ({ clients: rest.flatMap((group) => group.clients) }));
}

// Orders clients like their topics, so that few lines cross. The order depends on what is connected, and not on rates.
function beside(nodes, topics, links) {
  const place = new Map(topics.map((topic, n) => [topic.id, n])), places = new Map();
  for (const { from, to } of links) {
    const [node, topic] = place.has(from) ? [to, from] : [from, to];
    places.set(node, [...(places.get(node) ?? []), place.get(topic)]);
  }
  const mean = ({ id }) => {
    const all = places.get(id);
    return all ? all.reduce((sum, place) => sum + place, 0) / all.length : topics.length;
  };
  return [...nodes].sort((a, b) => mean(a) - mean(b));
}

// The busiest nodes, and one for the others.
function limited(nodes, side, joined) {
  if (nodes.length <= MOST) return nodes;
  const kept = new Set([...nodes].sort((a, b) => b.rate - a.rate).slice(0, MOST - 1));
  const rest = nodes.filter((node) => !kept.has(node));
  const sum = rest.reduce((sum, node) => sum + node.rate, 0);
  const others = { id: `${side} ${OTHERS}`, label: `${rest.length} ${OTHERS}`, detail: "", rate: sum, filters: rest.flatMap((node) => node.filters), ...joined(rest) };
  return [...nodes.filter((node) => kept.has(node)), others];
}

// What the label does not say: the origin of a page, or the process or address of a program.
function detailOf({ origin, peer }, label) {
  const program = programOf(peer);
  if (origin) return origin === label ? "" : origin;
  return label.startsWith(program) ? peer.slice(program.length).replace(/^ \((.*)\)$/, "$1") : peer;
}

const programOf = (peer) => peer.replace(/ \(pid \d+\)$/, "");

// `sse-busctl (pid 812)` is `sse-busctl`; `worker-17` and `worker-18` are `worker-*`.
function labelOf({ name, origin, peer, id }, own, each) {
  if (name === own) return "this page";
  const program = programOf(peer);
  if (each) return name ?? origin ?? (program === peer ? peer : `${program} ${id}`);
  if (/^(page|client|tab)-[0-9a-z]{5,}$/.test(name ?? "")) return origin ?? program;
  return name?.replace(/\d+/g, "*") ?? origin ?? program.replace(/:\d+$/, "");
}

// The topics that match each filter, searched again only when the topics change.
function matches() {
  let names = "", listed = [], found = new Map(), byName = new Map();
  return {
    update(topics) {
      const now = topics.map(({ topic }) => topic).join("\n");
      if (now !== names) found = new Map();
      [names, listed, byName] = [now, topics, new Map(topics.map((topic) => [topic.topic, topic]))];
    },
    of(filter) {
      if (!filter.includes("*")) return byName.has(filter) ? [byName.get(filter)] : [];
      if (!found.has(filter)) found.set(filter, listed.flatMap(({ topic }, n) => (covers(filter, topic) ? n : [])));
      return found.get(filter).map((n) => listed[n]);
    },
  };
}
