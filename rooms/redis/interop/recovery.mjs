// A client of the npm package leaves one server of a cluster, and comes back to
// another: servers of Node are made here, ours are named in the arguments.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const o = JSON.parse(process.argv[2]);
const url = `redis://${o.redis}`;
const redis = await createClient({ url }).connect();

async function nodeServer() {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(await createClient({ url }).connect()), connectionStateRecovery: {} });
  io.on("connection", (socket) => {
    socket.on("begin", async (room, data, ack) => {
      await socket.join(room);
      socket.data = data;
      ack();
    });
    socket.on("who", (ack) => ack({ rooms: [...socket.rooms], data: socket.data, recovered: socket.recovered }));
    socket.on("say", (to, except, volatile, event, args, ack) => {
      let op = io.to(to).except(except);
      if (volatile) op = op.volatile;
      op.emit(event, ...args);
      ack();
    });
  });
  await new Promise((done) => http.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${http.address().port}`;
}

const servers = { node0: await nodeServer(), node1: await nodeServer(), ours0: o.ours[0], ours1: o.ours[1] };

async function until(what, ok) {
  for (const end = Date.now() + 20_000; !(await ok()); await new Promise((f) => setTimeout(f, 5))) {
    if (Date.now() > end) throw new Error(`${what} did not happen`);
  }
}

function client(name) {
  const socket = connect(servers[name], { transports: ["websocket"], reconnection: false, forceNew: true });
  socket.noted = [];
  socket.onAny((event, ...args) => socket.noted.push([event, args[0]]));
  return new Promise((done, fail) => {
    socket.once("connect", () => done(socket));
    socket.once("connect_error", fail);
  });
}

async function scenario(from, to, helper) {
  const a = await client(from);
  const h = await client(helper);
  const say = (rooms, except, volatile, event, ...args) => h.emitWithAck("say", rooms, except, volatile, event, args);
  const { id } = a;
  await a.emitWithAck("begin", "r", { user: { n: "bob" } });
  // Those that have just begun may not read yet.
  await until("the first event", async () => {
    await say(["r"], [], false, "first", 0);
    await new Promise((f) => setTimeout(f, 20));
    return a.noted.length > 0;
  });
  await say(["r"], [], false, "fence", 1);
  await until("the fence", () => a.noted.some(([event]) => event === "fence"));
  if (from.startsWith("ours")) {
    await say(["r"], [], true, "volatile", "text");
    await until("the volatile event", () => a.noted.some(([event]) => event === "volatile"));
  }
  const pid = a._pid;
  a.io.engine.close();
  await until("saving", () => redis.exists(`sio:session:${pid}`));
  a.noted = [];
  await say([], [], false, "all", 1);
  await say(["r"], [], false, "room", 2);
  await say(["other"], [], false, "other room", 3);
  await say(["r"], [id], false, "excluded", 4);
  await say([id], [], false, "direct", { deep: ["é", null] });
  if (to.startsWith("ours")) await say(["r"], [], true, "volatile", 5); // Node replays it
  await say(["r"], [], false, "bytes", Buffer.from([1, 2]));
  await say(["r"], [], false, "last", 6);
  // What has been emitted by Node is on its way.
  await until("the last event", async () => (await redis.xRevRange("socket.io", "+", "-", { COUNT: 1 }))[0].message.data.includes('"last"'));
  a.io.uri = servers[to];
  a.connect();
  await until("coming back", () => a.connected);
  assert.equal(a.recovered, true, "recovered");
  assert.equal(a.id, id, "the id");
  await until("the last event", () => a.noted.some(([event]) => event === "last"));
  const missed = [["all", 1], ["room", 2], ["direct", { deep: ["é", null] }], ["bytes", Buffer.from([1, 2])], ["last", 6]];
  assert.deepEqual(a.noted, missed);
  const who = await a.emitWithAck("who");
  assert.deepEqual(who, { rooms: [id, "r"], data: { user: { n: "bob" } }, recovered: true });
  a.noted = [];
  await say([id], [], false, "live", 7);
  await until("the live event", () => a.noted.length > 0);
  assert.deepEqual(a.noted, [["live", 7]]);
  // Nobody gets the session a second time. Where its client is, it would be taken over.
  if (helper !== to) {
    const thief = connect(servers[helper], { transports: ["websocket"], reconnection: false, forceNew: true, auth: { pid, offset: a._lastOffset } });
    await until("the other client", () => thief.connected);
    assert.notEqual(thief.id, id, "the id of another client");
    thief.disconnect();
  }
  a.disconnect();
  h.disconnect();
}

for (const [from, to] of [["node0", "ours0"], ["ours0", "node0"], ["ours0", "ours1"], ["node0", "node1"]]) {
  for (const helper of ["node1", "ours1"]) {
    try {
      await scenario(from, to, helper);
      console.log(`ok ${from} to ${to}, ${helper} emits`);
    } catch (err) {
      console.log(`not ok ${from} to ${to}, ${helper} emits: ${err.stack}`);
      process.exitCode = 1;
    }
  }
}
process.exit();
