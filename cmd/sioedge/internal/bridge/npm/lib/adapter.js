"use strict";
// A namespace's adapter: rooms as in memory, and mirrored at the edges, which do what concerns many sockets.

const { Adapter, ClusterAdapter, MessageType } = require("socket.io-adapter");
const { randomBytes } = require("node:crypto");
const wire = require("./wire");
const internals = require("./internals");
const { roomText, flagsOf, binary } = require("./edge");
const { parse } = require("./conn");

const { REC } = internals;
const TIMEOUT = 5000; // ms, for what other processes are asked

class BridgeAdapter extends ClusterAdapter {
  constructor(nsp, bridge) {
    super(nsp);
    this.bridge = bridge;
    this.uid = bridge.uid;
    this.listening = new Set(); // ids of sockets that may have listeners of outgoing packets
    this.directs = new Set(); // ids of sockets whose clients came without an edge
    this.asked = new Map(); // requests to other processes
    this.parts = -1; // how many answer the broadcast that has just been made
    bridge.addAdapter(this);
  }

  close() {
    this.bridge.removeAdapter(this);
  }

  // rec is what the edge knows a socket as, if it is of an edge, and in.
  rec(id) {
    const socket = this.nsp.sockets.get(id);
    const rec = socket && socket[REC];
    return rec && rec.live ? rec : undefined;
  }

  addAll(id, rooms) {
    const socket = this.nsp.sockets.get(id);
    const rec = socket && socket[REC];
    if (rec && rec.live) {
      const known = this.sids.get(id);
      const fresh = [];
      for (const room of rooms) if (room !== id && !(known && known.has(room))) fresh.push(roomText(room));
      if (fresh.length) rec.conn.edge.join(rec, fresh);
    } else if (socket && !rec) {
      this.directs.add(id);
    }
    super.addAll(id, rooms);
  }

  del(id, room) {
    const rec = this.rec(id);
    if (rec && room !== id && this.sids.get(id).has(room)) rec.conn.edge.leave(rec, [roomText(room)]);
    super.del(id, room);
  }

  delAll(id) {
    const rec = this.rec(id);
    if (rec && this.sids.has(id)) this.leaveAll(rec, [...this.sids.get(id)]);
    this.listening.delete(id);
    this.directs.delete(id);
    super.delAll(id);
  }

  // leaveAll tells the edge, unless the socket is on its way out: then it keeps the rooms, for a client that comes back.
  leaveAll(rec, rooms) {
    process.nextTick(() => {
      if (!rec.live || !rec.socket.connected) return;
      const now = this.sids.get(rec.id);
      const left = rooms.filter((room) => room !== rec.id && !(now && now.has(room))).map(roomText);
      if (left.length) rec.conn.edge.leave(rec, left);
    });
  }

  // matches is whether opts address a socket.
  matches(id, { rooms, except }) {
    const of = this.sids.get(id);
    if (!of) return false;
    if (except) for (const room of except) if (of.has(room)) return false;
    if (!rooms || rooms.size === 0) return true;
    for (const room of rooms) if (of.has(room)) return true;
    return false;
  }

  // apply calls fn with sockets that opts address; with the flag "direct", those that came without an edge.
  apply(opts, fn) {
    if (!opts.flags || !opts.flags.direct) return super.apply(opts, fn);
    for (const id of [...this.directs]) {
      const socket = this.matches(id, opts) && this.nsp.sockets.get(id);
      if (socket) fn(socket);
    }
  }

  notify(packet, opts) {
    for (const id of [...this.listening]) {
      const socket = this.matches(id, opts) && this.nsp.sockets.get(id);
      if (socket && socket[REC]) internals.notifyOutgoing(socket, packet);
    }
  }

  broadcast(packet, opts) {
    packet.nsp = this.nsp.name;
    const flags = opts.flags || {};
    if (flags.local) return this.broadcastHere(packet, opts);
    const own = this.own(packet, opts);
    if (own) {
      internals.notifyOutgoing(own, packet);
      internals.packet(own, packet, { ...flags });
      return;
    }
    if (this.listening.size) this.notify(packet, opts);
    this.emitToEdges(packet, opts, null);
    this.emitToDirect(packet, opts, flags);
  }

  // broadcastHere loops over this process' sockets.
  broadcastHere(packet, opts) {
    if (!internals.options(this.nsp.server).parser) return Adapter.prototype.broadcast.call(this, packet, opts);
    // Clients without an edge speak another parser than edges do.
    this.apply(opts, (socket) => {
      internals.notifyOutgoing(socket, packet);
      internals.packet(socket, packet, { ...opts.flags });
    });
  }

  // own is the socket that a packet is for alone: socket.emit is a broadcast to its room if the server has recovery.
  own(packet, opts) {
    if (opts.rooms.size !== 1 || (opts.except && opts.except.size)) return undefined;
    if (packet.id === undefined && !internals.options(this.nsp.server).connectionStateRecovery) return undefined;
    const [id] = opts.rooms;
    const room = this.rooms.get(id);
    return room && room.size === 1 && room.has(id) ? this.nsp.sockets.get(id) : undefined;
  }

