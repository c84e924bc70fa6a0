// A server of Node with @socket.io/admin-ui, until its input ends:
//
//   node adminui-node.mjs HASH [REDIS]      prints its URL
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [hash, redis] = process.argv.slice(2);
const interop = createRequire(new URL("../../../sio/interop/package.json", import.meta.url));
const cluster = createRequire(new URL("../../../rooms/redis/interop/package.json", import.meta.url));
const { Server } = interop("socket.io");
const { instrument } = interop("@socket.io/admin-ui");

const http = createServer();
const o = { cors: { origin: true, credentials: true } };
if (redis) {
  const { createClient } = cluster("redis");
  const pub = createClient({ url: `redis://${redis}` });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  o.adapter = cluster("@socket.io/redis-adapter").createAdapter(pub, sub);
}
const io = new Server(http, o);
instrument(io, { auth: { type: "basic", username: "admin", password: hash }, mode: "development", serverId: "a server of Node" });
io.on("connection", (socket) => {
  socket.on("enter", (room, done) => {
    socket.join(room);
    done({ ok: true });
  });
});
http.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${http.address().port}`));
process.stdin.resume().on("end", () => process.exit(0));
