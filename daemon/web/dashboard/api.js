// Requests of the page to the daemon, except its stream.

import { session } from "/page/session.js";

const PATIENCE = 10_000; // ms

// A JSON response. A refusal becomes an error with its message, `status` and `code`.
export async function ask(path, init) {
  const options = { cache: "no-store", headers: session.headers(), signal: AbortSignal.timeout(PATIENCE) };
  const response = await fetch(path, { ...options, ...init });
  if (!response.ok) throw await failure(response);
  return response.json();
}

// Returns the error of a response: with the message of its JSON, or its text. A proxy without a running daemon answers
// with an HTML page.
export async function failure(response) {
  const { status } = response, text = await response.text();
  let code, message = text.trim() || `${status} ${response.statusText}`;
  try {
    ({ code, message } = JSON.parse(text).error);
  } catch {
    if (status > 501) message = "a proxy answers, but there is no bus behind it";
  }
  if (status === 401 && code) session.denied(message);
  return Object.assign(new Error(message), { status, code });
}

// Publishes one event.
export function publish(topic, fields, data) {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value));
  const path = topic.split("/").map(encodeURIComponent).join("/");
  return ask(`/events/${path}?${query}`, { method: "POST", body: data });
}

// Returns a ticket for a stream, if the page has a token.
export async function ticket(client) {
  if (!session.hasToken) return undefined;
  const issued = await ask(`/tickets?${new URLSearchParams({ client })}`, { method: "POST" });
  return issued.ticket;
}

// Repeats a request while the page is visible and needs no token. There is one request at a time, and the pause grows
// with the duration of the last request, so that an open page keeps no large bus busy.
export function whileSeen(every, look) {
  let timer, looking = false;
  async function round() {
    clearTimeout(timer);
    if (looking || document.hidden) return;
    looking = true;
    const began = performance.now();
    try {
      if (!session.isClosed) await look();
    } finally {
      looking = false;
      const took = performance.now() - began;
      timer = setTimeout(round, Math.max(every - took, 4 * took));
    }
  }
  document.addEventListener("visibilitychange", round);
  round();
  return round;
}
