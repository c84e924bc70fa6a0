"use strict";
// A link to one edge: batches, each worked off once and in order, over as many connections as it takes.

const { EventEmitter } = require("node:events");
const WebSocket = require("ws");
const wire = require("./wire");

const PART = 256 << 10; // Beyond this a batch is cut, where it may be.
const BACKOFF_MIN = 100, BACKOFF_MAX = 5000; // ms
const HANDSHAKE = 10_000; // ms, until the edge's welcome
const MOVED = 1012; // the code of the close frame when another process takes the edge's place

// Events: "up" (welcome), "down" (error or undefined; the session may go on), "lost" (the session is over), "message" (m),
// "broken" (error: the edge broke the protocol), "refused" (error), "overflow", "unsendable" (message, error), "idle". Before a batch is made of what was sent in a tick, "flush".
class Link extends EventEmitter {
  // options: url, headers, tls, hello() for what is said first, maxMessage and maxPending bytes.
  constructor(options) {
    super();
    this.options = options;
    this.ws = null;
    this.state = "down"; // or "up", "closed"
    this.session = null; // that of the edge; null: none that could go on
    this.settings = null; // the edge's welcome, with what changed since
    this.retry = 0;
    this.timer = null; // of the next dial, or the end of the session
    this.expiry = null;
    this.dialling = null;
    this.stats = { received: 0, sent: 0, bytesReceived: 0, bytesSent: 0, batchesReceived: 0, batchesSent: 0, resumed: 0, lost: 0, unknown: 0, tooBig: 0, broken: 0, refused: 0, overflows: 0 };
    this.reset();
  }

  // reset begins a session.
  reset() {
    this.pending = []; // messages of this tick
    this.pendingBytes = 0; // about
    this.flushing = false;
    this.queue = []; // batches not acked, as {bytes}; the first is number this.acked + 1
    this.queued = 0; // bytes of them all
    this.under = 0; // bytes of those on their way
    this.next = 0; // index in queue of the next to be written
    this.acked = 0; // batches of ours that the edge has worked off
    this.got = 0; // batches received
    this.done = 0; // batches worked off
    this.said = 0; // and the edge was told
    this.inbox = []; // messages received, not yet dispatched
    this.inboxAt = 0;
    this.dirty = false; // events are on their way to handlers
    this.running = false;
    this.overflown = false;
  }

  get up() {
    return this.state === "up";
  }

  // writable is whether what is sent now leaves at once.
  get writable() {
    return this.state === "up" && this.next === this.queue.length && this.under + this.pendingBytes < this.settings.window;
  }

  // idle is whether the edge has worked off all that was sent.
  get idle() {
    return this.pending.length === 0 && this.queue.length === 0;
  }

  // send sends a message with the others of this tick. Without a session it is dropped: there is nobody whom it concerns.
  send(message, bytes) {
    if (this.session === null) return;
    this.pending.push(message);
    this.pendingBytes += bytes || 32;
    if (!this.flushing) this.flushLater();
  }

  // last is the message sent last in this tick, to be added to.
  get last() {
    return this.pending.length ? this.pending[this.pending.length - 1] : undefined;
  }

  flushLater() {
    this.flushing = true;
    // After all that handlers do at once: socket.io calls them behind two ticks of process.nextTick.
    setImmediate(() => {
      this.flushing = false;
      this.dirty = false;
      this.flush();
    });
  }

  flush() {
    if (this.session === null) return;
    this.emit("flush");
    if (this.inboxAt === this.inbox.length && !this.running) this.done = this.got;
    if (this.pending.length) this.enqueue();
    this.write();
    if (this.queued + this.pendingBytes > this.options.maxPending && !this.overflown) {
      this.overflown = true;
      this.stats.overflows++;
      this.emit("overflow", this.queued);
      this.lose("transport error");
      this.cut(new Error("too much waits for the edge"));
    }
  }

  // enqueue makes batches of what is pending. With a new ack it is one, so that an event and what its handler did are
  // taken together or not at all; only what the edge would not take is cut.
  enqueue() {
    const cutAt = this.done === this.said ? PART : Infinity;
    const most = this.settings.max_message - 64;
    let batch = new wire.Batch();
    for (const m of this.pending) {
      let part;
      try {
        part = Buffer.from(wire.encode(m));
      } catch (err) {
        this.emit("unsendable", m, err); // a string longer than V8 can make bytes of, say
        continue;
      }
      if (part.length > most) {
        this.stats.tooBig++;
        this.emit("unsendable", m, new RangeError(`${part.length} bytes, max_message of the bridge is ${this.settings.max_message}`));
        continue;
      }
      if (batch.length && (batch.bytes + part.length > most || batch.bytes >= cutAt)) {
        this.append(batch, this.said);
        batch = new wire.Batch();
      }
      batch.push(part);
    }
    this.pending = [];
    this.pendingBytes = 0;
    if (batch.length) this.append(batch, this.done);
  }

