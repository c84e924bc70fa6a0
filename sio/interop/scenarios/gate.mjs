// Middlewares and what a client may ask for when it joins a namespace.

import { REFUSED, call, collect, connected, eventually, fence, next } from "../harness.mjs";

const DATA = {
  none: undefined,
  null: null,
  text: "wait",
  number: 7,
  zero: 0,
  false: false,
  list: [1, [2]],
  object: { code: 401, nested: { list: [null] } },
};

// NAMES of namespaces: some match the pattern /campaigns/:id/trends.
const NAMES = [
  "/campaigns/ü/trends",
  "/campaigns/😀/trends",
  "/campaigns/a%20b/trends",
  "/campaigns/a%2Fb/trends",
  "/campaigns/a b/trends",
  "/campaigns/../trends",
  "/campaigns/__proto__/trends",
  "/campaigns/42/trends/",
  "/CAMPAIGNS/42/trends",
  "//",
  "/other/",
  "/Other",
  "/__proto__",
  "/constructor",
];

export default [
  {
    name: "what middlewares emit comes in order, behind the answer",
    since: 3,
    async run(t) {
      const socket = t.socket("/gate", { auth: { room: t.name("gate") } });
      const seen = [];
      socket.on("connect", () => seen.push("connect"));
      socket.on("gate", (i) => seen.push(i));
      const gate = collect(socket, "gate");
      await connected(socket);
      await gate.take(3);
      t.note("seen", seen);
      t.note("rooms", (await call(socket, "join", [])).map((room) => room.replace(t.tag, "…")));
    },
  },
  {
    name: "a refusal has a message and any data",
    differs: [
      {
        servers: ["go"],
        seen: { null: [["refused: null ü", null], ["refused: null ü", undefined]] },
        row: { case: "a middleware's error with `null` for data", node: "`null`", here: "no data", why: "nil is Go's word for none" },
      },
    ],
    since: 3,
    async run(t) {
      const main = await t.connect();
      const socket = main.io.socket("/gate");
      const events = collect(socket, "gate");
      for (const [kind, data] of Object.entries(DATA)) {
        socket.auth = { room: t.name("gate"), refuse: { message: `refused: ${kind} ü`, data } };
        const refusal = next(socket, REFUSED);
        socket.connect();
        const [err] = await refusal;
        t.note(kind, [err.message, err.data]);
      }
      t.note("an empty message", await refusedWith(socket, t, ""));
      t.note("events", events.items);
    },
  },
  {
    name: "rooms that a refused socket joined are left",
    since: 3,
    async run(t) {
      const room = t.name("gate");
      const witness = await t.connect("/gate", { auth: { room: t.name("witness") } });
      const socket = t.socket("/gate", { auth: { room, refuse: { message: "no" } } });
      const refusal = next(socket, REFUSED);
      socket.connect();
      await refusal;
      t.note("members", await call(witness, "count", room));
      socket.auth = { room };
      await connected(socket);
      t.note("members once admitted", await call(witness, "count", room));
    },
  },
  {
    name: "names of namespaces, odd ones too",
    differs: [
      {
        servers: ["go"],
        seen: {
          "/campaigns/a%20b/trends": [["param", "a%20b", "/campaigns/a%20b/trends"], ["param", "a b", "/campaigns/a%20b/trends"]],
          "/campaigns/a%2Fb/trends": [["param", "a%2Fb", "/campaigns/a%2Fb/trends"], ["Invalid namespace", undefined]],
          "/campaigns/a b/trends": [["param", "a b", "/campaigns/a b/trends"], ["Invalid namespace", undefined]],
          "/campaigns/../trends": [["param", "..", "/campaigns/../trends"], ["Invalid namespace", undefined]],
        },
        row: {
          case: "`%20` in a namespace's parameter",
          node: "as written (a group of an expression)",
          here: "decoded by `Param`; other spellings of the same value (a bare space, `%41`, `%c3%a4`), `%2F` and `..` are refused",
          why: "two names never mean the same",
        },
      },
      {
        servers: ["bridge"],
        seen: {
          "/campaigns/a%2Fb/trends": [["param", "a%2Fb", "/campaigns/a%2Fb/trends"], ["Invalid namespace", undefined]],
          "/campaigns/a b/trends": [["param", "a b", "/campaigns/a b/trends"], ["Invalid namespace", undefined]],
          "/campaigns/../trends": [["param", "..", "/campaigns/../trends"], ["Invalid namespace", undefined]],
        },
        row: {
          case: "names of a pattern that are another's by another spelling (a bare space, `%2F`, `..`)",
          node: "as the expression says",
          here: "refused by the edge",
          why: "two names never mean the same",
        },
      },
    ],
    since: 3,
    async run(t) {
      const main = await t.connect();
      for (const name of NAMES) {
        const socket = main.io.socket(name);
        const answer = Promise.race([
          next(socket, "connect").then(async () => ["param", await call(socket, "param"), (await call(socket, "handshake")).nsp]),
          next(socket, REFUSED).then(([err]) => [err.message, err.data]),
        ]);
        socket.connect();
        t.note(name, await answer);
        socket.disconnect();
      }
    },
  },
  {
    name: "a namespace of a pattern is forgotten with its last client and comes again",
    since: 3,
    async run(t) {
      const name = `/campaigns/${t.name("once")}/trends`;
      const main = await t.connect();
      const room = t.name("room");
      const first = await t.join(main, name);
      await call(first, "join", [room]);
      first.disconnect();
      await fence(main);
      const second = await t.join(main, name);
      await eventually("the room is empty", async () => (await call(second, "count", room)) === 0);
      t.note("rooms", await call(second, "join", []));
      t.note("answers", await call(second, "echo", "again"));
    },
  },
];

async function refusedWith(socket, t, message) {
  socket.auth = { room: t.name("gate"), refuse: { message } };
  const refusal = next(socket, REFUSED);
  socket.connect();
  const [err] = await refusal;
  return [err.message, err.data];
}
