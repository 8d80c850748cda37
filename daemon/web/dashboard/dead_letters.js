// The dialog with the dead letters of a consumer: why each is dead, and buttons to retry or drop one or all.

import { ask } from "/page/api.js";
import { confirmed } from "/page/confirm.js";
import { $, beginning, button, clock, count, counted, element, rowsOf, setText } from "/page/dom.js";

const PREVIEW = 500; // maximum characters of the data
const REASONS = { attempts: "all attempts have failed", rejected: "rejected", expired: "expired after an attempt" };

// `around` is called with an event whose history to show, `changed` after a change. Returns `open`, for the name of a
// consumer, and `lists`.
export function deadLetters(around, changed) {
  const dialog = $("dead"), list = dialog.querySelector(".rows"), note = $("dead-note"), more = $("dead-more");
  const [retryAll, dropAll] = [$("dead-retry"), $("dead-drop")];
  const update = rowsOf(list, make);
  let consumer = "", letters = [], total = 0, version, reading = 0;

  const path = (query) => `/consumers/${encodeURIComponent(consumer)}/dead?${new URLSearchParams(query)}`;

  function make({ id, topic }) {
    const root = element("li", "letter"), line = element("div", "facts", "", root);
    const time = element("span", "time", "", line);
    element("span", "where", topic ?? "(its event is no longer available)", line);
    const why = element("span", "why", "", line), data = element("div", "data", "", root);
    const buttons = element("div", "buttons", "", root);
    button("retry", "Retry", () => change("POST", { id }), buttons).setAttribute("aria-label", `Retry ${id}`);
    button("drop", "Drop", () => drop({ id }, `the dead letter ${id}`), buttons).setAttribute("aria-label", `Drop ${id}`);
    if (topic) button("quiet", "Events around it", () => around({ id, topic }), buttons).setAttribute("aria-label", `Events around it: ${id}`);
    return { root, time, why, data };
  }

  function show({ time, why, data }, { since, reason, text, attempts, worker, topic, data: content }) {
    setText(time, clock(since));
    time.title = new Date(since).toLocaleString("en-CA", { hour12: false });
    const facts = [REASONS[reason] ?? reason, text, counted(attempts, "attempt"), worker && `last by ${worker}`];
    setText(why, facts.filter(Boolean).join(" · "));
    const absent = topic ? "(not in memory: see the events around it)" : "";
    setText(data, beginning(content ?? absent, PREVIEW) || "(empty)");
    data.classList.toggle("faint", !content);
  }

  // Lists as many as are shown already, or the first ones.
  async function look() {
    const own = ++reading, wanted = letters.length, found = [];
    try {
      do {
        const next = await ask(path(found.length ? { after: found.at(-1).id } : {}));
        found.push(...next);
        if (!next.length) break;
      } while (found.length < wanted);
    } catch (error) {
      if (own === reading && dialog.open) setText(note, error.message);
      return;
    }
    if (own === reading && dialog.open) render(found);
  }

  function render(found) {
    letters = found;
    const at = [...list.children].findIndex((row) => row.contains(document.activeElement));
    const label = document.activeElement.classList[0];
    update(letters, ({ id }) => id, show);
    // The focus stays in the list while rows are removed.
    if (at >= 0 && !list.contains(document.activeElement)) {
      (list.children[Math.min(at, list.children.length - 1)]?.querySelector(`.${label}`) ?? dialog.querySelector(".close")).focus();
    }
    const rest = total - letters.length;
    more.hidden = !(rest > 0 && letters.length);
    setText(more, `Show more of ${count(total)}`);
    retryAll.disabled = dropAll.disabled = !letters.length;
    if (!letters.length) setText(note, "There are no dead letters.");
    else if (note.dataset.said !== "yes") setText(note, `${counted(Math.max(total, letters.length), "event")} that nobody processes until they are retried`);
  }

  async function change(method, selection) {
    try {
      const { count: changed } = await ask(path(selection), { method });
      tell(method === "POST" ? `${counted(changed, "event")} will be delivered again` : `${counted(changed, "dead letter")} dropped`);
      total = Math.max(0, total - changed);
    } catch (error) {
      tell(error.message);
    }
    await look();
    changed();
  }

  async function drop(selection, what) {
    const question = `Drop ${what}? This cannot be undone: the consumer ${consumer} will not process it.`;
    if (await confirmed(question, "Drop")) change("DELETE", selection);
  }

  // Shown for a moment instead of the number of events.
  let said;
  function tell(text) {
    setText(note, text);
    note.dataset.said = "yes";
    clearTimeout(said);
    said = setTimeout(() => {
      note.dataset.said = "";
      render(letters);
    }, 4000);
  }

  retryAll.onclick = () => change("POST", { all: true });
  dropAll.onclick = () => drop({ all: true }, `all ${counted(Math.max(total, letters.length), "dead letter")}`);
  more.onclick = async () => {
    letters.length && render([...letters, ...await ask(path({ after: letters.at(-1).id })).catch(() => [])]);
  };
  dialog.querySelector(".close").onclick = () => dialog.close();

  function open(name) {
    [consumer, letters, note.dataset.said] = [name, [], ""];
    update([], ({ id }) => id, show);
    setText($("dead-title"), `Dead letters of ${name}`);
    setText(note, "Reading …");
    dialog.showModal();
    list.focus(); // not on a button that changes something
    look();
  }

  function lists({ consumers }) {
    const now = consumers?.find(({ name }) => name === consumer);
    total = now?.dead ?? 0;
    const current = now && `${now.created} ${now.died} ${now.dead}`;
    if (dialog.open && current !== version) {
      if (now) look();
      else if (consumers) setText(note, `The consumer ${consumer} was deleted.`);
    }
    version = current;
  }
  return { open, lists };
}
