/** An event of the bus. */
export interface BusEvent {
  /** Its place in the order of the bus: `epoch-number`. None for an event that is live only (`to`, `$sys/…`). */
  id: string | null;
  topic: string;
  type: string | null;
  /** When the bus took it, in milliseconds since 1970. */
  time: number;
  /** Named texts beside the data, with their names in lower case. */
  headers?: Record<string, string>;
  /** The data as published. */
  data: string;
  /** The client that it was sent to alone. */
  to?: string;
  /** The data, parsed as JSON. */
  json<T = unknown>(): T;
}

/** Events that came and cannot be had any more. */
export interface Gap {
  reason: "evicted" | "lagged" | "restarted" | "unknown_id";
  /** How many, if the bus can know. */
  missed: number | null;
  /** The first and the last id that may be among them. */
  from: string;
  to: string;
}

export interface State {
  state: "connecting" | "open" | "waiting" | "closed";
  /**
   * Why it waits, or was closed: `origin_refused` (the bus does not let this page in), `unreachable` (nothing answers),
   * `no_bus` (a proxy answers, without a bus behind it, as while the bus restarts), `permission_denied` (the browser does not let the page reach the bus), `lost` (a connection broke), or a code of the
   * bus, such as `denied` (it wants a token, or another) and `filter_invalid`.
   */
  reason?: string;
  /** The same for people, with what to do about it. */
  message?: string;
  /** Milliseconds until the next attempt. */
  retryIn?: number;
}

export interface SubscribeOptions {
  /** The name of the connection, for `send` and `clients`. Tabs that share it should agree on one. */
  client?: string;
  /** Where to begin: `now`, `latest`, `all`, an id, a duration such as `10m`; without it the retained events come first. */
  since?: string;
  token?: string;
  onevent?(event: BusEvent): void;
  ongap?(gap: Gap): void;
  onstate?(state: State): void;
  /** Closes the subscription. */
  signal?: AbortSignal;
}

/**
 * A subscription, and its events as an async iterator, from the first `next` on. Of events that wait to be iterated over
 * a thousand are kept; further ones are left in the bus's history until there is room.
 */
export interface Subscription extends AsyncIterable<BusEvent> {
  close(): void;
}

export interface PublishOptions {
  type?: string;
  /** Keep it as the topic's last. Empty data removes what is kept. */
  retain?: boolean;
  /** Forget it after a duration such as `10m`. */
  ttl?: string;
  /** Send it to one client only, by id or name. */
  to?: string;
  /** Answer when it is on disk. */
  ack?: "durable";
  token?: string;
}

export interface Published {
  /** None for an event to one client. */
  id: string | null;
  /** How many it goes to. All tabs of an origin are one subscriber. */
  subscribers: number;
}

/** What everything rejects with. */
export interface BusError extends Error {
  /** A `reason` of `State`, or a code of the bus. */
  code?: string;
  /** The HTTP status, if the bus has answered. */
  status?: number;
}

export interface Bus {
  /** Filters are topics, or patterns such as `build/*` and `build/**`. Without any it is `**`. */
  subscribe(filters?: string | string[], options?: SubscribeOptions): Subscription;
  /** Data that is not text is published as JSON. */
  publish(topic: string, data?: unknown, options?: PublishOptions): Promise<Published>;
  /** Who is connected, as `GET /clients` has it. */
  clients(options?: { token?: string }): Promise<Record<string, unknown>[]>;
}

/** The bus at `base`, such as `http://127.0.0.1:7733`, without a final slash. What else is given goes to `fetch`. */
export function connect(base: string, options?: { token?: string; targetAddressSpace?: string } & RequestInit): Bus;

/** At the bus that the module comes from. */
export const subscribe: Bus["subscribe"];
export const publish: Bus["publish"];
export const clients: Bus["clients"];

/** Whether all topics that `other`, a topic or a filter, stands for pass `filter`. */
export function covers(filter: string, other: string): boolean;
