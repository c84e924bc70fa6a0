// Order and completeness: across the upgrade, and with many clients.

import assert from "node:assert/strict";
import { call, collect, connected, fence, next, range, sleep } from "../harness.mjs";

const CLIENTS = 100;

// trickle emits n `order` events, a few at a time, so that they lie on both
// sides of an upgrade that takes longer than the first of them.
async function trickle(socket, n) {
  for (let i = 0; i < n; i++) {
    socket.emit("order", i);
    if (i % 4 === 3) await sleep(1);
  }
}

export default [
  {
    name: "200 messages both ways arrive in order, none lost",
    async run(t) {
      const proxy = await t.proxy({ delayUpgrade: 40 });
      const socket = t.socket("/", { url: proxy.url });
      const order = collect(socket, "order");
      const burst = collect(socket, "burst");
      await connected(socket);
      const upgraded = t.upgraded(socket);
      const sent = trickle(socket, 200);
      const bursts = call(socket, "burst", "burst", 200);
      await Promise.all([upgraded, sent, bursts]);
      assert.deepEqual(await order.take(200), range(200));
      assert.deepEqual(burst.items, range(200));
      assert.deepEqual(await call(socket, "ordered"), range(200));
    },
  },
  {
    name: "messages lie on both sides of the upgrade, none lost",
    modes: ["upgrade"],
    async run(t) {
      const proxy = await t.proxy({ delayUpgrade: 150 });
      const socket = t.socket("/", { url: proxy.url });
      const order = collect(socket, "order");
      await connected(socket);
      let after = 0;
      let sent = 0;
      const upgraded = next(socket.io.engine, "upgrade").then(() => {
        after = sent;
      });
      while (sent < 50 || after === 0 || sent < after + 50) {
        socket.emit("order", sent++);
        if (sent % 3 === 0) await sleep(1);
      }
      await upgraded;
      assert.ok(after > 0, "nothing was sent before the upgrade");
      await order.take(sent);
      assert.deepEqual(order.items, range(sent));
      assert.deepEqual(await call(socket, "ordered"), range(sent));
    },
  },
  {
    name: "acknowledgements pass the upgrade, none lost",
    async run(t) {
      const proxy = await t.proxy({ delayUpgrade: 30 });
      const socket = await t.connect("/", { url: proxy.url });
      const came = [];
      const answers = [];
      for (const i of range(100)) {
        answers.push(call(socket, "echo", i).then((answer) => came.push(answer)));
        if (i % 2) await sleep(1);
      }
      await Promise.all(answers);
      assert.deepEqual(came, range(100));
    },
  },
  {
    name: "twenty clients at once, each in order from its first moment",
    async run(t) {
      const clients = range(20).map(() => t.socket());
      const orders = clients.map((socket) => collect(socket, "order"));
      await Promise.all(
        clients.map(async (socket) => {
          socket.emit("order", 0);
          await connected(socket);
          for (let i = 1; i < 40; i++) {
            socket.emit("order", i);
            if (i % 10 === 0) await sleep(1);
          }
        }),
      );
      for (const order of orders) assert.deepEqual(await order.take(40), range(40));
      for (const socket of clients) assert.deepEqual(await call(socket, "ordered"), range(40));
    },
  },
  {
    name: `${CLIENTS} clients get 50 broadcasts in order`,
    async run(t) {
      const event = t.name("tick");
      const room = t.name("crowd");
      const clients = await Promise.all(range(CLIENTS).map(() => t.connect()));
      const got = clients.map((socket) => collect(socket, event));
      await Promise.all(clients.map((socket) => call(socket, "join", [room])));
      assert.equal(await call(clients[0], "count", room), CLIENTS);
      for (const i of range(50)) {
        clients[0].emit("cast", { from: "server", rooms: [room] }, event, [i], () => {});
      }
      await fence(clients[0]);
      for (const g of got) assert.deepEqual(await g.take(50), range(50));
    },
  },
  {
    name: "a broadcast and a direct answer keep the order of their emits",
    async run(t) {
      const room = t.name("mixed");
      const socket = await t.connect();
      const seen = [];
      await call(socket, "join", [room]);
      socket.on("order", (i) => seen.push(i));
      socket.on("cast-back", (i) => seen.push(i));
      for (const i of range(40)) {
        if (i % 2) socket.emit("cast", { from: "server", rooms: [room] }, "cast-back", [i], () => {});
        else socket.emit("order", i);
      }
      await fence(socket);
      assert.deepEqual(seen, range(40));
    },
  },
];
