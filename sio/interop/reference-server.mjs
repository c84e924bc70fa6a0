// The application that the scenarios talk to, on Node's socket.io. The Go
// version of it must behave the same; this table is the contract of both.
//
// It listens; or, with $EDGE, that of an edge's internal listener, it attaches to
// it by the bridge in $BRIDGE, with $KEY.
//
// Options: pingInterval 1000, pingTimeout 3000, maxHttpBufferSize 1000000, with
// $EIO3 allowEIO3, with $RECOVERY connection state recovery, and everything else as
// socket.io has it.
//
// Namespaces, all with the handlers below:
//   /                       no middleware
//   /other                  no middleware
//   /early                  on connection emits `early` 0, 1, 2, 3, 4
//   /private                middleware: auth.token must be "secret", else the
//                           error "not authorized" with data
//                           {code: 401, hint: ["token"]}; auth.user is kept
//   /campaigns/:id/trends   one segment for :id; any other name is unknown
//   /gate                   two middlewares: the first emits `gate` 1 and joins
//                           the room auth.room; the second emits `gate` 2, and
//                           refuses with auth.refuse, {message, data}, if there is
//                           one; on connection emits `gate` 3
//   /broken                 a middleware that throws
//   /silent                 a middleware that never answers
//
// client -> server     arguments              acknowledgement and effect
//   echo               …args                  …args; when no acknowledgement is
//                                             asked for, emits `echo` …args back
//   handshake                                 {id, nsp, auth, query, headers};
//                                             header names in lower case, one
//                                             string each
//   hold               value                  none yet: it is kept
//   release                                   answers what `hold` kept, each with
//                                             its value, latest first; then count
//   ack-twice          value                  value; and a second time "again",
//                                             which must not reach the client
//   ask                event, args[], ms      emits event …args to the sender with
//                                             an acknowledgement: {answer: […]},
//                                             or {error: "time-out"} after ms
//   ask-room           room, event, args[],   the same to everybody in room:
//                      ms                     {answers: […]}, the first argument
//                                             of each, in order of arrival; after
//                                             ms {error: "time-out", answers: […]}
//                                             with those that came
//   join               rooms[]                rooms of the sender, sorted by code
//                                             unit, without its id
//   leave              room                   the same
//   cast               {from, rooms[],        true, once emitted. from "server":
//                      except[], volatile},   io.to(rooms); from "socket":
//                      event, args[]          socket.to(rooms), without the
//                                             sender; no rooms: the namespace.
//                                             All but from may be absent
//   burst              event, n               emits event 0 … n-1 to the sender,
//                                             then n
//   order              i                      none; notes i and emits `order` i
//                                             back
//   ordered                                   what `order` noted, and forgets it
//   measure            data                   bytes of the binary, or of the
//                                             string in UTF-8
//   blob               n                      binary of n bytes, byte i = i % 251
//   bye                close                  none: socket.disconnect(close)
//   kick               room, close            true, then disconnectSockets(close)
//                                             on the room
//   watch              id                     true; the sender is told when the
//                                             socket id of this namespace goes
//   count              room                   number of sockets in room
//   param                                     :id of the namespace, or null
//   cut                                       none: closes the connection
//   recovered                                 whether the socket was recovered
//   parts              n                      true, or false if it failed to emit
//                                             `parts` with n binaries of one byte
//   volatile-pair      event, ms              emits event 1, volatile, computes for
//                                             ms, emits event 2, volatile; true
//   last-words                                none: socket.disconnect(), and then
//                                             emits `last-words`
//   owe                event                  none: emits event to the sender with
//                                             an acknowledgement, without time-out
//   throw                                     none: the handler throws
//   stick              room                   none: the handler ends when the
//                                             room is unstuck; takes more arguments
//   unstick            room                   true
//   whoami                                    auth.user of /private, or null
//
// server -> client     arguments              when
//   early              i                      connection to /early
//   owed               "answered", "closed"   to those who watch the debtor of
//                                             `owe`, when that is known
//   gone               id, reason             a watched socket disconnected;
//                                             reason is Node's, of the server side
//   echo, order, and the events named by ask, ask-room, cast, burst

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";
import { DEFLATE, PARSER } from "./harness.mjs";

const TRENDS = /^\/campaigns\/([^/]+)\/trends$/;

const io = new Server({
  pingInterval: 1000,
  pingTimeout: 3000,
  maxHttpBufferSize: 1e6,
  allowEIO3: Boolean(process.env.EIO3),
  ...(process.env.RECOVERY && { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } }),
  ...(PARSER && { parser: PARSER }),
  ...DEFLATE,
});

function roomsOf(socket) {
  return [...socket.rooms].filter((room) => room !== socket.id).sort();
}

function messaging(socket) {
  const held = [];
  let noted = [];

  socket.on("echo", (...args) => {
    const ack = args.at(-1);
    if (typeof ack === "function") ack(...args.slice(0, -1));
    else socket.emit("echo", ...args);
  });
  socket.on("handshake", (ack) => {
    const { auth, query, headers } = socket.handshake;
    ack({ id: socket.id, nsp: socket.nsp.name, auth, query, headers });
  });
  socket.on("hold", (value, ack) => held.push(() => ack(value)));
  socket.on("release", (ack) => {
    const count = held.length;
    while (held.length > 0) held.pop()();
    ack(count);
  });
  socket.on("ack-twice", (value, ack) => {
    ack(value);
    ack("again");
  });
  socket.on("ask", (event, args, ms, ack) => {
    socket.timeout(ms).emit(event, ...args, (err, ...answer) => {
      ack(err ? { error: "time-out" } : { answer });
    });
  });
  socket.on("burst", (event, n, ack) => {
    for (let i = 0; i < n; i++) socket.emit(event, i);
    ack(n);
  });
  socket.on("order", (i) => {
    noted.push(i);
    socket.emit("order", i);
  });
  socket.on("ordered", (ack) => {
    ack(noted);
    noted = [];
  });
  socket.on("measure", (data, ack) => ack(Buffer.byteLength(data)));
  socket.on("blob", (n, ack) => ack(Buffer.from(Uint8Array.from({ length: n }, (_, i) => i % 251))));
}

