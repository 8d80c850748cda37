// The stream: one EventSource that is kept open and resumes from the last id.
//
// When the connection is lost, browsers reconnect and send the last id, which they receive before the first event and
// with each event. They give up permanently on any status but 200, and some on a refused connection. Then the page
// creates a new EventSource after a growing, jittered pause.

import { failure, ticket } from "/page/api.js";
import { session } from "/page/session.js";

const PAUSE_LEAST = 500; // ms
const PAUSE_MOST = 10_000;

// `on` has the callbacks `event`, `gap` and `state`. States are connecting, open, waiting (for the next attempt) and
// refused, with an error as the reason.
export function stream(client, on) {
  let source, asked, lastId, timer, pause, attempt = 0;

  // Starts again with other filters or from another position.
  function want(query) {
    asked = query;
    clearTimeout(timer);
    source?.close();
    source = undefined;
    [lastId, pause] = [undefined, PAUSE_LEAST];
    on.state("connecting");
    connect();
  }

  async function connect(from) {
    const current = ++attempt;
    const query = new URLSearchParams(asked);
    query.set("format", "json");
    query.set("client", client);
    if (from) query.set("last_event_id", from);
    try {
      const issued = await ticket(client);
      if (current !== attempt) return;
      if (issued) query.set("ticket", issued);
    } catch (error) {
      if (current === attempt && !session.isClosed) again(error, from);
      return;
    }
    const own = (source = new EventSource("/events?" + query));
    own.onopen = () => {
      pause = PAUSE_LEAST;
      on.state("open");
    };
    own.addEventListener("$position", (message) => {
      lastId = message.lastEventId;
    });
    own.onmessage = (message) => {
      lastId = message.lastEventId || lastId;
      on.event(JSON.parse(message.data));
    };
    own.addEventListener("$gap", (message) => {
      lastId = message.lastEventId || lastId;
      on.gap(JSON.parse(message.data));
    });
    own.onerror = () => {
      if (own !== source) return;
      const gaveUp = own.readyState === EventSource.CLOSED;
      const next = lastId ?? from;
      if (!gaveUp && lastId) return on.state("connecting", new Error("the connection was closed; the browser reconnects"));
      own.close();
      if (gaveUp) explain(own, next);
      else again(new Error("the connection was closed"), next);
    };
  }

  function again(why, from) {
    on.state("waiting", why);
    timer = setTimeout(() => {
      on.state("connecting");
      connect(from);
    }, pause * (0.75 + Math.random() / 2));
    pause = Math.min(2 * pause, PAUSE_MOST);
  }

  // An EventSource that has given up does not report the reason, so a second request finds it. If another attempt
  // cannot help, the user decides.
  async function explain(own, from) {
    let why = new Error("the daemon does not answer");
    const url = new URL(own.url);
    url.searchParams.delete("ticket"); // it may have expired
    try {
      const asking = { signal: AbortSignal.timeout(5000), cache: "no-store", headers: session.headers() };
      // HEAD opens no stream if the request is valid.
      const head = await fetch(url, { ...asking, method: "HEAD" });
      if (head.ok) why = new Error(session.hasToken ? "the ticket has expired" : "the response is not an event stream");
      else why = await failure(await fetch(url, asking));
    } catch {
      // The daemon does not answer.
    }
    if (own !== source || session.isClosed) return;
    if (why.status === 400) on.state("refused", why);
    else again(why, from);
  }

  return { want };
}

// Yields the events and gaps of a query from history, up to the position where live events would begin.
export async function* past(query, signal) {
  const asked = new URLSearchParams(query);
  asked.set("format", "json");
  asked.set("past_only", "true");
  const response = await fetch("/events?" + asked, { signal, cache: "no-store", headers: session.headers() });
  if (!response.ok) throw await failure(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the connection to the bus was lost");
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
        if (fields.data === undefined) continue;
        if (fields.event === "$position") continue;
        if (fields.event === "$end") return;
        const data = JSON.parse(fields.data);
        yield fields.event === "$gap" ? { gap: data } : { event: data };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
