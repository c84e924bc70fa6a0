"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { start, FakeEdge, KEY } = require("./edge");
const { Server } = require("socket.io");
const { MessageType } = require("socket.io-adapter");
const { attach } = require("../../");
const { encode, decode } = require("@msgpack/msgpack");

const peer = (edge, type, data, uid = "p2", nsp = "/") => [10, uid, nsp, encode({ type, data })];

test("a broadcast with acknowledgements, of two edges", async (t) => {
  const edges = [await new FakeEdge().listen(), await new FakeEdge().listen()];
  const io = new Server();
  const bridge = attach(io, { edges: edges.map((e) => e.url), key: KEY, log: false });
  t.after(() => Promise.all([bridge.close(), ...edges.map((e) => e.close())]));
  await bridge.ready();
  const answered = io.to("r").timeout(5000).emitWithAck("q", 1);
  const asked = await Promise.all(edges.map((e) => e.message(37)));
  assert.deepEqual(asked[0], [37, "/", ["r"], [], 0, 0, 5000, '["q",1]']);
  edges[0].send([8, 0, false, 0, [["[1]"], ['[{"_placeholder":true,"num":0}]', Uint8Array.of(7)]]]);
  edges[0].send([8, 0, true, 3, [["[3]"]]]);
  edges[1].send([8, 0, true, 1, [['["four"]']]]);
  const answers = await answered;
  assert.deepEqual(answers.map(String).sort(), ["\u0007", "1", "3", "four"].sort());
  assert.equal(bridge.requests.size, 0);

  // One client leaves without an answer: it is an error, as in Node, with the answers that there are.
  const failed = io.timeout(1000).emitWithAck("q", 2);
  const [a] = await Promise.all(edges.map((e) => e.until(() => e.all(37)[1])));
  edges[0].send([8, a[5], true, 2, [["[1]"]]]);
  await assert.rejects(failed, (err) => {
    assert.deepEqual(err.responses, [1]);
    return true;
  });
  // And who has not said that it is done is told that nobody waits any more.
  assert.deepEqual(await edges[1].message(52), [52, a[5]]);
  assert.equal(edges[0].find(52), undefined);
});

test("sockets of all edges join, leave and are disconnected, and other processes follow", async (t) => {
  const { edge, io } = await start(t);
  edge.send([9, [["p2", ["/"], false], ["p3", ["/other"], false]]]);
  await edge.join(1);
  edge.log.length = 0;
  io.socketsJoin(["a", "b"]);
  io.in("a").socketsLeave("b");
  io.in("a").disconnectSockets();
  await edge.message(44);
  const seen = edge.log.map((m) => (m[0] === 47 ? [47, m[1], m[2], decode(m[3]).type] : m));
  assert.deepEqual(seen, [
    [40, "/", [], [], ["a", "b"]], [47, ["p2"], "/", MessageType.SOCKETS_JOIN],
    [41, "/", ["a"], [], ["b"]], [47, ["p2"], "/", MessageType.SOCKETS_LEAVE], [44, "/", ["a"], [], false],
  ]);

  await edge.join(2);
  edge.log.length = 0;
  const socket = io.sockets.sockets.get("sid-2");
  edge.send(peer(edge, MessageType.SOCKETS_JOIN, { opts: { rooms: [], except: [], flags: {} }, rooms: ["x", "y"] }));
  edge.send(peer(edge, MessageType.SOCKETS_LEAVE, { opts: { rooms: ["x"], except: [], flags: {} }, rooms: ["y"] }));
  edge.send([4, 2, null, '["end"]']);
  await edge.until(() => edge.lastAck === edge.session.sent.length);
  assert.deepEqual([...socket.rooms], ["sid-2", "x"]);
  assert.deepEqual(edge.log, []);
});

test("fetchSockets and allSockets are of all processes; one that goes is not waited for", async (t) => {
  const { edge, io } = await start(t);
  edge.send([9, [["p2", ["/"], false], ["p3", ["/"], false]]]);
  await edge.join(1);
  const found = io.fetchSockets();
  const [, uids, , payload] = await edge.message(47);
  assert.deepEqual(uids, ["p2", "p3"]);
  const { type, data } = decode(payload);
  assert.equal(type, MessageType.FETCH_SOCKETS);
  const remote = { id: "sid-9", handshake: { url: "/" }, rooms: ["sid-9", "r"], data: { at: new Date(0) } };
  const answer = { requestId: data.requestId, sockets: [remote] };
  edge.send(peer(edge, MessageType.FETCH_SOCKETS_RESPONSE, answer), peer(edge, MessageType.FETCH_SOCKETS_RESPONSE, answer));
  edge.send([9, [["p2", ["/"], false]]]);
  const sockets = await found;
  assert.deepEqual(sockets.map((s) => s.id), ["sid-1", "sid-9"]);
  assert.deepEqual([...sockets[1].rooms], ["sid-9", "r"]);
  sockets[1].emit("hi");
  assert.deepEqual((await edge.message(37)).slice(1, 3), ["/", ["sid-9"]]);

  // What this process is asked.
  io.sockets.sockets.get("sid-1").data.x = 1n;
  edge.log.length = 0;
  edge.send(peer(edge, MessageType.FETCH_SOCKETS, { requestId: "q", opts: { rooms: [], except: [], flags: {} } }));
  await edge.until(() => edge.lastAck === edge.session.sent.length);
  assert.equal(edge.find(47), undefined); // It cannot be sent; the other's time runs out.
  io.sockets.sockets.get("sid-1").data = { f() {}, y: 1 };
  edge.send(peer(edge, MessageType.FETCH_SOCKETS, { requestId: "q", opts: { rooms: [], except: [], flags: {} } }));
  const back = decode((await edge.message(47))[3]);
  assert.deepEqual(back.data.sockets[0].data, { y: 1 });
});

