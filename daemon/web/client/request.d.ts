/** A request for a responder. */
export interface BusRequest {
  topic: string;
  type: string | null;
  /** When it was sent, in milliseconds since 1970. */
  time: number;
  /** The headers, with their names in lower case. */
  headers?: Record<string, string>;
  /** The data as sent. */
  data: string;
  /** Milliseconds for which it waited for a reply when the bus sent it here. */
  timeout_ms: number;
  /** The data, parsed as JSON. */
  json<T = unknown>(): T;
}

/** A reply, if the request asks for several. */
export interface BusReply {
  data: string;
  headers?: Record<string, string>;
  /** The name of the responder, or its id. */
  responder: string;
}

export interface RequestOptions {
  /** Milliseconds, or a duration such as `5s` (the default); then the request fails with the code `timed_out`. */
  timeout?: number | string;
  /** Sends it to up to this number of responders; the result is the list of the replies that arrive in time. */
  replies?: number;
  type?: string;
  signal?: AbortSignal;
}

export interface RespondOptions {
  /** A name, which requesters see. */
  client?: string;
  /** Number of requests that are handled at the same time. Default 10. */
  maxInFlight?: number;
  /** Called when the connection opens, breaks, or is closed. */
  onstate?(state: { state: "open" | "waiting" | "closed"; reason?: string; message?: string; retryIn?: number }): void;
}

/** Replies to requests until it is closed. */
export interface Responder {
  close(): void;
}

/**
 * Sends a request, and returns the data of the reply. Data that is not a string is sent as JSON. It fails with an error whose
 * `code` is `no_responder` (at once), `timed_out`, `responder_gone`, `responder_failed`, `unreachable`, or another code of
 * the bus.
 */
export function request(topic: string, data: unknown, options: RequestOptions & { replies: number }): Promise<BusReply[]>;
export function request(topic: string, data?: unknown, options?: RequestOptions): Promise<string>;

/**
 * Calls a handler for each request whose topic matches, and replies with what it returns; with its JSON unless it is a string.
 * If the handler fails, the request fails with the message of its error.
 */
export function respond(
  filters: string | string[],
  handler: (request: BusRequest) => unknown,
  options?: RespondOptions,
): Responder;

/** The bus at another place, with a token and options of `fetch`. */
export function connect(
  base: string,
  defaults?: { token?: string } & RequestInit,
): { request: typeof request; respond: typeof respond };
