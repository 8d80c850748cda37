// The list of clients: pages by their origin, processes by name and number, with their filters and lag.

import { ask, whileSeen } from "/page/api.js";
import { $, ago, button, count, counted, element, rowsOf, say, setText } from "/page/dom.js";

const EVERY = 2000; // ms
const ROWS = 200;
// With more clients than this, listing all of them would keep page and daemon busy.
const TOO_MANY = 2000;

// `own` is the name of this page; `choose` is called with the client to send to.
export function clients(own, choose) {
  const section = $("clients"), note = $("clients-note"), none = section.querySelector(".none");
  const update = rowsOf(section.querySelector("tbody"), make);
  let many, said;

  function make(client) {
    const root = element("tr"), who = element("th", "", "", root);
    who.scope = "row";
    const called = client.name ?? client.id;
    if (client.role === "subscriber") button("name", called, () => choose(client.name ?? client.id), who).title = "Send to it";
    else element("span", "name", called, who);
    if (client.name === own) element("span", "mark", "this page", who);
    const from = element("div", "from", "", who);
    const filters = element("td", "filters", client.role === "publisher" ? "publishes" : client.filters.join(" "), root);
    filters.title = filters.textContent;
    filters.classList.toggle("faint", client.role === "publisher");
    const [events, lag, gaps, last] = ["number events", "number", "number", "kick"].map((kind) => element("td", kind, "", root));
    const kick = button("quiet", "Kick", () => disconnect(client, called), last);
    kick.setAttribute("aria-label", `Kick ${called}`);
    return { root, from, events, lag, gaps };
  }

  function show({ from, events, lag, gaps }, client) {
    // A page's origin is more useful than a browser's address.
    setText(from, [client.origin ?? client.peer, client.name && client.id].filter(Boolean).join(" · "));
    from.title = `${client.peer}, ${client.via}, connected ${ago(client.connected)}`;
    setText(events, count(client.events));
    setText(lag, count(client.lag));
    setText(gaps, count(client.gaps));
    lag.classList.toggle("bad", client.lag > 0);
    gaps.classList.toggle("bad", client.gaps > 0);
  }

  async function disconnect(client, called) {
    try {
      await ask(`/clients/${encodeURIComponent(client.id)}`, { method: "DELETE" });
      tell(`kicked ${called}`);
    } catch (error) {
      tell(error.message);
    }
    look();
  }

  // Shown for a moment instead of the number of clients.
  function tell(text) {
    setText(note, text);
    say(text);
    clearTimeout(said);
    said = setTimeout(() => (said = undefined), 4000);
  }

  async function look() {
    if (many === undefined) return; // the status shows the error
    let listed = [];
    if (many <= TOO_MANY) {
      try {
        listed = await ask("/clients");
      } catch {
        return; // the status shows the error
      }
    }
    const shown = listed.slice(0, ROWS);
    update(shown, (client) => client.id, show);
    none.hidden = shown.length > 0;
    setText(none, many > TOO_MANY ? "Too many clients to list here; use sse-busctl clients." : "No clients.");
    const names = [...new Set(shown.filter(({ role }) => role === "subscriber").map(({ name, id }) => name ?? id))];
    const list = $("names");
    if (names.join("\n") !== [...list.options].map((option) => option.value).join("\n")) {
      list.replaceChildren(...names.map((name) => Object.assign(element("option"), { value: name })));
    }
    if (said) return;
    const all = listed.length || many;
    setText(note, all > shown.length ? `${shown.length} of ${count(all)}` : counted(all, "connection"));
  }

  const lookNow = whileSeen(EVERY, look);
  function status(status) {
    const isFirst = many === undefined;
    many = status.subscribers + status.publishers;
    if (isFirst) lookNow();
  }
  return { status };
}
