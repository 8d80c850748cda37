// One client with its default settings, and nothing else that keeps Node running: node defaults.mjs CLIENT URL. Prints `open`
// for each connection.
const [name, url] = process.argv.slice(2);
const clients = {
  node: () => EventSource,
  eventsource: async () => (await import("eventsource")).EventSource,
  "launchdarkly-eventsource": async () => (await import("launchdarkly-eventsource")).default.EventSource,
};
const Client = await clients[name]();
const events = new Client(url);
events.onopen = () => console.log("open");
events.onerror = () => {};
