"use strict";
// What the scenarios are written with: applications of one version of socket.io that are
// attached to an edge, and clients that are closed afterwards.

const { strict: assert } = require("node:assert");
const { io: connect } = require("socket.io-client");
const { PATIENCE } = require("../edge.js");

// within gives up waiting for a promise after a while.
function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// once waits for an event, and returns its arguments.
function once(emitter, event) {
  return within(`"${event}"`, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))));
}

let serial = 0;

// A Context is what one scenario runs in.
class Context {
  #clients = [];

  // applications are servers of socket.io that are attached to the edge, the first has what
  // a scenario registers.
  constructor(edge, applications) {
    this.edge = edge;
    [this.io, this.other] = applications;
    this.name = `/scenario-${++serial}`;
  }

  // of returns a namespace of the scenario's own, of the first application.
  of(suffix = "") {
    return this.io.of(this.name + suffix);
  }

  // client begins to connect to it.
  client(opts = {}, suffix = "") {
    const client = connect(this.edge.url + this.name + suffix, {
      forceNew: true, transports: ["websocket"], reconnectionDelay: 10, randomizationFactor: 0, ...opts,
    });
    this.#clients.push(client);
    return client;
  }

  // pair returns a client and its socket, both connected.
  async pair(opts, suffix = "") {
    const came = once(this.of(suffix), "connection");
    const client = this.client(opts, suffix);
    const [[socket]] = await Promise.all([came, once(client, "connect")]);
    return { client, socket };
  }

  // settled waits until all that was done to the socket of a pair has been done at the edge.
  async settled({ client, socket }) {
    client.once("settled", (answer) => answer());
    await within("an answer", new Promise((resolve) => socket.emit("settled", resolve)));
  }

  // got returns what reaches clients, by their index, until the event end reaches them.
  got(clients, event, end = "end") {
    return Promise.all(clients.map(async (client) => {
      const all = [];
      client.on(event, (...args) => all.push(args.length === 1 ? args[0] : args));
      await once(client, end);
      return all;
    }));
  }

  close() {
    for (const client of this.#clients) client.disconnect();
  }
}

module.exports = { Context, assert, once, within };
