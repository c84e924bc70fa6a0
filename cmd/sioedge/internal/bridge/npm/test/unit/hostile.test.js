"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { once } = require("node:events");
const { start } = require("./edge");
const { encode } = require("@msgpack/msgpack");

test("an edge that breaks the protocol loses its link, and is dialled again; no other edge's clients notice", async (t) => {
  const garbage = [
    (e) => e.ws.send("text"),
    (e) => e.ws.send(Buffer.from([0xc1])),
    (e) => e.ws.send(encode({ a: 1 })),
    (e) => e.ws.send(encode([])),
    (e) => e.ws.send(encode([-1])),
    (e) => e.ws.send(encode([1e6])), // more acked than sent
    (e) => e.ws.send(encode([0, "x"])),
    (e) => e.ws.send(encode([0, [4, "x", null, "[]"]])),
    (e) => e.ws.send(encode([0, [3, 1, 1, 5, "id"]])),
    (e) => e.ws.send(Buffer.alloc(3 << 20)), // more than maxMessage
    (e) => e.ws.send(Buffer.concat([Buffer.from([0x92, 0x00, 0xdd, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(100)])),
    (e) => e.ws.send(Buffer.concat([Buffer.from([0x92, 0x00]), Buffer.alloc(100_000, 0x91)])), // deep
  ];
  for (const [i, send] of garbage.entries()) {
    const { edge, io, bridge } = await start(t, { options: { maxMessage: 2 << 20 } });
    await edge.join(1);
    const [socket] = io.sockets.sockets.values();
    const gone = once(socket, "disconnect");
    send(edge);
    if (i === 9) {
      // The connection is ended by its own library; the session goes on.
      await edge.until(() => edge.hellos.length === 2);
      await bridge.ready();
      assert.equal(socket.connected, true);
      continue;
    }
    assert.equal((await gone)[0], "transport error", `garbage ${i}`);
    await edge.until(() => edge.closeCode === 1008);
    await edge.until(() => edge.hellos.length === 2);
    assert.equal(edge.hellos[1].resume, undefined);
    await bridge.ready();
    assert.equal(bridge.edges[0].broken, 1);
    await edge.join(2);
  }
});

test("numbers that are not known, and messages that nobody knows, do nothing", async (t) => {
  const { edge, io, bridge } = await start(t);
  await edge.join(1);
  const n = edge.log.length;
  edge.send([4, 77, 1, '["x"]'], [5, 77, 1, "[]"], [5, 1, 99, "[]"], [7, 77, "transport close"], [11, 77, "websocket"], [11, 1, "pigeon"], [3, 77, 78, "/", "id"], [8, 5, true, 1, []], [10, "u", "/nowhere", new Uint8Array()], [10, "u", "/", Uint8Array.of(0xc1)], [99, "x"], [13, { data: "drain" }]);
  edge.send([6, 77, "transport close", true]);
  await edge.message(46, 77);
  assert.equal(edge.log.length, n + 1);
  assert.equal(io.sockets.sockets.size, 1);
  assert.equal(bridge.edges[0].unknown, 1);
});

test("a client's packet that is none ends its connection, and no other", async (t) => {
  const { edge, io } = await start(t);
  await edge.join(1);
  await edge.join(2);
  edge.send([4, 1, null, "garbage"]);
  assert.deepEqual(await edge.message(43), [43, 1]);
  edge.send(edge.open(3), [3, 3, 3, "/", "sid-3", "garbage"]);
  await edge.message(43, 3);
  edge.send(edge.open(4, { headers: 5, url: null, transport: 7 }), [3, 4, 4, "/", "sid-4", "{}"]);
  await edge.message(33, 4);
  assert.deepEqual([...io.sockets.sockets.keys()], ["sid-2", "sid-4"]);
});

test("what handlers throw is uncaught as without a link, and the link goes on", async (t) => {
  const { edge, io } = await start(t);
  await edge.join(1);
  await edge.join(2);
  for (const socket of io.sockets.sockets.values()) socket.on("disconnect", () => { throw new Error("a handler's"); });
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  const thrown = once(process, "uncaughtException");
  t.after(() => listeners.forEach((fn) => process.on("uncaughtException", fn)));
  edge.send([6, 1, "transport close", false], [4, 2, null, '["x"]']);
  assert.equal((await thrown)[0].message, "a handler's");
  process.removeAllListeners("uncaughtException");
  await edge.until(() => edge.lastAck === edge.session.sent.length);
  assert.equal(io.sockets.sockets.get("sid-2").connected, true);
  io.sockets.sockets.get("sid-2").removeAllListeners("disconnect");
});

test("what waits for an edge that takes nothing is bounded", async (t) => {
  const { edge, io, bridge } = await start(t, { settings: { window: 1000 }, options: { maxPending: 100_000 } });
  await edge.join(1);
  edge.autoAck = false;
  const failed = once(bridge, "error");
  for (let i = 0; i < 30; i++) io.emit("x", "y".repeat(10_000));
  assert.match((await failed)[0].message, /maxPending/);
  assert.equal(io.sockets.sockets.size, 0);
  assert.equal(bridge.edges[0].overflows, 1);
  edge.autoAck = true;
  await edge.until(() => edge.hellos.length === 2);
  await edge.join(2);
});

test("room names that are not well formed do not end the link", async (t) => {
  const { edge, io } = await start(t);
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  socket.join(["\ud800", "😀", 7]);
  io.to("\udfff").emit("x\ud800", "\ud800");
  const b = await edge.message(37);
  assert.deepEqual(edge.find(38), [38, 1, ["\ufffd", "😀", "7"]]);
  assert.equal(JSON.parse(b[7])[0], "x\ud800");
});

test("an attachment's placeholder that a client made up does not reach the edge", async (t) => {
  const { edge, io, bridge } = await start(t);
  io.on("connection", (socket) => {
    socket.on("echo", (v) => {
      socket.emit("plain", v);
      socket.emit("bad", v, Buffer.from([1]));
      io.emit("bad", v, Buffer.from([1]));
      io.emit("good", '"_placeholder":true', Buffer.from([1]));
    });
  });
  await edge.join(1);
  edge.send([4, 1, null, '["echo",{"_placeholder":true,"num":9}]']);
  await edge.message(37);
  assert.deepEqual(edge.log.slice(1).map((m) => [m[0], JSON.parse(m[0] === 37 ? m[7] : m[4])[0]]), [[35, "plain"], [37, "good"]]);
  assert.equal(bridge.stats.improper, 2);
});

test("what is nested deeper than an edge takes is not sent, and what only looks so is", async (t) => {
  const { edge, io, bridge } = await start(t);
  await edge.join(1);
  const nested = (n) => JSON.parse("[".repeat(n) + "]".repeat(n));
  const [socket] = io.sockets.sockets.values();
  socket.emit("ok", nested(999), "x".repeat(2000));
  socket.emit("deep", nested(1000));
  io.emit("deep", { v: nested(999) });
  socket.emit("text", '[{"\\'.repeat(3000));
  socket.emit("many", Array(3000).fill({}), "\\");
  await edge.until(() => edge.all(35).length === 3);
  assert.deepEqual(edge.all(35).map((m) => JSON.parse(m[4])[0]), ["ok", "text", "many"]);
  assert.equal(edge.find(37), undefined);
  assert.equal(bridge.stats.improper, 2);
});

test("what an edge sends before a socket is in, or the engine's middlewares are done, is bounded", async (t) => {
  const { edge, io, bridge } = await start(t);
  io.use((socket, next) => socket.id === "sid-3" && next());
  io.engine.use((req, res, next) => req._query.who !== "slow" && next());
  edge.send(edge.open(1), [3, 1, 1, "/", "sid-1", "{}"], ...Array(1001).fill([4, 1, null, '["x"]']));
  await edge.message(43, 1);
  edge.send(edge.open(2, { url: "/?who=slow" }), ...Array(1001).fill([3, 2, 2, "/", "sid-2", "{}"]));
  await edge.message(43, 2);
  await edge.join(3);
  assert.equal(bridge.stats.tooEarly, 2);
});

test("lists of rooms are no longer than an edge takes, and refusals are as it reads them", async (t) => {
  const { edge, io, bridge } = await start(t);
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  const rooms = [...Array(12_000).keys()].map(String);
  for (const room of rooms) socket.join(room);
  socket.join("last");
  io.socketsLeave(rooms);
  io.to(rooms).emit("x");
  socket.emit("end");
  await edge.message(35);
  const lists = [...edge.all(38).map((m) => m[2]), ...edge.all(41).map((m) => m[4])];
  assert.equal(Math.max(...lists.map((l) => l.length)), 5000);
  assert.deepEqual(edge.all(38).flatMap((m) => m[2]), [...rooms, "last"]);
  assert.deepEqual(edge.all(41).flatMap((m) => m[4]), rooms);
  assert.equal(edge.find(37), undefined);
  assert.equal(bridge.stats.tooBig, 1);
  const errors = [new Error("a"), Object.assign(new Error(), { message: 5, data: 1 }), "text", { message: null }];
  io.use((s, next) => next(errors[+s.id.slice(4) - 2]));
  for (let i = 2; i < 6; i++) edge.send(edge.open(i), [3, i, i, "/", `sid-${i}`, "{}"]);
  await edge.message(34, 5);
  assert.deepEqual(edge.all(34).map((m) => JSON.parse(m[2])), [{ message: "a" }, { message: "5", data: 1 }, { message: "" }, { message: "" }]);
});
