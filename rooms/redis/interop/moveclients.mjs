// Clients of one server, which note the last number of each publisher, and whatever is
// wrong with that, and say something without pause, which the server repeats to all.

import { io } from "socket.io-client";
import { first, serve } from "./lines.mjs";

const wrongs = [];
const clients = [];

function begin(url, name, transports) {
  const socket = io(url, { forceNew: true, transports, reconnection: false });
  const client = { name, socket, heard: {}, said: 0, answered: 0 };
  clients.push(client);
  socket.on("n", (who, n) => {
    if (n !== (client.heard[who] ?? first(who, n)) + 1) wrongs.push(`${name}: ${who}: ${n} behind ${client.heard[who] ?? 0}`);
    client.heard[who] = n;
  });
  socket.on("ask", (done) => done(name));
  socket.on("disconnect", (reason) => wrongs.push(`${name}: disconnect: ${reason}`));
  socket.on("connect_error", (err) => wrongs.push(`${name}: ${err.message}`));
  return new Promise((done) => socket.on("connect", done));
}

let talking = false;
async function talk(client) {
  while (talking) {
    const n = ++client.said;
    const got = await client.socket.timeout(20000).emitWithAck("say", n);
    if (got !== n) wrongs.push(`${client.name}: ${got} in place of ${n}`);
    client.answered++;
    await new Promise((done) => setTimeout(done, 20));
  }
}
let talks = [];

serve(null, {
  open: (c) => Promise.all([...Array(c.count).keys()].map((i) => begin(c.url, `${c.transports[0]} ${i}`, c.transports))).then(() => null),
  talk() {
    talking = true;
    talks = clients.map(talk);
  },
  async hush() {
    talking = false;
    await Promise.all(talks);
    return clients.reduce((n, c) => n + c.answered, 0);
  },
  heard: () => Object.fromEntries(clients.map((c) => [c.name, c.heard])),
  wrongs: () => wrongs,
});
