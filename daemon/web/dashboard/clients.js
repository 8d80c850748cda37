// The list of clients: pages by their origin, processes by name and number, with their topics and lag.

import { ask } from "/page/api.js";
import { $, ago, button, count, counted, element, rowsOf, say, setText } from "/page/dom.js";

const ROWS = 20; // more on request
const MORE_ROWS = 200;

// `own` is the name of this page; `choose` is called with the client to send to, `changed` when one was disconnected.
export function clients(own, choose, changed) {
  const section = $("clients"), note = $("clients-note"), none = section.querySelector(".none"), more = $("clients-more");
  const update = rowsOf(section.querySelector("tbody"), make);
  let said, most = ROWS, listed = [];

  function make(client) {
    const root = element("tr"), who = element("th", "", "", root);
    who.scope = "row";
    const called = client.name ?? client.id;
    if (client.role === "subscriber") button("name", called, () => choose(client.name ?? client.id), who).title = "Send to it";
    else element("span", "name", called, who);
    if (client.name === own) element("span", "mark", "this page", who);
    const from = element("div", "from", "", who);
    const [filters, events, lag, gaps, last] =
      ["filters", "number events", "number", "number", "kick"].map((kind) => element("td", kind, "", root));
    const kick = button("quiet", "Disconnect", () => disconnect(client, called), last);
    kick.setAttribute("aria-label", `Disconnect ${called}`);
    return { root, from, filters, events, lag, gaps };
  }

  function show({ from, filters, events, lag, gaps }, client) {
    // A page's origin is more useful than a browser's address.
    setText(from, [client.origin ?? client.peer, client.name && client.id].filter(Boolean).join(" · "));
    from.title = `${client.peer}, ${client.via}, connected ${ago(client.connected)}`;
    const isPublisher = client.role === "publisher";
    const topics = isPublisher ? ["→", ...(client.published_to ?? [])] : client.filters;
    setText(filters, topics.join(" "));
    filters.title = isPublisher ? `publishes to ${client.published_to?.join(" ") ?? "nothing yet"}` : filters.textContent;
    setText(events, count(client.events));
    setText(lag, count(client.lag));
    setText(gaps, count(client.gaps));
    lag.classList.toggle("bad", client.lag > 0);
    gaps.classList.toggle("bad", client.gaps > 0);
  }

  async function disconnect(client, called) {
    try {
      await ask(`/clients/${encodeURIComponent(client.id)}`, { method: "DELETE" });
      tell(`disconnected ${called}`);
    } catch (error) {
      tell(error.message);
    }
    changed();
  }

  // Shown for a moment instead of the number of clients.
  function tell(text) {
    setText(note, text);
    say(text);
    clearTimeout(said);
    said = setTimeout(() => (said = undefined), 4000);
  }

  function lists({ clients, many }) {
    listed = clients ?? [];
    setText(none, clients ? "No clients." : "Too many clients to list here; use sse-busctl clients.");
    const names = [...new Set(listed.filter(({ role }) => role === "subscriber").map(({ name, id }) => name ?? id))].slice(0, 500);
    const list = $("names");
    if (names.join("\n") !== [...list.options].map((option) => option.value).join("\n")) {
      list.replaceChildren(...names.map((name) => Object.assign(element("option"), { value: name })));
    }
    render();
    if (said) return;
    setText(note, clients ? roles(listed) : count(many.clients));
  }

  function render() {
    const shown = listed.slice(0, most);
    update(shown, keyOf, show);
    none.hidden = shown.length > 0;
    more.hidden = listed.length <= most;
    setText(more, `Show ${counted(Math.min(listed.length - most, MORE_ROWS), "more client")}`);
  }

  more.onclick = () => {
    most += MORE_ROWS;
    render();
  };
  return { lists };
}

// Ids begin again when the daemon restarts.
const keyOf = ({ id, connected }) => `${id} ${connected}`;

// Returns how many clients there are of each role: those of the first two roles always, the others if there are any.
function roles(clients) {
  const number = (role) => clients.filter((client) => client.role === role).length;
  const shown = ["subscriber", "publisher", "worker", "responder"].map((role) => [role, number(role)]);
  return shown.filter(([, many], n) => n < 2 || many).map(([role, many]) => counted(many, role)).join(", ");
}
