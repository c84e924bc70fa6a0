// A server of Node with a client of its own, which emits numbers and asks the cluster
// without pause, and notes what it hears, what is wrong with that, and every error.

import { createServer } from "node:http";
import * as classic from "@socket.io/redis-adapter";
import * as classic7 from "@socket.io/redis-adapter-7";
import * as streams from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { first, serve } from "./lines.mjs";

const o = JSON.parse(process.argv[2]);
const errors = [];
for (const event of ["uncaughtException", "unhandledRejection", "warning"]) process.on(event, (err) => errors.push(`${event}: ${err?.stack ?? err}`));
for (const level of ["error", "warn"]) console[level] = (...args) => errors.push(`${level}: ${args.join(" ")}`);

async function connected(client) {
  client.on("error", (err) => errors.push(`redis: ${err.message}`));
  await client.connect();
  return client;
}

const pub = createClient({ url: `redis://${o.redis}` });
const sub = pub.duplicate();
await Promise.all([connected(pub), connected(sub)]);

const adapters = {
  classic: () => classic.createAdapter(pub, sub, { key: o.prefix, publishOnSpecificResponseChannel: o.ownResponses }),
  classic7: () => classic7.createAdapter(pub, sub, { key: o.prefix }),
  sharded: () => classic.createShardedAdapter(pub, sub, { channelPrefix: o.prefix, subscriptionMode: o.mode }),
  streams: () => streams.createAdapter(pub, { channelPrefix: o.prefix, streamName: o.prefix }),
};

const http = createServer();
const io = new Server(http, { adapter: adapters[o.kind]() });
io.on("connection", (socket) => void socket.join("r"));

// heard has the last number of each publisher.
const heard = {};
function hear(who, n) {
  if (n !== (heard[who] ?? first(who, n)) + 1) errors.push(`${who}: ${n} behind ${heard[who] ?? 0}`);
  heard[who] = n;
}

await new Promise((done) => http.listen(0, "127.0.0.1", done));
const client = connect(`http://127.0.0.1:${http.address().port}`, { transports: ["websocket"] });
client.on("n", hear);
client.on("ask", (...args) => args.at(-1)(o.name));
await new Promise((done) => client.on("connect", done));

let said = 0;
let timer;

// asked are questions by what became of them.
const asked = {};
let asking = false;
async function ask(what, wanted, question) {
  while (asking) {
    const at = Date.now();
    let outcome;
    try {
      const n = await question();
      outcome = n === wanted ? "complete" : `${n} of ${wanted}`;
    } catch (err) {
      outcome = String(err.message ?? err);
    }
    const x = (asked[what] ??= { longest: 0, outcomes: {} });
    x.outcomes[outcome] = (x.outcomes[outcome] ?? 0) + 1;
    x.longest = Math.max(x.longest, Date.now() - at);
    await new Promise((done) => setTimeout(done, 5));
  }
}
let asks = [];

serve(null, {
  // talk emits a number to each of rooms in turn, every millisecond or so.
  talk(c) {
    timer = setInterval(() => {
      for (const room of c.names) (room === "" ? io : io.to(room)).emit("n", o.name, ++said);
    }, c.every);
  },
  // hush ends that and returns how much was said.
  hush() {
    clearInterval(timer);
    return said;
  },
  heard: () => heard,
  errors: () => errors,
  fetch: async () => (await io.fetchSockets()).length,
  // ask begins to ask: there are so many sockets.
  ask(c) {
    asking = true;
    asks = [
      ask("fetchSockets", c.count, async () => (await io.fetchSockets()).length),
      ask("emit with acknowledgements", c.count, async () => (await io.timeout(4000).emitWithAck("ask")).length),
    ];
    if (io.of("/").adapter.allRooms) asks.push(ask("allRooms", c.count + 1, async () => (await io.of("/").adapter.allRooms()).size));
  },
  // answers ends that and returns what became of them.
  async answers() {
    asking = false;
    await Promise.all(asks);
    return asked;
  },
});
