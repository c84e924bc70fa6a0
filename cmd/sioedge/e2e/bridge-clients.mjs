// Many npm clients with numbered traffic, for bridge_test.go: each sends numbers to the
// application of bridge-app.mjs, and checks that each has its effects once and in order.
//
//   node bridge-clients.mjs '{"urls": [URL of each edge…], "clients": N, "rate": events a second}'
//
// Asked by lines {"id", "op", …} it answers with {"id", "result"}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { io } = createRequire(new URL("../../../sio/interop/package.json", import.meta.url))("socket.io-client");

const options = JSON.parse(process.argv[2]);
const say = (x) => process.stdout.write(JSON.stringify(x) + "\n");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const WINDOW = 50; // numbers of a client that wait for their effect
const GROUP = 10; // clients of a room of one edge

// What event k of a client is.
const KINDS = ["n", "ack", "n", "local", "n", "ask", "ack", "wide"];
const kind = (k) => KINDS[k % KINDS.length];
// latest is the last event of a kind up to k, or 0.
const latest = (which, k) => Math.max(0, k - ((k - KINDS.indexOf(which) + KINDS.length) % KINDS.length));

let problems = 0;
let texts = [];
function problem(text) {
  if (problems++ < 20) texts.push(text);
}

// forgiven are processes whose broadcasts may miss some: they were killed, or thought dead.
const forgiven = new Set();
// wideMay is whether broadcasts to clients of the other edge may be lost or come twice, as
// those of a process may that is killed between one edge and the other.
let wideMay = false;

const counts = { sent: 0, effects: 0, room: 0, tick: 0, d: 0, recovered: 0, anew: 0, disconnects: options.urls.map(() => 0) };
const reasons = {};

class Client {
  constructor(i) {
    this.edge = i % options.urls.length;
    const group = Math.floor(i / options.urls.length / GROUP);
    this.i = i;
    this.life = 0;
    this.began = false;
    this.auth = { local: `local-${this.edge}-${group}`, wide: `wide-${group}` };
    this.begin();
    const transports = [["websocket"], ["websocket"], ["polling", "websocket"], ["polling"]][i % 4];
    this.socket = io(options.urls[this.edge], {
      transports: options.transports ?? transports,
      forceNew: true,
      autoConnect: false,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
      auth: { ...this.auth, who: i },
    });
    const on = (event, f) => this.socket.on(event, f);
    on("connect", () => this.connect());
    on("disconnect", (reason) => this.disconnect(reason));
    on("connect_error", (err) => this.refused(err));
    on("n", (k) => this.effect(k));
    on("d", (i) => this.direct(i));
    on("q", (k, ack) => ack(k));
    on("room", (who, k) => this.room(who, k));
    on("tick", (uid, i) => this.tick(uid, i));
  }

  get who() {
    return `${this.i}.${this.life}`;
  }

  // begin forgets all: the session is a new one.
  begin() {
    Object.assign(this, { sent: 0, got: 0, down: 0, excused: 0, ready: false, last: { local: 0, wide: 0 }, heard: new Map(), ticks: new Map() });
  }

  connect() {
    if (!this.began) {
      this.began = true;
      this.ready = true;
      return;
    }
    if (!this.socket.recovered) {
      counts.anew++;
      this.life++;
      this.begin();
      this.ready = true;
      return;
    }
    counts.recovered++;
    // What was on its way to the server may be lost, and acknowledgements from it.
    const { life } = this;
    const asked = ++this.asks;
    this.socket.emit("where", (k) => {
      if (life !== this.life || asked !== this.asks) return;
      if (k > this.sent || k < this.got) problem(`${this.who} has sent ${this.sent}, and its effects to ${this.got}, but the application has ${k}`);
      this.sent = k;
      this.excused = k;
      for (const which of ["local", "wide"]) this.last[which] = Math.min(this.last[which], latest(which, k));
      this.ready = true;
    });
  }
  asks = 0;

  disconnect(reason) {
    counts.disconnects[this.edge]++;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    this.ready = false;
    this.asks++;
  }

  refused(err) {
    const reason = `refused: ${err.message}`;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (!this.socket.active) problem(`${this.who} is refused for good: ${err.message}`);
  }

  send() {
    if (!this.ready || !this.socket.connected || this.sent - this.got >= WINDOW) return;
    const k = ++this.sent;
    counts.sent++;
    switch (kind(k)) {
      case "ack": {
        const { life } = this;
        this.socket.emit("n", k, (answer) => {
          if (life !== this.life) return;
          if (answer !== k) problem(`${this.who}: the answer to ${k} is ${answer}`);
          this.effect(k);
        });
        break;
      }
      case "local":
      case "wide":
        this.last[kind(k)] = k;
        this.socket.emit(kind(k), k, this.who);
        break;
      default:
        this.socket.emit(kind(k), k);
    }
  }

  // effect notes that k has had its effect.
  effect(k) {
    counts.effects++;
    let want = this.got + 1;
    while (want < k && want <= this.excused && kind(want) === "ack") want++;
    if (k !== want) problem(`${this.who} sees the effect of ${k} (${kind(k)}), not of ${want} (${kind(want)}); ${this.sent} are sent`);
    this.got = k;
  }

