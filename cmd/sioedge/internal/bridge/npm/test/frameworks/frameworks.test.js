"use strict";
// What people use socket.io with, on an edge: node --test frameworks.test.js.

const assert = require("node:assert/strict");
const { execFile, spawn } = require("node:child_process");
const { cpSync, writeFileSync } = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { after, before, describe, it } = require("node:test");
const { promisify } = require("node:util");
const { io: connect } = require("socket.io-client");
const WebSocket = require("ws");
const { Edge, PATIENCE, until } = require("../edge.js");
const { installed } = require("../installed.js");

const modules = path.join(__dirname, "node_modules");
const home = installed(modules);
cpSync(path.join(__dirname, "apps"), home, { recursive: true });
writeFileSync(path.join(home, "tsconfig.json"), JSON.stringify({
  compilerOptions: {
    strict: true, target: "es2022", module: "node16", moduleResolution: "node16", experimentalDecorators: true,
    emitDecoratorMetadata: true, lib: ["es2022"], types: ["node"], skipLibCheck: true, outDir: "out",
  },
}));

// tsc compiles, and checks the types of, the applications in TypeScript.
const tsc = promisify(execFile)(process.execPath, [path.join(modules, "typescript/lib/tsc.js"), "-p", home], { encoding: "utf8" })
  .then(() => "", (e) => e.stdout || String(e));

const open = [];
const first = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

// ask gives up after a while, and its test fails.
function ask(client, ...args) {
  return new Promise((resolve, reject) => client.timeout(PATIENCE).emit(...args, (err, ...answer) => (err ? reject(err) : resolve(answer))));
}

function client(edge, nsp = "", opts = {}) {
  const c = connect(edge.url + nsp, { forceNew: true, ...opts });
  open.push(() => {
    c.io.reconnection(false); // of its other namespaces
    c.disconnect();
    c.io.engine.close();
  });
  return c;
}

// application starts a process, and returns the first that it says.
async function application(edge, file, env = {}) {
  const child = spawn(process.execPath, [file], {
    cwd: home, stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, EDGE: edge.internal, KEY: edge.key, ...env },
  });
  const ended = first(child, "exit");
  open.push(() => {
    child.stdin.end(); // which it ends with
    return ended;
  });
  const line = await Promise.race([
    first(readline.createInterface({ input: child.stdout }), "line").then(([text]) => JSON.parse(text)),
    ended.then(() => ({ error: `${file} has ended` })),
  ]);
  assert.equal(line.error, undefined);
  return line;
}

// framework has its tests run on an edge of their own.
function framework(name, tests, bridges) {
  describe(name, () => {
    const site = {};
    before(async () => { site.edge = await new Edge({}, bridges).ready; });
    after(async () => {
      await Promise.all(open.splice(0).map((close) => close()));
      await site.edge.stop();
    });
    tests(site);
  });
}

it("types: typed events, options, and what is wrong with them", async () => {
  assert.equal(await tsc, "");
});

framework("NestJS", (site) => {
  let app, ann, bob;
  before(async () => {
    assert.equal(await tsc, "");
    app = await application(site.edge, "out/nest.js");
    assert.equal(app.bridges, 1);
    ann = client(site.edge, "/nest", { auth: { name: "ann" } });
    await first(ann, "connect");
  });

  it("a gateway's middleware and life cycle", async () => {
    const stranger = client(site.edge, "/nest");
    assert.equal((await first(stranger, "connect_error"))[0].message, "who?");
    const came = first(ann, "came");
    bob = client(site.edge, "/nest", { auth: { name: "bob", admin: true } });
    assert.deepEqual(await came, ["bob"]);
    const eve = client(site.edge, "/nest", { auth: { name: "eve" } }), left = first(ann, "left");
    eve.once("connect", () => eve.disconnect());
    assert.deepEqual(await left, ["eve"]);
  });

  it("answers, events and streams of a handler", async () => {
    assert.deepEqual(await ask(ann, "echo", { a: [1, "é"] }), [{ a: [1, "é"] }]);
    const answer = first(ann, "answer");
    ann.emit("event", { x: 1 });
    assert.deepEqual(await answer, [2]);
    const all = [];
    ann.on("one", (n) => all.push(n));
    ann.emit("many", 5);
    await until("the stream", () => all.length === 5);
    assert.deepEqual(all, [0, 1, 2, 3, 4]);
  });

  it("rooms", async () => {
    assert.deepEqual(await ask(ann, "join", "r"), [1]);
    const joined = first(ann, "joined");
    assert.deepEqual(await ask(bob, "join", "r"), [2]);
    assert.deepEqual(await joined, ["bob"]);
  });

  it("exceptions and guards", async () => {
    const failed = first(ann, "exception");
    ann.emit("fail");
    assert.equal((await failed)[0].message, "as asked");
    const forbidden = first(ann, "exception");
    ann.emit("secret");
    assert.equal((await forbidden)[0].message, "Forbidden resource");
    assert.deepEqual(await ask(bob, "secret"), ["42"]);
  });

  it("two gateways on one connection, and one that is connected without the edge", async () => {
    const root = ann.io.socket("/");
    assert.deepEqual(await ask(root, "where"), ["/"]);
    const came = first(ann, "came");
    const direct = client(app, "/nest", { auth: { name: "dan" } });
    assert.deepEqual(await came, ["dan"]);
    assert.deepEqual(await ask(direct, "join", "r"), [3]);
  });
});

