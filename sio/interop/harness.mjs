// What the scenarios are written with: clients that are closed afterwards,
// waiting for events without missing any, and a proxy that misbehaves.

import { connect as dial, createServer } from "node:net";
import { inspect } from "node:util";

// $CLIENT is the major version of the client; 2 speaks Engine.IO 3.
export const CLIENT = Number(process.env.CLIENT ?? 4);
const client = await import(CLIENT === 4 ? "socket.io-client" : `socket.io-client-${CLIENT}`);
const io = client.io ?? client.default;

// $PARSER=msgpack has clients, and the reference server, speak MessagePack.
export const PARSER = process.env.PARSER === "msgpack" ? (await import("socket.io-msgpack-parser")).default : undefined;

// $DEFLATE=1 has the reference server compress, and clients too, whatever size.
export const DEFLATE = process.env.DEFLATE ? { perMessageDeflate: { threshold: 1 } } : {};

// REFUSED is the event of a client that the server does not let into a namespace.
// Version 2 gives it what the server said, later ones an error.
export const REFUSED = CLIENT === 2 ? "error" : "connect_error";

export const MODES = ["polling", "websocket", "upgrade"];

const TRANSPORTS = {
  polling: { transports: ["polling"], upgrade: false },
  websocket: { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

// How long one awaited thing may take before its scenario fails. A busy machine
// takes its time.
export const PATIENCE = 15_000;

let serial = 0;

// shown is the text by which two values are compared: it tells undefined from
// null and bytes from text, and has the keys of objects in one order.
export function shown(value) {
  return inspect(value, { depth: null, sorted: true, breakLength: Infinity, compact: true, maxArrayLength: null });
}

// Context is what a scenario runs in: one server, one mode.
export class Context {
  #sockets = [];
  #proxies = [];
  #closers = [];

  // seen has what the scenario noted, by name, as shown.
  seen = {};

  // another starts a server of its own; without it there is none to start, and
  // the one that there is survives everything.
  constructor(url, mode, another) {
    this.url = url;
    this.mode = mode;
    this.another = another;
    this.tag = `${mode}-${process.pid}-${serial++}`;
  }

  // note records an observation: what is compared between the two servers.
  note(name, value) {
    if (name in this.seen) throw new Error(`"${name}" is noted twice`);
    this.seen[name] = shown(value);
  }

  // fresh returns the URL of a server that may be broken.
  async fresh() {
    if (!this.another) return this.url;
    const { url, stop } = await this.another();
    this.onClose(stop);
    return url;
  }

  // onClose has something called when the scenario is over.
  onClose(stop) {
    this.#closers.push(stop);
  }

  // name makes a room or event name that no other scenario uses.
  name(word) {
    return `${word}-${this.tag}`;
  }

  // socket returns a client of its own connection, not yet connecting.
  socket(nsp = "/", options = {}) {
    const { url = this.url, ...rest } = options;
    const socket = io(url + nsp, {
      ...TRANSPORTS[this.mode],
      forceNew: true,
      autoConnect: false,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      randomizationFactor: 0,
      ...(PARSER && { parser: PARSER }),
      ...DEFLATE,
      ...rest,
    });
    this.#sockets.push(socket);
    return socket;
  }

  // connect returns a connected client.
  async connect(nsp, options) {
    const socket = this.socket(nsp, options);
    await connected(socket);
    return socket;
  }

  // join returns a client on the same connection, in another namespace.
  async join(other, nsp, options) {
    const socket = other.io.socket(nsp, options);
    this.#sockets.push(socket);
    await connected(socket);
    return socket;
  }

  // upgraded waits until the client has the transport its mode ends with.
  async upgraded(socket) {
    const engine = socket.io.engine;
    if (this.mode !== "upgrade" || engine.transport.name === "websocket") return;
    await next(engine, "upgrade");
  }

  async proxy(options) {
    const proxy = new Relay(new URL(this.url), options);
    this.#proxies.push(proxy);
    await proxy.listen();
    return proxy;
  }

  close() {
    for (const socket of this.#sockets) socket.disconnect();
    for (const proxy of this.#proxies) proxy.close();
    for (const stop of this.#closers) stop();
  }
}

// Relay forwards TCP to the server. It can cut every connection, refuse new
// ones, stop forwarding without closing, and hold back WebSocket handshakes.
class Relay {
  #pairs = new Set();
  #cutting = false;
  #stalled = false;
  #lost = new Set();
  #server = createServer({ allowHalfOpen: true }, (down) => this.#accept(down));

  constructor(target, { delayUpgrade = 0 } = {}) {
    this.target = target;
    this.delayUpgrade = delayUpgrade;
    this.refusing = false;
  }

  listen() {
    return new Promise((done) => {
      this.#server.listen(0, "127.0.0.1", () => {
        this.url = `http://127.0.0.1:${this.#server.address().port}`;
        done();
      });
    });
  }

  #accept(down) {
    if (this.refusing || this.#cutting) {
      down.destroy();
      return;
    }
    const up = dial({ host: this.target.hostname, port: this.target.port, allowHalfOpen: true });
    const pair = { up, down, waiting: false };
    this.#pairs.add(pair);
    const drop = () => {
      if (this.#lost.has(pair)) return;
      up.destroy();
      down.destroy();
      this.#pairs.delete(pair);
    };
    up.on("error", drop).on("close", drop);
    down.on("error", drop).on("close", drop);
    down.on("data", () => {
      pair.waiting = true;
    });
    up.on("data", () => {
      pair.waiting = false;
    });
    up.pause();
    down.once("data", (head) => {
      const forward = () => {
        if (this.#stalled) return;
        up.write(head);
        down.pipe(up);
        up.pipe(down);
      };
      down.pause();
      if (/^upgrade:/im.test(head.toString("latin1"))) setTimeout(forward, this.delayUpgrade);
      else forward();
    });
  }

  // cut breaks every connection, and those of the next moment: a polling client
  // that happened to be between two requests must notice as well.
  cut() {
    this.#pause();
    this.#destroy();
  }

  // asked waits until a request is with the server, that of a poll most likely.
  asked() {
    return eventually("a request is with the server", () => [...this.#pairs].some((pair) => pair.waiting));
  }

  #pause() {
    this.#cutting = true;
    setTimeout(() => {
      this.#cutting = false;
    }, 100);
  }

  #destroy() {
    for (const { up, down } of this.#pairs) {
      up.destroy();
      down.destroy();
    }
  }

  // lose breaks the connections for the clients, and the server hears nothing of
  // it, as when a phone changes its network. Soon new connections pass.
  lose() {
    this.#pause();
    for (const pair of this.#pairs) {
      this.#lost.add(pair);
      pair.down.unpipe(pair.up);
      pair.up.unpipe(pair.down);
      pair.down.destroy();
      pair.up.resume();
    }
  }

  stall() {
    this.#stalled = true;
    for (const { up, down } of this.#pairs) {
      down.unpipe(up);
      up.unpipe(down);
      up.pause();
      down.pause();
    }
  }

  close() {
    this.#destroy();
    this.#server.close();
  }
}

// within rejects when the promise takes longer than PATIENCE.
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// next resolves with the arguments of the next such event.
export function next(emitter, event) {
  return within(new Promise((done) => emitter.once(event, (...args) => done(args))), `event "${event}"`);
}

// connected starts the client unless it is connected, and waits for it.
export function connected(socket) {
  if (socket.connected) return Promise.resolve();
  const done = new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once(REFUSED, (err) => reject(CLIENT === 2 ? new Error(`refused: ${JSON.stringify(err)}`) : err));
  });
  socket.connect();
  return within(done, "connection");
}

// collect gathers the first argument of each such event from now on.
export function collect(socket, event) {
  const items = [];
  let wake = () => {};
  socket.on(event, (item) => {
    items.push(item);
    wake();
  });
  const take = (n) =>
    within(
      new Promise((done) => {
        wake = () => items.length >= n && done(items);
        wake();
      }),
      `${n} events "${event}"`,
    );
  return { items, take };
}

// call emits and resolves with the first argument of the acknowledgement.
export async function call(socket, event, ...args) {
  return (await callAll(socket, event, ...args))[0];
}

// callAll is call, with all arguments.
export function callAll(socket, event, ...args) {
  const answer = new Promise((done) => socket.emit(event, ...args, (...answers) => done(answers)));
  return within(answer, `acknowledgement of "${event}"`);
}

// fence returns when all that the server emitted to the sockets before is here:
// what is emitted to one socket arrives in the order of the emits.
export function fence(...sockets) {
  return Promise.all(sockets.map((socket) => call(socket, "echo")));
}

// eventually polls until check gives true.
export async function eventually(what, check) {
  const deadline = Date.now() + PATIENCE;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await sleep(20);
  }
}

export function sleep(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

export function range(n) {
  return Array.from({ length: n }, (_, i) => i);
}
