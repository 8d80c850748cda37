// One client of event streams in a page: the one that the stream's parameter `client` names. Its events are in `heard`.
import "event-source-polyfill";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import ReconnectingEventSource from "reconnecting-eventsource";


// Types that begin with `$` belong to the bus.
const say = (type, data) => type.startsWith("$") || heard.push({ type, data });

function listen(events) {
  for (const type of types) events.addEventListener(type, ({ data }) => say(type, data));
}

const clients = {
  "event-source-polyfill": () => listen(new EventSourcePolyfill(stream)),

  "reconnecting-eventsource": () => listen(new ReconnectingEventSource(stream)),

  "fetch-event-source": () =>
    fetchEventSource(stream, {
      openWhenHidden: true,
      onmessage: ({ event, data }) => say(event || "message", data),
      onclose() {
        throw new Error("the stream has ended"); // without an error it does not reconnect
      },
    }),
};

clients[new URL(stream).searchParams.get("client")]();
