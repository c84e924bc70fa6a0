// Binary attachments in both directions.

import assert from "node:assert/strict";
import { call, callAll, collect, next, range } from "../harness.mjs";

function pattern(n) {
  return Buffer.from(Uint8Array.from({ length: n }, (_, i) => i % 251));
}

function sameBytes(got, want, what) {
  assert.ok(Buffer.isBuffer(got), `${what}: got ${typeof got}, want binary`);
  assert.ok(got.equals(want), `${what}: ${got.length} bytes differ from the ${want.length} sent`);
}

export default [
  {
    name: "a buffer comes back equal, acknowledged and as event",
    async run(t) {
      const socket = await t.connect();
      const all = Buffer.from(range(256));
      for (const sent of [all, Buffer.from([0]), Buffer.from([0x34, 0x1e, 0xff]), pattern(125), pattern(126), pattern(65_536)]) {
        sameBytes(await call(socket, "echo", sent), sent, `acknowledged ${sent.length}`);
        const back = next(socket, "echo");
        socket.emit("echo", sent);
        sameBytes((await back)[0], sent, `event with ${sent.length}`);
        assert.equal(await call(socket, "measure", sent), sent.length);
      }
    },
  },
  {
    name: "typed arrays and array buffers are binary too",
    json: true, // MessagePack: its encoder sends the whole buffer of a view
    async run(t) {
      const socket = await t.connect();
      const floats = new Float32Array([1, 2, 3, 4]);
      const got = await callAll(socket, "echo", new Uint8Array([1, 2, 3]), floats.buffer, floats.subarray(1, 3));
      sameBytes(got[0], Buffer.from([1, 2, 3]), "Uint8Array");
      sameBytes(got[1], Buffer.from(floats.buffer), "ArrayBuffer");
      sameBytes(got[2], Buffer.from(floats.buffer, 4, 8), "part of a Float32Array");
    },
  },
  {
    name: "binary may be nested among other values",
    async run(t) {
      const socket = await t.connect();
      const sent = { a: [pattern(3), { b: pattern(300), c: "text" }], d: null, e: [[pattern(1)]], f: { _placeholder: false } };
      assert.deepEqual(await call(socket, "echo", sent), sent);
      const back = next(socket, "echo");
      socket.emit("echo", "first", sent, 7);
      assert.deepEqual(await back, ["first", sent, 7]);
    },
  },
  {
    name: "ten attachments keep their places",
    async run(t) {
      const socket = await t.connect();
      const sent = range(10).map((i) => pattern(i * 50));
      assert.deepEqual(await callAll(socket, "echo", ...sent), sent);
    },
  },
  {
    name: "an empty buffer is binary, not null",
    async run(t) {
      const socket = await t.connect();
      const empty = Buffer.alloc(0);
      sameBytes(await call(socket, "echo", empty), empty, "acknowledged empty");
      assert.deepEqual(await callAll(socket, "echo", empty, pattern(5), empty), [empty, pattern(5), empty]);
      assert.equal(await call(socket, "measure", empty), 0);
    },
  },
  {
    name: "the same buffer may be sent twice",
    async run(t) {
      const socket = await t.connect();
      const one = pattern(10);
      assert.deepEqual(await callAll(socket, "echo", one, { again: one }), [one, { again: one }]);
    },
  },
  {
    name: "half a megabyte passes in both directions",
    async run(t) {
      const socket = await t.connect();
      const big = pattern(500_000);
      assert.equal(await call(socket, "measure", big), big.length);
      sameBytes(await call(socket, "blob", big.length), big, "blob");
      sameBytes(await call(socket, "echo", big), big, "echo");
    },
  },
  {
    name: "the client answers with binary",
    async run(t) {
      const socket = await t.connect();
      socket.on("reverse", (data, ack) => ack(Buffer.from(data).reverse(), { list: [data] }));
      const got = await call(socket, "ask", "reverse", [Buffer.from([1, 2, 3])], 5000);
      assert.deepEqual(got, { answer: [Buffer.from([3, 2, 1]), { list: [Buffer.from([1, 2, 3])] }] });
    },
  },
  {
    name: "binary and text keep their order",
    async run(t) {
      const socket = await t.connect();
      const echo = collect(socket, "echo");
      const sent = range(60).map((i) => (i % 3 === 0 ? pattern(i) : i % 3 === 1 ? `text ${i}` : { i, data: pattern(2) }));
      for (const value of sent) socket.emit("echo", value);
      assert.deepEqual(await echo.take(sent.length), sent);
    },
  },
  {
    name: "binary reaches a room intact",
    async run(t) {
      const room = t.name("binary");
      const sockets = await Promise.all(range(3).map(() => t.connect()));
      for (const socket of sockets) await call(socket, "join", [room]);
      const got = sockets.map((socket) => next(socket, "parcel"));
      const args = ["label", { data: [pattern(700), pattern(0)] }, pattern(9)];
      await call(sockets[0], "cast", { from: "server", rooms: [room] }, "parcel", args);
      for (const parcel of await Promise.all(got)) assert.deepEqual(parcel, args);
    },
  },
];
