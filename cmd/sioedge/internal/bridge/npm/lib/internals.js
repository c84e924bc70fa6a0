"use strict";
// Whatever is touched of socket.io that is not its documented interface, 4.4 to 4.8, is in this file.

const defaultParser = require("socket.io-parser");

const REC = Symbol("sioedge");
const patched = Symbol("sioedge");

// patch makes sockets of an edge's connections come with the edge's ids. Servers without a bridge, and direct clients,
// are as they were.
function patch(io) {
  const proto = Object.getPrototypeOf(io.sockets);
  if (proto[patched]) return;
  Object.defineProperty(proto, patched, { value: true });
  const create = proto._createSocket; // since 4.6
  if (create) {
    proto._createSocket = function (client, auth) {
      const rec = opening(client, this);
      const made = create.call(this, client, auth);
      return rec ? Promise.resolve(made).then((socket) => prepare(socket, rec)) : made;
    };
  }
  const run = proto.run;
  proto.run = function (socket, fn) {
    const rec = socket[REC] || opening(socket.client, this);
    if (!rec) return run.call(this, socket, fn);
    if (!create) prepare(socket, rec);
    return run.call(this, socket, (err) => (rec.gone ? cleanup(socket) : fn(err)));
  };
}

// opening is the socket that an edge's client is about to have in a namespace.
function opening(client, nsp) {
  const { conn } = client;
  return typeof conn.rec === "function" ? conn.rec(nsp.name) || GONE : undefined;
}

const GONE = { gone: true }; // of a socket that has left before it was made

function prepare(socket, rec) {
  const { nsp } = socket;
  socket[REC] = rec;
  if (rec.gone) return socket;
  if (nsp._preConnectSockets && nsp._preConnectSockets.delete(socket.id)) nsp._preConnectSockets.set(rec.id, socket);
  const proto = Object.getPrototypeOf(socket);
  if (!proto[patched]) watchOutgoing(proto);
  socket.id = rec.id;
  if (socket.recovered === undefined) socket.recovered = false; // before 4.6
  rec.socket = socket;
  const { state } = rec;
  if (state) {
    socket.recovered = true;
    if (typeof state.data === "string") {
      try {
        socket.data = JSON.parse(state.data);
      } catch {}
    }
    if (state.taken) {
      socket.handshake.issued = rec.conn.issued;
      socket.handshake.time = new Date(rec.conn.issued) + "";
    }
    if (Array.isArray(state.rooms)) nsp.adapter.addAll(rec.id, new Set(state.rooms));
  }
  return socket;
}

// watchOutgoing makes the adapter know which sockets have listeners of outgoing packets.
function watchOutgoing(proto) {
  Object.defineProperty(proto, patched, { value: true });
  for (const name of ["onAnyOutgoing", "prependAnyOutgoing"]) {
    const original = proto[name];
    if (!original) continue; // since 4.5
    proto[name] = function (listener) {
      if (this.adapter.listening) this.adapter.listening.add(this.id);
      return original.call(this, listener);
    };
  }
}

const notifyOutgoing = (socket, packet) => socket.notifyOutgoingListeners && socket.notifyOutgoingListeners(packet);

// cleanup takes a socket that is not in, or no more, out of its namespace.
function cleanup(socket) {
  const { nsp } = socket;
  if (socket._cleanup) socket._cleanup(); // since 4.5; it removes since 4.7
  else socket.leaveAll();
  if (nsp.sockets.get(socket.id) === socket) nsp._remove(socket);
  socket.join = () => {};
}

// left ends a socket whose client has left.
const left = (socket, reason) => socket._onclose(reason);

// release takes a socket out that goes on elsewhere: nobody is told that it was disconnected.
function release(socket) {
  if (!socket.connected) return;
  cleanup(socket);
  socket.client._remove(socket);
  socket.connected = false;
}

// packet writes to a socket's client as socket.emit does.
function packet(socket, p, opts) {
  socket.packet(p, opts);
}

// setAdapter gives the server an adapter for good; fn is called if it gets another one, which is not taken.
function setAdapter(io, adapter, fn) {
  const original = io.adapter;
  original.call(io, adapter);
  io.adapter = function (...args) {
    if (args.length === 0) return original.call(this);
    if (args[0] !== adapter) fn();
    return this;
  };
}

// bind gives the server an engine that is there beside the one it has. It returns the engine that the server has now.
function bind(io, engine) {
  if (!io.engine) io.bind(engine);
  return io.engine;
}

// onBind has fn called with (engine, before) when the server gets another engine.
function onBind(io, fn) {
  const original = io.bind;
  io.bind = function (engine) {
    const before = this.engine;
    const result = original.call(this, engine);
    fn(engine, before);
    return result;
  };
}

// connection gives the server a connection by its engine. Between an edge and the application packets are the default
// parser's, whatever clients speak.
function connection(io, engine, conn) {
  if (!io.opts.parser) return engine.emit("connection", conn);
  const { _parser, encoder } = io;
  io._parser = defaultParser;
  io.encoder = defaultEncoder;
  try {
    engine.emit("connection", conn);
  } finally {
    io._parser = _parser;
    io.encoder = encoder;
  }
}

const defaultEncoder = new defaultParser.Encoder();

// middlewares are those of an engine of engine.io, since 6.4.
const middlewares = (engine) => engine.middlewares || [];

const namespaces = (io) => [...io._nsps.keys()];
const isParent = (nsp) => nsp.children instanceof Set;
const nextId = (nsp) => nsp._ids++;
const serverSideEmit = (nsp, args) => nsp._onServerSideEmit(args);
const options = (io) => io.opts;

module.exports = {
  REC, patch, notifyOutgoing, cleanup, left, release, packet, setAdapter, bind, onBind, connection, middlewares,
  namespaces, isParent, nextId, serverSideEmit, options, defaultEncoder,
};
