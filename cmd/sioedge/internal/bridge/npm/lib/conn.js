"use strict";
// A client's connection at an edge, with what socket.io uses of an Engine.IO socket.

const { EventEmitter } = require("node:events");
const querystring = require("node:querystring");
const wire = require("./wire");

// A Request has what middlewares use of the http.IncomingMessage that began a connection. It has no body.
class Request {
  constructor(h) {
    this.headers = h.headers;
    this.url = h.url;
    this.remote = h;
  }

  get _query() {
    const i = this.url.indexOf("?");
    return (this._query = i < 0 ? {} : { ...querystring.parse(this.url.slice(i + 1)) });
  }

  // Middlewares may replace it.
  set _query(q) {
    Object.defineProperty(this, "_query", { value: q, writable: true, enumerable: true, configurable: true });
  }

  get socket() {
    const { address, port, secure } = this.remote;
    const socket = { remoteAddress: address, remotePort: port, remoteFamily: address.includes(":") ? "IPv6" : "IPv4", encrypted: secure };
    Object.defineProperty(this, "socket", { value: socket, writable: true, configurable: true });
    return socket;
  }

  get connection() {
    return this.socket;
  }

  get rawHeaders() {
    return Object.entries(this.headers).flat();
  }
}
Object.assign(Request.prototype, { method: "GET", httpVersion: "1.1", httpVersionMajor: 1, httpVersionMinor: 1, complete: true });
// Not by its constructor: an idle client needs no table of listeners.
Object.setPrototypeOf(Request.prototype, EventEmitter.prototype);

// A Rec is a socket of a connection, from when it wants in until its number is gone.
class Rec {
  constructor(conn, sock, nsp, id, state) {
    this.conn = conn;
    this.sock = sock;
    this.nsp = nsp;
    this.id = id;
    this.state = state; // what it was before, until it is in
    this.socket = null;
    this.live = false; // it is in, and what it does is told to the edge
    this.handed = false; // it goes on elsewhere
    this.gone = false; // the edge has said that it left
    this.doomed = false; // the edge was told already that it is to be disconnected
    this.owed = 0; // acknowledgements that its client expects
    this.sent = undefined; // data sent last, if it is to be compared
    this.held = null; // events that came before it was in
  }
}

function Conn(edge, number, h) {
  this.edge = edge;
  this.number = number;
  this.id = h.id;
  this.request = new Request(h); // Applications may let it go, to save memory.
  this.remoteAddress = h.address;
  this.began = h.transport;
  this.readyState = "open";
  this.transport = edge.transports[h.transport] || edge.transports.websocket;
  this.host = null; // the engine that counts it
  this.recs = [];
  this.identity = null;
  this.doomed = false;
  this.waiting = null; // messages that wait for the engine's middlewares
  this.issued = h.issued;
}
Object.setPrototypeOf(Conn.prototype, EventEmitter.prototype);

Object.assign(Conn.prototype, {
  protocol: 4, // whatever the client speaks with the edge
  upgrading: false,

  rec(nsp) {
    for (const r of this.recs) if (r.nsp === nsp) return r;
    return undefined;
  },

  drop(rec) {
    const i = this.recs.indexOf(rec);
    if (i >= 0) this.recs.splice(i, 1);
    rec.live = false;
    this.edge.forget(rec);
  },

  // receive gives socket.io a packet as the default parser reads it.
  receive(text, m, from) {
    if (this.readyState !== "open") return;
    if (this._events !== undefined && this._events.packet) this.emit("packet", { type: "message", data: text });
    this.emit("data", text);
    if (m) for (const b of wire.attachments(m, from)) this.emit("data", b);
  },

  // write takes what the default parser made: a packet's text, then its attachments.
  write(data, opts) {
    if (this.readyState !== "open") return this;
    if (this._events !== undefined && this._events.packetCreate) this.emit("packetCreate", { type: "message", data, options: opts });
    if (typeof data !== "string") {
      this.edge.attach(data);
      return this;
    }
    const p = parse(data);
    const rec = this.rec(p.nsp);
    this.edge.part = null;
    if (rec) this.edge.write(rec, p, opts);
    return this;
  },

  close() {
    if (this.readyState !== "open") return;
    this.readyState = "closing";
    this.edge.close(this);
    process.nextTick(() => this.ended("forced close"));
  },

  // ended is called once the connection is no more, and its number is gone.
  ended(reason, description) {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.waiting = null;
    this.recs.length = 0;
    this.edge.bridge.engine.removed(this);
    this.emit("close", reason, description);
  },
});
Conn.prototype.send = Conn.prototype.write;

Object.defineProperties(Conn.prototype, {
  server: { get() { return this.host; } },
  upgraded: { get() { return this.transport.name !== this.began; } },
});

// parse reads the head of a packet of the default parser: {type, attachments, nsp, id, json}.
function parse(s) {
  let type = s.charCodeAt(0) - 48;
  let i = 1;
  let attachments = 0;
  if (type === 5 || type === 6) {
    i = s.indexOf("-", 1) + 1;
    attachments = +s.slice(1, i - 1);
    type -= 3; // to an event, an acknowledgement
  }
  let nsp = "/";
  if (s.charCodeAt(i) === 47) {
    let end = s.indexOf(",", i);
    if (end < 0) end = s.length;
    nsp = s.slice(i, end);
    i = end + 1;
  }
  let id = null;
  let c = s.charCodeAt(i);
  if (c >= 48 && c <= 57) {
    id = 0;
    for (; c >= 48 && c <= 57; c = s.charCodeAt(++i)) id = id * 10 + c - 48;
  }
  return { type, attachments, nsp, id, json: s.slice(i) };
}

module.exports = { Conn, Rec, Request, parse };