  append(batch, ack) {
    const bytes = batch.seal(ack);
    this.said = ack;
    this.queue.push(bytes);
    this.queued += bytes.length;
    this.stats.sent += batch.length;
  }

  // write writes what the window lets through, then the ack if it is still to be said.
  write() {
    if (this.state !== "up") return;
    while (this.next < this.queue.length) {
      const bytes = this.queue[this.next];
      if (this.under > 0 && this.under + bytes.length > this.settings.window) return;
      this.under += bytes.length;
      this.next++;
      this.stats.batchesSent++;
      this.stats.bytesSent += bytes.length;
      this.ws.send(bytes);
    }
    if (this.done > this.said) {
      this.said = this.done;
      this.ws.send(wire.seal(this.done, []));
    }
  }

  onAck(n) {
    if (n > this.acked + this.next) throw new RangeError("more acked than sent");
    let k = n - this.acked;
    if (k <= 0) return;
    this.acked = n;
    this.next -= k;
    for (const b of this.queue.splice(0, k)) {
      this.queued -= b.length;
      this.under -= b.length;
    }
    this.write();
    if (this.idle) this.emit("idle");
  }

  // open dials, and again until it is closed.
  open() {
    this.timer = null;
    if (this.state === "closed" || this.ws) return;
    const { url, headers, tls, maxMessage } = this.options;
    const ws = new WebSocket(url, "sioedge-bridge.1", {
      ...tls, headers, maxPayload: maxMessage, perMessageDeflate: false, handshakeTimeout: HANDSHAKE, followRedirects: false,
    });
    this.ws = ws;
    this.welcomed = false;
    this.bye = null;
    let failure;
    this.dialling = setTimeout(() => {
      failure = new Error("the edge did not say welcome");
      ws.terminate();
    }, HANDSHAKE + 5000);
    ws.binaryType = "nodebuffer";
    ws.on("open", () => ws.send(wire.seal(0, [Buffer.from(wire.encode([wire.HELLO, this.hello()]))])));
    ws.on("message", (data, binary) => {
      if (this.ws !== ws) return;
      this.seen = Date.now();
      try {
        if (!binary) throw new TypeError("a text message");
        this.onBatch(data);
      } catch (err) {
        failure = err;
        this.stats.broken++;
        this.emit("broken", err);
        this.lose("transport error"); // What it says next could not be trusted either.
        ws.close(1008, "protocol");
        setTimeout(() => ws.terminate(), 1000).unref();
      }
    });
    const alive = () => (this.seen = Date.now());
    ws.on("ping", alive);
    ws.on("pong", alive);
    ws.on("unexpected-response", (req, res) => this.onRefusal(ws, req, res));
    ws.on("error", (err) => (failure = failure || err));
    ws.on("close", (code, reason) => {
      if (this.ws === ws) this.onEnd(failure || this.bye || ended(code, reason), code === MOVED);
    });
  }

  hello() {
    return { ...this.options.hello(), resume: this.session || undefined, received: this.session ? this.got : 0, window: this.options.window };
  }

  // onRefusal reads why: an edge answers with a problem.
  onRefusal(ws, req, res) {
    let body = "";
    const end = () => {
      let detail = body;
      try {
        const p = JSON.parse(body);
        detail = p.detail || p.title || body;
      } catch {}
      const err = new Error(`the edge refuses the link: ${res.statusCode} ${String(detail).slice(0, 300)}`);
      err.status = res.statusCode;
      req.destroy();
      if (this.ws !== ws) return;
      this.stats.refused++;
      this.emit("refused", err);
      this.onEnd(err);
    };
    res.setEncoding("utf8");
    res.on("data", (s) => {
      if (body.length < 4096) body += s;
    });
    res.on("end", end);
    res.on("error", end);
  }

  onBatch(data) {
    this.stats.bytesReceived += data.length;
    const batch = wire.decode(data);
    if (!this.welcomed) return this.onWelcome(batch[1]);
    if (batch.length > 1 && batch[1][0] === wire.BYE) return this.onBye(batch[1][1], batch[1][2]);
    if (this.session === null) return;
    this.onAck(batch[0]);
    if (batch.length === 1) return;
    for (let i = 1; i < batch.length; i++) {
      if (!wire.check(batch[i])) this.stats.unknown++;
    }
    this.got++;
    this.stats.batchesReceived++;
    this.stats.received += batch.length - 1;
    for (let i = 1; i < batch.length; i++) this.inbox.push(batch[i]);
    if (!this.flushing) this.flushLater();
    if (!this.running) this.run();
  }

