// What a foreign page can try on a bus, in itself, in frames and in workers. Every way has a topic of its own,
// CONTEXT/WAY, so that the bus can be asked which of them got through.
"use strict";

const SECRET = "only for the own user";
const PATIENCE = 10000;                   // ms; for what always ends somehow
const NOTICE = 1000;                      // ms; for what may be over without a word

// --- what a document and a worker can do ----------------------------------------------------------------------------

const WORKER_READS = {
  "fetch": (url) => outcome(fetch(url)),
  "fetch-credentials": (url) => outcome(fetch(url, { credentials: "include" })),
  "fetch-no-cors": (url) => outcome(fetch(url, { mode: "no-cors" })),
  "fetch-last-event-id": (url) => outcome(fetch(url, { headers: { "Last-Event-ID": "x-1" } })),
  "fetch-redirected": (url) => outcome(fetch(redirected(url))),
  "fetch-redirected-no-cors": (url) => outcome(fetch(redirected(url), { mode: "no-cors" })),
  "websocket": (url) => new Promise((done) => {
    const socket = new WebSocket(url.replace(/^http/, "ws"));
    socket.onopen = () => done("read: open");
    socket.onerror = () => done("failed");
  }),
};

const WORKER_WRITES = {
  "post": (url) => outcome(fetch(url, { method: "POST", body: "x" })),
  "post-no-cors": (url) => outcome(fetch(url, { method: "POST", body: "x", mode: "no-cors" })),
  "post-text-plain": (url) => outcome(fetch(url, {
    method: "POST", body: "x", mode: "no-cors", headers: { "content-type": "text/plain" } })),
  "post-json": (url) => outcome(fetch(url, {
    method: "POST", body: "{}", headers: { "content-type": "application/json" } })),
  "post-no-referrer": (url) => outcome(fetch(url, {
    method: "POST", body: "x", mode: "no-cors", referrerPolicy: "no-referrer" })),
  "post-keepalive": (url) => outcome(fetch(url, { method: "POST", body: "x", mode: "no-cors", keepalive: true })),
  "post-redirected": (url) => outcome(fetch(redirected(url), { method: "POST", body: "x", mode: "no-cors" })),
};

// What is not about a topic.
const WORKER_OTHERS = {
  "status": (target) => outcome(fetch(`${target}/status`)),
  "page": (target) => outcome(fetch(`${target}/`)),
  "kick": (target) => outcome(fetch(`${target}/clients/victim`, { method: "DELETE" })),
};

// --- what only a document can do ------------------------------------------------------------------------------------

const READS = {
  ...WORKER_READS,
  "eventsource": (url) => stream(new EventSource(url)),
  "eventsource-credentials": (url) => stream(new EventSource(url, { withCredentials: true })),
  "xhr": (url) => xhr("GET", url),
  "img": (url) => settled("img", { src: url }),
  "img-redirected": (url) => settled("img", { src: redirected(url) }),
  "script": (url) => settled("script", { src: url }),
  "module": (url) => settled("script", { src: url, type: "module" }),
  "stylesheet": (url) => settled("link", { rel: "stylesheet", href: url }),
  "css-import": (url) => unnoticed(() => add("style").append(`@import url("${url}");`)),
  "css-url": (url) => unnoticed(() => add("p", { style: `background: url("${url}")` }).append("x")),
  "css-font": (url) => unnoticed(() => {
    add("style").append(`@font-face { font-family: stolen; src: url("${url}"); }`);
    add("p", { style: "font-family: stolen" }).append("x");
  }),
  "audio": (url) => settled("audio", { src: url }),
  "video": (url) => settled("video", { src: url, crossorigin: "anonymous" }),
  "object": (url) => settled("object", { data: url, type: "text/html", width: 100, height: 100 }),
  "embed": (url) => unnoticed(() => add("embed", { src: url, type: "text/html", width: 100, height: 100 })),
  "preload": (url) => settled("link", { rel: "preload", as: "fetch", crossorigin: "anonymous", href: url }),
  "preload-image": (url) => settled("link", { rel: "preload", as: "image", href: url }),
  "modulepreload": (url) => settled("link", { rel: "modulepreload", href: url }),
  "prefetch": (url) => unnoticed(() => add("link", { rel: "prefetch", href: url })),
  "iframe": (url) => frame({ src: url }),
  "iframe-redirected": (url) => frame({ src: redirected(url) }),
  "iframe-no-referrer": (url) => frame({ src: url, referrerpolicy: "no-referrer" }),
  "iframe-refresh": (url) => unnoticed(() =>
    add("iframe", { srcdoc: `<meta http-equiv="refresh" content="0; url=${url.replaceAll("&", "&amp;")}">` })),
  "form-get": (url) => form(url, { method: "get" }, { topic: new URL(url).searchParams.getAll("topic") }),
  "link": (url) => unnoticed(() => add("a", { href: url, target: add("iframe", { name: fresh() }).name }).click()),
  "window": async (url) => {
    const opened = open(url);
    await patience(NOTICE, new Promise(() => {}));
    try {
      return `read: ${opened.document.URL === "about:blank" ? "" : opened.document.body.innerText}`.replace(/: $/, "");
    } catch {
      return "closed";
    } finally {
      opened?.close();
    }
  },
};