  // emitToEdges sends one message to each edge, whatever the number of sockets.
  emitToEdges(packet, opts, request) {
    const edges = this.bridge.linked();
    if (edges.length === 0) return edges;
    const [text, ...attachments] = internals.defaultEncoder.encode({ type: packet.type, nsp: packet.nsp, data: packet.data });
    const p = parse(text);
    const { json } = p;
    if (!this.bridge.proper(p)) return [];
    const flags = opts.flags || {};
    let bytes = json.length;
    const bins = attachments.map(binary);
    for (const b of bins) bytes += b.length;
    const rooms = texts(opts.rooms), except = texts(opts.except);
    if (!this.bridge.few(rooms, except)) return [];
    for (const edge of edges) {
      if (flags.volatile && !edge.link.writable && request === null) continue;
      const timeout = request === null ? null : flags.timeout || 0;
      edge.link.send([wire.BROADCAST, this.nsp.name, rooms, except, flagsOf(flags), request, timeout, json, ...bins], bytes);
    }
    return edges;
  }

  // emitToDirect reaches clients that came without an edge, here and at other processes.
  emitToDirect(packet, opts, flags) {
    if (this.directs.size) Adapter.prototype.broadcast.call(this, packet, direct(opts));
    const uids = this.bridge.uidsOf(this.nsp.name, true);
    if (uids.length) this.tell(uids, { type: MessageType.BROADCAST, data: { packet, opts: encoded(opts) } });
  }

  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    packet.nsp = this.nsp.name;
    const flags = opts.flags || {};
    this.parts = 1;
    if (flags.local) return Adapter.prototype.broadcastWithAck.call(this, packet, opts, clientCountCallback, ack);
    if (this.listening.size) this.notify(packet, opts);
    const request = this.bridge.ask(flags.timeout, clientCountCallback, ack);
    const edges = this.emitToEdges(packet, opts, request.id);
    for (const edge of edges) request.edges.add(edge);
    const uids = this.bridge.uidsOf(this.nsp.name, true);
    this.parts += edges.length + uids.length;
    if (uids.length) {
      const requestId = randomBytes(8).toString("hex");
      this.ackRequests.set(requestId, { clientCountCallback, ack });
      setTimeout(() => this.ackRequests.delete(requestId), flags.timeout);
      this.tell(uids, { type: MessageType.BROADCAST, data: { packet, requestId, opts: encoded(opts) } });
    }
    // Its own part is that of clients that came without an edge.
    if (this.directs.size === 0) return clientCountCallback(0);
    Adapter.prototype.broadcastWithAck.call(this, packet, direct(opts), clientCountCallback, ack);
  }

  // serverCount is that of application processes; just behind a broadcast with acknowledgements, how many answer that.
  serverCount() {
    const { parts } = this;
    this.parts = -1;
    return Promise.resolve(parts >= 0 ? parts : 1 + this.bridge.uidsOf(this.nsp.name).length);
  }

  addSockets(opts, rooms) {
    if (opts.flags && opts.flags.local) return super.apply(opts, (socket) => this.addAll(socket.id, new Set(rooms)));
    this.addHere(opts, rooms);
    this.toAll(wire.JOIN_ALL, opts, rooms);
    this.tell(this.bridge.uidsOf(this.nsp.name), { type: MessageType.SOCKETS_JOIN, data: { opts: encoded(opts), rooms } });
  }

  delSockets(opts, rooms) {
    if (opts.flags && opts.flags.local) return super.apply(opts, (socket) => rooms.forEach((room) => this.del(socket.id, room)));
    this.delHere(opts, rooms);
    this.toAll(wire.LEAVE_ALL, opts, rooms);
    this.tell(this.bridge.uidsOf(this.nsp.name), { type: MessageType.SOCKETS_LEAVE, data: { opts: encoded(opts), rooms } });
  }

  // addHere and delHere follow what the edges do.
  addHere(opts, rooms) {
    super.apply(opts, (socket) => super.addAll(socket.id, new Set(rooms)));
  }

  delHere(opts, rooms) {
    super.apply(opts, (socket) => {
      for (const room of rooms) super.del(socket.id, room);
    });
  }

  disconnectSockets(opts, close) {
    const sockets = [];
    super.apply(opts, (socket) => sockets.push(socket));
    if (!(opts.flags && opts.flags.local)) {
      this.toAll(wire.DISCONNECT_ALL, opts, null, close === true);
      // The edges have been told; other processes hear it from them, but for their clients without an edge.
      for (const { [REC]: rec } of sockets) {
        if (!rec) continue;
        rec.doomed = true;
        if (close) rec.conn.doomed = true;
      }
      this.tell(this.bridge.uidsOf(this.nsp.name, true), { type: MessageType.DISCONNECT_SOCKETS, data: { opts: encoded(opts), close } });
    }
    for (const socket of sockets) socket.disconnect(close);
  }

  // toAll tells all edges what sockets that opts address are to do, about so many rooms at a time as they take.
  toAll(kind, opts, names, close) {
    const rooms = texts(opts.rooms), except = texts(opts.except);
    if (!this.bridge.few(rooms, except)) return;
    for (let i = 0; i === 0 || (names && i < names.length); i += wire.NAMES) {
      const what = names ? names.slice(i, i + wire.NAMES).map(roomText) : close;
      for (const edge of this.bridge.linked()) edge.link.send([kind, this.nsp.name, rooms, except, what], 16 * (rooms.length + except.length));
    }
  }

  async sockets(rooms) {
    const sockets = await this.fetchSockets({ rooms: rooms || new Set(), except: new Set(), flags: {} });
    return new Set(sockets.map((socket) => socket.id));
  }

  async fetchSockets(opts) {
    const here = await Adapter.prototype.fetchSockets.call(this, { rooms: opts.rooms, except: opts.except });
    const uids = this.bridge.uidsOf(this.nsp.name);
    if (uids.length === 0 || (opts.flags && opts.flags.local)) return here;
    return new Promise((resolve, reject) => {
      const data = { opts: encoded({ rooms: opts.rooms, except: opts.except, flags: {} }) };
      this.ask({ type: MessageType.FETCH_SOCKETS, data }, uids, opts.flags && opts.flags.timeout, here, (err, found) => (err ? reject(err) : resolve(found)));
    });
  }

  async serverSideEmit(packet) {
    const uids = this.bridge.uidsOf(this.nsp.name);
    if (typeof packet[packet.length - 1] !== "function") {
      this.tell(uids, { type: MessageType.SERVER_SIDE_EMIT, data: { packet } });
      return;
    }
    const ack = packet.pop();
    if (uids.length === 0) return ack(null, []);
    this.ask({ type: MessageType.SERVER_SIDE_EMIT, data: { packet } }, uids, TIMEOUT, [], ack);
  }

  // ask sends a request to other processes, and calls done with (null, what they answered), or an error and what there is
  // when it takes too long. One that goes is not waited for.
  ask(message, uids, timeout, answers, done) {
    const requestId = randomBytes(8).toString("hex");
    message.data.requestId = requestId;
    const request = { missing: new Set(uids), answers, done, timer: null };
    request.timer = setTimeout(() => {
      this.asked.delete(requestId);
      done(new Error(`timeout reached: missing ${request.missing.size} responses`), answers);
    }, timeout || TIMEOUT);
    this.asked.set(requestId, request);
    if (!this.tell(uids, message)) this.missed(requestId, request, uids);
  }

  missed(requestId, request, uids) {
    for (const uid of uids) request.missing.delete(uid);
    if (request.missing.size > 0 || !this.asked.delete(requestId)) return;
    clearTimeout(request.timer);
    request.done(null, request.answers);
  }

  // onGone is called with the uids of processes that have gone.
  onGone(uids) {
    for (const [requestId, request] of [...this.asked]) this.missed(requestId, request, uids);
  }

  tell(uids, message) {
    if (uids.length === 0) return true;
    message.uid = this.uid;
    message.nsp = this.nsp.name;
    return this.bridge.relay(uids, this.nsp.name, message);
  }

  onMessage(message) {
    switch (message.type) {
      case MessageType.SOCKETS_JOIN: return this.addHere(decoded(message.data.opts), message.data.rooms);
      case MessageType.SOCKETS_LEAVE: return this.delHere(decoded(message.data.opts), message.data.rooms);
      case MessageType.BROADCAST:
      case MessageType.DISCONNECT_SOCKETS:
        message.data.opts.flags = { ...message.data.opts.flags, direct: true };
    }
    super.onMessage(message);
  }

  onResponse(response) {
    const { requestId } = response.data;
    const request = this.asked.get(requestId);
    if (!request) return super.onResponse(response);
    if (!request.missing.has(response.uid)) return;
    if (response.type === MessageType.FETCH_SOCKETS_RESPONSE) request.answers.push(...response.data.sockets);
    else request.answers.push(response.data.packet);
    this.missed(requestId, request, [response.uid]);
  }

  // The edge marks what its clients may ask for again.
  addOffsetIfNecessary() {}

  doPublish() {
    return Promise.resolve("");
  }

  doPublishResponse(uid, response) {
    this.bridge.relay([uid], this.nsp.name, response);
    return Promise.resolve();
  }

  // Sessions are the edge's to keep.
  persistSession() {}

  restoreSession() {
    return null;
  }
}

const texts = (rooms) => (rooms && rooms.size ? Array.from(rooms, roomText) : []);
const direct = (opts) => ({ rooms: opts.rooms, except: opts.except, flags: { ...opts.flags, direct: true } });
const encoded = (opts) => ({ rooms: [...opts.rooms], except: [...(opts.except || [])], flags: opts.flags || {} });
const decoded = (opts) => ({ rooms: new Set(opts.rooms), except: new Set(opts.except), flags: opts.flags });

module.exports = { BridgeAdapter };
