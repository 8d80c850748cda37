// Clients of event streams: node listen.mjs URL TOPIC MODULE CLIENTS, where URL is that of the bus, and MODULE is its browser
// module. One client is the module, the others are EventSources.
//
// Prints a line when all have connected, then for each event the number of the client, the type, the id and the data, and
// ends when all clients have received the event with the data `end`.
import { EventSource } from "eventsource";

const [url, topic, module, clients] = process.argv.slice(2);
let open = 0;
let ended = 0;
let out = "";

const flush = () => {
  process.stdout.write(out);
  out = "";
};
const print = (line) => {
  if (!out) setImmediate(flush);
  out += `${line}\n`;
};

/** Returns a function that counts the first call for a client. */
const once = (count) => {
  let done = false;
  return () => done || ((done = true), count());
};
const opened = () => once(() => ++open === Number(clients) && print("open"));

const received = (client) => {
  const end = once(() => {
    if (++ended < Number(clients)) return;
    print("done");
    // An exit drops what the pipe has not taken yet.
    setImmediate(() => process.stdout.write("", () => process.exit(0)));
  });
  return (type, id, data) => {
    print([client, type, id, data].join("\t"));
    if (data === "end") end();
  };
};

for (let client = 1; client < clients; client++) {
  // This version of the package, for Node 18, ignores a position without data: a connection that breaks before its first event
  // would lose events.
  const events = new EventSource(`${url}/events?topic=${topic}&position=event`);
  const receive = received(client);
  for (const type of ["message", "$gap"]) {
    events.addEventListener(type, ({ lastEventId, data }) => receive(type, lastEventId, data));
  }
  const first = opened();
  events.onopen = first;
  events.onerror = ({ code, message }) => {
    if (events.readyState !== EventSource.CLOSED) return;
    console.error(`client ${client} has given up: ${code} ${message}`);
    process.exit(1);
  };
}

const { connect } = await import(module);
const receive = received(0);
const first = opened();
connect(url).subscribe(topic, {
  onevent: ({ id, data }) => receive("message", id, data),
  ongap: (gap) => receive("$gap", gap.to, JSON.stringify(gap)),
  onstate: ({ state, reason, message }) => {
    if (state === "open") first();
    if (state !== "closed") return;
    console.error(`the module has given up: ${reason} ${message}`);
    process.exit(1);
  },
});