framework("Express and its sessions", (site) => {
  it("a session that was made by HTTP is the socket's, and what a handler saves is there by HTTP", async () => {
    const app = await application(site.edge, "express.js");
    assert.equal((await first(client(site.edge), "connect_error"))[0].message, "log in");
    const login = await fetch(`${app.url}/login?name=ann`);
    const cookie = login.headers.getSetCookie()[0].split(";")[0];
    for (const [i, transports] of [["polling"], ["websocket"], ["polling", "websocket"]].entries()) {
      const ann = client(site.edge, "", { transports, extraHeaders: { cookie } });
      await first(ann, "connect");
      const said = first(ann, "said");
      assert.deepEqual(await ask(ann, "say", "hello"), [i + 1]);
      assert.deepEqual(await said, ["ann", "hello"]);
      assert.deepEqual(await (await fetch(`${app.url}/me`, { headers: { cookie } })).json(), { name: "ann", said: i + 1 });
    }
    const direct = client({ url: app.url }, "", { extraHeaders: { cookie } }), far = client(site.edge, "", { extraHeaders: { cookie } });
    await Promise.all([first(direct, "connect"), first(far, "connect")]);
    const said = [first(direct, "said"), first(far, "said")];
    assert.deepEqual(await ask(direct, "say", "to all"), [4]);
    assert.deepEqual(await Promise.all(said), [["ann", "to all"], ["ann", "to all"]]);
  });
});

framework("Node's cluster", (site) => {
  it("three workers share the clients, over polling too, and reach each other's", async () => {
    await application(site.edge, "cluster.js");
    const clients = [];
    for (let i = 0; i < 6; i++) {
      clients.push(client(site.edge, "", { transports: [["polling"], ["websocket"], ["polling", "websocket"]][i % 3] }));
      await first(clients[i], "connect");
    }
    const who = (await Promise.all(clients.map((c) => ask(c, "who")))).map(([id]) => id).sort();
    assert.deepEqual(who, [1, 1, 2, 2, 3, 3]);
    assert.deepEqual(await ask(clients[0], "workers"), [[1, 2, 3]]);
    assert.deepEqual(await ask(clients[1], "count"), [6]);
    const said = clients.map((c) => first(c, "said"));
    clients[5].emit("say", "hello");
    const [[id]] = await Promise.all([ask(clients[5], "who")]);
    assert.deepEqual(await Promise.all(said), clients.map(() => [id, "hello"]));
  });
});

framework("two bridges of one edge", (site) => {
  it("each has its namespaces, on one connection of a client, and none has the other's", async () => {
    for (const NAME of ["shop", "chat"]) await application(site.edge, "two.js", { NAME, KEY: site.edge.keys[NAME] });
    const shop = client(site.edge, "/shop"), chat = shop.io.socket("/chat");
    assert.deepEqual(await Promise.all([first(shop, "here"), first(chat, "here")]), [["shop"], ["chat"]]);
    const [[a, id], [b, same]] = [await ask(shop, "who"), await ask(chat, "who")];
    assert.deepEqual([a, b, id], ["shop", "chat", same]);
    const heard = [];
    for (const c of [shop, chat]) c.on("stranger", (name) => heard.push(name));
    shop.emit("stranger");
    chat.emit("stranger");
    await Promise.all([ask(shop, "who"), ask(chat, "who")]);
    const gone = first(shop, "disconnect");
    shop.emit("leave");
    assert.deepEqual((await gone)[0], "io server disconnect");
    assert.deepEqual((await ask(chat, "who"))[0], "chat");
    assert.deepEqual(heard, []);
  });

  it("the key of one opens no other", async () => {
    const { internal, keys } = site.edge;
    for (const [name, key, status] of [["shop", keys.chat, 403], ["shop", "a key of no bridge at all", 401], ["none", keys.chat, 404]]) {
      const link = new WebSocket(`${internal.replace("http", "ws")}/bridge?name=${name}`, "sioedge-bridge.1", { headers: { authorization: `Bearer ${key}` } });
      assert.equal((await first(link, "error"))[0].message, `Unexpected server response: ${status}`);
    }
  });
}, { shop: ["/shop"], chat: ["/chat"] });
