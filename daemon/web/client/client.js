// sse-bus in pages (docs/how-to/many-tabs.md): one tab reads a stream for all tabs.

const WAITING_MAX = 1000; // events or batches; more are fetched again
const TICK = 3000; // ms; a leader is replaced after three of silence
const DEAD = 14; // ticks without a byte

/** Whether all that `other`, a topic or a filter, means passes `filter`. */
export function covers(filter, other) {
  if (other[0] === "$" && filter[0] !== "$") return false;
  const levels = other.split("/");
  for (const wanted of filter.split("/")) {
    if (wanted === "**") return true;
    const level = levels.shift();
    if (level !== wanted && (wanted !== "*" || !level || level === "**")) return false;
  }
  return !levels.length;
}

const coverAll = (wide, filters) => filters.every((filter) => wide.some((other) => covers(other, filter)));

/** Whether `a` is not after `b`; ids of different epochs cannot be compared. */
function within(a, b = "") {
  const [epoch, seq] = `${a}`.split("-");
  const [other, most] = b.split("-");
  return epoch === other && +seq <= +most;
}

async function* read(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "", last = {}; ; ) {
    const { done, value } = await reader.read();
    if (done && last.$end) return;
    if (done) throw failure("lost", "the connection to the bus was lost");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield blocks.map((block) => {
      const [, at = last.at, event, data] = /(?:id: (.*)\n)?(?:event: (.*)\n)?data: ([^\n]*)/.exec(block);
      return (last = { at, ...(event ? { id: at, [event]: JSON.parse(data) } : JSON.parse(data)) });
    });
  }
}

const failure = (code, message, status) => Object.assign(new Error(message), { code, status });
const backoff = (failures) => (Math.min(30, 2 ** failures) * (500 + 1000 * Math.random())) | 0;
const waiting = ({ code = "lost", message }, retryIn) => ({ state: "waiting", reason: code, message, retryIn });

class Hub {
  subs = new Set();
  tab = Math.random().toString(36);
  state = { state: "connecting" };

  constructor(base, { token = "", ...init }) {
    this.base = base;
    this.init = { cache: "no-store", ...init };
    if (token) this.init.headers = { Authorization: `Bearer ${token}` };
    this.name = `sse-bus ${base} ${[...token].reduce((sum, c) => Math.imul(sum, 31) + c.charCodeAt(), 0)}`;
  }

  async request(path, init) {
    const response = await fetch(this.base + path, { ...this.init, ...init }).catch(async () => {
      throw await this.why();
    });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    if (!error && response.status > 501) throw this.none("no_bus", "behind the proxy at");
    throw failure(error?.code, error?.message ?? response.statusText, response.status);
  }

  stream(filters, query, signal) {
    query = Object.entries({ format: "json", position: "event", ...query }).filter(([, value]) => value);
    query = new URLSearchParams([...filters.map((filter) => ["topic", filter]), ...query]);
    return this.request(`/events?${query}`, { signal });
  }

  none(code, where) {
    return failure(code, `no bus ${where} ${this.base}; start it: sse-busd`);
  }

  /** Why a fetch failed. From pages elsewhere the bus hides all but its health. */
  async why() {
    const origin = globalThis.location?.origin;
    const sees = (path) => fetch(this.base + path, { ...this.init, mode: "no-cors", method: "HEAD" }).catch(() => {});
    if (await sees("/healthz"))
      return (await sees("/"))
        ? this.none("no_bus", "behind the proxy at")
        : failure("origin_refused", `the bus refuses ${origin}; let it in: sse-busd --allow-origin ${origin}`);
    for (const name of ["loopback-network", "local-network-access"]) {
      const status = await globalThis.navigator?.permissions?.query({ name }).catch(() => {});
      if (status?.state === "denied") return failure("permission_denied", "the browser keeps this page from the bus");
    }
    return this.none("unreachable", "at");
  }

  start() {
    this.at = this.now = undefined;
    this.clock = setInterval(() => this.tick(), TICK);
    if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return this.alone();
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = ({ data }) => this.hear(data);
    this.elect();
  }

  stop() {
    this.tell({ want: { filters: [] } });
    clearInterval(this.clock);
    this.turn.abort();
    this.channel?.close();
    this.channel = null;
  }

  alone() {
    warned ??= !console.warn("sse-bus: without a secure context each tab has a connection of its own");
    this.lead((this.turn = new AbortController()).signal);
  }

  elect(steal) {
    this.turn?.abort();
    this.turn = new AbortController();
    const { signal } = this.turn;
    const hold = () => signal.aborted || new Promise((over) => this.lead(signal, (signal.onabort = over)));
    navigator.locks.request(this.name, steal ? { steal } : { signal }, hold).catch(() => {
      // Given up, taken while frozen, or not allowed here.
      if (!signal.aborted) signal === this.leads ? this.elect() : this.alone();
    });
  }

