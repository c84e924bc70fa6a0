// Rooms, broadcasts, exceptions, volatile events.

import assert from "node:assert/strict";
import { call, collect, eventually, fence, next, range } from "../harness.mjs";

// members connects n clients and collects what they get of the event.
async function members(t, n, event) {
  const sockets = await Promise.all(range(n).map(() => t.connect()));
  return { sockets, got: sockets.map((socket) => collect(socket, event)) };
}

// expect waits for all that was emitted and compares what each client has.
async function expect(sockets, got, want) {
  await fence(...sockets);
  assert.deepEqual(got.map((g) => g.items), want);
}

export default [
  {
    name: "a room is reached from the server and, without the sender, from a member",
    async run(t) {
      const event = t.name("event");
      const room = t.name("room");
      const { sockets, got } = await members(t, 3, event);
      await call(sockets[0], "join", [room]);
      await call(sockets[1], "join", [room]);
      await call(sockets[0], "cast", { from: "server", rooms: [room] }, event, ["all"]);
      await call(sockets[0], "cast", { from: "socket", rooms: [room] }, event, ["others"]);
      await expect(sockets, got, [["all"], ["all", "others"], []]);
    },
  },
  {
    name: "one need not be in a room to emit to it",
    async run(t) {
      const event = t.name("event");
      const room = t.name("room");
      const { sockets, got } = await members(t, 2, event);
      await call(sockets[1], "join", [room]);
      await call(sockets[0], "cast", { from: "socket", rooms: [room] }, event, ["in"]);
      await expect(sockets, got, [[], ["in"]]);
    },
  },
  {
    name: "the union of rooms reaches each member once",
    async run(t) {
      const event = t.name("event");
      const [a, b] = [t.name("a"), t.name("b")];
      const { sockets, got } = await members(t, 4, event);
      await call(sockets[0], "join", [a]);
      await call(sockets[1], "join", [b]);
      await call(sockets[2], "join", [a, b]);
      await call(sockets[3], "cast", { from: "server", rooms: [a, b, a, t.name("nobody")] }, event, [1]);
      await expect(sockets, got, [[1], [1], [1], []]);
    },
  },
  {
    name: "except takes rooms and single sockets away",
    async run(t) {
      const event = t.name("event");
      const [a, b] = [t.name("a"), t.name("b")];
      const { sockets, got } = await members(t, 3, event);
      for (const socket of sockets) await call(socket, "join", [a]);
      await call(sockets[1], "join", [b]);
      const emit = (opts, value) => call(sockets[0], "cast", { from: "server", ...opts }, event, [value]);
      await emit({ rooms: [a], except: [b] }, "not b");
      await emit({ rooms: [a], except: [sockets[2].id] }, "not 2");
      await emit({ rooms: [a, b], except: [a] }, "nobody");
      await emit({ rooms: [a], except: [t.name("empty")] }, "all");
      await expect(sockets, got, [["not b", "not 2", "all"], ["not 2", "all"], ["not b", "all"]]);
    },
  },
  {
    name: "a broadcast reaches the namespace, with and without the sender",
    async run(t) {
      const event = t.name("event");
      const { sockets, got } = await members(t, 3, event);
      await call(sockets[0], "cast", { from: "server" }, event, ["all"]);
      await call(sockets[0], "cast", { from: "socket" }, event, ["others"]);
      await call(sockets[0], "cast", { from: "socket", except: [sockets[1].id] }, event, ["third"]);
      await expect(sockets, got, [["all"], ["all", "others"], ["all", "others", "third"]]);
    },
  },
  {
    name: "the id of a socket is its own room",
    async run(t) {
      const event = t.name("event");
      const { sockets, got } = await members(t, 3, event);
      await call(sockets[0], "cast", { from: "socket", rooms: [sockets[1].id] }, event, ["private"]);
      await call(sockets[0], "cast", { from: "socket", rooms: [sockets[0].id] }, event, ["to myself"]);
      await expect(sockets, got, [[], ["private"], []]);
      assert.equal(await call(sockets[0], "count", sockets[1].id), 1);
    },
  },
  {
    name: "joining and leaving change the rooms and who is reached",
    async run(t) {
      const event = t.name("event");
      const [a, b] = [t.name("a"), t.name("b")];
      const { sockets, got } = await members(t, 2, event);
      const [inside, outside] = sockets;
      assert.deepEqual(await call(inside, "join", [b, a]), [a, b]);
      assert.deepEqual(await call(inside, "join", [a]), [a, b]);
      const emit = (value) => call(outside, "cast", { from: "server", rooms: [a] }, event, [value]);
      await emit("before");
      assert.deepEqual(await call(inside, "leave", a), [b]);
      assert.deepEqual(await call(inside, "leave", a), [b]);
      await emit("after");
      await call(inside, "join", [a]);
      await emit("again");
      await expect(sockets, got, [["before", "again"], []]);
    },
  },
  {
    name: "room names may be any text",
    async run(t) {
      const event = t.name("event");
      const { sockets, got } = await members(t, 2, event);
      const rooms = ["with space", "комната 😀", "#", "a,b", "/", "*", "__proto__", "x".repeat(500)].map((r) => r + t.name(""));
      for (const room of rooms) {
        await call(sockets[0], "join", [room]);
        await call(sockets[1], "cast", { from: "server", rooms: [room] }, event, [room]);
        assert.equal(await call(sockets[1], "count", room), 1, room);
      }
      await expect(sockets, got, [rooms, []]);
    },
  },
  {
    name: "a client that goes leaves its rooms",
    async run(t) {
      const room = t.name("room");
      const stays = await t.connect();
      const goes = await t.connect();
      for (const socket of [stays, goes]) await call(socket, "join", [room]);
      assert.equal(await call(stays, "count", room), 2);
      goes.disconnect();
      await eventually("one member is left", async () => (await call(stays, "count", room)) === 1);
    },
  },
  {
    name: "a room is disconnected by the server",
    async run(t) {
      const room = t.name("room");
      const [kicker, ...kicked] = await Promise.all(range(3).map(() => t.connect()));
      const reasons = kicked.map((socket) => next(socket, "disconnect"));
      for (const socket of kicked) await call(socket, "join", [room]);
      await call(kicker, "kick", room, false);
      for (const reason of reasons) assert.equal((await reason)[0], "io server disconnect");
      await eventually("the room is empty", async () => (await call(kicker, "count", room)) === 0);
      assert.equal(await call(kicker, "echo", "here"), "here");
    },
  },
  {
    name: "volatile events arrive in order, at most once, and when nothing waits",
    async run(t) {
      const event = t.name("event");
      const room = t.name("room");
      const { sockets, got } = await members(t, 2, event);
      for (const socket of sockets) await t.upgraded(socket);
      await call(sockets[1], "join", [room]);
      const sent = range(100);
      await Promise.all(
        sent.map((i) => call(sockets[0], "cast", { from: "socket", rooms: [room], volatile: true }, event, [i])),
      );
      await fence(...sockets);
      const came = got[1].items;
      assert.deepEqual(came, sent.filter((i) => came.includes(i)), "volatile events out of order or repeated");
      assert.deepEqual(got[0].items, []);
      // One at a time, a client that reads gets some: nothing is queued for it.
      await eventually("an idle client gets a volatile event", async () => {
        await call(sockets[0], "cast", { from: "server", rooms: [room], volatile: true }, event, ["idle"]);
        await fence(sockets[1]);
        return came.includes("idle");
      });
    },
  },
];
