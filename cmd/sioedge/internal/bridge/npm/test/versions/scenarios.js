"use strict";
// What an application may rely on, whatever its version of socket.io: scenarios for one
// process of it. since is the version whose interface it is.

const { assert, once, within } = require("./harness.js");
const { until } = require("../edge.js");

const scenarios = [];
const scenario = (name, run, since = "4.4") => scenarios.push({ name, run, since });

scenario("a client connects, and both know it by one id", async (t) => {
  const { client, socket } = await t.pair();
  assert.equal(client.id, socket.id);
  assert.equal(socket.connected, true);
  assert.equal(socket.nsp.name, t.name);
  assert.deepEqual([...socket.rooms], [socket.id]);
  assert.equal(t.of().sockets.get(socket.id), socket);
});

for (const transports of [["polling"], ["polling", "websocket"]]) {
  scenario(`events go both ways over ${transports}`, async (t) => {
    t.of().on("connection", (socket) => socket.on("echo", (...args) => socket.emit("echoed", ...args)));
    const { client, socket } = await t.pair({ transports });
    if (transports.length === 2) await until("an upgrade", () => socket.conn.transport.name === "websocket");
    const echoed = once(client, "echoed");
    client.emit("echo", "a", 1);
    assert.deepEqual(await echoed, ["a", 1]);
    assert.equal(socket.conn.transport.name, transports.at(-1));
  });
}

scenario("a middleware refuses with data, and the rest do not run", async (t) => {
  let ran = 0;
  t.of().use((socket, next) => next(Object.assign(new Error("not you"), { data: { code: 7, why: ["é", null] } })));
  t.of().use((socket, next) => { ran++; next(); });
  const [err] = await once(t.client(), "connect_error");
  assert.deepEqual([err.message, err.data, ran], ["not you", { code: 7, why: ["é", null] }, 0]);
  assert.equal(t.of().sockets.size, 0);
});

scenario("middlewares run in order, also slow ones, and see auth", async (t) => {
  t.of().use((socket, next) => { socket.data.order = [1]; setTimeout(next, 5); });
  t.of().use((socket, next) => { socket.data.order.push(2); assert.equal(socket.connected, false); next(); });
  const { socket } = await t.pair({ auth: { token: "t", n: { m: [1] } } });
  assert.deepEqual(socket.data.order, [1, 2]);
  assert.deepEqual(socket.handshake.auth, { token: "t", n: { m: [1] } });
});

scenario("a middleware may emit and join before the client is in", async (t) => {
  t.of().use((socket, next) => { socket.join("early"); next(); });
  t.of().on("connection", (socket) => { socket.emit("first"); t.of().to("early").emit("second"); socket.emit("third"); });
  const client = t.client(), all = [];
  client.onAny((name) => all.push(name));
  await once(client, "third");
  assert.deepEqual(all, ["first", "second", "third"]);
});

scenario("socket.use changes events and refuses them", async (t) => {
  const { client, socket } = await t.pair();
  socket.use(([name, ...args], next) => next(name === "bad" ? new Error("refused") : undefined));
  socket.use((event, next) => { event.push("more"); next(); });
  const failed = once(socket, "error"), good = once(socket, "good");
  client.emit("bad");
  client.emit("good", 1);
  assert.equal((await failed)[0].message, "refused");
  assert.deepEqual(await good, [1, "more"]);
});

scenario("onAny, prependAny and offAny", async (t) => {
  const { client, socket } = await t.pair();
  const all = [], gone = () => all.push("gone");
  socket.onAny((...args) => all.push(args));
  socket.prependAny((name) => all.push(name));
  socket.onAny(gone);
  socket.offAny(gone);
  const last = once(socket, "b");
  client.emit("a", 1);
  client.emit("b", { c: 2 });
  await last;
  assert.deepEqual(all, ["a", ["a", 1], "b", ["b", { c: 2 }]]);
});

scenario("onAnyOutgoing, also of broadcasts", async (t) => {
  const { client, socket } = await t.pair();
  const all = [];
  socket.onAnyOutgoing((...args) => all.push(args));
  const last = once(client, "b");
  socket.emit("a", 1);
  t.of().emit("b", Buffer.from([1]));
  await last;
  assert.deepEqual(all[0], ["a", 1]);
  assert.equal(all[1][0], "b");
  assert.deepEqual(Buffer.from(all[1][1]), Buffer.from([1]));
}, "4.5");

