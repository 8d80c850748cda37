// What the page asks the daemon for, besides its stream.

const PATIENCE = 10_000; // ms

// A JSON answer. What the daemon says to a refusal becomes the error's message.
export async function ask(path, init) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE), ...init });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// Why an answer is an error: the message of its JSON, or its text. A proxy whose daemon is away answers with a page.
export async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    if (answer.status > 501) return "a proxy answers, without a bus behind it";
    return text.trim() || `${answer.status} ${answer.statusText}`;
  }
}

// Publishes one event.
export function publish(topic, fields, data) {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value));
  const path = topic.split("/").map(encodeURIComponent).join("/");
  return ask(`/events/${path}?${query}`, { method: "POST", body: data });
}

// Looks again and again while the page is seen. One look at a time, and after one that took long a longer pause, so that
// a page left open keeps no large bus busy.
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
