// One row of a list of events: a line and, when it is opened, all fields of the event below it.

import { beginning, button, bytes, clock, copy, count, element } from "/page/dom.js";

const PREVIEW = 500; // maximum characters of the data in a line

// Entries of a list: an event, a gap, or a note about the stream.
export function rowOf(entry, actions = {}) {
  if (entry.kind === "event") return eventRow(entry, actions);
  const row = element("li", entry.kind);
  element("span", "time", clock(entry.time), row);
  element("span", "text", entry.text, row);
  return row;
}

function eventRow(event, { around, watch }) {
  const row = element("li", "event");
  const line = element("div", "line", "", row);
  element("span", "time", clock(event.time), line);
  const topic = watch ? button("topic", event.topic, () => watch([event.topic]), line) : element("span", "topic", event.topic, line);
  topic.title = event.topic;
  const entry = button("entry", "", () => toggle(row, event, around), line);
  topic.tabIndex = entry.tabIndex = -1;
  entry.setAttribute("aria-expanded", "false");
  if (event.type) element("span", "type", event.type, entry);
  const shown = beginning(event.data, PREVIEW);
  element("span", "data", shown, entry);
  const more = event.data.length - shown.length;
  if (more > 0) element("span", "more", `+ ${bytes(more)}`, entry);
  // The rest of the line opens the event, too.
  line.onclick = ({ target }) => target.closest("button") ?? toggle(row, event, around);
  return row;
}

function toggle(row, event, around) {
  const open = row.querySelector(".whole");
  row.querySelector(".entry").setAttribute("aria-expanded", String(!open));
  row.classList.toggle("open", !open);
  if (open) open.remove();
  else row.append(whole(event, around));
  row.dispatchEvent(new CustomEvent("toggled", { bubbles: true }));
}

function whole(event, around) {
  const part = element("div", "whole");
  const facts = element("dl", "", "", part);
  const add = (name, value) => {
    const pair = element("div", "", "", facts);
    element("dt", "", name, pair);
    element("dd", name, value, pair);
  };
  add("id", event.id ?? "none (live only)");
  add("topic", event.topic);
  if (event.type) add("type", event.type);
  const at = new Date(event.time);
  add("time", `${at.toLocaleDateString("en-CA")} ${clock(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`);
  if (event.headers) add("headers", JSON.stringify(event.headers));
  add("size", `${count(event.data.length)} characters`);

  const json = indented(event.data);
  const data = element("pre", "all", json ?? event.data);
  data.tabIndex = 0;
  data.setAttribute("role", "region");
  data.setAttribute("aria-label", "Data");
  const buttons = element("p", "buttons", "", part);
  if (json !== undefined) {
    const as = button("as", "Original text", () => {
      const raw = data.classList.toggle("raw");
      data.textContent = raw ? event.data : json;
      as.textContent = raw ? "Indented JSON" : "Original text";
    }, buttons);
  }
  const copied = button("copy", "Copy data", () => copy(event.data, copied), buttons);
  const { id, topic, type, time, headers, data: text } = event;
  const envelope = JSON.stringify({ id, topic, type, time, headers, data: text });
  const everything = button("copy", "Copy event", () => copy(envelope, everything), buttons);
  if (around && event.id) button("history", "Events around it", () => around(event), buttons);
  part.append(data);
  return part;
}

// Indents JSON if the text is an object or an array. The text is reformatted without parsing its values, so that
// numbers and repeated keys are shown unchanged.
export function indented(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  let depth = 0, out = "";
  const newLine = () => "\n" + "  ".repeat(Math.min(depth, 40));
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|[^\s"[\]{},:]+/gs)) {
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + newLine();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += newLine() + token;
    } else if (token === ",") out += token + newLine();
    else if (token === ":") out += ": ";
    else out += token;
  }
  return out;
}
