"use strict";
// What an application of two processes may rely on: scenarios for two servers, each with a
// link of its own.

const { assert, once, within } = require("./harness.js");
const { until } = require("../edge.js");

const together = [];
const scenario = (name, run, since = "4.4") => together.push({ name, run, since });

// spread has clients until both servers have one, and returns one of each with its socket.
async function spread(t) {
  const sides = [t.of(), t.other.of(t.name)];
  await until("both to know each other", async () => (await serverCount(sides[0])) === 2);
  const found = [];
  for (let i = 0; i < 20 && !(found[0] && found[1]); i++) {
    const client = t.client();
    await once(client, "connect");
    const side = sides.findIndex((nsp) => nsp.sockets.has(client.id));
    assert.notEqual(side, -1);
    if (found[side]) client.disconnect();
    else found[side] = { client, nsp: sides[side], socket: sides[side].sockets.get(client.id) };
  }
  assert.ok(found[0] && found[1], "both servers get clients");
  return found;
}

// serverCount asks a namespace's adapter how many processes there are.
const serverCount = (nsp) => nsp.adapter.serverCount();

scenario("each process gets clients, and broadcasts reach those of both", async (t) => {
  const [a, b] = await spread(t);
  a.socket.join("r");
  b.socket.join("r");
  await t.settled(b); // each process has an order of its own
  const got = t.got([a.client, b.client], "to");
  a.nsp.emit("to", "all");
  a.nsp.to("r").emit("to", "room", Buffer.from([1]));
  a.socket.broadcast.emit("to", "others");
  a.nsp.to(b.socket.id).emit("to", "b");
  a.nsp.except("r").emit("to", "nobody");
  a.nsp.emit("end");
  assert.deepEqual(await got, [["all", ["room", Buffer.from([1])]], ["all", ["room", Buffer.from([1])], "others", "b"]]);
});

scenario("serverSideEmit, with and without answers", async (t) => {
  const [a, b] = await spread(t);
  const plain = once(b.nsp, "told"), own = [];
  a.nsp.on("told", () => own.push("told"));
  b.nsp.on("asked", (x, answer) => answer([x, "b"]));
  a.nsp.serverSideEmit("told", 1, { a: "é" });
  assert.deepEqual(await plain, [1, { a: "é" }]);
  const [err, answers] = await within("answers", new Promise((resolve) => a.nsp.serverSideEmit("asked", 2, (...args) => resolve(args))));
  assert.deepEqual([err, answers, own], [null, [[2, "b"]], []]);
});

scenario("serverSideEmitWithAck", async (t) => {
  const [a, b] = await spread(t);
  b.nsp.on("asked", (x, answer) => answer(x + 1));
  assert.deepEqual(await within("answers", a.nsp.serverSideEmitWithAck("asked", 1)), [2]);
}, "4.6");

scenario("sockets of the other process are fetched, and can be used", async (t) => {
  const [a, b] = await spread(t);
  b.socket.data.name = "b";
  b.socket.join("r");
  const all = await within("sockets", a.nsp.fetchSockets());
  assert.deepEqual(all.map((s) => s.id).sort(), [a.socket.id, b.socket.id].sort());
  const [remote] = await within("sockets", a.nsp.in("r").fetchSockets());
  assert.deepEqual([remote.id, remote.data, [...remote.rooms].sort()], [b.socket.id, { name: "b" }, [b.socket.id, "r"].sort()]);
  assert.equal(remote.handshake.query.EIO, "4");
  const came = once(b.client, "hello");
  remote.emit("hello", 1);
  assert.deepEqual(await came, [1]);
  remote.join("s");
  await until("the room to be joined", () => b.socket.rooms.has("s"));
  remote.leave("s");
  await until("the room to be left", () => !b.socket.rooms.has("s"));
  const left = once(b.socket, "disconnect");
  remote.disconnect();
  assert.equal((await left)[0], "server namespace disconnect");
  assert.deepEqual([...await within("ids", a.nsp.allSockets())], [a.socket.id]);
});

scenario("socketsJoin, socketsLeave and disconnectSockets reach both", async (t) => {
  const [a, b] = await spread(t);
  a.nsp.socketsJoin("r");
  const got = t.got([a.client, b.client], "to");
  a.nsp.to("r").emit("to", "r");
  await until("b to know", () => b.socket.rooms.has("r"));
  a.nsp.in(b.socket.id).socketsLeave("r");
  a.nsp.to("r").emit("to", "a alone");
  a.nsp.emit("end");
  assert.deepEqual(await got, [["r", "a alone"], ["r"]]);
  await until("b to know", () => !b.socket.rooms.has("r"));
  const gone = [once(a.client, "disconnect"), once(b.client, "disconnect")];
  b.nsp.disconnectSockets();
  assert.deepEqual((await Promise.all(gone)).map(([reason]) => reason), ["io server disconnect", "io server disconnect"]);
});

scenario("clients of both answer a broadcast", async (t) => {
  const [a, b] = await spread(t);
  a.client.on("ask", (answer) => answer("a"));
  b.client.on("ask", (answer) => answer("b"));
  const [err, answers] = await within("answers", new Promise((resolve) => a.nsp.timeout(10_000).emit("ask", (...args) => resolve(args))));
  assert.deepEqual([err, answers.sort()], [null, ["a", "b"]]);
}, "4.5");

module.exports = { together };
