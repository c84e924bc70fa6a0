// Does what the page of @socket.io/admin-ui does, against a server, and what an application
// does meanwhile:
//
//   node adminui.mjs dialogue URL        prints what the page was told, a line each, without what differs by chance
//   node adminui.mjs servers URL N ID    waits for server_stats of N servers, that of ID among them
//   node adminui.mjs browser URL         has the package's own page show the server, in Chromium
//
// $PASSWORD is that of the user admin.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join, normalize } from "node:path";

const interop = createRequire(new URL("../../../sio/interop/package.json", import.meta.url));
const { io } = interop("socket.io-client");
const [what, url, ...rest] = process.argv.slice(2);
const password = process.env.PASSWORD;
const PATIENCE = 30_000;

async function until(what, check) {
  for (const end = Date.now() + PATIENCE; !(await check()); ) {
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

// page connects as the page does, and keeps what it is told.
function page(auth) {
  const socket = io(url + "/admin", { forceNew: true, reconnection: false, withCredentials: true, transports: ["polling", "websocket"], path: "/socket.io", auth });
  const told = [];
  socket.onAny((...args) => told.push(args));
  return { socket, told };
}

const refused = (auth) =>
  new Promise((done) => {
    const { socket } = page(auth);
    socket.on("connect_error", (e) => done(e.message));
    socket.on("connect", () => done("let in"));
  });

// app is a client of the application.
async function app() {
  const socket = io(url, { forceNew: true, transports: ["websocket"] });
  socket.onAny(() => {});
  await until("an application's client connects", () => socket.connected);
  return socket;
}

async function dialogue() {
  const lines = [];
  lines.push(`wrong: ${await refused({ username: "admin", password: "wrong" })}`, `no session: ${await refused({ sessionId: "x" })}`);
  const before = await app();
  const first = page({ username: "admin", password });
  await until("all_sockets", () => first.told.some(([name]) => name === "all_sockets"));
  const session = first.told.find(([name]) => name === "session")[1];
  lines.push(`by session: ${await refused({ sessionId: session })}`);
  first.socket.disconnect();

  const { socket, told } = page({ username: "admin", password });
  await until("all_sockets", () => told.some(([name]) => name === "all_sockets"));
  await until("server_stats", () => told.some(([name]) => name === "server_stats"));
  const c = await app();
  const id = c.id; // which the client forgets as it is disconnected
  const about2 = () => told.filter((e) => about(e, id)).length;
  await until("the client is told of", () => about2() >= 2);
  await c.emitWithAck("enter", "lobby");
  await until("it has entered", () => about2() >= 4);
  const act = async (n, ...args) => {
    socket.emit(...args);
    await until(`${args}`, () => about2() >= n);
  };
  await act(5, "emit", "/", "lobby", "news", 1, { a: [true, null] });
  await act(6, "emit", "/", id, "bytes", Buffer.from([1, 2, 3]));
  await act(7, "join", "/", "vip", id);
  await act(8, "leave", "/", "lobby", id);
  await act(11, "_disconnect", "/", false, id);

  const config = told.find(([name]) => name === "config");
  lines.push(JSON.stringify(config));
  const all = told.find(([name]) => name === "all_sockets")[1];
  lines.push(`all_sockets: ${all.filter((s) => s.nsp === "/").map((s) => JSON.stringify(shape(s))).join()}`);
  lines.push(`pages: ${all.filter((s) => s.nsp === "/admin").map((s) => s.clientId.length)}`);
  lines.push(`server_stats: ${JSON.stringify(shape(told.find(([name]) => name === "server_stats")[1], true))}`);
  for (const e of told.filter((e) => about(e, id))) lines.push(JSON.stringify(plain(e, id)));
  before.disconnect();
  socket.disconnect();
  console.log(lines.join("\n"));
}

// about tells whether an event is about a socket of the application.
const about = ([name, ...args], id) => !["all_sockets", "config", "session", "server_stats"].includes(name) && id && JSON.stringify(args).includes(id);

// shape is what an object's members are, by their types; those of fields of requests, and
// counts, are left out.
function shape(x, deep) {
  if (Array.isArray(x)) return x.length && !deep ? [shape(x[0])] : "list";
  if (x === null || typeof x !== "object") return typeof x;
  return Object.fromEntries(Object.keys(x).sort().map((k) => [k, k === "headers" ? "fields" : k === "data" ? x[k] : shape(x[k], deep)]));
}

// plain is an event without what differs by chance.
function plain([name, ...args], id) {
  return [
    name,
    ...args.map((x) => {
      if (name === "socket_connected" && x?.handshake) return shape(x);
      return JSON.parse(
        JSON.stringify(x)
          .replaceAll(id, "ID")
          .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "DATE"),
      );
    }),
  ];
}

async function servers() {
  const { socket, told } = page({ username: "admin", password });
  const seen = () => [...new Set(told.filter(([name]) => name === "server_stats").map(([, s]) => s.serverId))];
  await until("all servers", () => seen().length >= Number(rest[0]) && seen().includes(rest[1]));
  const c = await app();
  await until("a client", () => told.some((e) => e[0] === "socket_connected" && about(e, c.id)));
  c.disconnect();
  socket.disconnect();
  console.log(seen().join("\n"));
}

async function browser() {
  const dist = join(dirname(interop.resolve("@socket.io/admin-ui/package.json")), "ui/dist");
  const types = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml", png: "image/png" };
  const web = createServer(async (req, res) => {
    try {
      const path = normalize(new URL(req.url, "http://x").pathname);
      const body = await readFile(join(dist, path === "/" ? "index.html" : path));
      res.writeHead(200, { "Content-Type": types[path.split(".").pop()] ?? "text/html" }).end(body);
    } catch {
      res.writeHead(404).end();
    }
  });
  await new Promise((done) => web.listen(0, "127.0.0.1", done));
  const origin = `http://127.0.0.1:${web.address().port}`;
  const c = await app();
  await c.emitWithAck("enter", "a room");
  const chromium = await interop("playwright-core").chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  try {
    const tab = await chromium.newPage();
    await tab.route((u) => u.hostname !== "127.0.0.1", (route) => route.abort()); // fonts and icons
    await tab.goto(origin + "/");
    const field = (label) => tab.getByLabel(label, { exact: false }).first();
    await field("Server URL").fill(url);
    await field("Username").fill("admin");
    await field("Password").fill(password);
    await tab.getByRole("button", { name: "Connect" }).click();
    await until("the page is let in", async () => !(await tab.getByRole("button", { name: "Connect", exact: true }).isVisible()));
    for (const [route, text] of [["/#/sockets/", c.id], ["/#/rooms/", "a room"], ["/#/servers/", `#${process.env.PID}`]]) {
      await tab.evaluate((hash) => { location.hash = hash; }, route.slice(1));
      await until(`${route} shows the client`, async () => (await tab.locator("body").innerText()).includes(text));
    }
    console.log("shown");
  } finally {
    await chromium.close();
    web.close();
    c.disconnect();
  }
}

await { dialogue, servers, browser }[what]();
process.exit(0);
