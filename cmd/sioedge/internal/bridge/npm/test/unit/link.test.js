"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { once } = require("node:events");
const { start, FakeEdge, KEY } = require("./edge");
const { Server } = require("socket.io");
const { attach } = require("../../");

const json = (m) => JSON.parse(m[4]);

test("an event and what its handler did at once are one batch, with its ack", async (t) => {
  const { edge, io } = await start(t);
  io.on("connection", (socket) => {
    socket.on("work", (n, cb) => {
      socket.join(`r${n}`);
      socket.data.n = n;
      io.emit("done", n);
      Promise.resolve().then(() => cb(n));
    });
  });
  await edge.join(1);
  const before = edge.session.sent.length;
  edge.send([4, 1, 0, '["work",1]'], [4, 1, 1, '["work",2]']);
  await edge.until(() => edge.all(36).length === 2);
  const [ack, messages] = edge.batches[edge.batches.length - 1];
  assert.equal(ack, before + 1);
  assert.deepEqual(messages.map((m) => m[0]), [38, 37, 38, 37, 36, 36]);
});

test("what is acked only when handlers of the batch have run; without effects a batch of the ack alone", async (t) => {
  const { edge, io } = await start(t);
  let ran = 0;
  io.on("connection", (socket) => socket.on("x", () => ran++));
  await edge.join(1);
  const n = edge.session.sent.length;
  const got = edge.session.got;
  edge.send([4, 1, null, '["x"]']);
  await edge.until(() => edge.lastAck === n + 1);
  assert.equal(ran, 1);
  assert.equal(edge.session.got, got);
});

test("a link that is cut goes on: numbers come once and in order, both ways", async (t) => {
  const { edge, io, bridge } = await start(t);
  const received = [];
  let closed = 0;
  io.on("connection", (socket) => {
    socket.on("n", (n) => {
      received.push(n);
      socket.emit("m", n);
      io.emit("b", n);
    });
    socket.on("disconnect", () => closed++);
  });
  await edge.join(1);
  let n = 0;
  for (let cut = 0; cut < 8; cut++) {
    // Half of the time the edge acks nothing of what it has received.
    edge.autoAck = cut % 2 === 0;
    for (let i = 0; i < 50; i++) edge.send([4, 1, null, `["n",${n++}]`]);
    if (cut % 3 === 0) await edge.until(() => edge.all(35).length > n - 20);
    edge.cut();
    for (let i = 0; i < 10; i++) edge.send([4, 1, null, `["n",${n++}]`]); // while it is down
    const dials = edge.dials;
    await edge.until(() => edge.dials > dials || edge.ws.readyState === 1);
    await edge.until(() => edge.ws.readyState === 1);
  }
  edge.autoAck = true;
  edge.send([4, 1, null, `["n",${n++}]`]);
  await edge.until(() => edge.all(35).length === n && edge.all(37).length === n);
  const all = [...Array(n).keys()];
  assert.deepEqual(received, all);
  assert.deepEqual(edge.all(35).map((m) => json(m)[1]), all);
  assert.deepEqual(edge.all(37).map((m) => JSON.parse(m[7])[1]), all);
  assert.equal(closed, 0);
  assert.ok(bridge.edges[0].resumed >= 7);
});

test("a session that the edge does not know any more: its sockets are closed", async (t) => {
  const { edge, io } = await start(t);
  const reasons = [];
  io.on("connection", (socket) => socket.on("disconnect", (r) => reasons.push(r)));
  await edge.join(1);
  edge.session = null;
  edge.cut();
  await edge.until(() => edge.hellos.length === 2 && edge.session);
  assert.equal(edge.hellos[1].resume, "s1");
  await edge.join(2);
  assert.deepEqual(reasons, ["transport close"]);
  assert.equal(io.engine.clientsCount, 1);
  assert.deepEqual(edge.find(33), [33, 1]);
});

test("an edge that does not come back: sockets are closed behind grace", async (t) => {
  const { edge, io, bridge } = await start(t, { settings: { grace: 50 } });
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  const gone = once(socket, "disconnect");
  edge.refuse = { status: 503, detail: "it stops" };
  edge.cut();
  assert.equal((await gone)[0], "transport close");
  assert.equal(bridge.edges[0].session, false);
});

