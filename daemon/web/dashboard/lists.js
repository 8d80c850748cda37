// The topics and clients of the daemon, requested every two seconds and handed to the panels that show them, with the
// rates that the page computes: events per second since the previous request, and those of the last minute.

import { ask, whileSeen } from "/page/api.js";

const EVERY = 2000; // ms
export const RECENT = 30; // rates of a topic that are kept
// With more than this, listing all of them would keep page and daemon busy.
export const MOST_TOPICS = 5000;
export const MOST_CLIENTS = 2000;

// `listeners` receive `{ topics, clients, many }`. A list is undefined if it is too long, or if the token does not allow
// it; `many` has the numbers of topics and clients.
export function lists(listeners) {
  const topicRates = counter((topic) => topic.topic, (topic) => topic.published);
  const clientRates = counter(({ id, connected }) => `${id} ${connected}`, (client) => client.events);
  let many;

  async function look() {
    if (!many) return; // the status shows the error
    let topics, clients;
    try {
      topics = many.topics <= MOST_TOPICS ? await ask("/topics") : undefined;
      clients = many.clients <= MOST_CLIENTS ? await ask("/clients") : undefined;
    } catch {
      return; // the status shows the error
    }
    topicRates(topics ?? []);
    clientRates(clients ?? []);
    for (const listener of listeners) listener({ topics, clients, many });
  }

  const lookNow = whileSeen(EVERY, look);
  function status({ topics, subscribers, publishers, workers = 0, limits = [] }) {
    const isFirst = !many;
    const responders = limits.find(({ limit }) => limit === "responders")?.used ?? 0;
    many = { topics, clients: subscribers + publishers + workers + responders };
    if (isFirst) lookNow();
  }
  return { status, lookNow };
}

// Adds `rate`, `recent` and `mean` (of ten seconds) to the items of a list, which it receives again and again. A new or
// restarted item has no rate yet.
export function counter(keyOf, countOf) {
  let before = new Map(), beforeAt = performance.now();
  return (items) => {
    const now = performance.now(), seconds = (now - beforeAt) / 1000, seen = new Map();
    for (const item of items) {
      const then = before.get(keyOf(item)), total = countOf(item);
      item.recent = then?.recent ?? [];
      if (then?.total <= total) {
        item.rate = (total - then.total) / seconds;
        item.recent.push(item.rate);
        if (item.recent.length > RECENT) item.recent.shift();
      }
      const few = item.recent.slice(-5);
      item.mean = few.reduce((sum, rate) => sum + rate, 0) / Math.max(few.length, 1);
      seen.set(keyOf(item), { total, recent: item.recent });
    }
    [before, beforeAt] = [seen, now];
  };
}
