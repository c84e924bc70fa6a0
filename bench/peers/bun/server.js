"use strict";
// Socket.IO's server on Bun, by its own engine for Bun, with the application that the
// load generator needs.
//
//   bun server.js [--recovery]
//
// --recovery turns connection state recovery on.

const { Server: Engine } = require("@socket.io/bun-engine");
const { Server } = require("socket.io");

const io = new Server({ serveClient: false, ...(process.argv.includes("--recovery") ? { connectionStateRecovery: {} } : {}) });
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);

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

const server = Bun.serve({ hostname: "127.0.0.1", port: 0, ...engine.handler() });
console.log(`listening on 127.0.0.1:${server.port}`);
