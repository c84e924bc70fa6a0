"use strict";
// One of two applications behind one edge, each with namespaces of its own: $NAME is that of
// its bridge.

const { Server } = require("socket.io");
const { attach } = require("sioedge-bridge");

const { NAME } = process.env;
const io = new Server();
const bridge = attach(io, { edges: [process.env.EDGE], key: process.env.KEY, name: NAME });
io.of(`/${NAME}`).on("connection", (socket) => {
  socket.on("who", (answer) => answer(NAME, socket.conn.id, [...io._nsps.keys()]));
  socket.on("leave", () => socket.disconnect());
  socket.on("stranger", () => io.of(NAME === "shop" ? "/chat" : "/shop").emit("stranger", NAME)); // not its own
  io.of(`/${NAME}`).emit("here", NAME);
});
bridge.ready().then(() => console.log(JSON.stringify({ ready: true })), (e) => console.log(JSON.stringify({ error: e.message })));
process.stdin.on("end", () => process.exit()).resume();
