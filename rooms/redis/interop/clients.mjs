// Clients of many servers, which note what each receives.

import { io } from "socket.io-client";
import { reply, serve } from "./lines.mjs";

const clients = new Map();

function note(client, entry) {
  client.noted.push(entry);
  client.woken.forEach((f) => f());
}

function watch(name, socket) {
  const client = { name, socket, noted: [], ends: new Set(), woken: new Set() };
  clients.set(name, client);
  socket.onAny((event, ...args) => {
    if (event === "end") {
      if (client.ends.has(args[0])) note(client, ["$twice", "end", args[0]]);
      client.ends.add(args[0]);
      client.woken.forEach((f) => f());
      return;
    }
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    note(client, answer ? [event, ...args, "$ack"] : [event, ...args]);
    const list = answer && reply(name, ...args);
    if (list) answer(...list);
  });
  socket.on("disconnect", (reason) => note(client, ["$disconnect", reason]));
  return client;
}

// until resolves to whether ok has become true within so many ms.
function until(client, ms, ok) {
  return new Promise((resolve) => {
    let timer;
    const look = () => {
      if (!ok()) return;
      clearTimeout(timer);
      client.woken.delete(look);
      resolve(true);
    };
    timer = setTimeout(() => {
      client.woken.delete(look);
      resolve(false);
    }, ms);
    client.woken.add(look);
    look();
  });
}

const chosen = (c) => c.clients.map((name) => clients.get(name));

function take(c) {
  const all = Object.fromEntries(chosen(c).map((client) => [client.name, client.noted]));
  for (const client of chosen(c)) client.noted = [];
  return all;
}

serve(null, {
  // connect resolves to the id of the socket. With share it uses the connection
  // of another client.
  connect({ name, url, ns, share, again }) {
    const manager = share && clients.get(share).socket.io;
    const options = {
      forceNew: true, reconnection: Boolean(again), reconnectionDelay: 50, reconnectionDelayMax: 200, transports: ["websocket"],
      auth: { name }, extraHeaders: { "x-name": name },
    };
    const socket = manager ? manager.socket(ns, { auth: { name } }) : io(url + ns, options);
    const client = watch(name, socket);
    return new Promise((resolve, reject) => {
      socket.on("connect", () => {
        if (client.sid) note(client, ["$connect"]);
        client.sid = socket.id;
        resolve(socket.id);
      });
      socket.once("connect_error", (err) => again || reject(err));
    });
  },
  // crowd is connect for count clients that use one connection for all of the
  // namespaces; it resolves to the ids of the sockets by namespace.
  async crowd({ url, names, count }) {
    const ids = Object.fromEntries(names.map((ns) => [ns, []]));
    for (let i = 0; i < count; i++) {
      const manager = io(url + names[0], { forceNew: true, reconnection: false, transports: ["websocket"], autoConnect: false }).io;
      await Promise.all(
        names.map(
          (ns) =>
            new Promise((resolve, reject) => {
              const socket = manager.socket(ns);
              socket.once("connect", () => ids[ns].push(socket.id) && resolve());
              socket.once("connect_error", reject);
              socket.connect();
              watch(`${ns} ${i}`, socket);
            }),
        ),
      );
    }
    return ids;
  },
  // id is that of the connected socket, null if it is not connected.
  id: ({ name }) => clients.get(name).socket.id ?? null,
  close({ names }) {
    for (const name of names) {
      clients.get(name).socket.disconnect();
      clients.delete(name);
    }
  },
  // fence resolves when all the clients have the event "end" of that number, or
  // the time is out: to what each has received, and who has not the event.
  async fence(c) {
    const came = await Promise.all(chosen(c).map((client) => until(client, c.timeout, () => client.ends.has(c.number))));
    return { late: c.clients.filter((_, i) => !came[i]), noted: take(c) };
  },
  // count resolves when a client has noted so many, or the time is out.
  count: ({ name, number, timeout }) => until(clients.get(name), timeout, () => clients.get(name).noted.length >= number),
  take,
  // tally is how many events there are that begin with args.
  tally: ({ name, args }) => clients.get(name).noted.filter((entry) => args.every((v, i) => entry[i] === v)).length,
});
