// An application in Node whose clients live on edges: a process of it, for bridge_test.go.
//
//   node bridge-app.mjs '{"package": DIR, "edges": [URL…], "key": KEY, …}'
//
// Its handlers are synchronous, and what must outlive the process is in socket.data: so
// whatever becomes of it, each number of a client has its effect once, and in order. What
// it finds wrong it says as {"problem"}; it is asked by lines {"id", "op"} and answers with
// {"id", "result"}. On SIGTERM it hands its clients over, and ends.
//
// client -> application   effect, k being one more than the last
//   n k ack               acknowledged by k
//   n k                   emits `n` k back
//   local k from,         emits `room` from k to the client's room of this edge, or of all
//   wide k from
//   ask k                 emits `q` k with an acknowledgement, and `n` k
//   where ack             the last k
//
// Beside that each process emits `tick` uid i to all, and `d` i to each socket.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]);
const { Server } = createRequire(new URL("../../../sio/interop/package.json", import.meta.url))("socket.io");

const uid = `${process.pid}-${Date.now()}`;
const say = (x) => process.stdout.write(JSON.stringify(x) + "\n");
let problems = 0;
function problem(text) {
  if (problems++ < 20) say({ problem: `process ${uid}: ${text}` });
}

const io = new Server();
const bridge = options.plain
  ? { drain() {} }
  : createRequire(import.meta.url)(options.package).attach(io, { edges: options.edges, key: options.key, name: options.name });
let [asked, answered, ticks, told, handled] = [0, 0, 0, 0, 0];

// next checks the number of an event.
function next(socket, k) {
  const { data } = socket;
  if (k !== data.up + 1) problem(`${socket.handshake.auth.who} sends ${k} after ${data.up}`);
  data.up = k;
  handled++;
}

io.on("connection", (socket) => {
  const { who, local, wide } = socket.handshake.auth;
  if (!socket.recovered) {
    Object.assign(socket.data, { up: 0, down: 0 });
    socket.join([local, wide]);
  } else if (typeof socket.data.up !== "number" || !socket.rooms.has(local) || !socket.rooms.has(wide) || !socket.rooms.has(socket.id)) {
    problem(`${who} is recovered with ${JSON.stringify(socket.data)} in ${[...socket.rooms]}`);
  }
  socket.on("n", (k, ack) => {
    next(socket, k);
    if (ack) ack(k);
    else socket.emit("n", k);
  });
  socket.on("local", (k, from) => {
    next(socket, k);
    io.to(local).emit("room", from, k);
  });
  socket.on("wide", (k, from) => {
    next(socket, k);
    io.to(wide).emit("room", from, k);
  });
  socket.on("ask", (k) => {
    next(socket, k);
    asked++;
    socket.emit("q", k, (answer) => {
      answered++;
      if (answer !== k) problem(`${who} answers ${answer} to ${k}`);
    });
    socket.emit("n", k);
  });
  socket.on("where", (ack) => ack(socket.data.up));
});

setInterval(() => io.emit("tick", uid, ++ticks), options.tick ?? 100);
setInterval(() => {
  for (const socket of io.sockets.sockets.values()) {
    socket.emit("d", ++socket.data.down);
    told++;
  }
}, options.down ?? 500);

const ops = {
  status: () => ({ uid, sockets: io.sockets.sockets.size, asked, answered, ticks, told, handled, problems }),
  everybody: async () => (await io.fetchSockets()).length,
  drain: () => bridge.drain(),
  exit: () => process.exit(0),
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, op } = JSON.parse(line);
  try {
    say({ id, result: (await ops[op]()) ?? null });
  } catch (err) {
    say({ id, error: String(err?.stack ?? err) });
  }
});
process.stdin.on("end", () => process.exit(0)); // the test is over
process.on("SIGTERM", async () => {
  await bridge.drain();
  process.exit(0);
});
process.on("unhandledRejection", (err) => problem(`unhandled: ${err?.stack ?? err}`));

if (options.plain) {
  // Without a bridge, to try the clients with.
  const http = createRequire(import.meta.url)("node:http").createServer();
  io.attach(http);
  http.listen(options.plain, "127.0.0.1", () => say({ uid }));
} else {
  say({ uid });
}
