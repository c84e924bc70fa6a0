"use strict";
// One edge: its clients' connections and sockets, and what goes to and fro over its link.

const wire = require("./wire");
const internals = require("./internals");
const { Conn, Rec } = require("./conn");
const { Link } = require("./link");

const HELD = 1000; // messages of a connection, or socket, that is not in yet

class Edge {
  constructor(bridge, url, options) {
    this.bridge = bridge;
    this.url = url;
    this.conns = new Map(); // by number
    this.socks = new Map(); // Recs by number
    this.peers = new Map(); // uid: {namespaces: Set, direct}
    this.part = null; // a message whose attachments are still to be written: {message, left}
    this.touched = new Set(); // Recs whose data may have changed in this tick
    this.owed = 0; // acknowledgements that clients expect
    this.drained = false; // nothing comes any more
    this.told = ""; // what it was told last of this process, as JSON
    this.id = ""; // what the edge calls itself
    this.refusal = "";
    const edge = this;
    const transport = (name) => ({ name, get writable() { return edge.link.writable; } });
    this.transports = { polling: transport("polling"), websocket: transport("websocket"), webtransport: transport("webtransport") };
    this.link = new Link(options);
    this.listen();
  }

  listen() {
    const { link, bridge } = this;
    link.on("message", (m) => this.receive(m));
    link.on("flush", () => this.flushData());
    link.on("idle", () => bridge.emit("idle"));
    link.on("up", (resumed) => {
      this.id = link.settings.edge || "";
      this.refusal = "";
      bridge.onUp(this, resumed);
    });
    link.on("down", (err, was) => bridge.onDown(this, err, was));
    link.on("lost", (reason) => this.lost(reason));
    link.on("refused", (err) => bridge.warn(`refused ${this.url}`, err, this));
    link.on("broken", (err) => bridge.warn(`broken ${this.url}`, new Error(`the edge does not keep to the protocol: ${err.message}`), this));
    link.on("overflow", (n) => bridge.warn("overflow", new Error(`${n} bytes wait for the edge, more than maxPending: the link is given up`), this));
    link.on("unsendable", (m, err) => {
      bridge.stats.tooBig++;
      bridge.warn("tooBig", new Error(`a message cannot be sent to the edge: ${err.message}`), this);
    });
  }

  receive(m) {
    switch (m[0]) {
      case wire.OPEN: return this.onOpen(m[1], m[2]);
      case wire.CONNECT: return this.onConnect(m);
      case wire.EVENT: return this.onEvent(m);
      case wire.ANSWER: return this.onAnswer(m);
      case wire.LEFT: return this.onLeft(m[1], m[2], m[3]);
      case wire.CLOSED: return this.onClosed(m[1], m[2]);
      case wire.ANSWERS: return this.bridge.onAnswers(this, m[1], m[2], m[3], m[4]);
      case wire.PEERS: return this.onPeers(m[1]);
      case wire.RELAYED: return this.bridge.onRelayed(m[1], m[2], m[3]);
      case wire.UPGRADED: return this.onUpgraded(m[1], m[2]);
      case wire.DRAINED:
        this.drained = true;
        this.bridge.emit("idle");
    }
  }

  onOpen(number, h) {
    const text = (v) => (typeof v === "string" ? v : "");
    const conn = new Conn(this, number, {
      id: text(h.id), address: text(h.address), port: h.port, headers: wire.map(h.headers) ? share(h.headers) : {}, url: text(h.url),
      secure: h.secure === true, issued: wire.count(h.issued) ? h.issued : Date.now(), transport: text(h.transport),
    });
    this.conns.set(number, conn);
    this.bridge.stats.connections++;
    this.bridge.engine.add(conn, (refused) => {
      if (refused) return conn.close();
      const { waiting } = conn;
      conn.waiting = null;
      if (waiting) for (const m of waiting) this.onConnect(m);
    });
  }

  onConnect(m) {
    const [, number, sock, nsp, id, auth, state, identity] = m;
    const conn = this.conns.get(number);
    if (!conn || conn.readyState !== "open") return;
    if (conn.waiting) {
      conn.waiting.push(m);
      if (conn.waiting.length > HELD) this.tooEarly(conn);
      return;
    }
    if (identity) conn.identity = readIdentity(identity);
    // The client may be back before a socket of before is out.
    const before = conn.rec(nsp);
    if (before) this.end(before, "client namespace disconnect");
    const rec = new Rec(conn, sock, nsp, id, state || null);
    conn.recs.push(rec);
    this.socks.set(sock, rec);
    conn.receive(`0${nsp === "/" ? "" : nsp + ","}${auth || ""}`);
  }

