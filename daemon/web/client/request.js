// sse-bus in pages and in Node.js: requests to other programs, and replies to theirs (docs/how-to/request-reply.md).

const SILENCE = 45_000; // ms without a byte, not even a heartbeat, after which the connection is broken
const IN_FLIGHT = 10; // requests that a responder handles at the same time, unless it chooses another number

const failure = (code, message, status) => Object.assign(new Error(message), { code, status });
const text = (value = "") => (typeof value === "string" ? value : JSON.stringify(value));
const backoff = (failures) => Math.min(30, 2 ** failures) * (500 + 1000 * Math.random());

/** Yields the JSON of each event of a stream, and calls `alive` for each chunk. */
async function* read(response, alive) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) throw failure("lost", "the connection to the bus was lost");
    alive();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
  }
}

/** Replies to requests until it is closed. */
class Responder {
  aborter = new AbortController();
  closed = false;

  constructor(call, path, handler, onstate) {
    Object.assign(this, { call, path, handler, onstate });
    this.run();
  }

  /** Ends it. Requests that it has not answered fail with `responder_gone`. */
  close() {
    this.closed = true;
    this.aborter.abort();
    this.wake?.();
  }

  say(state, { code, message } = {}, retryIn) {
    this.onstate?.({ state, reason: code, message, retryIn });
  }

  async run() {
    for (let failures = 0; !this.closed; failures++) {
      let timer;
      try {
        this.aborter = new AbortController();
        const alive = () => {
          clearTimeout(timer);
          timer = setTimeout(() => this.aborter.abort(), SILENCE);
        };
        const response = await this.call(this.path, { signal: this.aborter.signal });
        this.say("open");
        for await (const request of read(response, alive)) {
          failures = 0;
          if (request.reply_to) this.answer(request);
        }
      } catch (error) {
        if (this.closed) break;
        // It would be refused again.
        if ([400, 401, 403].includes(error.status)) {
          this.closed = true;
          return this.say("closed", error);
        }
        const retryIn = backoff(failures);
        this.say("waiting", error.code ? error : failure("lost", "the connection to the bus was lost"), retryIn);
        await new Promise((resolve) => setTimeout((this.wake = resolve), retryIn));
      } finally {
        clearTimeout(timer);
      }
    }
    this.say("closed");
  }

  async answer({ reply_to: to, ...request }) {
    let body, query = "";
    try {
      body = text(await this.handler({ ...request, json: () => JSON.parse(request.data) }));
    } catch (error) {
      query = `?error=${encodeURIComponent(error?.message ?? error)}`;
    }
    // The request may be over by now.
    await this.call(`/replies/${to}${query}`, { method: "POST", body }).catch(() => {});
  }
}

/** The bus at another place, with a `token` and options of `fetch`. */
export function connect(base, { token, ...options } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};

  async function call(path, init) {
    const response = await fetch(base + path, { cache: "no-store", headers, ...options, ...init }).catch((error) => {
      throw failure("unreachable", `no bus at ${base}; start it: sse-busd (${error.message})`);
    });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    throw failure(error?.code ?? "no_bus", error?.message ?? response.statusText, response.status);
  }

  return {
    async request(topic, data, { timeout, replies, type, signal } = {}) {
      // These would lead elsewhere.
      if (/[?#]|(^|\/)\.\.?(\/|$)/.test(topic)) throw failure("topic_invalid", `pages cannot send requests to ${topic}`);
      const given = { timeout: typeof timeout === "number" ? `${timeout}ms` : timeout, replies, type };
      const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
      const response = await call(`/requests/${encodeURI(topic)}?${query}`, { method: "POST", body: text(data), signal });
      return replies ? (await response.json()).replies : response.text();
    },
    respond(filters, handler, { client, maxInFlight = IN_FLIGHT, onstate } = {}) {
      const query = [...[filters].flat().map((filter) => ["topic", filter]), ["max_in_flight", maxInFlight]];
      if (client) query.push(["client", client]);
      return new Responder(call, `/requests?${new URLSearchParams(query)}`, handler, onstate);
    },
  };
}

export const { request, respond } = connect(new URL(import.meta.url).origin);
