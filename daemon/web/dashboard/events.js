// The list of live events.
//
// Every event is counted, and the newest are kept. Drawing has its own limit: one draw per DRAW_EVERY, with a limited
// number of rows. Of a stream that is too fast to read, only a part is drawn, and a row shows the number of events that
// were skipped. While the list is paused, it does not change, and a search covers only its current content. Scrolling
// back or opening an event pauses it, and a bar below the list shows why.

import { $, count, counted, element, say, setText } from "/page/dom.js";
import { rowOf } from "/page/event_row.js";
import { Kept } from "/page/kept.js";

const DRAW_EVERY = 100; // ms
const ROWS_A_DRAW = 50;
const ROWS = 500; // in the document; more on request
const ROWS_AT_ONCE = 30; // more than a screen; the others follow, so that the first appear at once
const OTHERS = 20; // rows of a draw other than events

// `around` is called with an event whose history to show, `watch` with filters to subscribe to.
export function events(around, watch) {
  const actions = { around, watch };
  const log = $("log"), pause = $("pause"), older = $("older"), bar = $("paused");
  let kept = new Kept(), frozen; // what is shown while the list is paused
  let paused = ""; // "asked" by the user, or because the user is "reading"
  let received = 0, gaps = 0, missed = 0, drawn = 0, text = "", timer, filling, drewAt = 0;

  // --- input ----------------------------------------------------------------------------------------------------

  function event({ id, topic, type, time, headers, data }) {
    received += 1;
    add({ kind: "event", id, topic, type, time, headers, data });
  }

  function gap({ reason, missed: many, from, to }) {
    gaps += 1;
    missed += many ?? 0;
    add({ kind: "gap", time: Date.now(),
      text: `gap (${reason}): ${many === null ? "an unknown number of events" : count(many)} missed, from ${from} to ${to}` });
  }

  const note = (kind, text) => add({ kind, time: Date.now(), text });

  function add(entry) {
    kept.push(entry);
    schedule();
  }

  // --- drawing ----------------------------------------------------------------------------------------------------

  function schedule() {
    if (timer !== undefined) return;
    // Animation frames run only in visible tabs. In a hidden tab a timer draws, possibly late.
    const wait = document.hidden ? 1000 : Math.max(0, drewAt + DRAW_EVERY - performance.now());
    timer = setTimeout(() => (document.hidden ? draw() : requestAnimationFrame(draw)), wait);
  }

  document.addEventListener("visibilitychange", () => {
    // A requested animation frame may never run.
    clearTimeout(timer);
    timer = undefined;
    schedule();
  });

  function draw() {
    [timer, drewAt] = [undefined, performance.now()];
    setText($("received"), count(received));
    setText($("gaps"), gaps ? ` · ${counted(gaps, "gap")}${missed ? `, ${count(missed)} missed` : ""}` : "");
    if (paused) return tellBehind();
    const { entries, skipped } = newest(kept, drawn, ROWS_A_DRAW);
    drawn = kept.last;
    if (!entries.length) return;
    const rows = entries.map((entry) => rowOf(entry, actions));
    if (skipped) rows.unshift(element("li", "skipped", `${counted(skipped, "event")} not shown`));
    log.append(...rows);
    for (let over = log.children.length - ROWS; over > 0; over--) {
      log.firstElementChild.remove();
      stopFilling();
    }
    toEnd();
  }

  // Returns the matching entries after a number, newest last, and how many more events there were.
  function newest(from, after, most) {
    const entries = [];
    let skipped = 0, others = 0;
    for (const entry of from.back()) {
      if (entry.number <= after) break;
      if (!matches(entry)) continue;
      const fits = entry.kind === "event" ? entries.length - others < most : others < OTHERS;
      if (fits) entries.push(entry);
      else skipped += 1;
      if (fits && entry.kind !== "event") others += 1;
    }
    return { entries: entries.reverse(), skipped };
  }

  function matches({ kind, topic, type, data }) {
    if (!text || kind !== "event") return true;
    return [topic, type ?? "", data].some((field) => field.toLowerCase().includes(text));
  }

  // Draws the kept entries: the newest at once, the older ones step by step.
  function redraw() {
    const from = frozen ?? kept;
    drawn = from.last;
    log.replaceChildren();
    clearTimeout(filling);
    older.hidden = true;
    older.dataset.before = String(drawn + 1);
    const fill = () => {
      const isMore = drawOlder(ROWS_AT_ONCE), goesOn = isMore && log.children.length < ROWS;
      if (goesOn) filling = setTimeout(fill, 20);
      else older.hidden = !paused || !isMore;
      log.ariaBusy = String(goesOn);
    };
    fill();
    toEnd();
  }

  function stopFilling() {
    clearTimeout(filling);
    log.ariaBusy = "false";
  }

  // Draws some rows above the first one. Returns true if there are more.
  function drawOlder(most) {
    const rows = [];
    let before = Number(older.dataset.before), isMore = false;
    for (const entry of (frozen ?? kept).back(before)) {
      if (!matches(entry)) continue;
      if ((isMore = rows.length === most)) break;
      rows.push(rowOf(entry, actions));
      before = entry.number;
    }
    const below = log.scrollHeight - log.scrollTop;
    log.prepend(...rows.reverse());
    log.scrollTop = log.scrollHeight - below;
    older.dataset.before = String(before);
    return isMore;
  }

  older.onclick = () => (older.hidden = !drawOlder(ROWS));

  const toEnd = () => (log.scrollTop = log.scrollHeight);
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 30;

  // --- pausing ----------------------------------------------------------------------------------------------------

  function hold(why) {
    if (paused) return;
    paused = why;
    frozen = kept.copy();
    setText(pause, "Resume");
    pause.classList.add("main");
    if (why === "asked") redraw();
    bar.hidden = false;
    tellBehind();
    say($("why").textContent);
  }

  function resume() {
    if (!paused) return;
    [paused, frozen] = ["", undefined];
    setText(pause, "Pause");
    pause.classList.remove("main");
    bar.hidden = older.hidden = true;
    stopFilling();
    draw();
    toEnd();
    say("the list is live again");
  }

  function tellBehind() {
    const behind = kept.last - frozen.last;
    const isOpen = log.querySelector(".open");
    setText($("why"), paused === "asked" ? "Paused" : isOpen ? "Paused while an event is open" : "Paused while you read older events");
    setText($("behind"), behind ? `${count(behind)} more` : "");
  }

  const isReading = () => log.querySelector(".open") || log.contains(document.activeElement?.closest("li"));

  log.addEventListener("scroll", () => {
    if (!paused && !atEnd()) hold("reading");
    else if (paused === "reading" && atEnd() && !isReading()) resume();
  });
  log.addEventListener("toggled", () => {
    if (isReading()) hold("reading");
    if (paused === "reading" && !log.querySelector(".open") && atEnd()) resume();
    else if (paused) tellBehind();
  });
  new ResizeObserver(() => paused || toEnd()).observe(log);

  // The arrow keys move through the rows; the list is one tab stop.
  log.onkeydown = (key) => {
    if (key.ctrlKey || key.altKey || key.metaKey || key.target.closest(".whole")) return;
    const cells = key.target.closest(".topic") && key.key !== "ArrowRight" ? ".line .topic" : ".line .entry";
    if (key.key === "ArrowLeft" || key.key === "ArrowRight") {
      const beside = key.target.closest(".line")?.querySelector(key.key === "ArrowLeft" ? ".topic" : ".entry");
      return beside && (key.preventDefault(), beside.focus());
    }
    const lines = [...log.querySelectorAll(cells)];
    const at = lines.indexOf(document.activeElement);
    const to = { ArrowUp: at < 0 ? lines.length - 1 : at - 1, ArrowDown: at + 1, Home: 0 }[key.key];
    if (key.key === "End") resume(), log.focus();
    else if (lines[to]) hold("reading"), lines[to].focus();
    else return;
    key.preventDefault();
  };

  // --- the buttons ------------------------------------------------------------------------------------------------

  const togglePause = () => (paused ? resume() : hold("asked"));
  function clear() {
    kept.clear();
    frozen &&= kept.copy();
    redraw();
    say("cleared");
  }
  // Begins again with other filters: the rows of the old ones would be mistaken for events of the new ones.
  function restart(text) {
    kept.clear();
    received = gaps = missed = 0;
    resume();
    redraw();
    setText($("showing"), text);
    note("note", `subscribing to ${text}`);
  }

  pause.onclick = $("resume").onclick = togglePause;
  $("clear").onclick = clear;

  let typing;
  $("text").oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      text = $("text").value.toLowerCase();
      redraw();
    }, 150);
  };

  return { event, gap, note, clear, restart, togglePause };
}