test("no more is under way than the window, and volatile packets are dropped meanwhile", async (t) => {
  const { edge, io, bridge } = await start(t, { settings: { window: 1000 } });
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  edge.autoAck = false;
  assert.equal(socket.conn.transport.writable, true);
  const tick = () => new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 10; i++) {
    socket.emit("n", i, "x".repeat(300));
    await tick();
  }
  assert.equal(socket.conn.transport.writable, false);
  socket.volatile.emit("lost");
  io.volatile.emit("lost");
  await edge.until(() => edge.all(35).length >= 2);
  await tick();
  assert.ok(edge.all(35).length <= 3);
  assert.ok(bridge.edges[0].waiting > 2000);
  edge.autoAck = true;
  const { encode } = require("@msgpack/msgpack");
  edge.ws.send(encode([edge.session.got]));
  await edge.until(() => edge.all(35).length === 10);
  assert.deepEqual(edge.all(35).map((m) => json(m)[1]), [...Array(10).keys()]);
  assert.equal(edge.find(37), undefined);
});

test("messages of more than a part are cut where they may be, and none is more than max_message", async (t) => {
  const { edge, io, bridge } = await start(t, { settings: { window: 64 << 20, max_message: 1 << 20 } });
  await edge.join(1);
  edge.batches.length = 0;
  const errors = [];
  bridge.on("error", (err) => errors.push(err.message));
  const big = "x".repeat(100 << 10);
  for (let i = 0; i < 10; i++) io.emit("n", i, big);
  io.emit("too big", "x".repeat(2 << 20));
  io.emit("last");
  await edge.until(() => edge.all(37).length === 11);
  assert.ok(edge.batches.length >= 3);
  assert.deepEqual(edge.all(37).slice(0, 10).map((m) => JSON.parse(m[7])[1]), [...Array(10).keys()]);
  assert.equal(bridge.stats.tooBig, 1);
  assert.match(errors[0], /max_message/);
});

test("an edge that nothing comes from is dead, and dialled again", async (t) => {
  const { edge, bridge } = await start(t, { settings: { timeout: 60, grace: 5000 } });
  edge.ws._socket.pause(); // as a link that stands still
  await edge.until(() => edge.hellos.length === 2);
  assert.equal(edge.hellos[1].resume, "s1");
  assert.equal(bridge.edges[0].resumed >= 0, true);
});

test("a refusal is told with the edge's words", async (t) => {
  const edge = await new FakeEdge().listen();
  edge.refuse = { status: 401, detail: "there is no such key" };
  const io = new Server();
  const bridge = attach(io, { edges: [edge.url], key: KEY, log: false });
  t.after(() => Promise.all([bridge.close(), edge.close()]));
  const [err] = await once(bridge, "error");
  assert.match(err.message, /401 there is no such key/);
  assert.equal(err.status, 401);
  assert.equal(bridge.edges[0].refused, 1);
  assert.equal(bridge.edges[0].state, "down");
  await assert.rejects(bridge.ready({ signal: AbortSignal.timeout(20) }));
});

test("an edge that is not there is told of", async (t) => {
  const said = [];
  const bridge = attach(new Server(), { edges: ["http://127.0.0.1:1"], key: KEY, log: (text, about) => said.push([text, about.edge]) });
  t.after(() => bridge.close());
  await once(bridge, "edge");
  assert.equal(said.length, 1);
  assert.match(said[0][0], /ECONNREFUSED/);
  assert.equal(said[0][1], "ws://127.0.0.1:1");
});

test("options that are wrong are refused by name", () => {
  const io = new Server();
  for (const [options, what] of [
    [{}, /edges/], [{ edges: [] }, /edges/], [{ edges: ["x"], key: "k" }, /not a URL/], [{ edges: ["ftp://x"], key: "k" }, /HOST:PORT/],
    [{ edges: ["http://a"] }, /key/], [{ edges: ["http://a"], key: "k\n" }, /key/], [{ edges: ["http://a"], key: "k", uid: "a b" }, /uid/],
    [{ edges: ["http://a"], key: "k", data: "x" }, /data/], [{ edges: ["http://a", "http://a/"], key: "k" }, /twice/],
    [{ edges: ["http://a"], key: "k", windw: 1 }, /windw/], [{ edges: ["http://a"], key: "k", window: 0 }, /window/],
  ]) {
    assert.throws(() => attach(io, options), what);
  }
  assert.throws(() => attach({}, { edges: ["http://a"], key: "k" }), /not a Socket.IO server/);
});

test("an edge that gives its place to another process is dialled at once, with the session", async (t) => {
  const { edge, io, bridge } = await start(t);
  let closed = 0;
  io.on("connection", (socket) => socket.on("disconnect", () => closed++));
  await edge.join(1);
  const waits = [];
  const real = global.setTimeout;
  t.mock.method(global, "setTimeout", (f, ms, ...more) => {
    waits.push(ms);
    return real(f, ms, ...more);
  });
  edge.ws.close(1012);
  await edge.until(() => edge.hellos.length === 2);
  assert.ok(waits.includes(0), `it waits for ${waits}`);
  assert.equal(edge.hellos[1].resume, "s1");
  await edge.until(() => bridge.edges[0].resumed === 1);
  assert.equal(closed, 0);
});
