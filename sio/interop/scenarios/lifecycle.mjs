// Disconnecting from either side, reasons, reconnecting.

import assert from "node:assert/strict";
import { CLIENT, MODES, call, collect, connected, eventually, next, range, sleep } from "../harness.mjs";

// watched connects a witness that is told why the sockets go.
async function watched(t, ...sockets) {
  const told = [];
  for (const socket of sockets) {
    const witness = await t.connect((await call(socket, "handshake")).nsp);
    await call(witness, "watch", socket.id);
    told.push(next(witness, "gone"));
  }
  return told;
}

export default [
  {
    name: "the server disconnects a socket, which comes back only when told to",
    async run(t) {
      const socket = await t.connect();
      const id = socket.id;
      const [gone] = await watched(t, socket);
      const left = next(socket, "disconnect");
      socket.emit("bye", false);
      assert.equal((await left)[0], "io server disconnect");
      assert.deepEqual(await gone, [id, "server namespace disconnect"]);
      await sleep(300);
      assert.equal(socket.connected, false);
      assert.ok(!socket.active);

      await connected(socket);
      assert.notEqual(socket.id, id);
      assert.equal(await call(socket, "echo", "back"), "back");
    },
  },
  {
    name: "the server disconnects one namespace and the other stays",
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      const left = next(other, "disconnect");
      other.emit("bye", false);
      assert.equal((await left)[0], "io server disconnect");
      assert.equal(await call(main, "echo", "here"), "here");
    },
  },
  {
    name: "the server closes the connection under all namespaces",
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      await t.upgraded(main);
      const [mainGone, otherGone] = await watched(t, main, other);
      const ids = [main.id, other.id];
      const left = [next(main, "disconnect"), next(other, "disconnect")];
      const closed = next(main.io.engine, "close");
      main.emit("bye", true);
      for (const reason of left) assert.equal((await reason)[0], "io server disconnect");
      assert.deepEqual(await mainGone, [ids[0], "server namespace disconnect"]);
      assert.deepEqual(await otherGone, [ids[1], "server namespace disconnect"]);
      await closed;
      await sleep(300);
      assert.deepEqual([main.connected, other.connected], [false, false]);
    },
  },
  {
    name: "the client disconnects",
    async run(t) {
      const socket = await t.connect();
      const id = socket.id;
      const [gone] = await watched(t, socket);
      const left = next(socket, "disconnect");
      const engine = socket.io.engine;
      socket.disconnect();
      assert.equal((await left)[0], "io client disconnect");
      assert.deepEqual(await gone, [id, "client namespace disconnect"]);
      await eventually("the engine is closed", () => engine.readyState === "closed");
    },
  },
  {
    name: "what is emitted just before the client disconnects does not break it",
    async run(t) {
      const room = t.name("short-lived");
      const witness = await t.connect();
      for (const i of range(10)) {
        const socket = await t.connect();
        await call(socket, "join", [room]);
        // An even one goes in the middle of its upgrade, if it has one.
        if (i % 2) await t.upgraded(socket);
        socket.emit("order", 1);
        socket.disconnect();
      }
      await eventually("all are gone", async () => (await call(witness, "count", room)) === 0);
    },
  },
  {
    name: "a client whose connection is cut comes back by itself",
    async run(t) {
      const proxy = await t.proxy();
      const socket = await t.connect("/", { url: proxy.url });
      const order = collect(socket, "order");
      await t.upgraded(socket);
      socket.emit("order", 1);
      await order.take(1);
      const id = socket.id;
      const [gone] = await watched(t, socket);

      const left = next(socket, "disconnect");
      const back = next(socket, "connect");
      if (t.mode === "polling") await proxy.asked();
      proxy.cut();
      const [clientReason] = await left;
      assert.ok(["transport close", "transport error"].includes(clientReason), `client reason ${clientReason}`);
      if (t.mode !== "polling") t.note("the client's reason", clientReason);
      const [goneId, reason] = await gone;
      assert.equal(goneId, id);
      assert.equal(reason, t.mode === "polling" ? "transport error" : "transport close");
      await back;
      assert.notEqual(socket.id, id);
      socket.emit("order", 2);
      assert.deepEqual(await order.take(2), [1, 2]);
    },
  },
  {
    name: "a client that drops its transport comes back by itself",
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const id = socket.id;
      const [gone] = await watched(t, socket);
      const back = next(socket, "connect");
      socket.io.engine.close();
      await back;
      assert.deepEqual(await gone, [id, "transport close"]);
      assert.notEqual(socket.id, id);
      assert.equal(await call(socket, "echo", "back"), "back");
    },
  },
  {
    name: "all namespaces come back after a cut",
    async run(t) {
      const proxy = await t.proxy();
      const main = await t.connect("/", { url: proxy.url });
      const other = await t.join(main, "/other");
      const back = [next(main, "connect"), next(other, "connect")];
      await t.upgraded(main);
      proxy.cut();
      await Promise.all(back);
      assert.equal((await call(main, "handshake")).nsp, "/");
      assert.equal((await call(other, "handshake")).nsp, "/other");
    },
  },
  {
    name: "what is sent while the server is away arrives once, in order",
    async run(t) {
      const proxy = await t.proxy();
      const socket = await t.connect("/", { url: proxy.url });
      const order = collect(socket, "order");
      await t.upgraded(socket);
      const attempts = next(socket.io, "reconnect_attempt");
      const left = next(socket, "disconnect");
      proxy.refusing = true;
      proxy.cut();
      await left;
      for (const i of range(20)) socket.emit("order", i);
      const answer = call(socket, "echo", "kept");
      await attempts;
      const back = next(socket.io, "reconnect");
      proxy.refusing = false;
      await back;
      assert.equal(await answer, "kept");
      assert.deepEqual(await order.take(20), range(20));
      assert.deepEqual(await call(socket, "ordered"), range(20));
    },
  },
  {
    name: "a listener for one event stays gone after a reconnection",
    async run(t) {
      const socket = await t.connect();
      const calls = [];
      socket.once("order", (i) => calls.push(i));
      const order = collect(socket, "order");
      socket.emit("order", 1);
      await order.take(1);
      await t.upgraded(socket);
      const back = next(socket, "connect");
      socket.io.engine.close();
      await back;
      socket.emit("order", 2);
      assert.deepEqual(await order.take(2), [1, 2]);
      assert.deepEqual(calls, [1]);
    },
  },
  {
    name: "a silent connection is given up by both sides",
    // Node's server forgets to look at a client of version 2 that has upgraded.
    modes: CLIENT === 2 ? ["polling", "websocket"] : MODES,
    async run(t) {
      const proxy = await t.proxy();
      const socket = await t.connect("/", { url: proxy.url, reconnection: false });
      await t.upgraded(socket);
      const id = socket.id;
      const [gone] = await watched(t, socket);
      const left = next(socket, "disconnect");
      proxy.stall();
      assert.deepEqual(await gone, [id, "ping timeout"]);
      assert.equal((await left)[0], "ping timeout");
    },
  },
];
