// One client of event streams: node listen.mjs CLIENT URL TYPE... Prints each event as a JSON object on a line of its own.
//
// An EventSource listens to the given types. The others deliver every event; types that begin with `$` belong to the bus and
// are not printed.
import { setTimeout as sleep } from "node:timers/promises";

const [name, url, ...types] = process.argv.slice(2);

const say = (type, data) => type.startsWith("$") || console.log(JSON.stringify({ type, data }));

/** Listens as a page does. The timer keeps Node running: an EventSource that waits to reconnect does not. */
function listen(events) {
  setInterval(() => {}, 60_000);
  for (const type of types) events.addEventListener(type, ({ data }) => say(type, data));
  events.onerror = () => events.readyState === events.CLOSED && process.exit(1);
}

const clients = {
  async eventsource() {
    const { EventSource } = await import("eventsource");
    listen(new EventSource(url));
  },

  // Node's own, with --experimental-eventsource.
  node() {
    listen(new EventSource(url));
  },

  async "eventsource-client"() {
    const { createEventSource } = await import("eventsource-client");
    for await (const { event, data } of createEventSource({ url })) say(event ?? "message", data);
  },

  async "launchdarkly-eventsource"() {
    const { EventSource } = (await import("launchdarkly-eventsource")).default;
    // Its default is Node's, which ends a stream that is quiet for five seconds.
    const events = new EventSource(url, { readTimeoutMillis: 60_000 });
    for (const type of types) events.addEventListener(type, ({ data }) => say(type, data));
    events.on("error", () => {}); // without a listener, an error of the connection ends the process
  },

  // It reads one response; its users write the loop.
  async "eventsource-parser"() {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    for (let last; ; await sleep(1000)) {
      try {
        const { body } = await fetch(url, { headers: last === undefined ? {} : { "Last-Event-ID": last } });
        const texts = body.pipeThrough(new TextDecoderStream());
        for await (const event of texts.pipeThrough(new EventSourceParserStream())) {
          last = event.id ?? last;
          say(event.event ?? "message", event.data);
        }
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // the error of a connection that breaks
      }
    }
  },
};

await clients[name]();
