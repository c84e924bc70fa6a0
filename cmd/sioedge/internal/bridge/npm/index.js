"use strict";
// sioedge-bridge puts a Socket.IO server behind sioedge: clients are connected to its edges, and handled here.

const { Bridge } = require("./lib/bridge");

// attach links a server to edges, and returns its Bridge. It throws a TypeError if an option is wrong; whether edges can
// be reached is told by events.
function attach(io, options) {
  if (!io || typeof io.of !== "function" || typeof io.adapter !== "function") throw new TypeError("sioedge-bridge: not a Socket.IO server");
  return new Bridge(io, options);
}

module.exports = { attach, Bridge };