  onEvent(m) {
    const rec = this.socks.get(m[1]);
    if (!rec || rec.handed || rec.gone) return;
    if (!rec.live) {
      (rec.held = rec.held || []).push(m);
      // An edge keeps them itself until the socket is in.
      if (rec.held.length > HELD) this.tooEarly(rec.conn);
      return;
    }
    this.bridge.stats.events++;
    const ack = m[2] == null ? "" : m[2];
    if (ack !== "") {
      rec.owed++;
      this.owed++;
    }
    this.packet(rec, "2", "5", ack, m);
    if (this.eager) this.touched.add(rec);
  }

  tooEarly(conn) {
    this.bridge.stats.tooEarly++;
    this.bridge.warn("tooEarly", new Error(`the edge sends more than ${HELD} messages of a connection before it is in`), this);
    conn.close();
  }

  onAnswer(m) {
    const rec = this.socks.get(m[1]);
    if (!rec || !rec.live) return;
    this.packet(rec, "3", "6", m[2], m);
    if (this.eager) this.touched.add(rec);
  }

  packet(rec, type, binary, id, m) {
    const nsp = rec.nsp === "/" ? "" : rec.nsp + ",";
    const n = m.length - 4;
    if (n === 0) rec.conn.receive(type + nsp + id + m[3]);
    else rec.conn.receive(`${binary}${n}-${nsp}${id}${m[3]}`, m, 4);
  }

  // onLeft ends a socket. Its number is answered even if it is not known any more, so that the edge can forget it.
  onLeft(sock, reason, kept) {
    const rec = this.socks.get(sock);
    if (!rec) return this.link.send([wire.GONE, sock]);
    const { socket } = rec;
    this.end(rec, reason);
    this.link.send([wire.GONE, sock, kept && socket && !rec.handed ? this.dataOf(rec) : null]);
  }

  // end ends a socket here, of which the edge need not be told.
  end(rec, reason) {
    const { socket } = rec;
    rec.gone = true;
    rec.conn.drop(rec);
    if (!socket) return;
    if (socket.connected) internals.left(socket, reason);
    else if (!rec.handed) internals.cleanup(socket);
  }

  onClosed(number, reason) {
    const conn = this.conns.get(number);
    if (!conn) return;
    this.conns.delete(number);
    this.endAll(conn, reason);
  }

  endAll(conn, reason) {
    for (const rec of [...conn.recs]) {
      rec.gone = true;
      rec.live = false;
      this.forget(rec);
    }
    conn.ended(reason);
  }

  // lost is called when the session is over.
  lost(reason) {
    const conns = [...this.conns.values()];
    this.conns.clear();
    this.peers.clear();
    this.bridge.onPeers();
    for (const conn of conns) {
      try {
        this.endAll(conn, reason);
      } catch (err) {
        // A handler's; the other sockets are to know too.
        process.nextTick(() => {
          throw err;
        });
      }
    }
    this.socks.clear();
    this.touched.clear();
    this.owed = 0;
    this.bridge.emit("idle");
  }

  onUpgraded(number, name) {
    const conn = this.conns.get(number);
    const transport = this.transports[name];
    if (!conn || !transport) return;
    conn.transport = transport;
    conn.emit("upgrade", transport);
  }

  onPeers(peers) {
    this.peers = new Map((peers || []).map(([uid, namespaces, direct]) => [uid, { namespaces: new Set(namespaces), direct: direct === true }]));
    this.bridge.onPeers();
  }

  forget(rec) {
    this.owed -= rec.owed;
    rec.owed = 0;
    this.socks.delete(rec.sock);
    this.touched.delete(rec);
  }

  // write sends a packet that socket.io has for a socket.
  write(rec, p, opts) {
    switch (p.type) {
      case 0:
        this.accept(rec);
        return;
      case 1:
        rec.conn.drop(rec);
        if (!rec.doomed) this.link.send([wire.DISCONNECT, rec.sock]);
        return;
      case 2:
        this.put([wire.EMIT, rec.sock, flagsOf(opts), p.id, p.json], p);
        // What a timer tells its client, and notes that it has, are taken together.
        if (this.eager) this.touched.add(rec);
        return;
      case 3:
        if (rec.owed > 0) {
          rec.owed--;
          this.owed--;
          if (this.owed === 0) this.bridge.emit("idle");
        }
        this.put([wire.ACK, rec.sock, p.id, p.json], p);
        return;
      case 4:
        rec.conn.drop(rec);
        this.link.send([wire.REFUSE, rec.sock, refusal(p.json)]);
    }
  }

  put(message, p) {
    if (!this.bridge.proper(p)) return;
    if (p.attachments === 0) this.link.send(message, p.json.length);
    else this.part = { message, left: p.attachments, bytes: p.json.length };
  }

  // attach takes the next attachment of what was written.
  attach(data) {
    const { part } = this;
    if (!part) return;
    const b = binary(data);
    part.message.push(b);
    part.bytes += b.length;
    if (--part.left > 0) return;
    this.part = null;
    this.link.send(part.message, part.bytes);
  }

