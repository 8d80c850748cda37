// A webpack-dev-server with default settings whose proxy forwards /events to a bus: node webpack.mjs PORT BUS
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";

const [port, target] = process.argv.slice(2);
const compiler = webpack({ mode: "development", context: import.meta.dirname, entry: "data:text/javascript," });
const proxy = [{ context: ["/events"], target }];
await new WebpackDevServer({ host: "127.0.0.1", port: Number(port), proxy }, compiler).start();
