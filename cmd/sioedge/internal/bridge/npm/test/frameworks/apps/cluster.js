"use strict";
// An application on three processes of Node's cluster, each attached, without sticky sessions
// or another adapter. The first line of each says that it is ready.

const cluster = require("node:cluster");
const { Server } = require("socket.io");
const { attach } = require("sioedge-bridge");

if (cluster.isPrimary) {
  let ready = 0;
  for (let i = 0; i < 3; i++) {
    cluster.fork().on("message", () => {
      if (++ready === 3) console.log(JSON.stringify({ ready: true }));
    });
  }
  process.stdin.on("end", () => process.exit()).resume();
} else {
  const io = new Server();
  const bridge = attach(io, { edges: [process.env.EDGE], key: process.env.KEY });
  io.on("connection", (socket) => {
    socket.join("all");
    socket.on("who", (answer) => answer(cluster.worker.id));
    socket.on("say", (text) => io.to("all").emit("said", cluster.worker.id, text));
    socket.on("count", async (answer) => answer((await io.fetchSockets()).length));
    socket.on("workers", async (answer) => answer((await io.serverSideEmitWithAck("worker")).concat(cluster.worker.id).sort()));
  });
  io.on("worker", (answer) => answer(cluster.worker.id));
  bridge.ready().then(() => process.send("ready"));
}