function roomHandlers(socket) {
  const nsp = socket.nsp;

  socket.on("join", async (rooms, ack) => {
    await socket.join(rooms);
    ack(roomsOf(socket));
  });
  socket.on("leave", async (room, ack) => {
    await socket.leave(room);
    ack(roomsOf(socket));
  });
  socket.on("cast", ({ from, rooms = [], except = [], volatile }, event, args, ack) => {
    let target = from === "socket" ? socket.to(rooms) : nsp.to(rooms);
    target = target.except(except);
    if (volatile) target = target.volatile;
    target.emit(event, ...args);
    ack(true);
  });
  socket.on("ask-room", (room, event, args, ms, ack) => {
    nsp.in(room).timeout(ms).emit(event, ...args, (err, answers) => {
      ack(err ? { error: "time-out", answers } : { answers });
    });
  });
  socket.on("count", async (room, ack) => ack((await nsp.in(room).fetchSockets()).length));
}

function lifecycle(socket) {
  const nsp = socket.nsp;

  socket.on("bye", (close) => socket.disconnect(close));
  socket.on("kick", (room, close, ack) => {
    ack(true);
    nsp.in(room).disconnectSockets(close);
  });
  socket.on("watch", async (id, ack) => {
    await socket.join(`watch:${id}`);
    ack(true);
  });
  socket.on("disconnect", (reason) => nsp.to(`watch:${socket.id}`).emit("gone", socket.id, reason));
  socket.on("param", (ack) => ack(TRENDS.exec(nsp.name)?.[1] ?? null));
  socket.on("whoami", (ack) => ack(socket.data.user ?? null));
}

const stuck = new Map();

// unusual has what shows where the two servers differ.
function unusual(socket) {
  socket.on("cut", () => socket.conn.close());
  socket.on("recovered", (ack) => ack(socket.recovered));
  socket.on("parts", (n, ack) => {
    socket.emit("parts", ...Array.from({ length: n }, (_, i) => Buffer.from([i])));
    ack(true);
  });
  socket.on("volatile-pair", (event, ms, ack) => {
    socket.volatile.emit(event, 1);
    const end = Date.now() + ms;
    while (Date.now() < end);
    socket.volatile.emit(event, 2);
    ack(true);
  });
  socket.on("last-words", () => {
    socket.disconnect();
    socket.emit("last-words");
  });
  socket.on("owe", (event) => {
    socket.emit(event, () => socket.nsp.to(`watch:${socket.id}`).emit("owed", "answered"));
  });
  socket.on("throw", () => {
    throw new Error("a handler that fails");
  });
  socket.on("stick", async (room) => {
    await new Promise((done) => stuck.set(room, [...(stuck.get(room) ?? []), done]));
  });
  socket.on("unstick", (room, ack) => {
    for (const done of stuck.get(room) ?? []) done();
    stuck.delete(room);
    ack(true);
  });
}

function serve(nsp) {
  nsp.on("connection", (socket) => {
    messaging(socket);
    roomHandlers(socket);
    lifecycle(socket);
    unusual(socket);
  });
}

serve(io.of("/"));
serve(io.of("/other"));
serve(io.of(TRENDS));

const early = io.of("/early");
serve(early);
early.on("connection", (socket) => {
  for (let i = 0; i < 5; i++) socket.emit("early", i);
});

const restricted = io.of("/private");
restricted.use((socket, next) => {
  if (socket.handshake.auth.token === "secret") {
    socket.data.user = socket.handshake.auth.user;
    next();
    return;
  }
  next(Object.assign(new Error("not authorized"), { data: { code: 401, hint: ["token"] } }));
});
serve(restricted);

const gate = io.of("/gate");
gate.use((socket, next) => {
  socket.emit("gate", 1);
  socket.join(socket.handshake.auth.room);
  next();
});
gate.use((socket, next) => {
  socket.emit("gate", 2);
  const { refuse } = socket.handshake.auth;
  if (refuse) next(Object.assign(new Error(refuse.message), { data: refuse.data }));
  else next();
});
serve(gate);
gate.on("connection", (socket) => socket.emit("gate", 3));

io.of("/broken").use(() => {
  throw new Error("a middleware that fails");
});
io.of("/silent").use(() => {});
// What the middleware of /broken throws comes out here, and would end the process.
process.on("unhandledRejection", () => {});

if (process.env.EDGE) {
  const { attach } = createRequire(import.meta.url)(process.env.BRIDGE);
  attach(io, { edges: [process.env.EDGE], key: process.env.KEY });
} else {
  const http = createServer((req, res) => res.writeHead(404).end());
  io.attach(http);
  http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${http.address().port}`);
  });
}
// The runner holds our standard input open: when it dies, however, so do we.
if (process.env.WITH_PARENT) process.stdin.resume().on("end", () => process.exit(0));
