"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { once } = require("node:events");
const { start, KEY } = require("./edge");

test("the link: its address, key, version and what a process says first", async (t) => {
  const { edge, bridge } = await start(t, { prepare: (io) => io.of("/chat"), options: { name: "a b" } });
  assert.equal(edge.request.url, "/bridge?name=a%20b");
  assert.equal(edge.request.headers.authorization, `Bearer ${KEY}`);
  assert.equal(edge.request.headers["sec-websocket-protocol"], "sioedge-bridge.1");
  const [hello] = edge.hellos;
  assert.equal(hello.version, 1);
  assert.equal(hello.uid, bridge.uid);
  assert.equal(hello.received, 0);
  assert.equal(hello.direct, false);
  assert.deepEqual(hello.namespaces, ["/", "/chat"]);
  assert.equal(hello.resume, undefined);
});

test("a socket: id, handshake, request and identity", async (t) => {
  const { edge, io } = await start(t);
  const came = once(io, "connection");
  await edge.join(1, { auth: '{"token":"x"}', identity: { user: "u1", claims: '{"sub":"u1"}' } });
  const [socket] = await came;
  assert.equal(socket.id, "sid-1");
  assert.equal(socket.recovered, false);
  assert.deepEqual({ ...socket.handshake.auth }, { token: "x" });
  assert.equal(socket.handshake.address, "10.0.0.1");
  assert.equal(socket.handshake.secure, true);
  assert.equal(socket.handshake.query.who, "me");
  assert.equal(socket.request.headers.cookie, "a=b");
  assert.equal(socket.request.socket.remotePort, 1234);
  assert.deepEqual(socket.conn.identity, { user: "u1", claims: { sub: "u1" } });
  assert.equal(socket.conn.transport.name, "websocket");
  assert.equal(io.engine.clientsCount, 1);
  assert.equal(io.sockets.sockets.get("sid-1"), socket);
  assert.deepEqual([...socket.rooms], ["sid-1"]);
});

test("events, acknowledgements and binary, both ways", async (t) => {
  const { edge, io } = await start(t);
  io.on("connection", (socket) => {
    socket.on("echo", (v, b, cb) => cb(v, b));
    socket.on("ask", () => socket.emit("question", Buffer.from([1, 2]), (got) => socket.emit("got", got)));
  });
  await edge.join(1);
  edge.send([4, 1, 7, '["echo",{"a":1},{"_placeholder":true,"num":0}]', Uint8Array.of(5, 6)]);
  const ack = await edge.message(36);
  assert.deepEqual(ack.slice(1, 4), [1, 7, '[{"a":1},{"_placeholder":true,"num":0}]']);
  assert.deepEqual([...ack[4]], [5, 6]);
  edge.send([4, 1, null, '["ask"]']);
  const q = await edge.message(35);
  assert.equal(q[4], '["question",{"_placeholder":true,"num":0}]');
  assert.deepEqual([...q[5]], [1, 2]);
  edge.send([5, 1, q[3], '["42"]']);
  const got = await edge.until(() => edge.all(35)[1]);
  assert.deepEqual(got, [35, 1, 0, null, '["got","42"]']);
});

test("refused by a middleware, and a namespace that is not there", async (t) => {
  const { edge, io } = await start(t);
  io.use((socket, next) => {
    assert.equal(socket.id, "sid-1");
    next(Object.assign(new Error("not you"), { data: { code: 1 } }));
  });
  edge.send(edge.open(1), [3, 1, 1, "/", "sid-1", "{}"], [3, 1, 2, "/nowhere", "sid-2"]);
  assert.deepEqual(JSON.parse((await edge.message(34, 1))[2]), { message: "not you", data: { code: 1 } });
  assert.deepEqual(JSON.parse((await edge.message(34, 2))[2]), { message: "Invalid namespace" });
  assert.equal(io.sockets.sockets.size, 0);
  assert.equal(io.sockets.adapter.sids.size, 0);
});

test("rooms are mirrored in order with emits, joins of one turn in one message", async (t) => {
  const { edge, io } = await start(t);
  io.use((socket, next) => {
    socket.join("early");
    next();
  });
  io.on("connection", (socket) => {
    socket.join(["a", "b"]);
    socket.join("c");
    socket.join("c");
    io.to("c").emit("x");
    socket.leave("a");
    socket.leave("nowhere");
    socket.emit("y");
  });
  await edge.join(1);
  await edge.message(35);
  assert.deepEqual(edge.log, [
    [33, 1], [38, 1, ["early", "a", "b", "c"]],
    [37, "/", ["c"], [], 0, null, null, '["x"]'], [39, 1, ["a"]], [35, 1, 0, null, '["y"]'],
  ]);
});

