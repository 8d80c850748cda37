// What an empty bus shows: the first commands to type.

import { $, command, element } from "/page/dom.js";
import { session } from "/page/session.js";

export function first() {
  const root = $("first");
  let drawn;

  function status({ published, socket, topics }) {
    root.hidden = published > 0 || topics > 0;
    if (root.hidden || drawn === socket) return;
    drawn = socket;
    const list = root.querySelector("div");
    list.replaceChildren();
    const isUsual = /\/sse-bus\/bus\.sock$/.test(socket) || socket.startsWith("\\\\");
    const flag = isUsual ? "" : `--socket ${quoted(socket)} `;
    const token = session.hasToken ? "-H \"Authorization: Bearer $TOKEN\" " : "";
    const ways = [
      ["In a terminal of this user", `sse-busctl ${flag}publish chat hello`],
      ["With any program that speaks HTTP", `curl ${token}-d hello ${location.origin}/events/chat`],
    ];
    for (const [name, text] of token ? ways.slice(1) : ways) {
      element("p", "faint", name, list);
      command(text, `Copy: ${text}`, list);
    }
  }
  return { status };
}

// Quotes a path for a shell if necessary.
const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
