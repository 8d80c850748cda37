// One EventSource: node listen.mjs URL TYPE... Says each event on stdout, as one JSON object a line.
import { EventSource } from "eventsource";

const [url, ...types] = process.argv.slice(2);
const events = new EventSource(url);
for (const type of types) {
  events.addEventListener(type, ({ lastEventId: id, data }) => console.log(JSON.stringify({ id, type, data })));
}
events.onerror = () => events.readyState === EventSource.CLOSED && process.exit(1);
