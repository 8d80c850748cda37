// A webpack-dev-server, as webpack.config.mjs configures it: node webpack.mjs PORT
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";

import config from "./webpack.config.mjs";

const server = { ...config.devServer, host: "127.0.0.1", port: Number(process.argv[2]) };
await new WebpackDevServer(server, webpack({ ...config, context: import.meta.dirname })).start();
