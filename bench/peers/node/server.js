"use strict";
// Node's Socket.IO server with the application that the load generator needs.
//
//   node server.js [--eiows DIR] [--recovery] [--adapter URL] [--tokens SECRET]
//   node --expose-gc server.js --measured [--bridge URL --key KEY]
//
// --eiows takes the WebSocket engine from the package in DIR instead of ws;
// --recovery turns connection state recovery on; --adapter joins a cluster
// through the Redis at redis://HOST:PORT, or at redis+sharded://HOST:PORT with
// the sharded adapter; --tokens wants a JSON Web Token of each client, signed with
// SECRET, whose user it keeps and has in two rooms. --measured adds what bench/bridge
// asks for, and --bridge has clients come through the edge whose internal listener is at
// URL.

const { createServer } = require("node:http");
const { resolve } = require("node:path");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const { values: flags } = parseArgs({
  options: { eiows: { type: "string" }, recovery: { type: "boolean" }, adapter: { type: "string" }, tokens: { type: "string" },
    measured: { type: "boolean" }, bridge: { type: "string" }, key: { type: "string" } },
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

// measured lets a client ask what the application takes, send what nobody answers, and have
// events emitted to itself or to all, 64 in a turn.
function measured(io, socket) {
  const text = "x".repeat(64 - '42["tick",""]'.length);
  socket.on("note", () => {});
  socket.on("memory", (ack) => { gc(); gc(); ack(process.memoryUsage()); });
  socket.on("flood", (n, all, ack) => {
    const to = all ? io : socket;
    const turn = () => {
      for (let i = 0; i < 64 && n > 0; i++, n--) to.emit("tick", text);
      if (n > 0) setImmediate(turn);
      else ack(true);
    };
    turn();
  });
}

function serve(options) {
  const http = createServer();
  const io = new Server(http, options);
  if (flags.bridge) require("sioedge-bridge").attach(io, { name: "main", edges: [flags.bridge], key: flags.key });

  // Socket.IO's own advice for many connections: nobody asks for the request of
  // the handshake again.
  io.engine.on("connection", (socket) => { socket.request = null; });

  if (flags.tokens) {
    const { verify } = require("jsonwebtoken");
    io.use((socket, next) => {
      verify(socket.handshake.auth.token, flags.tokens, { algorithms: ["HS256"] }, (err, claims) => {
        if (err) return next(new Error("unauthorized"));
        socket.data.user = claims.sub;
        socket.join(["lobby", `user:${claims.sub}`]);
        next();
      });
    });
  }

  io.on("connection", (socket) => {
    if (flags.measured) measured(io, socket);
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