test("a broadcast is one message, whatever the number of sockets", async (t) => {
  const { edge, io } = await start(t);
  for (let i = 1; i <= 20; i++) await edge.join(i);
  edge.log.length = 0;
  io.compress(false).except("r").emit("all", new Date(0), Buffer.from([9]), "€");
  io.of("/").to(["p", "q"]).volatile.emit("some");
  io.sockets.sockets.get("sid-3").broadcast.emit("others");
  await edge.until(() => edge.log.length === 3);
  assert.deepEqual(edge.log[0].slice(0, 8), [37, "/", [], ["r"], 2, null, null, '["all","1970-01-01T00:00:00.000Z",{"_placeholder":true,"num":0},"€"]']);
  assert.deepEqual(edge.log[1], [37, "/", ["p", "q"], [], 1, null, null, '["some"]']);
  assert.deepEqual(edge.log[2], [37, "/", [], ["sid-3"], 0, null, null, '["others"]']);
});

test("attachments may be used again behind an emit, and another adapter is not taken", async (t) => {
  const { edge, io, bridge } = await start(t);
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  const b = Buffer.from([1, 2, 3, 4]);
  socket.emit("b", b);
  io.emit("b", new Uint16Array(b.buffer, b.byteOffset & ~1, 1), b.buffer.slice(0, 2));
  b.fill(9);
  const errors = [];
  bridge.on("error", (err) => errors.push(err.message));
  io.adapter(require("socket.io-adapter").Adapter);
  assert.match(errors[0], /another adapter/);
  assert.equal(io.of("/late").adapter.bridge, bridge);
  assert.equal(typeof io.adapter(), "function");
  const all = await edge.message(37);
  assert.deepEqual([...edge.find(35)[5]], [1, 2, 3, 4]);
  assert.equal(all[8].length, 2);
  assert.equal(all[9].length, 2);
});

test("a client leaves, and a connection ends: Node's reasons, behind the events before", async (t) => {
  const { edge, io } = await start(t);
  const log = [];
  io.on("connection", (socket) => {
    socket.on("last", (n) => log.push(`${socket.id} last ${n}`));
    socket.on("disconnecting", (reason) => log.push(`${socket.id} ${reason} in ${socket.rooms.size}`));
    socket.on("disconnect", (reason) => log.push(`${socket.id} ${reason}`));
  });
  await edge.join(1);
  await edge.join(2);
  edge.send([4, 1, null, '["last",1]'], [6, 1, "client namespace disconnect", false], [3, 1, 3, "/", "sid-3", "{}"], [4, 2, null, '["last",2]'], [6, 2, "ping timeout", true], [7, 2, "ping timeout"]);
  await edge.message(33, 3);
  await edge.message(46, 2);
  assert.deepEqual(log, [
    "sid-1 last 1", "sid-1 client namespace disconnect in 1", "sid-1 client namespace disconnect",
    "sid-2 last 2", "sid-2 ping timeout in 1", "sid-2 ping timeout",
  ]);
  assert.deepEqual(edge.find(46, 1), [46, 1]);
  assert.deepEqual(edge.find(46, 2), [46, 2, "{}"]);
  assert.equal(io.engine.clientsCount, 1);
  assert.deepEqual([...io.sockets.sockets.keys()], ["sid-3"]);
  assert.equal(edge.find(39), undefined);
});

test("disconnected by the application", async (t) => {
  const { edge, io } = await start(t);
  for (let i = 1; i <= 4; i++) await edge.join(i);
  const of = (n) => io.sockets.sockets.get(`sid-${n}`);
  const reasons = [];
  for (let i = 1; i <= 4; i++) of(i).on("disconnect", (r) => reasons.push(`${i} ${r}`));
  edge.log.length = 0;
  of(1).disconnect();
  of(2).disconnect(true);
  of(3).join("r");
  io.in("r").disconnectSockets();
  io.disconnectSockets(true);
  await edge.until(() => edge.all(44).length === 2);
  assert.deepEqual(edge.log, [[42, 1], [42, 2], [43, 2], [38, 3, ["r"]], [44, "/", ["r"], [], false], [44, "/", [], [], true]]);
  assert.deepEqual(reasons, [1, 2, 3, 4].map((i) => `${i} server namespace disconnect`));
  assert.equal(io.sockets.sockets.size, 0);
});