scenario("acknowledgements both ways, several arguments and binary", async (t) => {
  const { client, socket } = await t.pair();
  socket.on("ask", (x, answer) => answer(x, { bin: Buffer.from([9]) }, null));
  client.on("ask", (x, answer) => answer(x, { bin: Buffer.from([8]) }, null));
  const ask = (side) => within("an answer", new Promise((resolve) => side.emit("ask", "q", (...args) => resolve(args))));
  assert.deepEqual(await ask(client), ["q", { bin: Buffer.from([9]) }, null]);
  assert.deepEqual(await ask(socket), ["q", { bin: Buffer.from([8]) }, null]);
});

scenario("an acknowledgement in time, and one that does not come", async (t) => {
  const { client, socket } = await t.pair();
  client.on("ask", (answer) => answer("yes"));
  const ask = (name, ms) => within("an answer", new Promise((resolve) => socket.timeout(ms).emit(name, (...args) => resolve(args))));
  assert.deepEqual(await ask("ask", 10_000), [null, "yes"]);
  const [err] = await ask("nobody", 20);
  assert.equal(err.message, "operation has timed out");
  const back = await within("an answer", new Promise((resolve) => client.timeout(20).emit("nobody", (...args) => resolve(args))));
  assert.equal(back[0].message, "operation has timed out");
});

scenario("emitWithAck", async (t) => {
  const { client, socket } = await t.pair();
  client.on("ask", (answer) => answer({ a: 1 }));
  socket.on("ask", (answer) => answer({ b: 2 }));
  assert.deepEqual(await within("an answer", socket.emitWithAck("ask")), { a: 1 });
  assert.deepEqual(await within("an answer", client.emitWithAck("ask")), { b: 2 });
  await assert.rejects(socket.timeout(20).emitWithAck("nobody"), /timed out/);
}, "4.6");

scenario("values of all kinds arrive as they were", async (t) => {
  const { client, socket } = await t.pair();
  const values = [null, true, 0, -1.5e300, "", "é\u2028😀\u0000", [], {}, [[{ a: [null] }]], { _placeholder: 1 }, "x".repeat(100_000)];
  const came = once(socket, "values"), went = once(client, "values");
  client.emit("values", ...values);
  socket.emit("values", ...values);
  assert.deepEqual(await came, values);
  assert.deepEqual(await went, values);
  const message = once(client, "message");
  socket.send("plain");
  assert.deepEqual(await message, ["plain"]);
});

scenario("binary of all sizes and places", async (t) => {
  const { client, socket } = await t.pair();
  const values = [Buffer.alloc(0), { a: [Buffer.from("b"), "c"], d: Buffer.alloc(70_000, 7) }, Buffer.from([0])];
  const came = once(socket, "values"), went = once(client, "values");
  client.emit("values", ...values);
  socket.emit("values", new Uint8Array(0), { a: [Buffer.from("b"), "c"], d: Buffer.alloc(70_000, 7) }, new Uint8Array([0]).buffer);
  assert.deepEqual(await came, values);
  assert.deepEqual(await went, values);
});

scenario("volatile events and those without compression arrive at a client that takes them", async (t) => {
  const { client, socket } = await t.pair({ perMessageDeflate: { threshold: 1 } });
  await t.settled({ client, socket }); // nothing is under way any more
  for (const operator of [socket.volatile, socket.compress(false), t.of().volatile, t.of().compress(false)]) {
    const came = once(client, "light");
    operator.emit("light", 1);
    assert.deepEqual(await came, [1]);
  }
});

scenario("rooms, and who is left out", async (t) => {
  const all = [];
  for (const name of ["a", "b", "c"]) all.push({ ...(await t.pair()), name });
  const clients = all.map((p) => p.client), [a, b, c] = all.map((p) => p.socket);
  a.join("one"); b.join(["one", "two"]); c.join("two");
  const got = t.got(clients, "to");
  t.of().to("one").emit("to", "one");
  t.of().to("one").to("two").emit("to", "either");
  t.of().to(["one", "two"]).except("two").emit("to", "one alone");
  t.of().except(b.id).emit("to", "not b");
  t.of().to(c.id).emit("to", "c");
  b.broadcast.emit("to", "others");
  b.to("two").emit("to", "others in two");
  b.broadcast.except(a.id).emit("to", "others but a");
  b.local.emit("to", "local");
  b.leave("two");
  t.of().in("two").emit("to", "two");
  t.of().to("nobody").emit("to", "nobody");
  t.of().emit("end");
  assert.deepEqual(await got, [
    ["one", "either", "one alone", "not b", "others", "local"],
    ["one", "either"],
    ["either", "not b", "c", "others", "others in two", "others but a", "local", "two"],
  ]);
  assert.deepEqual([...b.rooms], [b.id, "one"]);
  assert.deepEqual([...t.of().adapter.rooms.get("two")], [c.id]);
});

