"use strict";
// What of socket.io's own tests is left out when they run through the bridge, and why:
// whole files, and tests by file and name.

const files = {
  "server-attachment.ts": "HTTP of the browser client's files, and attaching to servers: the edge's own, which has its tests for it",
  "uws.ts": "another engine, µWebSockets.js, in place of which the edge is",
};

const BROADCAST = "a broadcast is one message to the edge, and raises no packetCreate at each connection in Node";
const MALFORMED = "a packet that is none ends the connection at the edge: the socket has a disconnect, and no error before it";

const LATER = "of a later version than what is installed";
const VOLATILE = "a second volatile event in a row is dropped if the first has not left yet: a loop's turn is not a tick of Node's";

const tests = {
  "close.ts": {
    "graceful close › should stop socket and timers": "its server is in a process of its own, which has no edge in front of it",
  },
  "handshake.ts": {
    "should send the Access-Control-Allow-xxx headers on OPTIONS request": "cors.methods and cors.allowedHeaders: the edge has origins alone, and allows what pages need",
    "should disallow request if custom function in opts.allowRequest returns false": "allowRequest is of the engine: the edge asks nobody for a session, but for namespaces",
  },
  "messaging-many.ts": {
    "should precompute the WebSocket frame when broadcasting": BROADCAST,
  },
  "namespaces.ts": {
    "should enable compression by default": BROADCAST,
    "should disable compression": BROADCAST,
  },
  "socket.ts": {
    "should not crash with raw binary": MALFORMED,
    "should handle empty binary packet": MALFORMED,
    "should emit only one consecutive volatile event (polling)": VOLATILE,
    "should emit only one consecutive volatile event (ws)": VOLATILE,
    "should emit only one consecutive volatile event with binary (ws)": VOLATILE,
    "should broadcast only one consecutive volatile event with binary (ws)": VOLATILE,
    "should handshake a client without access to the Engine.IO request (WebTransport-only connection)": "the edge has no WebTransport: each connection has the request that it began with",
    "should ignore a packet received after disconnection": "an event that a client sent before it disconnected reaches its handler, also if both came at once",
    "should leave multiple rooms at once": LATER,
  },
  "utility-methods.ts": {
    "fetchSockets › works with a custom adapter": "the bridge has the place of any adapter, and says so to who sets another",
  },
};

// What is left out of --plain.
const plain = {
  "close.ts": {
    "graceful close › should stop socket and timers": "its server is in a process of its own, which has no socket.io",
  },
  "connection-state-recovery.ts": {
    "should restore session even if the client did not receive any event": LATER,
    "should replay missed packets even if the client did not receive any event before disconnection": LATER,
  },
  "socket.ts": {
    "should leave multiple rooms at once": LATER,
  },
};

module.exports = { files, plain, tests };
