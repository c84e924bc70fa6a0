// Many clients at once meet a server that is late and refuses most of them with 503:
//
//	node avalanche.mjs URL CLIENTS
//
// It says what they saw, and exits with 0 when all are in, each by itself, with the
// settings that clients have.

import { io } from "socket.io-client";
import { io as io3 } from "socket.io-client-3";
import io2 from "socket.io-client-2";

const [url, count] = [process.argv[2], Number(process.argv[3])];
const kinds = [
  ["4", io, {}], ["4 polling", io, { transports: ["polling"] }], ["4 websocket", io, { transports: ["websocket"] }],
  ["3", io3, {}], ["2", io2, {}], ["2 websocket", io2, { transports: ["websocket"] }],
].map(([name, connect, options]) => ({ name, connect, options, clients: 0, refused: 0, seen: new Map(), in: [], most: 0 }));

const began = Date.now();
let left = count;
const gaveUp = [];

function report() {
  for (const k of kinds) {
    const at = k.in.sort((a, b) => a - b).map((ms) => (ms / 1000).toFixed(1));
    const seen = [...k.seen].map(([what, n]) => `${n} × ${what}`).join(", ") || "none";
    console.log(`client ${k.name}: ${k.in.length} of ${k.clients} in after ${at[0]} s, ${at[at.length >> 1]} s (median), ${at[at.length - 1]} s (last);`,
      `refusals: ${seen}; the most of one client: ${k.most}`);
  }
}

setTimeout(() => {
  report();
  console.log(`${left} clients did not get in`);
  process.exit(1);
}, 120_000);

for (let i = 0; i < count; i++) {
  const k = kinds[i % kinds.length];
  const socket = k.connect(url, { forceNew: true, ...k.options });
  const manager = socket.io;
  let refusals = 0, isIn = false;
  k.clients++;
  const failed = (err) => {
    const cause = err?.description?.message ?? err?.description ?? err;
    const what = `${err?.message} (${cause?.message ?? cause})`;
    k.seen.set(what, (k.seen.get(what) ?? 0) + 1);
    k.most = Math.max(k.most, ++refusals);
  };
  if (k.connect === io2) socket.on("connect_error", failed);
  else manager.on("error", failed);
  manager.on("reconnect_failed", () => gaveUp.push(k.name));
  socket.on("connect", () => {
    if (isIn) return;
    isIn = true;
    k.in.push(Date.now() - began);
    if (--left > 0) return;
    report();
    if (gaveUp.length > 0) console.log("gave up:", gaveUp.join(", "));
    process.exit(gaveUp.length > 0 ? 1 : 0);
  });
}
