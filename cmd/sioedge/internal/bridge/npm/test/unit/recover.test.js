"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { once } = require("node:events");
const { start } = require("./edge");

const state = (more) => ({ rooms: ["r1", "r2"], data: '{"n":1}', taken: true, ...more });

test("a socket that was there before: id, rooms, data; its rooms are not sent back", async (t) => {
  const { edge, io } = await start(t);
  let ran = 0;
  io.use((socket, next) => {
    ran++;
    assert.equal(socket.recovered, true);
    assert.deepEqual([...socket.rooms], ["r1", "r2"]);
    socket.leave("r2");
    next();
  });
  const came = once(io, "connection");
  await edge.join(1, { state: state() });
  const [socket] = await came;
  assert.equal(socket.id, "sid-1");
  assert.deepEqual(socket.data, { n: 1 });
  assert.deepEqual([...socket.rooms].sort(), ["r1", "sid-1"]);
  assert.equal(socket.handshake.issued, 1_600_000_000_000);
  assert.equal(ran, 1);
  socket.emit("end");
  await edge.message(35);
  assert.deepEqual(edge.log.slice(0, -1), [[33, 1], [39, 1, ["r2"]]]);
});

test("middlewares are skipped for it if the server has recovery, and not if it says otherwise", async (t) => {
  for (const [skipMiddlewares, runs] of [[undefined, 0], [false, 1]]) {
    const { edge, io } = await start(t, { server: { connectionStateRecovery: skipMiddlewares === undefined ? {} : { skipMiddlewares } } });
    let ran = 0;
    io.use((socket, next) => {
      ran++;
      next();
    });
    await edge.join(1, { state: state({ taken: false }), auth: '{"pid":"p","offset":"o"}' });
    assert.equal(ran, runs);
    assert.equal(io.sockets.sockets.get("sid-1").recovered, true);
    await edge.join(2, { auth: '{"pid":"p","offset":"o"}' });
    assert.equal(ran, runs + 1);
    assert.equal(io.sockets.sockets.get("sid-2").recovered, false);
  }
});

test("with recovery, an emit to a socket goes to it alone", async (t) => {
  const { edge, io } = await start(t, { server: { connectionStateRecovery: {} } });
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  socket.emit("a", 1);
  const answer = socket.emitWithAck("b");
  const [a, b] = await edge.until(() => edge.all(35).length === 2 && edge.all(35));
  assert.deepEqual(a, [35, 1, 0, null, '["a",1]']);
  edge.send([5, 1, b[3], "[7]"]);
  assert.equal(await answer, 7);
  await assert.rejects(socket.timeout(10).emitWithAck("c"));
  io.to("sid-1").to("x").emit("d");
  await edge.message(37);
});

test("events that come before a socket is in wait for its handlers", async (t) => {
  const { edge, io } = await start(t);
  const got = [];
  let let_;
  io.use((socket, next) => (let_ = next));
  io.on("connection", (socket) => socket.on("n", (n) => got.push(n)));
  edge.send(edge.open(1), [3, 1, 1, "/", "sid-1", "{}", state()], [4, 1, null, '["n",1]'], [4, 1, null, '["n",2]']);
  await edge.until(() => let_ !== undefined || edge.lastAck === 1);
  edge.send([4, 1, null, '["n",3]']);
  await edge.until(() => edge.lastAck === 2);
  let_();
  await edge.message(33);
  edge.send([4, 1, null, '["n",4]']);
  await edge.until(() => edge.lastAck === 3);
  assert.deepEqual(got, [1, 2, 3, 4]);
});

