"use strict";
// Has each server of socket.io live on an edge: what would make its engine attaches the
// bridge instead, and its HTTP server passes its connections on to the edge.

const net = require("node:net");
const { isDeepStrictEqual } = require("node:util");
const { attach } = require("../..");
const { Edge } = require("../edge.js");
const { settings } = require("./settings.js");

// How many edges are kept ready: a test makes its servers at once.
const READY = 2;

// The settings of edges that tests want, each with edges that nobody has used yet.
const kinds = [];
const used = new Set();

function kind(opts) {
  const wanted = settings(opts).settings;
  let k = kinds.find((k) => isDeepStrictEqual(k.settings, wanted));
  if (!k) kinds.push(k = { settings: wanted, edges: [] });
  return k;
}

function take(opts) {
  const k = kind(opts);
  k.taken = true;
  const edge = k.edges.shift() ?? new Edge(k.settings);
  used.add(edge);
  return edge;
}

// prepared has edges ready for the next test, of those kinds that were asked for.
async function prepared() {
  kind({});
  for (const k of kinds) while (k.edges.length < READY) k.edges.push(new Edge(k.settings));
  await Promise.all(kinds.flatMap((k) => k.edges.map((edge) => edge.ready)));
}

// finished ends the edges of a test.
async function finished() {
  const all = [...used];
  used.clear();
  await Promise.all(all.map((edge) => edge.stop()));
}

// passOn has an HTTP server's connections go to an edge.
function passOn(server, edge, open) {
  server.removeAllListeners("connection");
  server.on("connection", (from) => {
    open.add(from);
    from.on("error", () => from.destroy()).on("close", () => open.delete(from));
    edge.ready.then(() => {
      const to = net.connect({ port: edge.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      from.setNoDelay(true);
      to.on("error", () => from.destroy()).on("close", () => from.destroy());
      from.on("close", () => to.destroy());
      from.pipe(to).pipe(from);
    }, () => from.destroy());
  });
}

// install changes the servers that a class makes.
function install(Server) {
  const { close } = Server.prototype;
  const lives = new WeakMap();

  Server.prototype.initEngine = function (server, opts) {
    const edge = take(opts);
    const open = new Set();
    this.httpServer = server;
    passOn(server, edge, open);
    lives.set(this, { edge, open, bridge: attach(this, { name: "main", key: edge.key, edges: [edge.internal] }) });
  };

  Server.prototype.close = function (fn) {
    const closed = close.call(this, fn);
    const life = lives.get(this);
    if (life) {
      lives.delete(this);
      // its clients are closed, as by an engine that closes
      Promise.resolve(life.bridge.close()).then(() => life.edge.stop()).then(() => {
        for (const from of life.open) from.destroy();
      });
    }
    return closed;
  };
}

module.exports = { finished, install, prepared };
