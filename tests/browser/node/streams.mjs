// Many EventSource streams in one process: node streams.mjs URL COUNT. Prints on stdout, one JSON array a line, what each
// reports: [stream, "try"], [stream, "open"], [stream, id, data], [stream, "closed"] when it gives up, or
// [stream, "gap", data].
import { EventSource } from "eventsource";

const [url, count] = process.argv.slice(2);
setInterval(() => {}, 60_000); // keeps Node running while all streams wait to reconnect
for (let stream = 0; stream < Number(count); stream++) {
  const say = (...words) => console.log(JSON.stringify([stream, ...words]));
  const asked = (...request) => (say("try"), fetch(...request));
  const events = new EventSource(url, { fetch: asked });
  events.onopen = () => say("open");
  events.onmessage = (event) => say(event.lastEventId, event.data);
  events.onerror = () => events.readyState === EventSource.CLOSED && say("closed");
  events.addEventListener("$gap", (event) => say("gap", event.data));
}