test("a client that leaves while middlewares run is never in", async (t) => {
  for (const nsp of ["/", "/dyn-1"]) {
    for (const recovery of [undefined, {}]) {
      const { edge, io } = await start(t, { server: { connectionStateRecovery: recovery } });
      const waiting = [];
      let came = 0;
      const checked = (socket, next) => waiting.push(next);
      io.use(checked);
      io.of((name, auth, next) => setImmediate(() => next(null, name === "/dyn-1"))).use(checked).on("connection", () => came++);
      io.on("connection", () => came++);
      edge.send(edge.open(1), [3, 1, 1, nsp, "sid-1", "{}"], [6, 1, "client namespace disconnect", false]);
      await edge.message(46, 1);
      // The same again, which is in.
      edge.send([3, 1, 2, nsp, "sid-2", "{}"]);
      await edge.until(() => edge.lastAck === 2 && waiting.length >= 1);
      for (const next of waiting.splice(0)) next();
      await new Promise((resolve) => setTimeout(resolve, 5));
      for (const next of waiting.splice(0)) next();
      await edge.message(33, 2);
      assert.equal(came, 1);
      assert.deepEqual([...io.of(nsp).sockets.keys()], ["sid-2"]);
      assert.equal(edge.find(33, 1), undefined);
      assert.equal(io.of(nsp).adapter.sids.size, 1);
    }
  }
});

test("data is sent when a socket is in, and with its end", async (t) => {
  const { edge, io } = await start(t);
  io.use((socket, next) => {
    socket.data.user = "u";
    next();
  });
  io.on("connection", (socket) => {
    socket.data.at = new Date(0);
    socket.on("set", (k, v) => (socket.data[k] = v));
  });
  await edge.join(1);
  assert.deepEqual(await edge.message(45), [45, 1, '{"user":"u","at":"1970-01-01T00:00:00.000Z"}']);
  edge.send([4, 1, null, '["set","x",1]']);
  edge.send([6, 1, "transport close", true]);
  const gone = await edge.message(46);
  assert.equal(JSON.parse(gone[2]).x, 1);
  assert.equal(edge.all(45).length, 1);
});

test("eager: data is sent behind each change, of handlers and of timers", async (t) => {
  const { edge, io } = await start(t, { settings: { data: "eager" } });
  io.on("connection", (socket) => {
    socket.on("set", (k, v) => (socket.data[k] = v));
    socket.on("no", () => {});
  });
  await edge.join(1);
  edge.send([4, 1, null, '["no"]'], [4, 1, null, '["set","a",1]'], [4, 1, null, '["set","b",2]']);
  edge.send([4, 1, null, '["no"]'], [4, 1, null, '["set","a",1]']);
  await edge.until(() => edge.lastAck === 3);
  assert.deepEqual(edge.all(45), [[45, 1, '{"a":1,"b":2}']]);
  io.sockets.sockets.get("sid-1").data.later = true;
  assert.equal((await edge.until(() => edge.all(45)[1]))[2], '{"a":1,"b":2,"later":true}');
});

test("eager: what a timer emits, and notes in the data, is one batch", async (t) => {
  const { edge, io } = await start(t, { settings: { data: "eager" } });
  io.on("connection", () => {});
  await edge.join(1);
  await edge.join(2); // data is looked at socket by socket
  const socket = io.sockets.sockets.get("sid-1");
  const batches = edge.batches.length;
  socket.data.told = 1;
  socket.emit("told", 1);
  await edge.until(() => edge.all(45)[0]);
  assert.deepEqual(edge.batches.slice(batches).map(([, messages]) => messages), [[[35, 1, 0, null, '["told",1]'], [45, 1, '{"told":1}']]]);
});

test("data that is too much, or is no JSON, is not sent, and that is told", async (t) => {
  const { edge, io, bridge } = await start(t);
  const errors = [];
  bridge.on("error", (err) => errors.push(err.message));
  io.on("connection", (socket) => {
    if (socket.id === "sid-1") socket.data.x = "x".repeat(2000);
    else socket.data.self = socket.data;
  });
  await edge.join(1);
  await edge.join(2);
  edge.send([6, 1, "transport close", true]);
  assert.deepEqual(await edge.message(46), [46, 1]);
  assert.equal(edge.find(45), undefined);
  assert.equal(errors.length, 2);
  assert.match(errors[0], /max_data/);
  assert.match(errors[1], /circular/);
});
