// Helpers to build and update the page, and to format numbers. Text is set as text: nothing here creates markup from
// it.

export const $ = (id) => document.getElementById(id);

// Creates an element with classes and text, and appends it to a parent if one is given.
export function element(tag, className = "", text = "", parent = undefined) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

export function button(className, text, onclick, parent) {
  const made = element("button", className, text, parent);
  made.type = "button";
  made.onclick = onclick;
  return made;
}

// Creates an element of a picture, and appends it to a parent if one is given.
export function shape(name, className, parent) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  if (className) made.setAttribute("class", className);
  parent?.append(made);
  return made;
}

// Sets the text only if it has changed, so that layout, selection and screen readers are not disturbed.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Announces a text to screen readers. Not for frequent messages.
export function say(text) {
  setText($("say"), text);
}

// A command in a line of its own, with a button that copies it.
export function command(text, what, parent) {
  const line = element("div", "command", "", parent);
  element("code", "", text, line);
  const copied = button("quiet", "Copy", () => copy(text, copied), line);
  copied.setAttribute("aria-label", what);
  return line;
}

// The rows of a table. Each row is kept while its key exists, so that focus, selection and scroll position are not
// lost.
export function rowsOf(body, make) {
  const rows = new Map();
  return (items, keyOf, update) => {
    const wanted = new Set(items.map(keyOf));
    for (const [key, row] of rows) {
      if (wanted.has(key)) continue;
      row.root.remove();
      rows.delete(key);
    }
    let place = body.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      let row = rows.get(key);
      if (!row) rows.set(key, (row = make(item)));
      update(row, item);
      if (row.root === place) place = place.nextElementSibling;
      else body.insertBefore(row.root, place);
    }
  };
}

// Copies a text, and shows the result on the button for a moment.
export async function copy(text, on) {
  const label = (on.dataset.label ??= on.textContent);
  let outcome = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    outcome = "Select it and copy"; // there is no clipboard access over plain HTTP from another machine
  }
  on.textContent = outcome;
  say(outcome);
  setTimeout(() => (on.textContent = label), 1500);
}

// Returns the beginning of a long text as a separate string: a slice would keep the whole text in memory.
export function beginning(text, most) {
  if (text.length <= most) return text;
  const isHalf = (text.charCodeAt(most - 1) & 0xfc00) === 0xd800;
  return [...text.slice(0, isHalf ? most - 1 : most)].join("");
}

const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (n) => integer.format(n);

export const counted = (n, one) => `${count(n)} ${n === 1 ? one : one + "s"}`;

export const rate = (n) => (n === 0 ? "0" : n < 9.95 ? tenths.format(n) : integer.format(n));

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${unit === 0 ? count(n) : tenths.format(n)} ${units[unit]}`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(time) {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

// Formats a duration in its two largest units.
export function duration(ms) {
  const s = Math.floor(Math.max(ms, 0) / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const ago = (time) => `${duration(Date.now() - time)} ago`;
