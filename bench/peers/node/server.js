"use strict";
// Node's Socket.IO server with the application that the load generator needs.
//
//   node server.js [--eiows DIR] [--recovery] [--adapter URL]
//
// --eiows takes the WebSocket engine from the package in DIR instead of ws;
// --recovery turns connection state recovery on; --adapter joins a cluster
// through the Redis at redis://HOST:PORT, or at redis+sharded://HOST:PORT with
// the sharded adapter.

const { createServer } = require("node:http");
const { resolve } = require("node:path");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const { values: flags } = parseArgs({
  options: { eiows: { type: "string" }, recovery: { type: "boolean" }, adapter: { type: "string" } },
});

async function adapter(url) {
  const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
  const { createClient } = require("redis");
  const pub = createClient({ url: url.replace("+sharded:", ":") });
  const sub = pub.duplicate();
  for (const client of [pub, sub]) client.on("error", (err) => console.error(err.message));
  await Promise.all([pub.connect(), sub.connect()]);
  return url.includes("+sharded:") ? createShardedAdapter(pub, sub) : createAdapter(pub, sub);
}

function serve(options) {
  const http = createServer();
  const io = new Server(http, options);

  // Socket.IO's own advice for many connections: nobody asks for the request of
  // the handshake again.
  io.engine.on("connection", (socket) => { socket.request = null; });

  io.on("connection", (socket) => {
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("join", (room, ack) => { socket.join(room); ack?.(true); });
    socket.on("leave", (room, ack) => { socket.leave(room); ack?.(true); });
    socket.on("publish", (room, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      (room === "" ? io : io.to(room)).emit("msg", ...args);
      ack?.(true);
    });
  });

  http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
    console.log(`listening on 127.0.0.1:${http.address().port}`);
  });
}

async function main() {
  const options = { serveClient: false };
  if (flags.eiows) options.wsEngine = require(resolve(flags.eiows)).Server;
  if (flags.recovery) options.connectionStateRecovery = {};
  if (flags.adapter) options.adapter = await adapter(flags.adapter);
  serve(options);
}

main();
