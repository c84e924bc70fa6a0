// A server of Node with the sharded adapter, on the masters of a Redis Cluster.

import { createServer } from "node:http";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { createCluster } from "redis";
import { Server } from "socket.io";
import { serve } from "./lines.mjs";

const o = JSON.parse(process.argv[2]);

async function connected() {
  const cluster = createCluster({ rootNodes: o.nodes.map((addr) => ({ url: `redis://${addr}` })), defaults: { socket: { reconnectStrategy: 50 } } });
  cluster.on("error", () => {}); // it connects again
  await cluster.connect();
  return cluster;
}

// The adapter leaves it to nobody that it could not publish.
process.on("unhandledRejection", () => {});

const http = createServer();
const adapter = createShardedAdapter(await connected(), await connected(), { channelPrefix: o.prefix, subscriptionMode: o.mode });
const io = new Server(http, { adapter });

await new Promise((done) => http.listen(0, "127.0.0.1", done));
serve(`http://127.0.0.1:${http.address().port}`, {
  emit(c) {
    let op = io.of(c.ns);
    if (c.rooms) op = op.to(c.rooms);
    for (let i = 0; i < (c.count ?? 1); i++) op.emit(c.event, ...c.args, ...(c.count ? [i] : []));
  },
  put: (c) => void io.of(c.ns).sockets.get(c.sid).join(c.names),
  fetch: async (c) => (await io.of(c.ns).fetchSockets()).length,
});
