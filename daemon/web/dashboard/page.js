// Connects the parts of the dashboard: the stream feeds the list and the last values, the daemon's status feeds the
// rest.

import { around } from "/page/history_dialog.js";
import { chart } from "/page/chart.js";
import { clients } from "/page/clients.js";
import { $ } from "/page/dom.js";
import { events } from "/page/events.js";
import { speakForms, subscribeForm } from "/page/forms.js";
import { keys } from "/page/shortcuts.js";
import { status } from "/page/status.js";
import { stream } from "/page/stream.js";
import { topics } from "/page/topics.js";

// The client name of this page, to which others can send.
const client = "page-" + [...crypto.getRandomValues(new Uint8Array(5))].map((n) => (n % 32).toString(32)).join("");

const list = events(around());
const table = topics((topic) => form.watch(topic));
const people = clients(client, (name) => {
  $("send").elements.to.value = name;
  $("send").elements.data.focus();
});
const daemon = status(client, [chart().status, table.status, people.status]);

const source = stream(client, {
  event(event) {
    list.event(event);
    table.event(event);
  },
  gap: list.gap,
  state(state, why) {
    daemon.state(state, why);
    if (state === "open") list.note("note", "the stream is open");
    else if (why) list.note("error", why);
  },
});
const form = subscribeForm(source.want);
speakForms();

keys({
  "/": () => $("text").focus(),
  t: () => $("subscribe").elements.topics.select(),
  e: () => $("log").focus(),
  p: list.togglePause,
  c: list.clear,
  n: () => $("publish").elements.data.focus(),
});
