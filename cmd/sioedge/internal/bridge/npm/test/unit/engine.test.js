"use strict";

const test = require("node:test");
const assert = require("node:assert");
const http = require("node:http");
const { once } = require("node:events");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const defaultParser = require("socket.io-parser");
const { start } = require("./edge");

test("the engine: connections, middlewares, and what they refuse", async (t) => {
  const { edge, io } = await start(t);
  const seen = [];
  io.engine.use((req, res, next) => {
    seen.push([req.method, req.headers.host, req._query.who, req._query.sid]);
    res.setHeader("x-session", "1");
    if (req._query.who === "nobody") return res.writeHead(401).end();
    if (req._query.who === "error") return next(new Error("no"));
    setImmediate(() => {
      req.session = { user: "u" };
      next();
    });
  });
  const conns = [];
  io.engine.on("connection", (conn) => conns.push(conn.id));
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  assert.deepEqual(seen, [["GET", "example.com", "me", undefined]]);
  assert.equal(socket.request.session.user, "u");
  edge.send(edge.open(2, { url: "/?who=nobody" }), [3, 2, 2, "/", "sid-2", "{}"], edge.open(3, { url: "/?who=error" }), [3, 3, 3, "/", "sid-3", "{}"]);
  await edge.message(43, 2);
  await edge.message(43, 3);
  assert.deepEqual(conns, ["eio-1"]);
  assert.equal(io.engine.clientsCount, 1);
  const upgraded = once(socket.conn, "upgrade");
  edge.send(edge.open(4, { transport: "polling" }), [3, 4, 4, "/", "sid-4", "{}"], [11, 1, "polling"]);
  assert.equal((await upgraded)[0].name, "polling");
  edge.send([7, 1, "ping timeout"]);
  await edge.until(() => edge.lastAck === edge.session.sent.length);
  assert.equal(socket.connected, false);
  assert.equal(socket.conn.readyState, "closed");
});

test("an application lets requests go, as socket.io advises for many connections", async (t) => {
  const { edge, io } = await start(t);
  io.engine.on("connection", (conn) => { conn.request = null; });
  await edge.join(1);
  const [socket] = io.sockets.sockets.values();
  assert.equal(socket.conn.request, null);
  assert.equal(socket.handshake.address, socket.conn.remoteAddress);
  assert.equal(typeof socket.handshake.address, "string");
  assert.deepEqual(socket.handshake.headers, {}); // as without an edge
  assert.equal(socket.conn.upgraded, false);
});

// direct gives clients without an edge, of a server that listens.
async function direct(t, server, url) {
  const client = connect(url, { transports: ["websocket"], reconnection: false, ...server });
  t.after(() => client.disconnect());
  await once(client, "connect");
  return client;
}

test("clients without an edge go on beside, whichever was attached first", async (t) => {
  for (const first of ["http", "bridge"]) {
    const web = http.createServer();
    const { edge, io } = await start(t, { prepare: (io) => first === "http" && io.attach(web) });
    const conns = [];
    io.engine.on("connection", (conn) => conns.push(conn));
    if (first === "bridge") io.attach(web);
    await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
    await edge.join(1);
    const client = await direct(t, {}, `http://127.0.0.1:${web.address().port}`);
    await edge.until(() => edge.find(51));
    assert.equal(edge.find(51)[1].direct, true);
    assert.equal(io.engine.clientsCount, 2);
    assert.equal(conns.length, 2);
    const socket = io.sockets.sockets.get(client.id);
    socket.join("r");
    const got = [];
    client.on("e", (n, cb) => {
      got.push(n);
      if (cb) cb(n);
    });
    io.emit("e", 1);
    io.to("r").emit("e", 2);
    io.except("r").emit("e", 3);
    const answers = io.timeout(5000).emitWithAck("e", 4);
    const asked = await edge.until(() => edge.all(37)[3]);
    edge.send([8, asked[5], true, 1, [["[5]"]]]);
    assert.deepEqual((await answers).sort(), [4, 5]);
    assert.deepEqual(got, [1, 2, 4]);
    assert.equal(edge.find(38), undefined);
    // Of another process, only for clients without an edge.
    const { encode } = require("@msgpack/msgpack");
    edge.log.length = 0;
    const packet = { type: 2, nsp: "/", data: ["e", 6] };
    edge.send([10, "p2", "/", encode({ type: 3, data: { packet, opts: { rooms: [], except: [], flags: {} } } })]);
    await once(client, "e");
    assert.deepEqual(edge.all(35), []);
    io.in("r").disconnectSockets(true);
    await once(client, "disconnect");
    await edge.until(() => edge.all(51).some((m) => m[1].direct === false));
    assert.equal(io.engine.clientsCount, 1);
    io.close();
  }
});

test("broadcasts are relayed to processes that have clients without an edge", async (t) => {
  const { edge, io } = await start(t);
  edge.send([9, [["p2", ["/"], true], ["p3", ["/"], false]]]);
  await edge.until(() => edge.lastAck === 1);
  io.to("r").emit("x", 1);
  const [, uids] = await edge.message(47);
  assert.deepEqual(uids, ["p2"]);
  assert.equal(edge.all(37).length, 1);
});

// A parser that is JSON of the whole packet.
class Encoder {
  encode(packet) {
    return [JSON.stringify(packet)];
  }
}
class Decoder extends defaultParser.Decoder {
  add(s) {
    this.emitReserved("decoded", JSON.parse(s));
  }
}

test("a server with another parser speaks it with its own clients, and the default with edges", async (t) => {
  const web = http.createServer();
  const parser = { Encoder, Decoder };
  const { edge, io } = await start(t, { server: { parser }, prepare: (io) => io.attach(web) });
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  io.on("connection", (socket) => socket.on("echo", (v, cb) => cb(v)));
  await edge.join(1);
  const client = await direct(t, { parser }, `http://127.0.0.1:${web.address().port}`);
  assert.equal(await client.emitWithAck("echo", 1), 1);
  edge.send([4, 1, 3, '["echo",2]']);
  assert.deepEqual(await edge.message(36), [36, 1, 3, "[2]"]);
  const got = once(client, "all");
  io.emit("all", 3);
  assert.equal((await edge.message(37))[7], '["all",3]');
  assert.equal((await got)[0], 3);
  const local = once(client, "local");
  io.local.emit("local", 4);
  assert.equal((await edge.message(35))[4], '["local",4]');
  assert.equal((await local)[0], 4);
  io.close();
});

test("an idle client costs no timer, and few bytes beside socket.io's own", async (t) => {
  const { edge, io } = await start(t, { settings: { window: 64 << 20, max_message: 16 << 20 } });
  for (let i = 1; i <= 100; i++) edge.send(edge.open(i), [3, i, i, "/", `sid-${i}`, "{}"]);
  await edge.until(() => edge.all(33).length === 100);
  const conn = io.sockets.sockets.get("sid-50").conn;
  assert.equal(conn.waiting, null);
  assert.equal(conn.recs.length, 1);
  assert.equal(conn.recs[0].state, null);
  assert.equal(Object.keys(conn.request).length <= 4, true);
  assert.equal(conn.transport, io.sockets.sockets.get("sid-51").conn.transport);
});
