// Unmodified npm clients, told by lines of JSON what to do: {"id", "op", …}. Each is
// answered by {"id", "result"} or {"id", "error"}; what clients see comes as {"c", "on", …}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const clients = createRequire(new URL("../../../sio/interop/package.json", import.meta.url));
const cluster = createRequire(new URL("../../../rooms/redis/interop/package.json", import.meta.url));
const io = { 2: clients("socket.io-client-2"), 3: clients("socket.io-client-3").io, 4: clients("socket.io-client").io };

const { Manager } = clients("socket.io-client");

const sockets = new Map();
const managers = new Map();
const say = (x) => process.stdout.write(JSON.stringify(x) + "\n");

// mute is a client that opens a connection and joins no namespace.
function mute({ c, url }) {
  const manager = new Manager(url, { reconnection: false, transports: ["websocket"] });
  manager.on("close", (reason, details) =>
    say({ c, on: "disconnect", reason, code: details?.context?.code ?? 0, text: details?.context?.reason ?? "" }));
}

function connect({ c, version, url, namespace, auth, query, headers, transports, on, recover, tls }) {
  if (version === "mute") return mute({ c, url });
  const options = { transports: transports ?? ["websocket"], forceNew: true, reconnection: recover ?? false, auth };
  if (query) options.query = query;
  if (headers) options.extraHeaders = headers;
  if (tls) Object.assign(options, tls); // ca, cert, key, servername
  if (version === "2") Object.assign(options, { auth: undefined, transportOptions: { polling: { extraHeaders: headers }, websocket: { extraHeaders: headers } } });
  let s;
  if (on) {
    s = managers.get(on).socket(namespace, options);
  } else {
    s = version === "2" ? io[2](url + namespace, options) : io[version](url + namespace, options);
  }
  const manager = s.io;
  managers.set(c, manager);
  sockets.set(c, s);
  const tell = (what, more) => say({ c, on: what, ...more });
  s.on("connect", () => tell("connect", { sid: s.id, recovered: s.recovered ?? false }));
  if (version === "2") {
    s.on("error", (e) => tell("connect_error", { error: typeof e === "string" ? { message: e } : e }));
    s.on("connect_error", (e) => tell("connect_error", { error: { message: String(e?.message ?? e) } }));
  } else {
    s.on("connect_error", (e) => tell("connect_error", { error: { message: e.message, data: e.data ?? null, status: e.context?.status ?? e.description?.status ?? 0 } }));
  }
  s.on("disconnect", (reason, details) =>
    tell("disconnect", { reason, code: details?.context?.code ?? 0, text: details?.context?.reason ?? "" }));
  if (version === "2") {
    const onevent = s.onevent;
    s.onevent = function (packet) {
      tell("event", { event: packet.data[0], args: packet.data.slice(1) });
      onevent.call(s, packet);
    };
  } else {
    s.onAny((event, ...args) => tell("event", { event, args }));
  }
  if (!s.connected) s.open();
}

function ask({ c, event, args, wait }) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no acknowledgement")), wait ?? 10_000);
    sockets.get(c).emit(event, ...args, (...answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

async function publish({ redis, namespace, room, event, args }) {
  const client = cluster("redis").createClient({ url: redis });
  await client.connect();
  new (cluster("@socket.io/redis-emitter").Emitter)(client).of(namespace).to(room).emit(event, ...args);
  await client.close();
}

const ops = {
  connect,
  ask,
  publish,
  emit: ({ c, event, args }) => void sockets.get(c).emit(event, ...args),
  burst({ c, event, args, n }) {
    for (let i = 0; i < n; i++) sockets.get(c).emit(event, ...args, i);
  },
  questions({ c, event, n }) { // that nobody waits for
    for (let i = 0; i < n; i++) sockets.get(c).emit(event, () => {});
  },
  answer({ c, event, args }) { // what the client acknowledges an event with
    sockets.get(c).on(event, (...all) => all.at(-1)(...args));
  },
  sid: ({ c }) => (sockets.get(c).connected ? sockets.get(c).id : ""),
  move({ c, url }) { // where it comes back to
    managers.get(c).uri = url;
  },
  auth({ c, auth }) {
    sockets.get(c).auth = auth;
  },
  open: ({ c }) => void sockets.get(c).connect(),
  leave: ({ c }) => void sockets.get(c).disconnect(),
  drop: ({ c }) => void sockets.get(c).io.engine.close(), // as a network that fails: the client may come back
  pause({ c, on }) {
    const socket = sockets.get(c).io.engine.transport.ws._socket;
    if (on) socket.pause();
    else socket.resume();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const op = JSON.parse(line, (_, v) => (v?.$binary ? Buffer.from(v.$binary, "base64") : v));
  (async () => ops[op.op](op))().then(
    (result) => say({ id: op.id, result: result ?? null }),
    (error) => say({ id: op.id, error: String(error?.message ?? error) }),
  );
}
process.exit(0);
