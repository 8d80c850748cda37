// Topics as a tree of their levels. Each node has the sums of the topics below it.

// A node: `path` (a topic, or the beginning of topics), `label` (its last levels), `topic` (if it is one), `children`,
// `topics` (all topics at and below it), `published` and `rate`. A level with a single entry below it, and no events of
// its own, is shown as one node with that entry: `a/b`.
export function treeOf(topics) {
  const root = node("", "");
  for (const topic of topics) {
    let at = root;
    at.add(topic);
    let path = "";
    for (const level of topic.topic.split("/")) {
      path = path ? `${path}/${level}` : level;
      if (!at.below.has(path)) at.below.set(path, node(path, level));
      at = at.below.get(path);
      at.add(topic);
    }
    at.topic = topic;
  }
  return finished(root);
}

function node(path, label) {
  return {
    path, label, below: new Map(), topics: [], published: 0, rate: undefined, topic: undefined, children: [],
    add(topic) {
      this.topics.push(topic);
      this.published += topic.published;
      if (topic.rate !== undefined) this.rate = (this.rate ?? 0) + topic.rate;
    },
  };
}

function finished(top) {
  // Topics may have a hundred levels: no recursion.
  const all = [top];
  for (const at of all) {
    at.children = [...at.below.values()].map(joined);
    all.push(...at.children);
  }
  return top;
}

function joined(only) {
  const labels = [only.label];
  while (!only.topic && only.below.size === 1) {
    [only] = only.below.values();
    labels.push(only.label);
  }
  only.label = labels.join("/");
  return only;
}

// The filter that matches a node's topics and no others.
export const filterOf = (node) => (node.children.length ? `${node.path}/**` : node.path);

// Returns the recent rates of a node: the sums of those of its topics, the newest last.
export function recentOf(node) {
  const length = Math.max(0, ...node.topics.slice(0, 1000).map((topic) => topic.recent.length));
  const sums = new Array(length).fill(0);
  for (const { recent } of node.topics) {
    for (let n = 1; n <= recent.length && n <= length; n++) sums[length - n] += recent[recent.length - n];
  }
  return sums;
}
