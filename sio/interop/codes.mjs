// Stock clients meet each way in which the server ends a WebSocket:
//
//	node codes.mjs URL KIND
//
// It prints a line for each: what was done, the reason that the socket gives, the code and
// the reason of the close frame as the client has them, and whether it comes back by itself.

import { io, Manager } from "socket.io-client";
import { io as io3, Manager as Manager3 } from "socket.io-client-3";

const [url, kind] = [process.argv[2], process.argv[3]];
const connect = { 4: io, 3: io3 }[kind];
const options = { forceNew: true, transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 100 };
const next = (emitter, event) => new Promise((done) => emitter.once(event, (...args) => done(args)));
setTimeout(() => {
  console.log("not at the end in time");
  process.exit(1);
}, 100_000);

// closed waits for the end of a client's connection: its socket's reason, and what the
// close frame said, of which the socket is not told if it had been disconnected before.
async function closed(socket) {
  const said = next(socket.io, "close");
  const reason = socket.connected ? (await next(socket, "disconnect"))[0] : "-";
  const back = socket.active;
  const [, details] = await said;
  const { code, reason: text } = details?.context ?? details ?? {};
  return { reason, code, text, back };
}

const watcher = connect(url, options);
await next(watcher, "connect");

const tcp = (socket) => socket.io.engine.transport.ws._socket;

// Who does not read: the watcher knows when the server has had enough.
async function paused(socket, what) {
  const gone = next(watcher, "gone");
  const end = closed(socket);
  tcp(socket).pause();
  await what();
  await gone;
  tcp(socket).resume();
  return end;
}

const ways = {
  slow: (socket) => paused(socket, () => { watcher.emit("flood", socket.id); }),
  big: (socket) => { socket.emit("big", "x".repeat(2_000_000)); return closed(socket); },
  rate: (socket) => { socket.emit("rate"); return closed(socket); },
  expired: (socket) => { socket.emit("expired"); return closed(socket); },
  forbidden: (socket) => { socket.emit("forbidden"); return closed(socket); },
  overload: (socket) => { socket.emit("overload"); return closed(socket); },
  replaced: (socket) => paused(socket, async () => {
    const other = connect(url, options);
    other._pid = socket._pid;
    other._lastOffset = socket._lastOffset;
    await next(other, "connect");
    other.disconnect();
  }),
  shutdown: (socket) => { const end = closed(socket); watcher.emit("shutdown"); return end; },
};

const say = (what, { reason, code, text, back }) => console.log(`${kind} ${what}: ${reason}, ${code} ${JSON.stringify(text)}, ${back ? "comes back" : "stays away"}`);

// A manager alone joins nothing, and reconnects for ever. (Who is refused by its only
// namespace closes by itself.)
const alone = new { 4: Manager, 3: Manager3 }[kind](url, options);
const [reason, details] = await next(alone, "close");
say("joins nothing", { reason, code: details?.context?.code, text: details?.context?.reason, back: alone._reconnecting });
alone.reconnection(false);
alone._close?.();

for (const [name, way] of Object.entries(ways)) {
  if (name === "replaced" && kind === "3") continue; // it does not recover
  const socket = connect(url, options);
  await next(socket, "connect");
  const greeted = next(socket, "hello");
  socket.emit("hello");
  await greeted;
  say(name, await way(socket));
  socket.disconnect();
}
process.exit(0);
