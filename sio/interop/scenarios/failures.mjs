// What goes wrong in the application, and what is owed when somebody leaves.

import assert from "node:assert/strict";
import { REFUSED, call, collect, fence, next, range, sleep } from "../harness.mjs";

// idle resolves when check has given the same value for a while: nothing moves.
async function idle(check) {
  let same = 0;
  for (let last = check(); same < 20; ) {
    await sleep(25);
    const now = check();
    same = now === last ? same + 1 : 0;
    last = now;
  }
}

// outcome is what comes of connecting: "connected", a refusal's message, or
// nothing within a second.
async function outcome(socket) {
  const came = Promise.race([
    new Promise((done) => socket.once("connect", () => done("connected"))),
    new Promise((done) => socket.once(REFUSED, (err) => done(err.message ?? "refused"))),
    sleep(1000).then(() => "nothing"),
  ]);
  socket.connect();
  return came;
}

export default [
  {
    name: "a handler that fails",
    since: 3,
    variants: ["4", "3", "mounted"],
    differs: [
      {
        servers: ["go"],
        seen: { "another client": ["transport close", "stays"] },
        row: {
          case: "a handler panics",
          node: "the process ends",
          here: "that call ends, and is reported",
          why: "one client's bad input is not everybody's",
        },
      },
      {
        servers: ["bridge"],
        seen: { "another client": ["transport close", "stays"] },
        row: {
          case: "a handler throws",
          node: "the process ends, and all connections",
          here: "the process ends; another takes over, and the client is closed whose event ended three",
          why: "one client's bad input is not everybody's",
        },
      },
    ],
    modes: ["websocket"],
    async run(t) {
      const url = await t.fresh();
      const other = await t.connect("/", { url, reconnection: false });
      const socket = await t.connect("/", { url, reconnection: false });
      const end = new Promise((done) => other.once("disconnect", done));
      socket.emit("throw");
      const left = new Promise((done) => socket.once("disconnect", done));
      const stays = Promise.race([left, call(socket, "echo").catch(() => left)]).then(() => call(other, "echo"));
      t.note("another client", await Promise.race([end, stays.then(() => "stays", () => end)]));
    },
  },
  {
    name: "a middleware that fails",
    since: 3,
    differs: [
      {
        servers: ["go"],
        seen: { "the client gets": ["nothing", "internal error"] },
        row: {
          case: "a middleware panics or never answers",
          node: "the client waits for ever",
          here: "`connect_error`; dropped with the connection",
          why: "nothing leaks",
        },
      },
    ],
    async run(t) {
      const main = await t.connect();
      t.note("the client gets", await outcome(main.io.socket("/broken")));
      t.note("one that never answers", await outcome(main.io.socket("/silent")));
      assert.equal(await call(main, "echo", "still here"), "still here");
    },
  },
  {
    name: "an acknowledgement that is owed when the client leaves",
    differs: [
      {
        servers: ["go"],
        seen: { "the server's question": ["pending", "closed"] },
        row: {
          case: "an acknowledgement that is owed when the client leaves",
          node: "pending for ever",
          here: "fails with `ErrClosed`",
          why: "nothing leaks",
        },
      },
    ],
    async run(t) {
      const [witness, debtor] = [await t.connect(), await t.connect()];
      await call(witness, "watch", debtor.id);
      const asked = next(debtor, "question");
      debtor.emit("owe", "question");
      await asked;
      const owed = new Promise((done) => witness.once("owed", done));
      const gone = next(witness, "gone");
      debtor.disconnect();
      t.note("the server's question", await Promise.race([owed, gone.then(() => sleep(300)).then(() => "pending")]));
      await gone;
    },
  },
  {
    name: "a question to a room of which one leaves",
    differs: [
      {
        seen: { "the answer": [{ answers: ["here"], error: "time-out" }, { answers: ["here"] }] },
        row: {
          case: "a client that leaves while its room is asked",
          node: "the answers and an error, after the time-out",
          here: "the answers of the others, at once",
          why: "it will not answer any more",
        },
      },
    ],
    async run(t) {
      const room = t.name("leaving");
      const sockets = await Promise.all(range(2).map(() => t.connect()));
      for (const socket of sockets) await call(socket, "join", [room]);
      sockets[0].on("who", (ack) => ack("here"));
      sockets[1].on("who", () => sockets[1].disconnect());
      t.note("the answer", await call(sockets[0], "ask-room", room, "who", [], 2000));
    },
  },
  {
    name: "answers with nothing, with null and with binary are all answers",
    differs: [
      {
        variants: ["msgpack"],
        seen: { "answer []": [{ answers: [undefined] }, { answers: [null] }] },
        row: {
          case: "`NaN`, `undefined`, dates from MessagePack clients",
          node: "kept",
          here: "what JSON makes of them",
          why: "handlers and clients of both parsers see the same",
        },
      },
    ],
    async run(t) {
      const room = t.name("kinds");
      const asker = await t.connect();
      for (const answer of [[], [null], [Buffer.from([1, 2])], [{ deep: [Buffer.from([3])] }]]) {
        const socket = await t.connect();
        await call(socket, "join", [room]);
        socket.on("who", (ack) => ack(...answer));
        const got = await call(asker, "ask-room", room, "who", [], 5000);
        t.note(`answer ${JSON.stringify(answer)}`, got);
        await call(socket, "leave", room);
      }
    },
  },
  {
    name: "an event right before the client disconnects",
    json: true,
    variants: ["4", "3", "2", "mounted"], // Node takes its time to inflate, and handles it
    modes: ["websocket"],
    differs: [
      {
        seen: { "the event": ["lost", "handled"] },
        row: {
          case: "a packet right behind `disconnect()` of the client",
          node: "may be lost",
          here: "handled, in order, before the disconnect",
          why: "order",
        },
      },
    ],
    async run(t) {
      const event = t.name("last");
      const witness = await t.connect();
      const got = collect(witness, event);
      const socket = await t.connect();
      await call(witness, "watch", socket.id);
      const gone = next(witness, "gone");
      // Both frames in one segment, as a network may have them.
      const tcp = socket.io.engine.transport.ws._socket;
      tcp.cork();
      socket.emit("cast", { from: "server" }, event, ["last"], () => {});
      socket.disconnect();
      setTimeout(() => tcp.uncork(), 20);
      await gone;
      await fence(witness);
      t.note("the event", got.items.length > 0 ? "handled" : "lost");
    },
  },
  {
    name: "an event that the server emits after its disconnect",
    json: true,
    modes: ["websocket"],
    since: 3,
    differs: [
      {
        seen: { wire: [["41/other,", '42/other,["last-words"]'], ["41/other,"]] },
        row: {
          case: "an event emitted after the server's `disconnect()`",
          node: "reaches the wire",
          here: "dropped",
          why: "the client has been told",
        },
      },
    ],
    async run(t) {
      const main = await t.connect();
      const other = await t.join(main, "/other");
      const wire = [];
      main.io.engine.on("packet", ({ data }) => /^4.\/other/.test(data) && wire.push(data));
      main.io.engine.on("message", (data) => /^.\/other/.test(data) && !wire.includes(`4${data}`) && wire.push(`4${data}`));
      const left = next(other, "disconnect");
      other.emit("last-words");
      await left;
      await fence(main);
      t.note("wire", wire);
    },
  },
  {
    name: "an emit with eleven binaries",
    json: true, // MessagePack: bytes are not attachments
    variants: ["4", "deflate", "mounted"],
    differs: [
      {
        servers: ["go"],
        seen: { emitted: ["unknown", false], client: ["parse error", "stays"] },
        row: {
          case: "more than 10 attachments in an emit",
          node: "the client breaks",
          here: "`Emit` returns an error",
          why: "current JavaScript clients refuse them",
        },
      },
      {
        servers: ["bridge"],
        seen: { emitted: ["unknown", true], client: ["parse error", "stays"] },
        row: {
          case: "more than 10 attachments in an emit",
          node: "the client breaks",
          here: "dropped, counted and logged (`max_attachments`)",
          why: "current JavaScript clients refuse them",
        },
      },
    ],
    async run(t) {
      const socket = await t.connect("/", { reconnection: false });
      await t.upgraded(socket);
      assert.equal(await call(socket, "parts", 10), true);
      const left = new Promise((done) => socket.once("disconnect", done));
      let emitted = "unknown";
      const answered = call(socket, "parts", 11).then((ok) => {
        emitted = ok;
        return "stays";
      }, () => left);
      t.note("client", await Promise.race([left, answered]));
      t.note("emitted", emitted);
    },
  },
  {
    name: "two volatile events from a handler that computes in between",
    modes: ["websocket"],
    differs: [
      {
        seen: { came: [[1], [1, 2]] },
        row: {
          case: "second volatile event in a row",
          node: "dropped",
          here: "dropped if the first has not left yet",
          why: "a loop's turn is not a tick of Node's",
        },
      },
    ],
    async run(t) {
      const event = t.name("volatile");
      const socket = await t.connect();
      const got = collect(socket, event);
      await call(socket, "volatile-pair", event, 150);
      t.note("came", got.items);
    },
  },
  {
    name: "a client that reads slower than it is sent to",
    modes: ["websocket"],
    variants: ["4"],
    differs: [
      {
        seen: { "the client": ["has all", "transport close"] },
        row: {
          case: "a client that reads slower than it is sent to",
          node: "queued without bound",
          here: "closed when more than `MaxOutbound` waits",
          why: "memory",
        },
      },
    ],
    async run(t) {
      const event = t.name("flood");
      const socket = await t.connect("/", { reconnection: false });
      const friend = await t.connect();
      const got = collect(socket, event);
      const left = new Promise((done) => socket.once("disconnect", done));
      const tcp = socket.io.engine.transport.ws._socket;
      tcp.pause();
      const text = "x".repeat(900_000);
      await Promise.all(range(20).map(() => call(friend, "cast", { from: "server", rooms: [socket.id] }, event, [text])));
      tcp.resume();
      t.note("the client", await Promise.race([left, got.take(20).then(() => "has all", () => left)]));
    },
  },
  {
    name: "a client that sends faster than its handlers work",
    modes: ["websocket"],
    variants: ["4"],
    differs: [
      {
        servers: ["go"],
        seen: { "all is with the server": [true, false] },
        row: {
          case: "a client that sends faster than its handlers work",
          node: "queued without bound",
          here: "its reading pauses",
          why: "memory",
        },
      },
    ],
    async run(t) {
      const room = t.name("stuck");
      const socket = await t.connect();
      const { ws } = socket.io.engine.transport;
      const text = "x".repeat(200_000);
      for (const _ of range(150)) socket.emit("stick", room, text);
      await idle(() => ws.bufferedAmount);
      t.note("all is with the server", ws.bufferedAmount === 0);
      const witness = await t.connect();
      await call(witness, "unstick", room);
      assert.equal(await call(witness, "echo", "there"), "there");
    },
  },
];
