// A server of Node, or an emitter, that does what it is told.

import { createServer } from "node:http";
import * as classic from "@socket.io/redis-adapter";
import * as classic7 from "@socket.io/redis-adapter-7";
import { Emitter } from "@socket.io/redis-emitter";
import * as streams from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { reply, serve } from "./lines.mjs";

const o = JSON.parse(process.argv[2]);

async function connected(client) {
  client.on("error", () => {}); // it connects again
  return client.connect();
}

// The adapter leaves it to nobody that it could not publish.
process.on("unhandledRejection", () => {});

const pub = createClient({ url: `redis://${o.redis}`, socket: { reconnectStrategy: 50 } });
const sub = pub.duplicate();
await Promise.all([connected(pub), connected(sub)]);

const adapters = {
  classic: () => classic.createAdapter(pub, sub, { key: o.prefix, publishOnSpecificResponseChannel: o.ownResponses }),
  classic7: () => classic7.createAdapter(pub, sub, { key: o.prefix }),
  sharded: () => classic.createShardedAdapter(pub, sub, { channelPrefix: o.prefix, subscriptionMode: o.mode }),
  streams: () => streams.createAdapter(pub, { channelPrefix: o.prefix, streamName: o.prefix }),
};

const http = createServer();
const io = o.kind === "emitter" ? undefined : new Server(http, { adapter: adapters[o.kind]() });
const emitter = io ? undefined : new Emitter(pub, { key: o.prefix });
const heard = [];

function begin(nsp) {
  nsp.on("connection", (socket) => {
    socket.data.name = socket.handshake.auth.name;
    Object.assign(socket.data, socket.handshake.auth.data);
    socket.on("echo", (value, done) => done?.(value));
  });
  for (const event of ["news", "ask"]) {
    nsp.on(event, (...args) => {
      const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
      heard.push([nsp.name, event, ...args]);
      const list = answer && reply(o.name, ...args);
      if (list) answer(...list);
    });
  }
}

if (io) {
  begin(io.of("/"));
  begin(io.of("/other"));
  io.of(/^\/(campaigns|ns\d)\/\w+$/).on("connection", (socket) => {
    socket.data.name = socket.handshake.auth.name;
  });
}
const origin = (c) => (io ? io.of(c.ns) : emitter.of(c.ns));
const socket = (c) => io.of(c.ns).sockets.get(c.sid);

// to is what a command addresses.
function to(c) {
  let op = c.from ? io.of(c.ns).sockets.get(c.from).broadcast : origin(c);
  if (c.rooms) op = op.to(c.rooms);
  if (c.except) op = op.except(c.except);
  if (c.volatile) op = op.volatile;
  if (c.plain) op = op.compress(false);
  if (c.local) op = op.local;
  return op;
}

const answers = (ask) =>
  new Promise((resolve) => {
    ask((err, all) => resolve({ answers: all ?? [], error: err ? err.message : "" }));
  });

const describe = (s) => ({
  id: s.id, rooms: [...new Set([...s.rooms].map(String))].sort(), data: s.data, auth: s.handshake.auth, header: s.handshake.headers["x-name"],
  transport: s.handshake.query.transport, address: s.handshake.address,
});

const commands = {
  emit(c) {
    for (let i = 0; i < (c.count ?? 1); i++) to(c).emit(c.event, ...c.args, ...(c.count ? [i] : []));
  },
  ask: (c) => answers((f) => to(c).timeout(c.timeout).emit(c.event, ...c.args, f)),
  fetch: async (c) => (await to(c).fetchSockets()).map(describe),
  // remote does something through a RemoteSocket, the only one there is.
  async remote(c) {
    const all = await to(c).fetchSockets();
    if (all.length !== 1) throw new Error(`${all.length} sockets were found`);
    switch (c.what) {
      case "emit":
        return void all[0].emit(c.event, ...c.args);
      case "ask":
        return [await all[0].timeout(c.timeout).emitWithAck(c.event, ...c.args)];
      case "join":
        return void all[0].join(c.names);
      case "leave":
        return void c.names.forEach((name) => all[0].leave(name));
      case "disconnect":
        return void all[0].disconnect(c.close);
    }
  },
  rooms: async (c) => [...(await origin(c).adapter.allRooms())].map(String).sort(),
  join: (c) => void to(c).socketsJoin(c.names),
  leave: (c) => void to(c).socketsLeave(c.names),
  disconnect: (c) => void to(c).disconnectSockets(c.close),
  servers: (c) => void origin(c).serverSideEmit(c.event, ...c.args),
  askServers: (c) => answers((f) => origin(c).serverSideEmit(c.event, ...c.args, f)),
  heard: () => heard.splice(0),
  put: (c) => void socket(c).join(c.names),
  takeOut: (c) => void c.names.forEach((name) => socket(c).leave(name)),
  roomsOf: (c) => [...new Set([...(socket(c)?.rooms ?? [])].map(String))].sort(),
  // legacy calls a method of the adapter of version 7.
  async legacy(c) {
    const adapter = io.of(c.ns).adapter;
    const got = await adapter[c.event](...(c.event === "sockets" ? [new Set(c.args)] : c.args));
    return got instanceof Set ? [...got].sort() : got;
  },
};

if (io) await new Promise((done) => http.listen(o.port ?? 0, "127.0.0.1", done));
serve(io ? `http://127.0.0.1:${http.address().port}` : null, commands);
