// Reads a stream with fetch: node fetch.mjs URL. Prints `open`, and at its end `ended` or `rejected`.
const { body } = await fetch(process.argv[2]);
console.log("open");
try {
  for await (const _ of body);
  console.log("ended");
} catch {
  console.log("rejected");
}
