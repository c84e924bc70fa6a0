"use strict";
// uWebSockets.js, whose core in C++ has the sockets, frames and topics, with the
// application that the load generator needs: as much of Engine.IO and Socket.IO as its
// clients speak, or all of it by Node's socket.io.
//
//   node server.js [--socket.io]

const { parseArgs } = require("node:util");

// The binary itself: the package falls back to one in JavaScript.
const uWS = require(`@trufflesuite/uws-js-unofficial/binaries/uws_${process.platform}_${process.arch}_${process.versions.modules}.node`);

const { values: flags } = parseArgs({ options: { "socket.io": { type: "boolean" } } });

// A client is pinged every 25 s: those of a slot together, each slot in its turn.
const tick = 500, slots = Array.from({ length: 50 }, () => new Set());
let turn = 0;

function pings() {
  turn = (turn + 1) % slots.length;
  for (const ws of slots[turn]) {
    if (ws.silent) ws.close(); // since the ping before
    else { ws.silent = true; ws.send("2"); }
  }
}

let sessions = 0;

function open(ws) {
  ws.silent = false;
  // Its first ping is in the second half of the interval, as the server's.
  ws.slot = slots[(turn + 25 + Math.floor(Math.random() * 25)) % slots.length];
  ws.slot.add(ws);
  ws.subscribe("/");
  ws.send(`0{"sid":"${String(++sessions).padStart(20, "0")}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`);
}

// event answers what begins with 42: a namespace and a comma, an id, and an array. Two of
// the three may be missing.
function event(app, ws, text) {
  const at = text.indexOf("[");
  const [, nsp, id] = /^42(\/[^,]*,)?(\d*)/.exec(text);
  const ack = (what) => { if (id) ws.send(`43${nsp ?? ""}${id}[${what}`); };
  if (text.startsWith('["echo"', at)) return ack(text.slice(at + (text[at + 7] === "," ? 8 : 7)));
  const quote = text.indexOf('"', at + 2), begin = text.indexOf('"', quote + 1) + 1, end = text.indexOf('"', begin);
  const room = text.slice(begin, end);
  switch (text.slice(at + 2, quote)) {
    case "join": ws.subscribe("/" + room); break;
    case "leave": ws.unsubscribe("/" + room); break;
    case "publish": app.publish("/" + room, `42${nsp ?? ""}["msg"${text.slice(end + 1)}`); break;
    default: return;
  }
  ack("true]");
}

function stub(app) {
  app.ws("/socket.io/", {
    compression: uWS.DISABLED,
    maxPayloadLength: 1e6,
    maxBackpressure: 16 << 20,
    idleTimeout: 0, // Engine.IO has its own
    sendPingsAutomatically: false,
    open,
    message: (ws, message) => {
      const text = Buffer.from(message).toString();
      if (text === "3") ws.silent = false;
      else if (text.startsWith("42")) event(app, ws, text);
      else if (text.startsWith("40")) ws.send(`40${/^40(\/[^,]*,)?/.exec(text)[1] ?? ""}{"sid":"${String(++sessions).padStart(20, "0")}"}`);
    },
    close: (ws) => { ws.slot.delete(ws); },
  });
  setInterval(pings, tick);
}

function socketIO(app) {
  const { Server } = require("socket.io");
  const io = new Server({ serveClient: false });
  io.attachApp(app);
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
}

const app = uWS.App();
(flags["socket.io"] ? socketIO : stub)(app);
app.listen("127.0.0.1", 0, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
  if (!socket) throw new Error("it cannot listen");
  console.log(`listening on 127.0.0.1:${uWS.us_socket_local_port(socket)}`);
});
