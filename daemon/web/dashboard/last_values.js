// The last value of each topic: first from history, then from the stream, and from history again for topics that the
// stream's filters leave out.

import { beginning } from "/page/dom.js";
import { past } from "/page/stream.js";

const VALUES = 5000; // number of values that are kept; the least recently updated are dropped first
const VALUE = 200; // maximum characters of a value
const READ_MOST = 8 << 20; // characters that the first request reads
const LARGE = 16 << 10; // bytes; topics with larger events are not requested again
const AT_ONCE = 50; // topics

export function lastValues(changed) {
  const values = new Map();
  let reading = false, isStarted = false;

  // Stores an event's data as the last value of its topic, unless a later one is known.
  function event({ id, topic, data, time }) {
    if (!id || values.get(topic)?.number > numberOf(id)) return;
    values.delete(topic);
    values.set(topic, { id, topic, time, number: numberOf(id), text: data.length > VALUE ? beginning(data, VALUE) + " …" : data });
    if (values.size > VALUES) values.delete(values.keys().next().value);
  }

  async function read(filters) {
    reading = true;
    try {
      const query = new URLSearchParams([...filters.map((filter) => ["topic", filter]), ["since", "latest"]]);
      let chars = 0;
      for await (const { event: one } of past(query, AbortSignal.timeout(10_000))) {
        if (!one) continue;
        event(one);
        if ((chars += one.data.length) > READ_MOST) break;
      }
      changed();
    } catch {
      // The status shows the error; the next request tries again.
    } finally {
      reading = false;
    }
  }

  // Requests the values that are missing, of the topics that are shown. Topics without events in history have none.
  function refresh(shown) {
    if (reading) return;
    if (!isStarted) {
      isStarted = true;
      return read(["**"]);
    }
    const wanted = shown.filter((topic) => !isCurrent(topic) && topic.events > 0 && topic.bytes / topic.events < LARGE);
    if (wanted.length) return read(wanted.slice(0, AT_ONCE).map(({ topic }) => topic));
  }

  // Returns true if no newer event than the known one exists.
  function isCurrent({ topic, last_id }) {
    return !last_id || values.get(topic)?.number >= numberOf(last_id);
  }

  return { event, refresh, isCurrent, get: (topic) => values.get(topic) };
}

const numberOf = (id) => Number(id.split("-")[1]);
