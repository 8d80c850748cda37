// The consumers and schedules of the daemon, requested as often as the other lists while there are any, and at once when
// the status shows that some were added, removed, or have become dead letters.
//
// Events on `$sys/consumers` would need a second connection for each tab, of which browsers allow six, or change the
// stream that the user has chosen.

import { ask, whileSeen } from "/page/api.js";
import { counter } from "/page/lists.js";

const EVERY = 2000; // ms
// With more than this, listing all of them would keep page and daemon busy.
const MOST = 1000;

// `listeners` receive `{ consumers, schedules, many }`. A list is undefined if it is too long; `many` has the numbers of
// consumers and schedules. The rate of a consumer is that of events done.
export function workLists(listeners) {
  const rates = counter(({ name, created }) => `${name} ${created}`, (consumer) => consumer.acknowledged);
  let many, before;

  async function look() {
    if (!many) return; // the status shows the error
    let consumers, schedules;
    try {
      consumers = await list("/consumers", many.consumers);
      schedules = await list("/schedules", many.schedules);
    } catch {
      return; // the status shows the error
    }
    rates(consumers ?? []);
    for (const listener of listeners) listener({ consumers, schedules, many });
  }

  const lookNow = whileSeen(EVERY, look);
  function status({ consumers = 0, workers, dead, limits }) {
    const schedules = limits?.find(({ limit }) => limit === "schedules")?.used ?? 0;
    many = { consumers, schedules };
    const now = [consumers, workers, dead, schedules].join(" ");
    if (now !== before) lookNow();
    before = now;
  }
  return { status, lookNow };
}

async function list(path, many) {
  if (many > MOST) return undefined;
  return many ? ask(path) : [];
}
