// The development server of Vite, as vite.config.js configures it: node vite.mjs PORT
import { createServer } from "vite";

const server = { host: "127.0.0.1", port: Number(process.argv[2]), strictPort: true };
await (await createServer({ configFile: "./vite.config.js", logLevel: "error", server })).listen();
