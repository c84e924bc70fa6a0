// A client over polling alone, and one that has upgraded, meet a server that
// stops and another one that starts in its place:
//
//	node restart.mjs URL
//
// It says "connected" when both are, and exits with 0 when both have come back.

import { io } from "socket.io-client";

const url = process.argv[2];
const next = (emitter, event) => new Promise((done) => emitter.once(event, done));

const clients = [{ transports: ["polling"], upgrade: false }, {}].map((options) =>
  io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options })
);
setTimeout(() => {
  console.log("a client has not come back");
  process.exit(1);
}, 20_000);

await Promise.all(clients.map((socket) => next(socket, "connect")));
const engine = clients[1].io.engine;
if (engine.transport.name !== "websocket") await next(engine, "upgrade");
const left = clients.map((socket) => next(socket, "disconnect"));
const back = clients.map((socket) => next(socket, "connect"));
console.log("connected");
console.log("left:", (await Promise.all(left)).join(", "));
await Promise.all(back);
process.exit(0);
