"use strict";
// What an application may rely on whose clients come back: scenarios for one process, with
// recovery on, which is of socket.io 4.6 and later.

const { assert, once } = require("./harness.js");
const { until } = require("../edge.js");

const recovery = [];
const scenario = (name, run, since = "4.6") => recovery.push({ name, run, since });

// lost has a client lose its connection, and returns what it gets from then on.
async function lost({ client, socket }) {
  const first = once(client, "n"), left = once(socket, "disconnect");
  socket.emit("n", 0);
  await first;
  const all = [];
  client.on("n", (n) => all.push(n));
  client.io.engine.transport.ws.terminate();
  assert.match((await left)[0], /^transport (close|error)$/);
  return all;
}

scenario("a client that comes back has its id, rooms and data, and gets what it missed", async (t) => {
  const pair = await t.pair({ reconnectionDelay: 200 }), { client, socket } = pair;
  assert.equal(socket.recovered, false);
  let used = 0;
  t.of().use((socket, next) => { used++; next(); });
  socket.join("r");
  socket.data = { name: "é", list: [1] };
  const all = await lost(pair);
  assert.equal(t.of().sockets.size, 0);
  const back = once(t.of(), "connection"), again = once(client, "connect");
  t.of().to("r").emit("n", 1);
  t.of().emit("n", 2, Buffer.from([1]));
  t.of().to(socket.id).emit("n", 3);
  t.of().except("r").emit("n", "not for it");
  const [second] = await back;
  await again;
  assert.deepEqual([second.id, second.recovered, client.recovered, client.id, used], [socket.id, true, true, socket.id, 0]);
  assert.deepEqual([[...second.rooms].sort(), second.data], [[socket.id, "r"].sort(), { name: "é", list: [1] }]);
  second.emit("n", 4);
  await until("what was missed", () => all.length === 4);
  assert.deepEqual(all, [1, 2, 3, 4]);
  const answered = once(second, "still");
  client.emit("still", 1);
  assert.deepEqual(await answered, [1]);
});

scenario("a client that left by itself is not recovered", async (t) => {
  const { client, socket } = await t.pair();
  socket.data.name = "a";
  const left = once(socket, "disconnect");
  client.disconnect();
  await left;
  const back = once(t.of(), "connection");
  client.connect();
  const [second] = await back;
  assert.deepEqual([second.recovered, second.data, second.id === socket.id], [false, {}, false]);
});

scenario("one that the application disconnected is not recovered", async (t) => {
  const { client, socket } = await t.pair();
  const gone = once(client, "disconnect");
  socket.disconnect(true);
  await gone;
  const back = once(t.of(), "connection");
  client.connect();
  assert.equal((await back)[0].recovered, false);
});

module.exports = { recovery };