  get settled() {
    let { got } = this;
    while (got < this.excused && kind(got + 1) === "ack") got++;
    return this.ready && got === this.sent;
  }

  room(who, k) {
    counts.room++;
    if (who === this.who) return this.effect(k);
    const key = `${who} ${kind(k)}`;
    const before = this.heard.get(key);
    this.heard.set(key, Math.max(k, before ?? 0));
    const want = before === undefined ? KINDS.indexOf(kind(k)) : before + KINDS.length;
    if (k === want) return;
    const [i, life] = who.split(".");
    const fresh = before === undefined && (this.life > 0 || life !== "0"); // one of the two was not there
    const other = clients[i].edge !== this.edge;
    if (!fresh && !(other && wideMay)) problem(`${this.who} hears ${k} (${kind(k)}) of ${who}, not ${want}`);
  }

  direct(i) {
    counts.d++;
    if (i !== this.down + 1) problem(`${this.who} is told ${i} after ${this.down}`);
    this.down = i;
  }

  tick(uid, i) {
    counts.tick++;
    const before = this.ticks.get(uid);
    if (before !== undefined && i !== before + 1 && !(i > before && forgiven.has(uid))) problem(`${this.who} hears tick ${i} of ${uid} after ${before}`);
    this.ticks.set(uid, i);
  }
}

const clients = Array.from({ length: options.clients }, (_, i) => new Client(i));
const rooms = new Map(); // clients by the rooms that they are in
for (const c of clients) {
  for (const room of [c.auth.local, c.auth.wide]) rooms.set(room, [...(rooms.get(room) ?? []), c]);
}

let paused = true;
let due = 0;
let turn = 0;
let then = Date.now();
setInterval(() => {
  const now = Date.now();
  due = paused ? 0 : Math.min(due + (options.rate * (now - then)) / 1000, clients.length);
  then = now;
  for (; due >= 1; due--) clients[turn++ % clients.length].send();
}, 10);

// until waits for a condition; what is missing when it takes too long is a problem.
async function until(what, missing, patience = 30_000) {
  for (const end = Date.now() + patience; ; await sleep(20)) {
    const left = missing();
    if (left.length === 0) return true;
    if (Date.now() > end) {
      problem(`${what}: ${left.length} of ${clients.length} are missing, the first is ${left[0]}`);
      return false;
    }
  }
}

// deaf returns who has not heard all of what others said to its rooms.
function deaf() {
  const missing = [];
  for (const [room, members] of rooms) {
    const which = room.split("-")[0];
    if (which === "wide" && wideMay) continue;
    for (const c of members) {
      for (const o of members) {
        if (o === c || o.life > 0 || c.life > 0 || o.last[which] === 0) continue;
        const heard = c.heard.get(`${o.who} ${which}`);
        if (heard !== o.last[which]) missing.push(`${c.who}, who has heard ${heard} (${which}) of ${o.who}, not ${o.last[which]}`);
      }
    }
  }
  return missing;
}

const ops = {
  connected: () => until("connected", () => clients.filter((c) => !c.ready).map((c) => c.who)),
  // enter connects all, some at a time.
  async enter() {
    for (let i = 0; i < clients.length; i += 100) {
      const some = clients.slice(i, i + 100);
      for (const c of some) c.socket.connect();
      if (!(await until("connected", () => some.filter((c) => !c.ready).map((c) => c.who)))) return false;
    }
    return true;
  },
  go: () => void (paused = false),
  // settle sends nothing more, and waits for all effects.
  async settle() {
    paused = true;
    await until("effects of all that was sent", () =>
      clients.filter((c) => !c.settled).map((c) => `${c.who} with ${c.got} of ${c.sent}, ${c.excused} excused, ready ${c.ready}, connected ${c.socket.connected}`));
    await until("what is said to rooms", deaf, 10_000);
    wideMay = false;
    return ops.report();
  },
  report() {
    const found = texts;
    texts = [];
    return { ...counts, reasons, problems: found };
  },
  // heard tells how many have heard the process.
  heard: ({ uid }) => clients.filter((c) => c.ticks.has(uid)).length,
  // cut ends the connections of some, which come back.
  cut() {
    const some = clients.filter((c) => c.i % 3 === 0);
    for (const c of some) c.socket.io.engine.close();
    return some.length;
  },
  forgive: ({ uid }) => void forgiven.add(uid),
  wide: ({ may }) => void (wideMay = may),
  // mark notes where each is, and moved tells how many have sent something since of which
  // they have seen the effect.
  mark() {
    for (const c of clients) c.mark = { life: c.life, sent: c.sent };
  },
  moved: () => clients.filter((c) => c.life !== c.mark.life || c.got > c.mark.sent).length,
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, op, ...rest } = JSON.parse(line);
  try {
    say({ id, result: (await ops[op](rest)) ?? null });
  } catch (err) {
    say({ id, error: String(err?.stack ?? err) });
  }
});
process.stdin.on("end", () => process.exit(0));
process.on("uncaughtException", (err) => problem(`uncaught: ${err.stack}`));