const WRITES = {
  ...WORKER_WRITES,
  "post-xhr": (url) => xhr("POST", url),
  "form": (url) => form(url, { method: "post" }),
  "form-text-plain": (url) => form(url, { method: "post", enctype: "text/plain" }),
  "form-multipart": (url) => form(url, { method: "post", enctype: "multipart/form-data" }),
  "form-redirected": (url) => form(redirected(url), { method: "post" }),
  "beacon": (url) => unnoticed(() => navigator.sendBeacon(url, "x")),
  "beacon-form": (url) => unnoticed(() => navigator.sendBeacon(url, new URLSearchParams("x=y"))),
  "beacon-json": (url) => unnoticed(() => navigator.sendBeacon(url, new Blob(["{}"], { type: "application/json" }))),
  "ping": (url) => unnoticed(() =>
    add("a", { href: "about:blank", ping: url, target: add("iframe", { name: fresh() }).name }).click()),
  "csp-report": (url) => unnoticed(() => add("iframe", { src: `${site}/csp?report=${url}` })),
};

const OTHERS = {
  ...WORKER_OTHERS,
  "status-script": (target) => settled("script", { src: `${target}/status` }),
  "page-iframe": (target) => frame({ src: `${target}/` }),
};

// --- the outcome of each attempt ---------------------------------------------------------------------------------

async function outcome(asked) {
  const response = await asked;
  if (response.type === "opaque") return (await response.text()) ? `read: ${await response.text()}` : "opaque";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part; !text.includes(SECRET) && !(part = await reader.read()).done;) text += part.value;
  return `read: ${response.status} ${text}`;
}

function stream(events) {
  return new Promise((done) => {
    events.onmessage = (event) => done(`read: ${event.data}`);
    events.onerror = () => done("failed");
  }).finally(() => events.close());
}

function xhr(method, url) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.onload = () => done(`read: ${request.status} ${request.responseText}`);
    request.onerror = () => done("failed");
    request.send(method === "POST" ? "x" : null);
  });
}

function settled(tag, attributes) {
  const element = document.createElement(tag);
  return new Promise((done) => {
    element.onload = element.onloadedmetadata = () => done("loaded");
    element.onerror = () => done("failed");
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    place().append(element);
  });
}

function frame(attributes) {
  const frame = document.createElement("iframe");
  return new Promise((done) => {
    frame.onload = () => done(content(frame));
    for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value);
    place().append(frame);
  });
}

function form(action, attributes, fields = { x: ["y"] }) {
  const target = fresh();
  const frame = add("iframe", { name: target });
  const form = add("form", { action, target, ...attributes });
  for (const [name, values] of Object.entries(fields)) for (const value of values) {
    const input = document.createElement("input");
    Object.assign(input, { name, value });
    form.append(input);
  }
  return new Promise((done) => {
    frame.onload = () => done(content(frame));
    form.submit();
  });
}

