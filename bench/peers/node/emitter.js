"use strict";
// Emits events to rooms where nobody is, by @socket.io/redis-emitter, as fast as Redis
// takes them. They are two: of one alone, servers without it do not hear.
//
//   node emitter.js redis://HOST:PORT N

const { Emitter } = require("@socket.io/redis-emitter");
const { createClient } = require("redis");

const atOnce = 64;

async function main() {
  const [url, n] = process.argv.slice(2);
  const client = createClient({ url });
  await client.connect();
  // The emitter does not say when Redis has an event: the last one of a few is waited for.
  const pending = [];
  const emitter = new Emitter({ publish: (channel, message) => pending.push(client.publish(channel, message)) });
  for (let sent = 0; sent < Number(n); sent++) {
    emitter.to(["room", "another"]).emit("message", { text: "hello", id: 17 });
    if (pending.length === atOnce) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
  await client.close();
}

main();
