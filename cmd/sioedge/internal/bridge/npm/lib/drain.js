"use strict";
// A process goes: its sockets go on at others, and their clients do not notice.

const wire = require("./wire");
const internals = require("./internals");

// drain resolves when the edges have taken all over. Settle is how long, in ms, acknowledgements that clients still expect
// of handlers are waited for. An abort of signal skips what is waited for, not what is handed over.
async function drain(bridge, { settle = bridge.options.settle, signal } = {}) {
  const edges = bridge.linked();
  for (const edge of edges) {
    edge.link.send([wire.DRAINING]);
  }
  const over = (edge) => edge.link.session === null;
  await wait(bridge, signal, null, () => edges.every((edge) => over(edge) || edge.drained));
  await wait(bridge, signal, settle, () => edges.every((edge) => edge.owed === 0 && !connecting(edge)));
  for (const edge of edges) if (!over(edge)) handOver(bridge, edge);
  await new Promise((resolve) => setImmediate(resolve));
  await wait(bridge, signal, null, () => edges.every((edge) => over(edge) || edge.link.idle));
  await bridge.close();
}

function wait(bridge, signal, ms, is) {
  const signals = [signal, ms === null ? undefined : AbortSignal.timeout(ms)].filter(Boolean);
  const both = new AbortController();
  const abort = () => both.abort();
  for (const s of signals) {
    if (s.aborted) abort();
    else s.addEventListener("abort", abort, { once: true });
  }
  return bridge.until(is, both.signal).catch(() => {}).finally(() => {
    for (const s of signals) s.removeEventListener("abort", abort);
  });
}

// connecting is whether middlewares have still to say whether a socket may be in.
function connecting(edge) {
  for (const rec of edge.socks.values()) if (!rec.live && !rec.gone) return true;
  return false;
}

function handOver(bridge, edge) {
  const { disconnectOnHandover } = bridge.options;
  for (const rec of [...edge.socks.values()]) {
    const { socket } = rec;
    if (!rec.live || !socket.connected) continue;
    const data = edge.dataOf(rec);
    rec.handed = true;
    rec.live = false;
    if (disconnectOnHandover) internals.left(socket, "server shutting down");
    else internals.release(socket);
    edge.link.send([wire.HANDOVER, rec.sock, data], data ? data.length : 0);
  }
  for (const conn of edge.conns.values()) {
    // Sockets whose middlewares have not answered go on elsewhere too, by what is sent last.
    for (const rec of conn.recs) if (!rec.handed) rec.gone = true;
    // It stays open here, so that what handlers that are not done yet emit is still sent.
    conn.doomed = true;
  }
  edge.link.send([wire.HANDED]);
}

module.exports = { drain };
