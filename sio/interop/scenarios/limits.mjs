// Message sizes at the limit, and what the client sees beyond it.

import assert from "node:assert/strict";
import { CLIENT, MODES, call, callAll, next, range } from "../harness.mjs";

const MAX_PAYLOAD = 1_000_000;

// filler makes the argument with which `measure`, as the first question of a
// connection, is an Engine.IO packet of exactly n bytes.
function filler(n) {
  return "x".repeat(n - '420["measure",""]'.length);
}

// broken waits for the end of the connection and for the reconnection.
async function broken(socket) {
  const back = next(socket, "connect");
  const [reason, details] = await next(socket, "disconnect");
  await back;
  return { reason, details };
}

export default [
  {
    name: "the handshake says how much a message may have",
    async run(t) {
      const socket = t.socket();
      const opened = next(socket.io, "open");
      let handshake;
      socket.connect();
      socket.io.engine.on("handshake", (data) => {
        handshake = data;
      });
      await opened;
      assert.equal(handshake.maxPayload, MAX_PAYLOAD);
      assert.deepEqual(handshake.upgrades, t.mode === "websocket" ? [] : ["websocket"]);
      assert.deepEqual([handshake.pingInterval, handshake.pingTimeout], [1000, 3000]);
    },
  },
  {
    name: "a message of exactly the limit is accepted",
    json: true, // MessagePack: a packet has another size
    modes: CLIENT === 2 ? ["websocket", "upgrade"] : MODES, // polling writes its length too
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const text = filler(MAX_PAYLOAD);
      assert.equal(await call(socket, "measure", text), text.length);
    },
  },
  {
    name: "one byte more ends the connection, and the client comes back",
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const end = broken(socket);
      socket.emit("measure", filler(MAX_PAYLOAD + 1), () => assert.fail("it was answered"));
      const { reason, details } = await end;
      if (t.mode === "polling") {
        assert.equal(reason, "transport error");
        if (CLIENT === 4) assert.equal(details.description, 413);
      } else {
        assert.match(reason, /^transport (close|error)$/);
      }
      t.note("reason", reason);
      assert.equal(await call(socket, "echo", "back"), "back");
    },
  },
  {
    name: "a binary one byte over the limit ends the connection too",
    json: true, // MessagePack: a packet has another size
    modes: ["websocket"],
    async run(t) {
      const socket = await t.connect();
      const most = CLIENT === 2 ? MAX_PAYLOAD - 1 : MAX_PAYLOAD; // the type is a byte of it
      const exact = Buffer.alloc(most, 7);
      assert.equal(await call(socket, "measure", exact), most);
      const end = broken(socket);
      socket.emit("measure", Buffer.alloc(most + 1), () => assert.fail("it was answered"));
      const { reason } = await end;
      assert.match(reason, /^transport (close|error)$/);
      t.note("reason", reason);
      assert.equal(await call(socket, "echo", "back"), "back");
    },
  },
  {
    name: "many messages together may have more than the limit",
    modes: CLIENT === 4 ? MODES : ["websocket"], // others do not divide their requests
    async run(t) {
      const socket = await t.connect();
      const text = "y".repeat(300_000);
      const sizes = await Promise.all(range(10).map(() => call(socket, "measure", text)));
      assert.deepEqual(sizes, range(10).map(() => text.length));
    },
  },
  {
    name: "what the server sends has no such limit",
    async run(t) {
      const socket = await t.connect();
      const blob = await call(socket, "blob", 3_000_000);
      assert.equal(blob.length, 3_000_000);
      assert.ok(blob.every((byte, i) => byte === i % 251));
    },
  },
  {
    name: "ten attachments pass, eleven end the connection",
    json: true, // MessagePack: bytes are not attachments
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const parts = range(11).map((i) => Buffer.from([i]));
      assert.deepEqual(await callAll(socket, "echo", ...parts.slice(1)), parts.slice(1));
      const end = broken(socket);
      socket.emit("echo", ...parts, () => assert.fail("it was answered"));
      const { reason } = await end;
      assert.match(reason, /^transport (close|error)$/);
      t.note("reason", reason);
      assert.equal(await call(socket, "echo", "back"), "back");
    },
  },
];