scenario("what one handler does reaches each client in its order", async (t) => {
  const { client: other, socket: third } = await t.pair();
  const { client, socket } = await t.pair();
  socket.on("go", (answer) => {
    socket.emit("n", 1);
    t.of().to("r").emit("n", "not yet");
    socket.join("r");
    t.of().to("r").emit("n", 2);
    socket.emit("n", 3, Buffer.alloc(10));
    third.broadcast.emit("n", 4);
    answer();
    t.of().emit("n", 5);
    socket.leave("r");
    t.of().to("r").emit("n", "no more");
    t.of().emit("end");
  });
  const got = t.got([client, other], "n");
  client.emit("go", () => client.listeners("n")[0]("answer"));
  const [[one, two, three, ...rest], seen] = await got;
  assert.deepEqual([one, two, three[0], ...rest], [1, 2, 3, 4, "answer", 5]);
  assert.deepEqual(seen, [5]);
});

scenario("a broadcast that clients answer", async (t) => {
  const all = [await t.pair(), await t.pair(), await t.pair()];
  all.forEach(({ client }, i) => client.on("ask", (x, answer) => answer(x + i, Buffer.from([i]))));
  const ask = (to) => within("answers", new Promise((resolve) => to.emit("ask", 10, (...args) => resolve(args))));
  const [err, answers] = await ask(t.of().timeout(10_000));
  assert.equal(err, null);
  assert.deepEqual(answers.sort(), [10, 11, 12]);
  assert.deepEqual(await ask(t.of().to("nobody").timeout(10_000)), [null, []]);
  all[1].client.off("ask");
  const [late, some] = await ask(t.of().timeout(300));
  assert.equal(late.message, "operation has timed out");
  assert.deepEqual(some.sort(), [10, 12]);
}, "4.5");

scenario("emitWithAck of a broadcast", async (t) => {
  const all = [await t.pair(), await t.pair()];
  all.forEach(({ client }, i) => client.on("ask", (answer) => answer(i)));
  assert.deepEqual((await within("answers", t.of().timeout(10_000).emitWithAck("ask"))).sort(), [0, 1]);
  assert.deepEqual(await within("answers", all[0].socket.broadcast.timeout(10_000).emitWithAck("ask")), [1]);
}, "4.6");

scenario("fetchSockets, allSockets, and data", async (t) => {
  const { socket: a } = await t.pair(), { socket: b } = await t.pair();
  a.data.name = "a";
  a.join("r");
  const all = await within("sockets", t.of().fetchSockets());
  assert.deepEqual(all.map((s) => s.id).sort(), [a.id, b.id].sort());
  const [one] = await within("sockets", t.of().in("r").fetchSockets());
  assert.deepEqual([one.id, one.data, [...one.rooms].sort()], [a.id, { name: "a" }, [a.id, "r"].sort()]);
  assert.deepEqual([...await within("ids", t.of().allSockets())].sort(), [a.id, b.id].sort());
});

scenario("socketsJoin, socketsLeave, disconnectSockets", async (t) => {
  const { client: x, socket: a } = await t.pair(), { client: y, socket: b } = await t.pair();
  t.of().in(a.id).socketsJoin(["r", "s"]);
  assert.deepEqual([...a.rooms], [a.id, "r", "s"]);
  t.of().socketsLeave("s");
  const got = t.got([x, y], "to");
  for (const room of ["r", "s"]) t.of().to(room).emit("to", room);
  t.of().emit("end");
  assert.deepEqual(await got, [["r"], []]);
  const left = once(a, "disconnect"), gone = once(x, "disconnect");
  t.of().in("r").disconnectSockets(true);
  assert.equal((await left)[0], "server namespace disconnect");
  assert.match((await gone)[0], /^(io server disconnect|transport close)$/);
  assert.equal(b.connected, true);
});

scenario("namespaces by expression and by function", async (t) => {
  const parent = t.io.of(new RegExp(`^${t.name}-\\d+$`));
  t.io.of((name, auth, next) => setTimeout(() => next(null, name === `${t.name}-f` && auth.yes === 1), 1));
  parent.use((socket, next) => { socket.data.used = true; next(); });
  const came = once(parent, "connection");
  const one = t.client({}, "-1"), two = t.client({}, "-2"), f = t.client({ auth: { yes: 1 } }, "-f"), no = t.client({}, "-no");
  const refused = once(no, "connect_error");
  await Promise.all([one, two, f].map((c) => once(c, "connect")));
  assert.equal((await came)[0].data.used, true);
  assert.equal((await refused)[0].message, "Invalid namespace");
  const got = t.got([one, two], "to");
  parent.emit("to", "both");
  t.of("-1").emit("to", "one");
  parent.emit("end");
  assert.deepEqual(await got, [["both", "one"], ["both"]]);
});

