// What is particular to clients of version 2: Engine.IO 3.

import assert from "node:assert/strict";
import { REFUSED, call, connected, next } from "../harness.mjs";

// poller is a polling client by hand: the npm client in Node takes no bytes from
// polling, and has no script elements.
function poller(url, query = "") {
  let base = `${url}/socket.io/?EIO=3&transport=polling${query}`;
  const ask = async (options) => {
    const answer = await fetch(base, options);
    return { type: answer.headers.get("content-type"), body: Buffer.from(await answer.arrayBuffer()) };
  };
  return {
    async open(cut) {
      const { body } = await ask();
      const { sid } = JSON.parse(cut(body.toString()));
      base += `&sid=${sid}`;
      return sid;
    },
    get: () => ask(),
    post: (body, type) => ask({ method: "POST", body, headers: { "content-type": type } }),
  };
}

const afterColon = (text) => text.slice(text.indexOf("{"));

export default [
  {
    name: "ids are made of that of the connection",
    until: 2,
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      const engine = main.io.engine.id;
      assert.deepEqual([main.id, other.id], [engine, `/other#${engine}`]);
      assert.equal((await call(main, "handshake")).id, main.id);
      assert.equal((await call(other, "handshake")).id, other.id);
      assert.equal(await call(other, "count", other.id), 1);
      assert.deepEqual(await call(other, "join", ["a", other.id]), ["a"]);
    },
  },
  {
    name: "the query of a namespace is its auth",
    until: 2,
    differs: [
      {
        servers: ["go"],
        seen: { "token in the handshake's query": [undefined, "a b"] },
        row: {
          case: "a Socket.IO 2 namespace's query",
          node: "in `auth`",
          here: "in `auth` and in the handshake's query",
          why: "the old client's own tests",
        },
      },
    ],
    async run(t) {
      const main = await t.connect("/", { query: { q: "a b&c=d+ü😀" } });
      const shake = await call(main, "handshake");
      assert.deepEqual(shake.auth, {});
      assert.equal(shake.query.q, "a b&c=d+ü😀");
      assert.equal(shake.query.EIO, "3");
      assert.equal(shake.query.transport, t.mode === "websocket" ? "websocket" : "polling");
      const other = await t.join(main, "/other", { query: { token: "a b", x: "ü&=" } });
      assert.deepEqual((await call(other, "handshake")).auth, { token: "a b", x: "ü&=" });
      assert.equal((await call(other, "handshake")).nsp, "/other");
      t.note("token in the handshake's query", (await call(other, "handshake")).query.token);
    },
  },
  {
    name: "a middleware refuses with data, and accepts later",
    until: 2,
    async run(t) {
      const socket = t.socket("/private", { query: { token: "wrong" } });
      const refusal = next(socket, REFUSED);
      socket.connect();
      assert.deepEqual(await refusal, [{ code: 401, hint: ["token"] }]);
      assert.equal(socket.connected, false);
      socket.disconnect();
      const main = await t.connect();
      const allowed = await t.join(main, "/private", { query: { token: "secret", user: "Ada" } });
      assert.equal(await call(allowed, "whoami"), "Ada");
    },
  },
  {
    name: "the root is joined unasked, again after a new connection",
    until: 2,
    async run(t) {
      const socket = await t.connect();
      await t.upgraded(socket);
      const id = socket.id;
      socket.disconnect();
      await connected(socket);
      assert.notEqual(socket.id, id);
      assert.equal((await call(socket, "handshake")).id, socket.id);
    },
  },
  {
    name: "bytes over polling, in both directions",
    until: 2,
    modes: ["polling"],
    async run(t) {
      const client = poller(t.url);
      await client.open(afterColon);
      assert.equal((await client.get()).body.toString(), "2:40");
      const head = '451-["echo","€",{"_placeholder":true,"num":0}]';
      const text = Buffer.from(head);
      const payload = Buffer.concat([Buffer.from([0, 4, 8, 255]), text, Buffer.from([1, 5, 255, 4, 1, 2, 3, 4])]);
      assert.equal(text.length, 48);
      assert.equal((await client.post(payload, "application/octet-stream")).body.toString(), "ok");
      const answer = await client.get();
      assert.equal(answer.type, "application/octet-stream");
      assert.deepEqual(answer.body, payload);
      await client.post('14:42["echo","€"]15:42["echo","😀"]', "text/plain;charset=UTF-8");
      let rest = "";
      while (rest.length < 33) rest += (await client.get()).body.toString();
      assert.equal(rest, '14:42["echo","€"]15:42["echo","😀"]');
      await client.post("1:1", "text/plain;charset=UTF-8");
    },
  },
  {
    name: "script elements",
    until: 2,
    modes: ["polling"],
    async run(t) {
      const client = poller(t.url, "&b64=1&j=5");
      const payload = (js) => JSON.parse(js.slice("___eio[5](".length, -");".length));
      await client.open((js) => afterColon(payload(js)));
      assert.equal((await client.get()).body.toString(), '___eio[5]("2:40");');
      const packet = '42["echo","a\\nb c"]';
      const form = new URLSearchParams({ d: `${packet.length}:${packet.replaceAll("\\n", "\\\\n")}` });
      assert.equal((await client.post(form, "application/x-www-form-urlencoded")).body.toString(), "ok");
      assert.equal(payload((await client.get()).body.toString()), `${packet.length}:${packet}`);
      await client.post("d=1%3A1", "application/x-www-form-urlencoded");
    },
  },
];
