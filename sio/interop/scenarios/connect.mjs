// Connecting: ids, handshake data, buffers, heartbeats.

import assert from "node:assert/strict";
import { CLIENT, call, collect, connected, next, range } from "../harness.mjs";

export default [
  {
    name: "a client connects, gets an id and ends on its transport",
    async run(t) {
      const socket = await t.connect();
      assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
      if (CLIENT > 2) assert.notEqual(socket.id, socket.io.engine.id, "the socket id must not be the engine's");
      await t.upgraded(socket);
      const want = t.mode === "polling" ? "polling" : "websocket";
      assert.equal(socket.io.engine.transport.name, want);
      assert.equal(await call(socket, "echo", "still there"), "still there");
    },
  },
  {
    name: "the handshake carries id, auth, query and headers",
    since: 3,
    async run(t) {
      const auth = { token: "t", nested: { list: [1, null, "ü"] } };
      const socket = await t.connect("/", {
        auth,
        query: { q: "a b&c=d+ü😀", empty: "" },
        extraHeaders: { "X-Interop": "yes" },
      });
      const shake = await call(socket, "handshake");
      assert.equal(shake.id, socket.id);
      assert.equal(shake.nsp, "/");
      assert.deepEqual(shake.auth, auth);
      assert.equal(shake.query.q, "a b&c=d+ü😀");
      assert.equal(shake.query.empty, "");
      assert.equal(shake.query.EIO, "4");
      assert.equal(shake.query.transport, t.mode === "websocket" ? "websocket" : "polling");
      assert.equal(shake.headers["x-interop"], "yes");
    },
  },
  {
    name: "auth is empty when the client gives none",
    async run(t) {
      const socket = await t.connect();
      assert.deepEqual((await call(socket, "handshake")).auth, {});
    },
  },
  {
    name: "an auth function is asked again at each connection",
    since: 3,
    async run(t) {
      let attempt = 0;
      const socket = await t.connect("/", { auth: (done) => done({ attempt: ++attempt }) });
      assert.deepEqual((await call(socket, "handshake")).auth, { attempt: 1 });
      socket.disconnect();
      await connected(socket);
      assert.deepEqual((await call(socket, "handshake")).auth, { attempt: 2 });
    },
  },
  {
    name: "what is sent before connecting arrives afterwards, in order",
    async run(t) {
      const socket = t.socket();
      const order = collect(socket, "order");
      for (const i of range(20)) socket.emit("order", i);
      const early = call(socket, "echo", "early");
      await connected(socket);
      assert.equal(await early, "early");
      assert.deepEqual(await order.take(20), range(20));
      assert.deepEqual(await call(socket, "ordered"), range(20));
    },
  },
  {
    name: "events emitted at connection come after it, in order",
    async run(t) {
      const socket = t.socket("/early");
      const seen = [];
      socket.on("connect", () => seen.push("connect"));
      socket.on("early", (i) => seen.push(i));
      const early = collect(socket, "early");
      await connected(socket);
      await early.take(5);
      assert.deepEqual(seen, ["connect", 0, 1, 2, 3, 4]);
    },
  },
  {
    name: "clients have different ids, also on one connection",
    async run(t) {
      const a = await t.connect();
      const b = await t.connect();
      const c = await t.join(a, "/other");
      assert.equal(new Set([a.id, b.id, c.id]).size, 3);
    },
  },
  {
    name: "an idle client is kept by its heartbeats",
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const id = socket.id;
      for (let i = 0; i < 3; i++) {
        // Version 3 does not tell of pings; but nothing else comes.
        if (CLIENT === 3) await next(socket.io.engine, "heartbeat");
        else await next(socket.io, "ping");
      }
      assert.equal(await call(socket, "echo", "awake"), "awake");
      assert.equal(socket.id, id);
    },
  },
];