  tell(message) {
    message.by = this.tab;
    this.channel?.postMessage(message);
    this.hear(message);
  }

  want() {
    const subs = [...this.subs].filter((sub) => sub.last);
    const { client } = subs.find((sub) => sub.client) ?? {};
    this.tell({ want: { filters: subs.flatMap((sub) => sub.filters), client, at: subs[0]?.last } });
  }

  hear({ by, want, stream, state, prev, events }) {
    if (want) {
      if (!this.leads || this.leads.aborted) return;
      want.filters.length ? this.wants.set(by, want) : this.wants.delete(by);
      this.at ??= want.at;
      return this.adapt();
    }
    this.quiet = 0;
    if (stream) {
      this.now = stream;
      if (!within(stream.from, this.at)) this.at = stream.from;
    }
    if (state) this.state = state;
    if (by !== this.by) {
      this.by = by;
      this.want();
    }
    for (const sub of this.subs) sub.hear(stream, prev, events);
    if (events) this.at = events.at(-1).at;
  }

  tick() {
    if (this.leads?.aborted === false) {
      if (this.source && ++this.idle > DEAD) this.open();
    } else if (++this.quiet > 2) this.elect(true);
    else if (this.quiet > 1) this.want();
  }

  nudge() {
    if (this.retry) this.open();
    this.want();
    for (const sub of this.subs) sub.wake?.();
  }

  lead(signal) {
    this.leads = signal;
    this.retry = clearTimeout(this.retry);
    this.opening = this.source = null;
    this.failures = 0;
    // Until the others say what they want, it is what they wanted.
    this.wants = new Map(this.now && [["", this.now]]);
    setTimeout(() => this.leads === signal && this.wants.delete("") && this.adapt(), TICK);
    this.want();
  }

  /** What all want, in as many filters as the daemon takes. */
  union() {
    const wants = [...this.wants.values()];
    const filters = [...new Set(wants.flatMap((want) => want.filters))].sort();
    const { client } = wants.find((want) => want.client) ?? {};
    return { filters: filters.length > 64 ? ["$sys/**", "**"] : filters, client };
  }

  adapt() {
    const { filters, client } = this.union();
    const now = this.source && this.now;
    if (!this.retry && (`${filters}` !== `${now?.filters}` || client !== now?.client)) this.open();
    const stream = this.source && { ...this.now, from: this.at };
    this.tell({ stream, state: stream ? { state: "open" } : this.state });
  }

  /** Continues after the last received event, then ends the previous stream. */
  async open() {
    if (this.opening || this.leads.aborted) return;
    this.retry = clearTimeout(this.retry);
    const { filters, client } = this.union();
    if (!filters.length) return (this.source = this.source?.abort());
    const source = (this.opening = new AbortController());
    const { signal } = source;
    this.leads.addEventListener("abort", () => source.abort(), { signal });
    try {
      if (!this.source) this.tell({ state: { state: "connecting" } });
      let prev = this.at;
      const response = await this.stream(filters, { client, last_event_id: prev }, signal);
      this.source?.abort();
      this.source = source;
      this.opening = null;
      this.now = { filters, client };
      this.adapt();
      for await (const events of read(response)) {
        if (signal.aborted) return;
        this.idle = 0;
        if (!events.length) continue;
        this.failures = 0;
        this.tell({ prev, events });
        prev = events.at(-1).at;
      }
    } catch (error) {
      if (signal.aborted) return;
      source.abort();
      if (this.opening === source) this.opening = this.source?.abort();
      this.source = null;
      if (this.opening) return;
      const retryIn = backoff(this.failures++);
      this.retry = setTimeout(() => this.open(), retryIn);
      this.tell({ state: waiting(error, retryIn) });
    }
  }
}

class Subscription {
  aborter = new AbortController();

  constructor(hub, filters, { client, since, signal, ...on }) {
    Object.assign(this, { hub, filters, client, since, on });
    if (!hub.subs.size) hub.start();
    hub.subs.add(this);
    this.catchUp();
    signal?.addEventListener("abort", () => this.close());
    if (signal?.aborted) this.close();
  }

  close(error) {
    if (this.closed) return;
    this.closed = true;
    this.error = error;
    this.live = false;
    this.aborter.abort();
    const { hub } = this;
    hub.subs.delete(this);
    hub.subs.size ? hub.want() : hub.stop();
    this.say({ ...(error && waiting(error)), state: "closed" });
    this.wake?.();
    this.pull?.();
  }

  async *[Symbol.asyncIterator]() {
    this.queue = [];
    try {
      while (this.queue.length || !this.closed) {
        if (this.queue.length) yield this.queue.shift();
        else await new Promise((pull) => (this.pull = pull), this.wake?.());
      }
      if (this.error) throw this.error;
    } finally {
      this.close();
    }
  }

