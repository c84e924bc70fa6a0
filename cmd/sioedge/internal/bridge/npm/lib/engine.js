"use strict";
// The engine that a server sees: its own if clients connect to it without an edge too, or else one that has no transports.

const { EventEmitter } = require("node:events");
const http = require("node:http");
const internals = require("./internals");

// A Plain engine has what applications use of io.engine.
class Plain extends EventEmitter {
  constructor(bridge) {
    super();
    this.bridge = bridge;
    this.clients = {};
    this.clientsCount = 0;
    this.middlewares = [];
    this.opts = {};
  }

  use(fn) {
    this.middlewares.push(fn);
    return this;
  }

  close() {
    this.bridge.close();
    return this;
  }
}

class Engine {
  constructor(bridge, io) {
    this.bridge = bridge;
    this.io = io;
    this.plain = new Plain(bridge);
    this.direct = 0; // connections without an edge
    this.current = internals.bind(io, this.plain);
    this.own = this.plain.listeners("connection"); // the server's
    if (this.current !== this.plain) this.watch(this.current);
    internals.onBind(io, (engine) => {
      // What the application has set of the engine before is meant for this one too.
      for (const fn of this.plain.listeners("connection")) if (!this.own.includes(fn)) engine.on("connection", fn);
      this.current = engine;
      this.watch(engine);
    });
  }

  // watch counts clients that have come without an edge.
  watch(engine) {
    engine.prependListener("connection", (conn) => {
      if (conn.edge) return;
      this.count(1);
      conn.once("close", () => this.count(-1));
    });
  }

  count(n) {
    this.direct += n;
    if (this.direct === 0 || (n === 1 && this.direct === 1)) this.bridge.changed();
  }

  // add gives a connection to the server, behind the engine's middlewares. Refused calls done(true).
  add(conn, done) {
    const engine = this.current;
    const fns = internals.middlewares(engine);
    const all = engine === this.plain ? fns : [...this.plain.middlewares, ...fns];
    if (all.length === 0) return this.enter(conn, engine);
    conn.waiting = [];
    const res = new http.ServerResponse(conn.request);
    let over = false;
    const end = (refused) => {
      if (over) return;
      over = true;
      if (conn.readyState !== "open") return;
      if (!refused) this.enter(conn, engine);
      done(refused);
    };
    const { end: endResponse } = res;
    res.end = function (...args) {
      endResponse.apply(this, args);
      end(true); // It was answered, so it is no connection.
      return this;
    };
    const step = (i) => {
      if (over) return;
      if (i === all.length) return end(false);
      try {
        all[i](conn.request, res, (err) => (err ? end(true) : step(i + 1)));
      } catch (err) {
        end(true);
        throw err;
      }
    };
    step(0);
  }

  enter(conn, engine) {
    conn.host = engine;
    engine.clients[conn.id] = conn;
    engine.clientsCount++;
    internals.connection(this.io, engine, conn);
  }

  removed(conn) {
    const engine = conn.host;
    if (!engine) return;
    if (engine.clients[conn.id] === conn) delete engine.clients[conn.id];
    engine.clientsCount--;
  }
}

module.exports = { Engine };
