/** An event of the bus. */
export interface BusEvent {
  /** The id, `epoch-number`, which defines the order of events. Null for an event that is live only (`to`, `$sys/…`). */
  id: string | null;
  topic: string;
  type: string | null;
  /** When it was published, in milliseconds since 1970. */
  time: number;
  /** The headers, with their names in lower case. */
  headers?: Record<string, string>;
  /** The data as published. */
  data: string;
  /** The client that it was sent to, if it was sent to one client only. */
  to?: string;
  /** The data, parsed as JSON. */
  json<T = unknown>(): T;
}

/** Events that were missed and are no longer available. */
export interface Gap {
  reason: "evicted" | "lagged" | "restarted" | "unknown_id" | "rewritten";
  /** The number of missed events, if it is known. */
  missed: number | null;
  /** The first id that may be missing, and the last missing id. */
  from: string;
  to: string;
}

export interface State {
  state: "connecting" | "open" | "waiting" | "closed";
  /**
   * Why it waits or was closed: `origin_refused` (the bus does not allow the origin of this page), `unreachable` (no
   * server answers), `no_bus` (a proxy answers, but its bus does not run, for example during a restart),
   * `permission_denied` (the browser does not allow the page to connect to the bus), `lost` (the connection broke), or an
   * error code of the bus, such as `denied` (the token is missing or invalid) and `filter_invalid`.
   */
  reason?: string;
  /** The reason and what to do about it, for people. */
  message?: string;
  /** Milliseconds until the next attempt. */
  retryIn?: number;
}

export interface SubscribeOptions {
  /** The name of the connection, for `send` and `clients`. Tabs share the connection and should use the same name. */
  client?: string;
  /** The start: `now`, `latest`, `all`, an id, or a duration such as `10m`. The default is the retained events. */
  since?: string;
  token?: string;
  onevent?(event: BusEvent): void;
  ongap?(gap: Gap): void;
  onstate?(state: State): void;
  /** Closes the subscription. */
  signal?: AbortSignal;
}

/**
 * A subscription. As an async iterator it returns the events from the first `next` on. At most a thousand events wait for
 * the iterator; later ones are read from the history of the bus once there is room.
 */
export interface Subscription extends AsyncIterable<BusEvent> {
  close(): void;
}

export interface PublishOptions {
  type?: string;
  /** Retain it as the last event of its topic. Empty data removes the retained event. */
  retain?: boolean;
  /** Remove it from history after a duration such as `10m`. */
  ttl?: string;
  /** Send it to one client only, given by id or name. */
  to?: string;
  /** Answer once it is on disk. */
  ack?: "durable";
  token?: string;
}

export interface Published {
  /** Null for an event to one client. */
  id: string | null;
  /** The number of subscribers. All tabs of an origin count as one. */
  subscribers: number;
}

/** The error of all rejected promises. */
export interface BusError extends Error {
  /** A `reason` of `State`, or an error code of the bus. */
  code?: string;
  /** The HTTP status, if the bus answered. */
  status?: number;
}

export interface Bus {
  /** Filters are topics or patterns such as `build/*` and `build/**`. The default is `**`. */
  subscribe(filters?: string | string[], options?: SubscribeOptions): Subscription;
  /** Data that is not text is published as JSON. */
  publish(topic: string, data?: unknown, options?: PublishOptions): Promise<Published>;
  /** Returns the connected clients, in the format of `GET /clients`. */
  clients(options?: { token?: string }): Promise<Record<string, unknown>[]>;
}

/** The bus at `base`, such as `http://127.0.0.1:7733`, without a final slash. Other options are passed to `fetch`. */
export function connect(base: string, options?: { token?: string; targetAddressSpace?: string } & RequestInit): Bus;

/** The functions of the bus that serves this module. */
export const subscribe: Bus["subscribe"];
export const publish: Bus["publish"];
export const clients: Bus["clients"];

/** Returns true if `filter` matches all topics that `other`, a topic or a filter, matches. */
export function covers(filter: string, other: string): boolean;
