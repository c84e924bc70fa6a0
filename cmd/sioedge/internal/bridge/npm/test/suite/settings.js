"use strict";
// What an edge's settings call the options of socket.io's server.

const ms = (n) => `${n}ms`;

// settings returns the edge's for a server's options, and says which have no place there.
function settings(opts = {}) {
  const s = {}, without = [];
  const group = (name, member, value) => { (s[name] ??= {})[member] = value; };
  for (const [name, value] of Object.entries(opts)) {
    if (value === undefined) continue;
    switch (name) {
      case "path": s.path = value.replace(/\/?$/, "/"); break;
      case "transports": s.transports = value; break;
      case "allowEIO3": s.eio3 = value; break;
      case "connectTimeout": group("timeouts", "connect", ms(value)); break;
      case "upgradeTimeout": group("timeouts", "upgrade", ms(value)); break;
      case "pingInterval": group("ping", "interval", ms(value)); break;
      case "pingTimeout": group("ping", "timeout", ms(value)); break;
      case "maxHttpBufferSize": group("limits", "max_payload", value); break;
      case "serveClient": group("client", "serve", value); break;
      case "perMessageDeflate": if (value) group("compress", "mode", "all"); break;
      case "connectionStateRecovery": group("recovery", "window", ms(value.maxDisconnectionDuration ?? 120_000)); break;
      case "cors": s.origins = value.origin; break;
      case "adapter": case "cleanupEmptyChildNamespaces": break; // the application's own
      default: without.push(name);
    }
  }
  return { settings: s, without };
}

module.exports = { settings };
