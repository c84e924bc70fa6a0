"use strict";
// Node's Socket.IO server with the application that the load generator needs.
//
//   node server.js [--eiows DIR] [--recovery]
//
// --eiows takes the WebSocket engine from the package in DIR instead of ws;
// --recovery turns connection state recovery on.

const { createServer } = require("node:http");
const { resolve } = require("node:path");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const { values: flags } = parseArgs({
  options: { eiows: { type: "string" }, recovery: { type: "boolean" } },
});

const options = { serveClient: false };
if (flags.eiows) options.wsEngine = require(resolve(flags.eiows)).Server;
if (flags.recovery) options.connectionStateRecovery = {};

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