  // run gives what was received to the bridge. What ends a socket or connection waits until the events before it have
  // reached their handlers; socket.io would drop them.
  run() {
    this.running = false;
    while (this.inboxAt < this.inbox.length) {
      const m = this.inbox[this.inboxAt];
      const kind = m[0];
      if ((kind === wire.LEFT || kind === wire.CLOSED) && this.dirty) {
        this.dirty = false;
        this.running = true;
        const inbox = this.inbox;
        process.nextTick(() => process.nextTick(() => inbox === this.inbox && this.run()));
        return;
      }
      if (kind === wire.EVENT || kind === wire.ANSWER) this.dirty = true;
      this.inboxAt++;
      if (kind === wire.SETTINGS) Object.assign(this.settings, m[1]);
      else this.give(m);
    }
    this.inbox = [];
    this.inboxAt = 0;
  }

  // give lets what a handler of the application throws be uncaught, as it is without a link, behind the rest.
  give(m) {
    try {
      this.emit("message", m);
    } catch (err) {
      process.nextTick(() => {
        throw err;
      });
    }
  }

  onBye(code, text) {
    this.bye = new Error(`the edge ends the link: ${code}${text ? ", " + text : ""}`);
    this.bye.code = code;
  }

  onWelcome(m) {
    if (m && m[0] === wire.BYE) return this.onBye(m[1], m[2]);
    if (!m || m[0] !== wire.WELCOME || !wire.map(m[1])) throw new TypeError("no welcome");
    const w = m[1];
    for (const k of ["window", "max_message", "max_data", "timeout", "grace", "takeover"]) {
      if (!wire.count(w[k])) throw new TypeError(`welcome: ${k} is not as it should be`);
    }
    if (w.version !== 1) throw new RangeError("another version of the link's protocol");
    if (!wire.text(w.session) || w.session === "" || w.timeout < 10 || w.max_message < 1024) throw new TypeError("welcome is not as it should be");
    this.welcomed = true;
    clearTimeout(this.dialling);
    clearTimeout(this.expiry);
    this.retry = 0;
    if (this.session !== null && !w.resumed) this.lose("transport close");
    const resumed = this.session !== null;
    if (resumed) {
      // What the edge has received is on its way still, until it is worked off.
      const n = w.received - this.acked;
      if (!wire.count(n) || n > this.queue.length) throw new RangeError("welcome: received is not as it should be");
      this.next = n;
      this.under = 0;
      for (let i = 0; i < n; i++) this.under += this.queue[i].length;
      this.stats.resumed++;
      this.said = 0; // The last [ack] may have been lost.
    } else {
      this.reset();
    }
    this.session = w.session;
    this.settings = w;
    this.state = "up";
    this.seen = Date.now();
    this.pinger = setInterval(() => this.ping(), Math.max(10, w.timeout / 3));
    this.emit("up", resumed);
    this.flush();
  }

  ping() {
    if (!this.ws || this.ws.readyState !== WebSocket.OPEN) return;
    this.ws.ping();
    if (Date.now() - this.seen <= this.settings.timeout) return;
    // It may be this process that stood still: what has come meanwhile is read before.
    const ws = this.ws;
    setImmediate(() => setImmediate(() => {
      if (this.ws === ws && Date.now() - this.seen > this.settings.timeout) this.cut(new Error("nothing came from the edge"));
    }));
  }

  // cut ends the connection, not the session.
  cut(err) {
    const ws = this.ws;
    if (!ws) return;
    this.onEnd(err);
    ws.terminate();
  }

  // onEnd dials again, at once if the edge has said so.
  onEnd(err, atOnce) {
    const wasUp = this.state === "up";
    clearTimeout(this.dialling);
    clearInterval(this.pinger);
    this.ws = null;
    if (this.state === "closed") return;
    this.state = "down";
    if (wasUp) {
      if (err && err.code === "unknown") this.lose("transport close");
      else if (this.session !== null) this.expiry = setTimeout(() => this.lose("transport close"), this.settings.grace);
    }
    this.emit("down", err, wasUp);
    const most = Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** this.retry++);
    const slow = err && (err.code === "replaced" || (err.status >= 400 && err.status < 500));
    this.timer = setTimeout(() => this.open(), slow ? BACKOFF_MAX : atOnce && wasUp ? 0 : most / 2 + (Math.random() * most) / 2);
  }

  // lose ends the session: its connections are the edge's to give to another process.
  lose(reason) {
    if (this.session === null) return;
    clearTimeout(this.expiry);
    this.session = null;
    this.stats.lost++;
    this.reset();
    this.emit("lost", reason);
  }

  // close ends the link, and the session at the edge if all was handed over.
  close() {
    if (this.state === "closed") return;
    this.state = "closed";
    clearTimeout(this.timer);
    clearTimeout(this.expiry);
    clearTimeout(this.dialling);
    clearInterval(this.pinger);
    this.lose("transport close");
    const ws = this.ws;
    this.ws = null;
    if (!ws) return;
    if (ws.readyState !== WebSocket.OPEN) return ws.terminate();
    ws.close(1000);
    setTimeout(() => ws.terminate(), 1000).unref();
  }
}

function ended(code, reason) {
  return new Error(`the link ended: ${code}${reason && reason.length ? ", " + reason.toString() : ""}`);
}

module.exports = { Link };