test("serverSideEmit, and with acknowledgements", async (t) => {
  const { edge, io } = await start(t);
  assert.deepEqual(await io.serverSideEmitWithAck("alone"), []);
  edge.send([9, [["p2", ["/"], false], ["p3", ["/"], false]]]);
  await edge.until(() => edge.lastAck === 1);
  const got = [];
  io.on("hello", (...args) => got.push(args));
  io.on("ping", (cb) => cb("pong"));
  io.serverSideEmit("hello", 1, Buffer.from([2]));
  const first = decode((await edge.message(47))[3]);
  assert.equal(first.data.packet[0], "hello");
  const answered = io.serverSideEmitWithAck("ping");
  const second = decode((await edge.until(() => edge.all(47)[1]))[3]);
  const of = (uid, packet) => peer(edge, MessageType.SERVER_SIDE_EMIT_RESPONSE, { requestId: second.data.requestId, packet }, uid);
  edge.send(of("p2", "a"), of("p2", "again"), of("p3", "b"));
  assert.deepEqual(await answered, ["a", "b"]);
  edge.send(peer(edge, MessageType.SERVER_SIDE_EMIT, { packet: ["hello", "x"] }), peer(edge, MessageType.SERVER_SIDE_EMIT, { packet: ["ping"], requestId: "r" }));
  const third = decode((await edge.until(() => edge.all(47)[2]))[3]);
  assert.deepEqual([third.data.packet, third.data.requestId], ["pong", "r"]);
  assert.deepEqual(got, [["x"]]);
});

test("namespaces that come and go are told", async (t) => {
  const { edge, io } = await start(t, { server: { cleanupEmptyChildNamespaces: true } });
  io.of("/late");
  io.of(/^\/room-\d+$/);
  assert.deepEqual((await edge.message(51))[1].namespaces, ["/", "/late"]);
  await edge.join(1, { nsp: "/room-1" });
  await edge.until(() => edge.all(51).some((m) => m[1].namespaces.includes("/room-1")));
  edge.log.length = 0;
  edge.send([6, 1, "client namespace disconnect", false]);
  assert.deepEqual((await edge.message(51))[1].namespaces, ["/", "/late"]);
});

test("no more namespaces are told than an edge takes, and who tells so many may have any", async (t) => {
  const { edge, io } = await start(t);
  for (let i = 0; i < 2000; i++) io.of(`/n${i}`);
  assert.equal((await edge.message(51))[1].namespaces.length, 1024);
  edge.send([9, [["p2", [...Array(1024).keys()].map((i) => `/x${i}`), false], ["p3", ["/"], false]]]);
  await edge.until(() => edge.lastAck === 1);
  io.of("/n1999").serverSideEmit("x");
  assert.deepEqual((await edge.message(47))[1], ["p2"]);
});

test("listeners of outgoing packets hear broadcasts that concern their socket", async (t) => {
  const { edge, io } = await start(t);
  await edge.join(1);
  await edge.join(2);
  const [one, two] = io.sockets.sockets.values();
  const heard = [];
  one.join("r");
  one.onAnyOutgoing((...args) => heard.push(["one", ...args]));
  two.prependAnyOutgoing((...args) => heard.push(["two", ...args]));
  io.emit("a");
  io.to("r").emit("b", 1);
  io.except("r").emit("c");
  two.emit("d");
  two.offAnyOutgoing();
  io.local.emit("e");
  assert.deepEqual(heard, [["one", "a"], ["two", "a"], ["one", "b", 1], ["two", "c"], ["two", "d"], ["one", "e"]]);
  await edge.until(() => edge.all(35).length === 3);
  assert.deepEqual(edge.all(35).map((m) => [m[1], m[4]]), [[2, '["d"]'], [1, '["e"]'], [2, '["e"]']]);
});
