"use strict";

const test = require("node:test");
const assert = require("node:assert");
const path = require("node:path");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { start, FakeEdge, KEY } = require("./edge");

test("drain: draining, what is owed, hand over, and no disconnect", async (t) => {
  const { edge, io, bridge } = await start(t);
  const log = [];
  let finish;
  io.on("connection", (socket) => {
    socket.data.n = socket.id;
    socket.join("r");
    socket.on("slow", (cb) => (finish = () => cb("late")));
    socket.on("disconnect", (r) => log.push(r));
  });
  await edge.join(1);
  await edge.join(2);
  edge.send([4, 1, 5, '["slow"]']);
  await edge.until(() => finish);
  const drained = bridge.drain();
  await edge.message(48);
  edge.send([4, 2, null, '["last"]'], [12]);
  await edge.until(() => edge.lastAck === edge.session.sent.length);
  assert.equal(edge.find(49), undefined);
  finish();
  await edge.message(50);
  const code = edge.until(() => edge.closeCode);
  await drained;
  const tail = edge.log.slice(edge.log.findIndex((m) => m[0] === 36));
  assert.deepEqual(tail, [[36, 1, 5, '["late"]'], [49, 1, '{"n":"sid-1"}'], [49, 2, '{"n":"sid-2"}'], [50]]);
  assert.equal(edge.find(39), undefined);
  assert.deepEqual(log, []);
  assert.equal(io.sockets.sockets.size, 0);
  assert.equal(io.engine.clientsCount, 0);
  assert.equal(await code, 1000);
});

test("drain: settle is over, and a handler that answers later still does", async (t) => {
  const { edge, io, bridge } = await start(t);
  io.on("connection", (socket) => {
    socket.on("slow", (cb) => {
      edge.message(50).then(() => {
        cb("late");
        socket.emit("late");
        socket.join("nowhere");
        edge.autoAck = true;
        edge.ws.send(require("@msgpack/msgpack").encode([edge.session.got]));
      });
    });
  });
  await edge.join(1);
  edge.send([4, 1, 5, '["slow"]']);
  await edge.until(() => edge.lastAck === 2);
  edge.autoAck = false; // so that the link stays
  const drained = bridge.drain({ settle: 10 });
  await edge.message(48);
  edge.send([12]);
  await drained;
  await edge.until(() => edge.find(35));
  assert.deepEqual(edge.log.slice(-4), [[49, 1, "{}"], [50], [36, 1, 5, '["late"]'], [35, 1, 0, null, '["late"]']]);
});

test("drain: a socket whose middlewares take longer than settle is not in here", async (t) => {
  const { edge, io, bridge } = await start(t, { options: { settle: 10 } });
  let came = 0;
  let go;
  io.use((socket, next) => (go = next));
  io.on("connection", () => came++);
  edge.send(edge.open(1), [3, 1, 1, "/", "sid-1", "{}"]);
  await edge.until(() => edge.lastAck === 1);
  edge.autoAck = false;
  const drained = bridge.drain();
  await edge.message(48);
  edge.send([12]);
  await edge.message(50);
  go();
  await new Promise((resolve) => setImmediate(resolve));
  edge.ws.send(require("@msgpack/msgpack").encode([edge.session.got]));
  await drained;
  assert.deepEqual(edge.log, [[48], [50]]);
  assert.equal(came, 0);
  assert.equal(io.sockets.sockets.size, 0);
});

test("drain: with disconnectOnHandover handlers are told", async (t) => {
  const { edge, io, bridge } = await start(t, { options: { disconnectOnHandover: true } });
  const log = [];
  io.on("connection", (socket) => socket.on("disconnect", (r) => log.push(r)));
  await edge.join(1);
  const drained = bridge.drain();
  await edge.message(48);
  edge.send([12]);
  await drained;
  assert.deepEqual(log, ["server shutting down"]);
  assert.deepEqual(edge.log.slice(-3), [[48], [49, 1, "{}"], [50]]);
});

test("drain: it is aborted, or an edge is gone", async (t) => {
  const { edge, bridge } = await start(t);
  await edge.join(1);
  await bridge.drain({ signal: AbortSignal.abort() });
  assert.deepEqual(edge.log.slice(-3), [[48], [49, 1, "{}"], [50]]);

  const two = await start(t, { settings: { grace: 20 } });
  two.edge.refuse = { status: 503, detail: "" };
  two.edge.cut();
  await two.bridge.drain();
});

test("close, and the server's: connections are closed, and the link ends", async (t) => {
  for (const how of ["bridge", "io"]) {
    const { edge, io, bridge } = await start(t);
    await edge.join(1);
    const [socket] = io.sockets.sockets.values();
    socket.join("r");
    const reasons = [];
    socket.on("disconnect", (r) => reasons.push(r));
    const code = edge.until(() => edge.closeCode);
    if (how === "io") io.close();
    await bridge.close();
    assert.equal(await code, 1000);
    assert.deepEqual(edge.log, [[33, 1], [38, 1, ["r"]], [43, 1]]);
    assert.deepEqual(reasons, [how === "io" ? "server shutting down" : "forced close"]);
  }
});

test("drainOn: a signal drains, and then the process exits", async (t) => {
  const edge = await new FakeEdge().listen();
  t.after(() => edge.close());
  const script = `
    const io = new (require("socket.io").Server)();
    require(${JSON.stringify(path.join(__dirname, "../.."))}).attach(io, { edges: [${JSON.stringify(edge.url)}], key: ${JSON.stringify(KEY)}, drainOn: ["SIGTERM", "SIGUSR2"] });`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "inherit", "inherit"], cwd: __dirname });
  const exited = once(child, "exit");
  await edge.until(() => edge.session);
  await edge.join(1);
  child.kill("SIGTERM");
  await edge.message(48);
  edge.send([12]);
  assert.deepEqual(await exited, [0, null]);
  assert.deepEqual(edge.log.slice(-3), [[48], [49, 1, "{}"], [50]]);
});
