// Requests of the page to the daemon, except its stream.

const PATIENCE = 10_000; // ms

// A JSON response. The message of a refusal becomes the error's message.
export async function ask(path, init) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE), ...init });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// Returns the message of an error response: that of its JSON, or its text. A proxy without a running daemon answers
// with an HTML page.
export async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    if (answer.status > 501) return "a proxy answers, but there is no bus behind it";
    return text.trim() || `${answer.status} ${answer.statusText}`;
  }
}

// Publishes one event.
export function publish(topic, fields, data) {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value));
  const path = topic.split("/").map(encodeURIComponent).join("/");
  return ask(`/events/${path}?${query}`, { method: "POST", body: data });
}

// Repeats a request while the page is visible. There is one request at a time, and the pause grows with the duration of
// the last request, so that an open page keeps no large bus busy.
export function whileSeen(every, look) {
  let timer, looking = false;
  async function round() {
    clearTimeout(timer);
    if (looking || document.hidden) return;
    looking = true;
    const began = performance.now();
    try {
      await look();
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
