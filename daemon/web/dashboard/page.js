// Connects the parts of the dashboard: the stream feeds the list and the last values, the daemon's status and lists feed
// the rest.

import { around } from "/page/history_dialog.js";
import { chart } from "/page/chart.js";
import { clients } from "/page/clients.js";
import { consumers } from "/page/consumers.js";
import { deadLetters } from "/page/dead_letters.js";
import { $ } from "/page/dom.js";
import { events } from "/page/events.js";
import { first } from "/page/first.js";
import { speakForms, subscribeForm } from "/page/forms.js";
import { lists } from "/page/lists.js";
import { login } from "/page/login.js";
import { map } from "/page/map.js";
import { nodes } from "/page/nodes.js";
import { schedules } from "/page/schedules.js";
import { keys } from "/page/shortcuts.js";
import { status } from "/page/status.js";
import { stream } from "/page/stream.js";
import { topics } from "/page/topics.js";
import { workLists } from "/page/work_lists.js";

// The client name of this page, to which others can send.
const client = "page-" + [...crypto.getRandomValues(new Uint8Array(5))].map((n) => (n % 32).toString(32)).join("");

// Shows the events of filters, also where their list is out of view.
const watch = (filters) => {
  form.watch(filters);
  $("events").scrollIntoView({ block: "nearest" });
};
const open = around();
const list = events(open, watch);
const table = topics(watch, open);
const sendTo = (name) => {
  $("send").elements.to.value = name;
  $("send").elements.data.focus();
};
const people = clients(client, sendTo, () => polled.lookNow());
const dead = deadLetters(open, () => work.lookNow());
const queues = consumers(watch, dead.open);
const later = schedules(() => work.lookNow());
const work = workLists([queues.lists, dead.lists, later.lists]);
const polled = lists([table.lists, people.lists, map(client, watch).lists]);

login(() => {
  form.submit();
  polled.lookNow();
  work.lookNow();
});
const daemon = status(client, [chart().status, first().status, nodes().status, polled.status, work.status]);

const source = stream(client, {
  event(event) {
    list.event(event);
    table.event(event);
  },
  gap: list.gap,
  state(state, error) {
    const why = state === "refused" ? form.refused(error) : error?.message;
    daemon.state(state, why);
    if (state === "open") list.note("note", "the stream is open");
    else if (why) list.note("error", why);
  },
});
const form = subscribeForm((query, text) => {
  list.restart(text);
  source.want(query);
});
form.submit();
speakForms();

keys({
  "/": () => $("text").focus(),
  t: () => $("subscribe").elements.topics.select(),
  e: () => $("log").focus(),
  m: () => {
    $("map").scrollIntoView();
    $("map").querySelector(".node[tabindex='0']")?.focus();
  },
  w: () => {
    if ($("consumers").hidden) return;
    $("consumers").scrollIntoView({ block: "nearest" });
    $("consumers").querySelector("tbody button")?.focus();
  },
  p: list.togglePause,
  c: list.clear,
  n: () => $("publish").elements.data.focus(),
});
