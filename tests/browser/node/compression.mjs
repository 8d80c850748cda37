// An express server with compression() that forwards all requests to a bus: node compression.mjs PORT BUS
import compression from "compression";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";

const [port, bus] = process.argv.slice(2);
const app = express();
app.use(compression());
app.use(createProxyMiddleware({ target: bus }));
app.listen(Number(port), "127.0.0.1");