function content(frame) {
  try {
    return frame.contentDocument ? `read: ${frame.contentDocument.body.innerText}` : "closed";
  } catch {
    return "closed";
  }
}

async function unnoticed(act) {
  act();
  return "sent";
}

// --- the rest -------------------------------------------------------------------------------------------------------

let site, named = 0;

const fresh = () => `frame-${named++}`;
const place = () => document.querySelector("#tries") ?? document.body;
const redirected = (url) => `${site}/redirect?to=${url}`;
const patience = (ms, what) => Promise.race([what, new Promise((done) => setTimeout(done, ms, "nothing"))]);

function add(tag, attributes = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  place().append(element);
  return element;
}

// Tries every attack from here, several at a time. `report` is called with each.
async function attack(from, target, context, report) {
  site = from;
  const isWorker = typeof document === "undefined";
  const tries = [];
  const enlist = (kind, ways, url) => {
    for (const [way, run] of Object.entries(ways)) tries.push({ kind, way, run, url: url(way) });
  };
  enlist("reads", isWorker ? WORKER_READS : READS, (way) => `${target}/events?topic=secret&topic=${context}/${way}`);
  enlist("writes", isWorker ? WORKER_WRITES : WRITES, (way) => `${target}/events/${context}/${way}`);
  enlist("others", isWorker ? WORKER_OTHERS : OTHERS, () => target);
  const next = async () => {
    for (let one; (one = tries.shift());) {
      const outcome = await patience(PATIENCE, one.run(one.url)).catch((error) => `rejected: ${error.name}`);
      report({ context, kind: one.kind, way: one.way, outcome: outcome.slice(0, 500) });
    }
  };
  await Promise.all([next(), next(), next(), next()]);
}

// --- contexts, from the page at the top -----------------------------------------------------------------------------

const account = [];

function enter(row) {
  account.push(row);
  const line = document.createElement("li");
  line.textContent = `${row.context}/${row.way}: ${row.outcome}`;
  line.className = row.outcome.startsWith("read") ? "through" : "";
  document.querySelector("#account").append(line);
}

// What a frame or a worker reports, until it says that it is done.
function listen(port) {
  return new Promise((done) => {
    port.onmessage = ({ data }) => (data === "done" ? done() : enter(data));
  });
}

const CONTEXTS = {
  page: (target) => attack(location.origin, target, "page", enter),
  sandboxed: (target) => framed("sandboxed", target, (frame) => (frame.src = `${location.origin}/frame`)),
  srcdoc: (target) => framed("srcdoc", target, (frame) => (frame.srcdoc = inner())),
  data: (target) => framed("data", target, (frame) => (frame.src = `data:text/html,${encodeURIComponent(inner())}`)),
  worker: (target) => {
    const worker = new Worker("/attack.js"), { port1, port2 } = new MessageChannel();
    worker.postMessage([location.origin, target, "worker"], [port2]);
    return listen(port1);
  },
  service: async (target) => {
    await navigator.serviceWorker.register("/attack.js");
    const { active } = await navigator.serviceWorker.ready, { port1, port2 } = new MessageChannel();
    active.postMessage([location.origin, target, "service"], [port2]);
    return listen(port1);
  },
};

const inner = () => `<!doctype html><body><script src="${location.origin}/attack.js"><\/script>`;

function framed(context, target, fill) {
  const frame = document.createElement("iframe"), { port1, port2 } = new MessageChannel();
  frame.setAttribute("sandbox", "allow-scripts allow-forms allow-popups");
  fill(frame);
  frame.onload = () => frame.contentWindow.postMessage([location.origin, target, context], "*", [port2]);
  document.querySelector("#tries").append(frame);
  return listen(port1);
}

async function everything(target, contexts) {
  for (const context of contexts) await CONTEXTS[context](target);
  account.done = true;
}

// In a frame or a worker: what the page at the top wants, and where to report.
addEventListener("message", async ({ data, ports: [port] }) => {
  if (!port) return;
  await attack(...data, (row) => port.postMessage(row));
  port.postMessage("done");
});
