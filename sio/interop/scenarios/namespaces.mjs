// Several namespaces, refusals, patterns.

import assert from "node:assert/strict";
import { CLIENT, REFUSED, call, collect, connected, eventually, fence, next } from "../harness.mjs";

// refused connects a client that must be refused, and resolves with the error.
async function refused(socket) {
  const refusal = next(socket, REFUSED);
  socket.connect();
  return (await refusal)[0];
}

// assertUnauthorized checks what the middleware of /private says.
function assertUnauthorized(err) {
  const data = { code: 401, hint: ["token"] };
  if (CLIENT === 2) {
    assert.deepEqual(err, data); // it gets no more
    return;
  }
  assert.equal(err.message, "not authorized");
  assert.deepEqual(err.data, data);
}

export default [
  {
    name: "two namespaces share one connection and nothing else",
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      assert.equal(main.io.engine.id, other.io.engine.id);
      assert.equal((await call(main, "handshake")).nsp, "/");
      assert.equal((await call(other, "handshake")).nsp, "/other");

      const event = t.name("only-other");
      const inMain = collect(main, event);
      const inOther = collect(other, event);
      await call(other, "cast", { from: "server" }, event, ["hello"]);
      await fence(main, other);
      assert.deepEqual([inMain.items, inOther.items], [[], ["hello"]]);
    },
  },
  {
    name: "rooms of the same name in two namespaces are two rooms",
    async run(t) {
      const room = t.name("twin");
      const main = await t.connect();
      const other = await t.join(main, "/other");
      await call(main, "join", [room]);
      assert.equal(await call(main, "count", room), 1);
      assert.equal(await call(other, "count", room), 0);
    },
  },
  {
    name: "a namespace has its own auth",
    since: 3,
    async run(t) {
      const main = await t.connect("/", { auth: { of: "manager" } });
      const other = await t.join(main, "/other", { auth: { of: "other" } });
      assert.deepEqual((await call(main, "handshake")).auth, { of: "manager" });
      assert.deepEqual((await call(other, "handshake")).auth, { of: "other" });
    },
  },
  {
    name: "an unknown namespace is refused and the connection stays",
    async run(t) {
      const main = await t.connect();
      const engine = main.io.engine.id;
      const err = await refused(main.io.socket(t.name("/unknown")));
      assert.equal(err.message, "Invalid namespace");
      assert.equal(err.data, undefined);
      assert.equal(await call(main, "echo", "still here"), "still here");
      assert.equal(main.io.engine.id, engine);
    },
  },
  {
    name: "an unknown namespace is refused when it is the first",
    async run(t) {
      const err = await refused(t.socket(t.name("/unknown")));
      assert.equal(err.message, "Invalid namespace");
    },
  },
  {
    name: "a middleware refuses with message and data, and accepts later",
    since: 3,
    async run(t) {
      const socket = t.socket("/private", { auth: { token: "wrong" } });
      assertUnauthorized(await refused(socket));
      assert.equal(socket.connected, false);
      if (CLIENT === 4) assert.equal(socket.active, false);

      socket.auth = { token: "secret", user: "Ada" };
      await connected(socket);
      assert.equal(await call(socket, "whoami"), "Ada");
    },
  },
  {
    name: "a refusal leaves the other namespaces alone",
    async run(t) {
      const main = await t.connect();
      assertUnauthorized(await refused(main.io.socket("/private")));
      const allowed = await t.join(main, "/other");
      assert.equal(await call(allowed, "echo", 1), 1);
      assert.equal(await call(main, "echo", 2), 2);
    },
  },
  {
    name: "leaving one namespace keeps the other",
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      const witness = await t.connect("/other");
      await call(witness, "watch", other.id);
      const gone = next(witness, "gone");
      const left = next(other, "disconnect");
      const id = other.id;
      other.disconnect();
      assert.deepEqual((await left)[0], "io client disconnect");
      assert.deepEqual(await gone, [id, "client namespace disconnect"]);
      assert.equal(await call(main, "echo", "here"), "here");

      await connected(other);
      if (CLIENT > 2) assert.notEqual(other.id, id);
      assert.equal(await call(other, "echo", "back"), "back");
    },
  },
  {
    name: "leaving the last namespace closes the connection",
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      await t.upgraded(main);
      const engine = main.io.engine;
      main.disconnect();
      assert.equal(engine.readyState, "open");
      other.disconnect();
      await eventually("the engine is closed", () => engine.readyState === "closed");
    },
  },
  {
    name: "a namespace pattern has a parameter",
    async run(t) {
      const a = await t.connect("/campaigns/42/trends");
      const b = await t.join(a, "/campaigns/x-y_z/trends");
      assert.equal(await call(a, "param"), "42");
      assert.equal(await call(b, "param"), "x-y_z");
      assert.equal((await call(a, "handshake")).nsp, "/campaigns/42/trends");
      for (const name of ["/campaigns", "/campaigns//trends", "/campaigns/42/other", "/campaigns/4/2/trends", "/x/campaigns/42/trends"]) {
        const err = await refused(a.io.socket(name));
        assert.equal(err.message, "Invalid namespace", name);
      }
    },
  },
  {
    name: "namespaces of one pattern are apart",
    async run(t) {
      const event = t.name("news");
      const one = await t.connect(`/campaigns/${t.name("1")}/trends`);
      const two = await t.connect(`/campaigns/${t.name("2")}/trends`);
      const inOne = collect(one, event);
      const inTwo = collect(two, event);
      await call(one, "cast", { from: "server" }, event, ["one"]);
      await fence(one, two);
      assert.deepEqual([inOne.items, inTwo.items], [["one"], []]);
    },
  },
];
