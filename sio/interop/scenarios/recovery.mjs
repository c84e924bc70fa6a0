// Connection state recovery. Its clients are those of a server that has it on.

import assert from "node:assert/strict";
import { call, collect, eventually, fence, next } from "../harness.mjs";

// away returns a client that is behind a proxy and in a room, and a friend that is
// not. Their namespace is their own: what is emitted to all gives clients offsets.
async function away(t) {
  const proxy = await t.proxy();
  const room = t.name("room");
  const nsp = `/campaigns/${t.name("apart")}/trends`;
  const socket = await t.connect(nsp, { url: proxy.url, reconnectionDelay: 100 });
  const friend = await t.connect(nsp);
  await t.upgraded(socket);
  await call(socket, "join", [room]);
  const event = t.name("event");
  const got = collect(socket, event);
  const emit = (value, how = {}) => call(friend, "cast", { from: "server", rooms: [room], ...how }, event, [value]);
  return { proxy, room, socket, friend, got, emit };
}

// leave cuts the client off until back is called, which waits for it.
async function leave({ proxy, socket, friend }) {
  await call(friend, "watch", socket.id);
  const gone = next(friend, "gone");
  const left = next(socket, "disconnect");
  proxy.refusing = true;
  proxy.cut();
  await Promise.all([left, gone]);
  return async () => {
    const connect = next(socket, "connect");
    proxy.refusing = false;
    await connect;
  };
}

export default [
  {
    name: "what was missed comes in order, with rooms and id as they were",
    async run(t) {
      const client = await away(t);
      const { socket, friend, room, got, emit } = client;
      await emit("before");
      await got.take(1);
      const id = socket.id;
      const back = await leave(client);
      await emit("to the room");
      await emit("to all", { rooms: [] });
      await emit("to the client", { rooms: [id] });
      await emit("volatile", { volatile: true });
      await emit("not to it", { except: [id] });
      await emit({ nested: [1, "two"] });
      const connect = new Promise((done) => socket.once("connect", () => done([...got.items])));
      await back();
      t.note("missed, when connect comes", await connect);
      await emit("after");
      await fence(socket, friend);
      t.note("came", got.items);
      t.note("recovered", [socket.recovered, await call(socket, "recovered"), socket.id === id]);
      t.note("rooms", (await call(socket, "join", [])).map((name) => name === room));
    },
  },
  {
    name: "a client that got no event yet",
    differs: [
      {
        seen: { recovered: [[false, false, false], [true, true, true]] },
        row: {
          case: "a client that comes back and has got no event before",
          node: "a new session",
          here: "recovered",
          why: "it has rooms and data as well",
        },
      },
    ],
    async run(t) {
      const client = await away(t);
      const { socket } = client;
      const id = socket.id;
      const back = await leave(client);
      await back();
      t.note("recovered", [socket.recovered, await call(socket, "recovered"), socket.id === id]);
    },
  },
  {
    name: "an unknown session is a new one",
    async run(t) {
      const socket = t.socket("/");
      socket._pid = "unknown";
      socket._lastOffset = "unknown";
      const connect = next(socket, "connect");
      socket.connect();
      await connect;
      t.note("recovered", [socket.recovered, await call(socket, "recovered")]);
    },
  },
  {
    name: "a client that was disconnected by the server is a new one",
    async run(t) {
      const { socket, got, emit } = await away(t);
      await emit("before");
      await got.take(1);
      const left = next(socket, "disconnect");
      socket.emit("bye", false);
      await left;
      const connect = next(socket, "connect");
      socket.connect();
      await connect;
      t.note("recovered", [socket.recovered, await call(socket, "recovered")]);
      t.note("rooms", await call(socket, "join", []));
    },
  },
  {
    name: "a volatile event that ends in a string, before the cut",
    modes: ["websocket"],
    differs: [
      {
        seen: { recovered: [false, true] },
        row: {
          case: "a volatile event that ends in a string, with recovery",
          node: "breaks the client's recovery",
          here: "carries an offset like the others",
          why: "recovery",
        },
      },
    ],
    async run(t) {
      const client = await away(t);
      const { socket, got, emit } = client;
      await emit("before");
      await got.take(1);
      await eventually("a volatile event comes", async () => {
        await emit("volatile", { volatile: true });
        await fence(socket);
        return got.items.includes("volatile");
      });
      const back = await leave(client);
      await back();
      t.note("recovered", socket.recovered);
    },
  },
  {
    name: "a client that is back before the server misses it",
    differs: [
      {
        seen: { recovered: [false, true] },
        row: {
          case: "a client that comes back before its old connection is noticed dead",
          node: "a new session",
          here: "takes its old one over",
          why: "mobile networks",
        },
      },
    ],
    async run(t) {
      const { proxy, socket, friend, got, emit } = await away(t);
      await emit("before");
      await got.take(1);
      const connect = next(socket, "connect");
      proxy.lose();
      await connect;
      t.note("recovered", socket.recovered);
      assert.equal(await call(friend, "echo", "there"), "there");
    },
  },
];