  // accept says that a socket is in, and the rooms that it has joined and left before.
  accept(rec) {
    const { state, held, socket } = rec;
    rec.live = true;
    rec.held = rec.state = null;
    this.link.send([wire.ACCEPT, rec.sock]);
    const known = new Set(state && Array.isArray(state.rooms) ? state.rooms : []);
    const rooms = [];
    for (const room of socket.rooms) {
      const r = roomText(room);
      if (r !== rec.id && !known.delete(r)) rooms.push(r);
    }
    known.delete(rec.id);
    if (rooms.length) this.rooms(wire.JOIN, rec, rooms);
    if (known.size) this.rooms(wire.LEAVE, rec, [...known]);
    if (state && typeof state.data === "string") rec.sent = state.data;
    this.touched.add(rec);
    // Behind the "connection" handlers.
    if (held) process.nextTick(() => held.forEach((m) => this.onEvent(m)));
  }

  // join and leave mirror what a socket that is in does; several at once are one message.
  join(rec, rooms) {
    this.rooms(wire.JOIN, rec, rooms);
  }

  leave(rec, rooms) {
    this.rooms(wire.LEAVE, rec, rooms);
  }

  rooms(kind, rec, rooms) {
    const { last } = this.link;
    if (last && last[0] === kind && last[1] === rec.sock && last[2].length + rooms.length <= wire.NAMES) {
      for (const room of rooms) last[2].push(room);
      return;
    }
    for (let i = 0; i < rooms.length; i += wire.NAMES) this.link.send([kind, rec.sock, rooms.slice(i, i + wire.NAMES)]);
  }

  // close closes a connection, with its sockets.
  close(conn) {
    for (const rec of [...conn.recs]) {
      rec.live = false;
      this.forget(rec);
    }
    this.conns.delete(conn.number);
    if (!conn.doomed) this.link.send([wire.CLOSE, conn.number]);
  }

  get eager() {
    const { data } = this.bridge.options;
    return (data || (this.link.settings && this.link.settings.data)) === "eager";
  }

  // flushData sends data that changed in this tick, behind what the handlers did.
  flushData() {
    if (this.touched.size === 0) return;
    for (const rec of this.touched) if (rec.live && rec.socket.connected) this.sendData(rec);
    this.touched.clear();
  }

  sendData(rec) {
    const text = this.dataOf(rec);
    if (text === null) return;
    const same = text === (rec.sent === undefined ? "{}" : rec.sent);
    rec.sent = this.eager ? text : ""; // It is kept only to be compared.
    if (!same) this.link.send([wire.DATA, rec.sock, text], text.length);
  }

  // dataOf is a socket's data as JSON text, null if it is not to be sent.
  dataOf(rec) {
    let text;
    try {
      text = JSON.stringify(rec.socket.data);
    } catch (err) {
      this.bridge.warn("data", new Error(`socket.data cannot go on to another process: ${err.message}`), this);
      return null;
    }
    if (text === undefined) return null;
    const max = this.link.settings ? this.link.settings.max_data : Infinity;
    if (text.length * 3 > max && Buffer.byteLength(text) > max) {
      this.bridge.stats.dataTooBig++;
      this.bridge.warn("maxData", new Error(`socket.data of more than max_data of the bridge (${max} bytes) does not go on to another process`), this);
      return null;
    }
    return text;
  }
}

const flagsOf = (opts) => (opts && opts.volatile ? wire.VOLATILE : 0) | (opts && opts.compress === false ? wire.UNCOMPRESSED : 0);

// binary copies an attachment: the application may use its memory again before this turn is over.
function binary(data) {
  if (ArrayBuffer.isView(data)) return Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.from(new Uint8Array(data));
}

// What many clients say alike is kept once.
const ALIKE = ["host", "origin", "user-agent", "accept", "accept-encoding", "accept-language", "connection", "upgrade", "cache-control", "pragma", "sec-websocket-version", "sec-websocket-extensions"];
const alike = new Map();

function share(headers) {
  for (const name of ALIKE) {
    const value = headers[name];
    if (typeof value !== "string" || value.length > 300) continue;
    const known = alike.get(value);
    if (known !== undefined) headers[name] = known;
    else if (alike.size < 1000) alike.set(value, value);
    else alike.clear();
  }
  return headers;
}

// roomText is a room as the edge knows it: text that is well formed.
function roomText(room) {
  const s = typeof room === "string" ? room : String(room);
  return /[\ud800-\udfff]/.test(s) ? Buffer.from(s).toString() : s;
}

// refusal is what a client is told, as the edge reads it: middlewares may have any message.
function refusal(json) {
  const said = JSON.parse(json || "null");
  const { message, data } = typeof said === "object" && said !== null ? said : { message: said };
  return JSON.stringify({ message: message == null ? "" : String(message), data });
}

function readIdentity(identity) {
  let claims;
  try {
    claims = JSON.parse(identity.claims);
  } catch {}
  return { user: identity.user, claims };
}

module.exports = { Edge, roomText, flagsOf, binary };
