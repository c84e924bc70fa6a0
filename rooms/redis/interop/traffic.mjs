// Clients that note every number that they receive, and count theirs that are
// answered.

import { io } from "socket.io-client";
import { serve } from "./lines.mjs";

const clients = new Map();

function watch(name, socket, every) {
  const client = { name, socket, noted: [], last: 0, sent: 0, answered: [] };
  clients.set(name, client);
  socket.on("connect", () => client.noted.push(["connect", socket.id, socket.recovered === true, socket.io.engine.transport.name]));
  socket.on("disconnect", (reason, details) =>
    client.noted.push(["disconnect", reason, String(details?.message ?? ""), String(details?.context?.status ?? details?.description ?? "")]),
  );
  socket.on("n", (n, ...more) => {
    client.noted.push(["n", n, ...more]);
    client.last = Math.max(client.last, n);
  });
  if (every) {
    client.timer = setInterval(() => {
      if (!socket.connected) return;
      const k = ++client.sent;
      socket.emit("echo", k, (v) => client.answered.push(v));
    }, every);
  }
}

serve(null, {
  // open makes count clients, called name 0 and so on.
  open({ url, name, transports, count, every, origin }) {
    for (let i = 0; i < count; i++) {
      const socket = io(url, {
        forceNew: true, transports, reconnectionDelay: 100, reconnectionDelayMax: 300, timeout: 2000,
        extraHeaders: origin ? { origin } : {},
      });
      watch(`${name} ${i}`, socket, every);
    }
  },
  // state is of each client the last number and whether it is connected.
  state: () => Object.fromEntries([...clients].map(([name, c]) => [name, { last: c.last, connected: c.socket.connected }])),
  quiet: () => clients.forEach((c) => clearInterval(c.timer)),
  // notes is all that happened.
  notes: () => Object.fromEntries([...clients].map(([name, c]) => [name, { noted: c.noted, sent: c.sent, answered: c.answered }])),
});
