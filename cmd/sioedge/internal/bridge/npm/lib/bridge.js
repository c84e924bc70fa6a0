"use strict";
// An application's bridge: all its edges, what it asks of them, and the other processes.

const { EventEmitter } = require("node:events");
const wire = require("./wire");
const internals = require("./internals");
const options = require("./options");
const { Edge } = require("./edge");
const { Engine } = require("./engine");
const { BridgeAdapter } = require("./adapter");
const { drain } = require("./drain");
const { version } = require("../package.json");

const SWEEP = 1000; // ms, how often some sockets' data is looked at with data: "eager"
const DEEPEST = 1000; // arrays and objects in each other, of what is emitted
const NAMESPACES = 1024; // that an edge is told of; a process that tells as many may have any
const WARN = 10_000; // ms between two warnings of a kind

class Bridge extends EventEmitter {
  constructor(io, given) {
    super();
    this.options = options.read(given);
    this.io = io;
    this.uid = this.options.uid;
    this.links = [];
    this.adapters = new Map(); // by namespace
    this.requests = new Map(); // broadcasts whose answers are waited for
    this.lastRequest = 0;
    this.warned = new Map();
    this.changing = false;
    this.closing = null;
    this.draining = null;
    this.sweeping = null; // an iterator of sockets
    this.stats = { connections: 0, events: 0, tooBig: 0, dataTooBig: 0, improper: 0, tooEarly: 0 };
    this.setMaxListeners(0);
    internals.patch(io);
    const bridge = this;
    const adapter = class extends BridgeAdapter {
      constructor(nsp) {
        super(nsp, bridge);
      }
    };
    internals.setAdapter(io, adapter, () => this.warn("adapter", new Error("another adapter is not taken: the bridge has the place of any")));
    this.engine = new Engine(this, io);
    this.onSignal = () => this.drain().then(() => process.exit(0), () => process.exit(1));
    for (const signal of [this.options.drainOn || []].flat()) process.once(signal, this.onSignal);
    this.sweeper = setInterval(() => this.sweep(), SWEEP);
    this.sweeper.unref();
    for (const url of this.options.urls) this.dial(url);
  }

  dial(url) {
    const { key, name, tls, window, maxMessage, maxPending } = this.options;
    const edge = new Edge(this, url, {
      url: `${url}/bridge?name=${encodeURIComponent(name)}`,
      headers: { authorization: `Bearer ${key}` },
      tls, window, maxMessage, maxPending,
      hello: () => this.hello(edge),
    });
    this.links.push(edge);
    edge.link.open();
  }

  hello(edge) {
    const now = this.announcement();
    if (edge.link.session === null) edge.told = JSON.stringify(now);
    return { version: 1, uid: this.uid, ...now, package: version, socketio: socketioVersion() };
  }

  // announcement is what edges are told of this process.
  announcement() {
    return { namespaces: internals.namespaces(this.io).slice(0, NAMESPACES), direct: this.engine.direct > 0 };
  }

  announce() {
    const now = this.announcement();
    const told = JSON.stringify(now);
    for (const edge of this.linked()) {
      if (edge.told === told) continue;
      edge.told = told;
      edge.link.send([wire.CHANGE, { ...now }]);
    }
  }

  // changed tells the edges in the next turn, if something has.
  changed() {
    if (this.changing) return;
    this.changing = true;
    setImmediate(() => {
      this.changing = false;
      this.announce();
    });
  }

  addAdapter(adapter) {
    this.adapters.set(adapter.nsp.name, adapter);
    if (this.engine) this.changed();
  }

  removeAdapter(adapter) {
    if (this.adapters.get(adapter.nsp.name) === adapter) this.adapters.delete(adapter.nsp.name);
    if (!this.engine) return;
    this.changed();
    // The server closes: its engine, if it is not ours, does not say so to us.
    if (adapter.nsp.name === "/") setImmediate(() => this.close());
  }

  // linked are edges that have, or wait for, this process.
  linked() {
    return this.links.filter((edge) => edge.link.session !== null);
  }

  // edges are what is known of each.
  get edges() {
    return this.links.map((edge) => ({
      url: edge.url, id: edge.id, state: edge.link.state, session: edge.link.session !== null, connections: edge.conns.size,
      sockets: edge.socks.size, peers: [...edge.peers.keys()], waiting: edge.link.queued, ...edge.link.stats,
    }));
  }