scenario("several namespaces of one connection", async (t) => {
  t.of("-a").on("connection", (socket) => socket.emit("at", socket.nsp.name));
  t.of("-b").on("connection", (socket) => socket.emit("at", socket.nsp.name));
  const a = t.client({}, "-a"), seen = once(a, "at");
  const b = a.io.socket(`${t.name}-b`), other = once(b, "at");
  assert.deepEqual([await seen, await other], [[`${t.name}-a`], [`${t.name}-b`]]);
  const [x] = t.of("-a").sockets.values(), [y] = t.of("-b").sockets.values();
  assert.equal(x.conn, y.conn);
  assert.notEqual(x.id, y.id);
  const left = [once(x, "disconnect"), once(y, "disconnect")];
  y.disconnect(true);
  assert.deepEqual((await Promise.all(left)).map(([reason]) => reason), ["server namespace disconnect", "server namespace disconnect"]);
});

scenario("why sockets leave, and their rooms until then", async (t) => {
  const reasons = {
    "client namespace disconnect": ({ client }) => client.disconnect(),
    "server namespace disconnect": ({ socket }) => socket.disconnect(),
    "transport close": ({ client }) => client.io.engine.transport.ws.terminate(),
  };
  for (const [reason, act] of Object.entries(reasons)) {
    const pair = await t.pair({ reconnection: false }), { socket } = pair;
    socket.join("r");
    let rooms;
    socket.on("disconnecting", (why) => { rooms = [why, ...socket.rooms]; });
    const left = once(socket, "disconnect");
    act(pair);
    assert.equal((await left)[0], reason);
    assert.deepEqual(rooms, [reason, socket.id, "r"]);
    assert.deepEqual([socket.connected, socket.rooms.size, t.of().adapter.rooms.get("r")], [false, 0, undefined]);
  }
});

scenario("what the handshake tells", async (t) => {
  const { socket } = await t.pair({ query: { a: "1", b: "é&" }, extraHeaders: { "X-Some": "thing", Cookie: "c=d" } });
  const { handshake, request, conn } = socket;
  assert.equal(handshake.headers["x-some"], "thing");
  assert.equal(handshake.headers.cookie, "c=d");
  assert.equal(handshake.headers.host, new URL(t.edge.url).host);
  assert.deepEqual([handshake.query.a, handshake.query.b, handshake.query.EIO, handshake.query.transport], ["1", "é&", "4", "websocket"]);
  assert.match(handshake.url, /^\/socket\.io\/\?/);
  assert.match(handshake.address, /127\.0\.0\.1$/);
  assert.deepEqual([handshake.secure, handshake.xdomain], [false, false]);
  assert.equal(typeof handshake.issued, "number");
  assert.equal(new Date(handshake.time).toString(), new Date(handshake.issued).toString());
  assert.equal(request.headers["x-some"], "thing");
  assert.equal(request._query.a, "1");
  assert.match(request.connection.remoteAddress, /127\.0\.0\.1$/);
  assert.match(conn.remoteAddress, /127\.0\.0\.1$/);
  assert.equal(conn.protocol, 4);
  assert.equal(socket.client.conn, conn);
});

scenario("io.engine knows the connections", async (t) => {
  await until("the clients of others to have left", () => t.io.engine.clientsCount === 0);
  const raised = once(t.io.engine, "connection");
  const { client, socket } = await t.pair();
  assert.equal((await raised)[0], socket.conn);
  assert.equal(t.io.engine.clientsCount, 1);
  const closed = once(socket.conn, "close");
  client.disconnect();
  await closed;
  await until("the count to fall", () => t.io.engine.clientsCount === 0);
});

scenario("a thousand events arrive in order, both ways", async (t) => {
  const { client, socket } = await t.pair();
  const numbers = Array.from({ length: 1000 }, (_, i) => i), up = [], down = [];
  socket.on("n", (n) => up.push(n));
  client.on("n", (n) => down.push(n));
  for (const n of numbers) {
    client.emit("n", n);
    socket.emit("n", n);
  }
  await until("all of them", () => up.length === 1000 && down.length === 1000);
  assert.deepEqual(up, numbers);
  assert.deepEqual(down, numbers);
});

module.exports = { scenarios };
