// Clients that come through a door which sends each request to another server.

import { io as io4 } from "socket.io-client";
import { createRequire } from "node:module";
import { serve } from "./lines.mjs";

const io2 = createRequire(import.meta.url)("socket.io-client-2");
const versions = { 2: io2, 4: io4 };

const clients = new Map();

const transportOf = (client) => client.socket.io.engine.transport.name;

// bytes is what goes with message i, in every third one.
const bytes = (i) => (i % 3 === 0 ? Buffer.alloc(i % 2000, i) : null);

const same = (i, b) => (bytes(i) === null ? b === null : Buffer.compare(bytes(i), Buffer.from(b)) === 0);

// wrong notes what may not happen.
function wrong(client, what) {
  if (client.wrong.length < 10) client.wrong.push(what);
}

// ask sends the next message, and another one when it is acknowledged, until enough
// have been sent and the transport is the wanted one.
function ask(client, done) {
  if (client.sent >= client.most) {
    done();
    return;
  }
  const i = client.sent++;
  client.socket.emit("up", i, bytes(i), (j, b) => {
    if (j !== i || !same(i, b)) wrong(client, `up ${i} was acknowledged with ${j}`);
    if (client.acked++ !== i) wrong(client, `acknowledgement ${i} came as number ${client.acked}`);
    if (transportOf(client) === client.wanted && client.most === Infinity) client.most = client.sent + 100;
    ask(client, done);
  });
}

serve(null, {
  // connect resolves when the client has talked to its server from its first
  // moment until 100 messages behind the one at which its transport is that
  // wanted. What is the version of the client, names are its transports.
  connect({ name, url, what, names, event }) {
    const options = { forceNew: true, reconnection: false };
    if (names) options.transports = names;
    const socket = versions[what](url, options);
    const client = { socket, wanted: event, sent: 0, acked: 0, down: 0, most: Infinity, all: [], wrong: [] };
    clients.set(name, client);
    socket.on("down", (i, b) => {
      if (client.down++ !== i || !same(i, b)) wrong(client, `down ${i} came as number ${client.down}`);
    });
    socket.on("all", (from, i) => client.all.push(`${from} ${i}`));
    socket.on("disconnect", (reason) => wrong(client, `disconnect: ${reason}`));
    return new Promise((resolve, reject) => {
      socket.on("connect_error", reject);
      socket.on("connect", () => {
        let chains = 3;
        for (let n = chains; n > 0; n--) ask(client, () => --chains === 0 && resolve(socket.id));
      });
    });
  },
  // report is what has come of a client.
  report({ name }) {
    const client = clients.get(name);
    const { sent, acked, down, all, wrong } = client;
    return { sent, acked, down, all, wrong, transport: transportOf(client) };
  },
  // send has a client send one message of so many bytes and resolves to whether it
  // came back as it was.
  send({ name, number }) {
    const text = "x".repeat(number);
    const binary = Buffer.alloc(number, 7);
    return new Promise((resolve) => {
      clients.get(name).socket.emit("big", text, binary, (t, b) => resolve(t === text && Buffer.compare(binary, Buffer.from(b)) === 0));
    });
  },
  close({ name }) {
    clients.get(name).socket.off("disconnect");
    clients.get(name).socket.disconnect();
  },
});