  // ready is fulfilled when all edges are linked, or with {any: true} one.
  ready({ any = false, signal } = {}) {
    const is = () => (any ? this.links.some((e) => e.link.up) : this.links.every((e) => e.link.up));
    return this.until(is, signal);
  }

  // until waits for something that an event of "edge" or "idle" may bring about.
  until(is, signal) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        this.off("edge", look).off("idle", look).off("closed", closed);
        if (signal) signal.removeEventListener("abort", aborted);
        settle(value);
      };
      const look = () => is() && done(resolve);
      const aborted = () => done(reject, signal.reason);
      const closed = () => done(reject, new Error("the bridge is closed"));
      this.on("edge", look).on("idle", look).on("closed", closed);
      if (signal) signal.addEventListener("abort", aborted);
      if (signal && signal.aborted) aborted();
      else look();
    });
  }

  onUp(edge, resumed) {
    this.announce();
    if (this.draining && !resumed) edge.link.send([wire.DRAINING]);
    this.emit("edge", { url: edge.url, id: edge.id, state: "up", resumed });
  }

  onDown(edge, err, was) {
    // A refusal has been told.
    if (!this.closing && !(err && err.status)) this.warn(`down ${edge.url}`, err || new Error("the link ended"), edge, false);
    this.emit("edge", { url: edge.url, id: edge.id, state: "down", error: err });
  }

  // warn says, not too often, what went wrong; as an event only if somebody listens.
  warn(kind, err, edge, isError = true) {
    const now = Date.now();
    if (now - (this.warned.get(kind) || -Infinity) < WARN) return;
    if (this.warned.size > 1000) this.warned.clear();
    this.warned.set(kind, now);
    if (edge) err.edge = edge.url;
    if (isError && this.listenerCount("error") > 0) this.emit("error", err);
    const { log } = this.options;
    if (log === false) return;
    if (log) log(err.message, { edge: edge && edge.url, kind });
    else console.warn(`sioedge-bridge: ${edge ? edge.url + ": " : ""}${err.message}`);
  }

  // proper is whether an edge takes what is emitted: it ends the link of who sends another. A client may have had a part in
  // it, by an object that looks like an attachment's placeholder.
  proper({ json, attachments }) {
    let what;
    if (json.length > 2 * DEEPEST && isDeep(json, DEEPEST)) what = `it is nested more than ${DEEPEST} deep`;
    else if (attachments > 0 && json.split('"_placeholder":true').length - 1 !== attachments) what = "it has an object that is the placeholder of another attachment";
    else return true;
    this.stats.improper++;
    this.warn("improper", new Error(`an event is not sent: ${what}`));
    return false;
  }

  // few is whether an edge takes lists of rooms.
  few(rooms, except) {
    if (rooms.length <= 2 * wire.NAMES && except.length <= 2 * wire.NAMES) return true;
    this.stats.tooBig++;
    this.warn("rooms", new RangeError(`what concerns more than ${2 * wire.NAMES} rooms at once cannot be sent to an edge`));
    return false;
  }

  // ask is a broadcast whose clients answer; the caller adds the edges that it was sent to.
  ask(timeout, clientCountCallback, ack) {
    const request = { id: this.lastRequest++, edges: new Set(), clientCountCallback, ack, timer: null };
    this.requests.set(request.id, request);
    // The caller has a timer of its own, and is told by that.
    request.timer = setTimeout(() => {
      this.requests.delete(request.id);
      for (const edge of request.edges) edge.link.send([wire.CANCEL, request.id]);
    }, timeout);
    return request;
  }

  onAnswers(edge, id, done, count, answers) {
    const request = this.requests.get(id);
    if (!request || !request.edges.has(edge)) return;
    if (done) {
      request.edges.delete(edge);
      if (request.edges.size === 0) {
        this.requests.delete(id);
        clearTimeout(request.timer);
      }
    }
    for (const [json, ...bins] of answers || []) {
      let args;
      try {
        args = reconstruct(JSON.parse(json), bins);
      } catch {
        continue;
      }
      if (Array.isArray(args)) request.ack(args[0]);
    }
    if (done) request.clientCountCallback(count || 0);
  }

  // uidsOf are the other processes that have a namespace, or that have clients without an edge.
  uidsOf(nsp, direct = false) {
    const uids = new Set();
    for (const edge of this.links) {
      if (!edge.link.up) continue;
      for (const [uid, { namespaces, direct: has }] of edge.peers) {
        if (uid !== this.uid && (namespaces.has(nsp) || namespaces.size >= NAMESPACES) && (has || !direct)) uids.add(uid);
      }
    }
    return [...uids];
  }

  onPeers() {
    const there = new Set();
    for (const edge of this.links) for (const uid of edge.peers.keys()) there.add(uid);
    const gone = [...(this.there || [])].filter((uid) => !there.has(uid));
    this.there = there;
    if (gone.length) for (const adapter of this.adapters.values()) adapter.onGone(gone);
  }

  // relay sends to each process once: over the first edge that has it, so that order is kept.
  relay(uids, nsp, message) {
    let payload;
    try {
      payload = packed(message);
    } catch (err) {
      this.warn("relay", new Error(`what other processes are to be told cannot be sent: ${err.message}`));
      return false;
    }
    const left = new Set(uids);
    for (const edge of this.links) {
      if (!edge.link.up) continue;
      const here = [...left].filter((uid) => edge.peers.has(uid));
      if (here.length === 0) continue;
      for (const uid of here) left.delete(uid);
      edge.link.send([wire.RELAY, here, nsp, payload], payload.length);
    }
    return left.size < uids.length;
  }

  onRelayed(uid, nsp, payload) {
    const adapter = this.adapters.get(nsp);
    if (!adapter) return;
    let message;
    try {
      message = wire.unpack(payload);
      if (!wire.map(message) || !wire.map(message.data)) throw new TypeError("not a message");
    } catch (err) {
      this.warn("relayed", new Error(`another process relays what is no message: ${err.message}`));
      return;
    }
    message.uid = uid;
    message.nsp = nsp;
    adapter.onMessage(message);
  }

  // sweep looks at some sockets' data, which timers may have changed.
  sweep() {
    let all = 0;
    for (const edge of this.links) if (edge.eager) all += edge.socks.size;
    for (let n = Math.min(2000, Math.ceil(all / 10)); n > 0; n--) {
      const next = (this.sweeping = this.sweeping || eagerSockets(this.links)).next();
      if (next.done) {
        this.sweeping = null;
        return;
      }
      const rec = next.value;
      if (rec.live && rec.socket.connected) rec.conn.edge.sendData(rec);
    }
  }

  // drain hands all sockets over to other processes, and closes the bridge. Their clients do not notice.
  drain(given = {}) {
    if (!this.draining) this.draining = drain(this, given);
    return this.draining;
  }

  // close closes all connections, whose clients come back by themselves, and ends the links.
  close() {
    if (!this.closing) this.closing = this.end();
    return this.closing;
  }

  async end() {
    clearInterval(this.sweeper);
    for (const signal of [this.options.drainOn || []].flat()) process.off(signal, this.onSignal);
    for (const edge of this.links) for (const conn of [...edge.conns.values()]) conn.close();
    await new Promise((resolve) => setImmediate(resolve));
    const limit = AbortSignal.timeout(2000);
    await this.until(() => this.links.every((e) => !e.link.up || e.link.idle), limit).catch(() => {});
    for (const edge of this.links) edge.link.close();
    this.emit("closed");
  }
}

