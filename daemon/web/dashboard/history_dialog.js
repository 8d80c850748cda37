// The dialog that shows the history around an event, of its topic or of all topics.

import { $, counted, setText } from "/page/dom.js";
import { rowOf } from "/page/event_row.js";
import { past } from "/page/stream.js";

const EACH_WAY = 20; // events
const STEPS = [200, 20_000]; // sequence numbers further back; then the beginning

export function around() {
  const dialog = $("around"), list = dialog.querySelector(".rows"), scope = $("around-scope");
  let event, inAll = false, reading;

  dialog.querySelector(".close").onclick = () => dialog.close();
  dialog.onclose = () => reading?.abort();
  scope.onclick = () => {
    inAll = !inAll;
    show();
  };

  async function show() {
    reading?.abort();
    const own = (reading = new AbortController());
    setText($("around-title"), inAll ? "Events around it, in all topics" : `Events of ${event.topic}`);
    setText(scope, inAll ? "In its topic" : "In all topics");
    setText($("around-note"), "Reading history …");
    list.replaceChildren();
    try {
      const { before, found, after, gaps } = await read(event, inAll, own.signal);
      const entries = [...gaps, ...before, ...(found ? [found] : []), ...after];
      list.replaceChildren(...entries.map((entry) => rowOf(entry)));
      const [here] = found ? [list.children[gaps.length + before.length]] : [];
      here?.classList.add("here");
      here?.firstElementChild.setAttribute("aria-current", "true");
      here?.scrollIntoView({ block: "center" });
      const what = `${counted(before.length, "event")} before it, ${after.length} after it`;
      setText($("around-note"), found ? what : `The event itself is no longer in history; ${what}`);
    } catch (error) {
      if (!own.signal.aborted) setText($("around-note"), `History cannot be read: ${error.message}`);
    }
  }

  return (of) => {
    [event, inAll] = [of, false];
    dialog.showModal();
    show();
  };
}

// The ids of one topic are not consecutive, so it may take several steps to find enough earlier events.
async function read(event, inAll, signal) {
  const [epoch, digits] = event.id.split("-"), number = Number(digits);
  for (const step of [...STEPS, number]) {
    const query = new URLSearchParams({ topic: inAll ? "**" : event.topic });
    if (step < number) query.set("last_event_id", `${epoch}-${number - step}`);
    else query.set("since", "all");
    const seen = await within(query, epoch, number, signal);
    if (seen.before.length >= EACH_WAY || seen.gaps.length || step >= number) return seen;
  }
}

async function within(query, epoch, number, signal) {
  const seen = { before: [], found: undefined, after: [], gaps: [] };
  for await (const { event, gap } of past(query, signal)) {
    if (gap) {
      seen.gaps.push({ kind: "gap", time: Date.now(), text: `some events here are no longer in history (${gap.reason})` });
      continue;
    }
    const entry = { kind: "event", ...event };
    const [ofEpoch, digits] = event.id.split("-"), at = Number(digits);
    if (ofEpoch === epoch && at === number) seen.found = entry;
    else if (at < number && ofEpoch === epoch) {
      seen.before.push(entry);
      if (seen.before.length > EACH_WAY) seen.before.shift();
    } else if (seen.after.push(entry) >= EACH_WAY) break;
  }
  return seen;
}