  call(name, value) {
    queueMicrotask(() => (this.closed && name !== "onstate") || this.on[name]?.(value));
  }

  say(state) {
    const said = JSON.stringify(state);
    if (said !== this.said) this.call("onstate", state);
    this.said = said;
  }

  nap(ms = TICK) {
    return new Promise((wake) => setTimeout((this.wake = wake), ms));
  }

  hear(stream, prev, events) {
    if (stream) {
      const covered = coverAll(stream.filters, this.filters);
      if (this.live && !(covered && within(stream.from, this.last))) this.catchUp();
      if (!this.live) {
        this.held = [];
        this.cover = covered ? stream.from : "";
        this.wake?.();
      }
    }
    if (this.live) {
      if (events) this.take(prev, events);
      if (this.live) this.say(this.hub.state);
    } else if (events && this.cover) {
      if (this.held.push([prev, events]) > WAITING_MAX || events.some((event) => event.$gap)) {
        this.held = [];
        this.cover = events.at(-1).at;
      }
    }
  }

  take(prev, events) {
    if (!within(prev, this.last)) return this.catchUp();
    for (const event of events) {
      if (within(event.id, this.last) && !/unk|rew/.test(event.$gap?.reason)) continue;
      this.last = event.id ?? this.last;
      this.give(event);
      if (!this.live) return;
    }
  }

  give({ at, $gap, $position, ...event }) {
    if ($position) return;
    if ($gap) return this.call("ongap", $gap);
    if (event.to ? this.client !== this.hub.now.client : !coverAll(this.filters, [event.topic])) return;
    event.json = () => JSON.parse(event.data);
    this.call("onevent", event);
    if (!this.queue) return;
    this.pull?.();
    if (this.queue.push(event) >= WAITING_MAX && this.live) this.catchUp();
  }

  /** Fetches the past until live events go on from its end. */
  async catchUp() {
    this.live = false;
    this.cover = "";
    let seen;
    for (let tries = 0; !this.live; ) {
      try {
        if (!this.said) this.say({ state: "connecting" });
        const from = this.last ? { last_event_id: this.last } : { since: this.since };
        const response = await this.hub.stream(this.filters, { ...from, past_only: true }, this.aborter.signal);
        let end;
        for await (const events of read(response)) {
          for (const event of events) {
            while (this.queue?.length >= WAITING_MAX) await this.nap();
            if (this.closed) return;
            if (event.$end) end = event.id;
            else if (!within(event.id, seen)) this.give(event);
            seen = event.id;
          }
        }
        this.last = end;
        do this.hub.want();
        while (!this.cover && !(await this.nap()) && !this.closed);
        this.live = within(this.cover, end);
        if (!this.live) await this.nap(50 * 2 ** Math.min(tries++, 5));
      } catch (error) {
        if (this.closed) return;
        if (error.status === 400) return this.close(error);
        const retryIn = backoff(tries++);
        this.say(waiting(error, retryIn));
        await this.nap(retryIn);
      }
      if (this.closed) return;
    }
    for (const batch of this.held.splice(0)) if (this.live) this.take(...batch);
    if (this.live) this.say(this.hub.state);
  }
}

const hubs = {};
let warned;

/** The bus at another place, with a `token` and options of `fetch`. */
export function connect(base, defaults = {}) {
  const hub = ({ token = defaults.token } = {}) => {
    const key = `${base} ${token}`;
    if (!hubs[key]) hubs[key] = new Hub(base, { ...defaults, token });
    return hubs[key];
  };
  return {
    subscribe: (filters = "**", options = {}) => new Subscription(hub(options), [filters].flat(), options),
    async publish(topic, data = "", { token, ...query } = {}) {
      // These would lead elsewhere.
      if (/[?#]|(^|\/)\.\.?(\/|$)/.test(topic)) throw failure("topic_invalid", `pages cannot publish to ${topic}`);
      query = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
      const path = `/events/${encodeURI(topic)}?${query}`;
      const body = typeof data === "string" ? data : JSON.stringify(data);
      return (await hub({ token }).request(path, { method: "POST", body })).json();
    },
    clients: async (options) => (await hub(options).request("/clients")).json(),
  };
}

export const { subscribe, publish, clients } = connect(new URL(import.meta.url).origin);

const on = (type, does) =>
  globalThis.addEventListener?.(type, () => Object.values(hubs).forEach((hub) => hub.subs.size && does(hub)), true);
on("online", (hub) => hub.nudge());
on("visibilitychange", (hub) => hub.nudge());
// A frozen page reads nothing.
on("freeze", (hub) => hub.channel && hub.turn.abort());
on("resume", (hub) => hub.channel && hub.elect(hub.nudge()));
on("pagehide", (hub) => hub.tell({ want: { filters: [] } }));