function* eagerSockets(edges) {
  for (const edge of edges) if (edge.eager) yield* edge.socks.values();
}

// isDeep is whether arrays and objects of JSON are nested more than n deep.
function isDeep(json, n) {
  let open = 0;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i) | 32; // [ and {, of which text has some too
    if (c === 123) open++;
  }
  if (open <= n) return false;
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (c === 34) while (json.charCodeAt(++i) !== 34) i += json.charCodeAt(i) === 92 ? 1 : 0;
    else if ((c | 32) === 123 && ++depth > n) return true;
    else if ((c | 32) === 125) depth--;
  }
  return false;
}

// packed is a relay's payload. Values that MessagePack does not have are as JSON has them.
function packed(message) {
  try {
    return wire.pack(message);
  } catch {
    return wire.pack(JSON.parse(JSON.stringify(message)));
  }
}

// reconstruct puts attachments into an answer.
function reconstruct(v, bins) {
  if (typeof v !== "object" || v === null) return v;
  if (v._placeholder === true && typeof v.num === "number") {
    if (!bins[v.num]) throw new RangeError("no such attachment");
    return Buffer.from(bins[v.num]);
  }
  for (const k of Object.keys(v)) v[k] = reconstruct(v[k], bins);
  return v;
}

function socketioVersion() {
  try {
    return require("socket.io/package.json").version;
  } catch {
    return "";
  }
}

module.exports = { Bridge };
