// Cuts the connections of many clients at random while messages flow:
//
//	node chaos.mjs URL SECONDS [CLIENTS]
//
// The server serves the application of reference-server.mjs, with connection
// state recovery. Every client must receive every message of its room and of the
// namespace exactly once and in order. It prints a line with counts and exits
// with 1 if a client lost, repeated or swapped one, or could not recover.

import net from "node:net";
import { io } from "socket.io-client";

const [url, seconds, clients] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] ?? 200)];
const ROOMS = 10;
const target = new URL(url);

// relay passes connections on and cuts each after a random while.
const links = new Set();
let cuts = 0;
let calm = false;
const relay = net.createServer((near) => {
  const far = net.connect(Number(target.port), target.hostname);
  const link = { cut: () => [near, far].forEach((end) => end.destroy()) };
  links.add(link);
  for (const [a, b] of [[near, far], [far, near]]) {
    a.pipe(b);
    a.on("error", () => b.destroy());
    a.on("close", () => { b.destroy(); links.delete(link); });
  }
});
await new Promise((done) => relay.listen(0, "127.0.0.1", done));
const via = `http://127.0.0.1:${relay.address().port}`;

const problems = [];
let received = 0;

// follow checks one stream of numbered messages, from the first one seen on.
function follow(name) {
  let next;
  return {
    take(i) {
      received++;
      if (next !== undefined && i !== next) problems.push(`${name}: ${i} came, not ${next}`);
      next = i + 1;
    },
    get next() { return next; },
  };
}

let recoveries = 0;
const all = await Promise.all(Array.from({ length: clients }, async (_, i) => {
  const transports = [["websocket"], ["polling"], ["polling", "websocket"]][i % 3];
  const socket = io(via, { transports, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 200 });
  const client = { socket, room: follow(`client ${i}, room`), everybody: follow(`client ${i}, everybody`) };
  socket.on("room", (n) => client.room.take(n));
  socket.on("everybody", (n) => client.everybody.take(n));
  let first = true;
  await new Promise((done) => {
    socket.on("connect", async () => {
      if (!first) {
        if (socket.recovered) recoveries++;
        else problems.push(`client ${i} was not recovered`);
        return;
      }
      first = false;
      await socket.emitWithAck("join", [`room${i % ROOMS}`]);
      done();
    });
  });
  return client;
}));

const control = io(url, { transports: ["websocket"], forceNew: true });
await new Promise((done) => control.once("connect", done));
const cutter = setInterval(() => {
  if (calm) return;
  for (const link of links) {
    if (Math.random() < 0.01) { cuts++; link.cut(); }
  }
}, 20);

const end = Date.now() + seconds * 1000;
const sent = Array(ROOMS).fill(0);
let broadcasts = 0;
for (let i = 0; Date.now() < end; i++) {
  const room = i % ROOMS;
  await control.emitWithAck("cast", { from: "server", rooms: [`room${room}`] }, "room", [sent[room]++]);
  if (i % 5 === 0) await control.emitWithAck("cast", { from: "server" }, "everybody", [broadcasts++]);
  await new Promise((done) => setTimeout(done, 5));
}
calm = true;
clearInterval(cutter);

const complete = (c, i) => c.room.next === sent[i % ROOMS] && c.everybody.next === broadcasts;
for (let patience = 0; patience < 200 && !all.every(complete); patience++) {
  await new Promise((done) => setTimeout(done, 100));
}
all.forEach((c, i) => {
  if (!complete(c, i)) {
    problems.push(`client ${i}: room ended at ${c.room.next} of ${sent[i % ROOMS]}, everybody at ${c.everybody.next} of ${broadcasts}, connected ${c.socket.connected}`);
  }
});
console.log(`${clients} clients, ${cuts} cuts, ${recoveries} recoveries, ${received} messages received, ${problems.length} problems`);
problems.slice(0, 20).forEach((p) => console.log(p));
process.exit(problems.length > 0 ? 1 : 0);
