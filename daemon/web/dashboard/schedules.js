// The events that are published later, the next first. Hidden while there are none.

import { ask } from "/page/api.js";
import { confirmed } from "/page/confirm.js";
import { $, button, bytes, clock, count, counted, duration, element, rowsOf, say, setText } from "/page/dom.js";

const ROWS = 10; // more on request
const MORE_ROWS = 200;

// `changed` is called when one was cancelled.
export function schedules(changed) {
  const section = $("schedules"), note = $("schedules-note"), none = section.querySelector(".none"), more = $("schedules-more");
  const update = rowsOf(section.querySelector("tbody"), make);
  let said, most = ROWS, listed = [];

  function make({ schedule }) {
    const root = element("tr"), name = element("th", "", "", root);
    name.scope = "row";
    element("span", "name", schedule, name);
    const mark = element("span", "mark", "", name), from = element("div", "from", "", name);
    const [topic, due, last] = ["filters", "number", "kick"].map((kind) => element("td", kind, "", root));
    button("quiet", "Cancel", () => cancel(schedule), last).setAttribute("aria-label", `Cancel ${schedule}`);
    return { root, mark, from, topic, due };
  }

  function show({ mark, from, topic, due }, { at, topic: name, type, bytes: size, refused }) {
    setText(mark, refused ? "refused" : "");
    setText(from, [refused, day(at) + clock(at), bytes(size), type].filter(Boolean).join(" · "));
    from.title = from.textContent;
    setText(topic, name);
    topic.title = name;
    const left = at - Date.now();
    setText(due, left > 0 ? `in ${duration(left)}` : "now");
  }

  async function cancel(schedule) {
    if (!await confirmed(`Cancel the schedule ${schedule}? Its event will not be published.`, "Cancel the schedule")) return;
    try {
      await ask(`/schedules/${encodeURIComponent(schedule)}`, { method: "DELETE" });
      tell(`cancelled ${schedule}`);
    } catch (error) {
      tell(error.message);
    }
    changed();
  }

  // Shown for a moment instead of the number of schedules.
  function tell(text) {
    setText(note, text);
    say(text);
    clearTimeout(said);
    said = setTimeout(() => (said = undefined), 4000);
  }

  function lists({ schedules, many }) {
    section.hidden = many.schedules === 0 && !said;
    $("schedules-link").hidden = many.schedules === 0;
    listed = [...(schedules ?? [])].sort((a, b) => a.at - b.at);
    setText(none, schedules ? "No schedules." : "Too many schedules to list here; use sse-busctl schedule list.");
    render();
    if (!said) setText(note, count(many.schedules));
  }

  function render() {
    update(listed.slice(0, most), ({ schedule }) => schedule, show);
    none.hidden = listed.length > 0;
    more.hidden = listed.length <= most;
    setText(more, `Show ${counted(Math.min(listed.length - most, MORE_ROWS), "more schedule")}`);
  }

  more.onclick = () => {
    most += MORE_ROWS;
    render();
  };
  return { lists };
}

// The date of a time that is not today.
function day(time) {
  const date = new Date(time).toLocaleDateString("en-CA");
  return date === new Date().toLocaleDateString("en-CA") ? "" : `${date} `;
}
