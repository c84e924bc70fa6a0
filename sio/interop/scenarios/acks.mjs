// Acknowledgements in both directions.

import assert from "node:assert/strict";
import { CLIENT, call, callAll, fence, next, range, sleep } from "../harness.mjs";

export default [
  {
    name: "the server answers with any number of arguments",
    async run(t) {
      const socket = await t.connect();
      assert.deepEqual(await callAll(socket, "echo"), []);
      assert.deepEqual(await callAll(socket, "echo", 1), [1]);
      assert.deepEqual(await callAll(socket, "echo", 1, "two", { three: [3] }), [1, "two", { three: [3] }]);
      if (CLIENT === 4) assert.equal(await socket.timeout(5000).emitWithAck("echo", "promised"), "promised");
    },
  },
  {
    name: "answers find their question in whatever order they come",
    async run(t) {
      const socket = await t.connect();
      const came = [];
      const answers = range(10).map(async (i) => {
        const answer = await call(socket, "hold", `value ${i}`);
        came.push(i);
        return answer;
      });
      assert.equal(await call(socket, "release"), 10);
      assert.deepEqual(await Promise.all(answers), range(10).map((i) => `value ${i}`));
      assert.deepEqual(came, range(10).reverse());
    },
  },
  {
    name: "an event is answered once only",
    async run(t) {
      const socket = await t.connect();
      const answers = [];
      socket.emit("ack-twice", "first", (value) => answers.push(value));
      await fence(socket);
      assert.deepEqual(answers, ["first"]);
    },
  },
  {
    name: "a question of the client times out, its late answer is ignored",
    since: 4,
    async run(t) {
      const socket = await t.connect();
      const calls = [];
      const late = new Promise((done) => {
        socket.timeout(100).emit("hold", "late", (err) => {
          calls.push(err?.message);
          done();
        });
      });
      await late;
      assert.equal(await call(socket, "release"), 1);
      await fence(socket);
      assert.deepEqual(calls, ["operation has timed out"]);
    },
  },
  {
    name: "the client answers the server",
    async run(t) {
      const socket = await t.connect();
      socket.on("sum", (a, b, ack) => ack(a + b, "and more"));
      socket.on("nothing", (ack) => ack());
      assert.deepEqual(await call(socket, "ask", "sum", [2, 3], 5000), { answer: [5, "and more"] });
      assert.deepEqual(await call(socket, "ask", "nothing", [], 5000), { answer: [] });
    },
  },
  {
    name: "a question of the server times out, its late answer is ignored",
    async run(t) {
      const socket = await t.connect();
      let answer;
      socket.on("slow", (ack) => {
        answer = ack;
      });
      assert.deepEqual(await call(socket, "ask", "slow", [], 100), { error: "time-out" });
      answer("late");
      assert.deepEqual(await call(socket, "ask", "unheard", [], 100), { error: "time-out" });
      assert.equal(await call(socket, "echo", "fine"), "fine");
    },
  },
  {
    name: "questions of both sides do not mix, whatever their ids",
    async run(t) {
      const socket = await t.connect();
      socket.on("double", async (i, ack) => {
        await sleep(i % 3);
        ack(i * 2);
      });
      const asked = range(20).map((i) => call(socket, "ask", "double", [i], 5000));
      const echoes = range(20).map((i) => call(socket, "echo", `e${i}`));
      assert.deepEqual(await Promise.all(echoes), range(20).map((i) => `e${i}`));
      assert.deepEqual(await Promise.all(asked), range(20).map((i) => ({ answer: [i * 2] })));
    },
  },
  {
    name: "a room is asked and everybody answers",
    async run(t) {
      const room = t.name("asked");
      const sockets = await Promise.all(range(3).map(() => t.connect()));
      for (const [i, socket] of sockets.entries()) {
        await call(socket, "join", [room]);
        socket.on("who", (greeting, ack) => ack(`${greeting} ${i}`, "ignored"));
      }
      const got = await call(sockets[0], "ask-room", room, "who", ["member"], 5000);
      assert.deepEqual(got.answers.sort(), ["member 0", "member 1", "member 2"]);
      assert.equal(got.error, undefined);
    },
  },
  {
    name: "a room is asked and one stays silent",
    async run(t) {
      const room = t.name("half-silent");
      const sockets = await Promise.all(range(3).map(() => t.connect()));
      for (const [i, socket] of sockets.entries()) {
        await call(socket, "join", [room]);
        if (i < 2) socket.on("who", (ack) => ack(i));
      }
      const got = await call(sockets[0], "ask-room", room, "who", [], 500);
      assert.equal(got.error, "time-out");
      assert.deepEqual(got.answers.sort(), [0, 1]);
    },
  },
  {
    name: "an empty room answers at once",
    async run(t) {
      const socket = await t.connect();
      assert.deepEqual(await call(socket, "ask-room", t.name("empty"), "who", [], 5000), { answers: [] });
    },
  },
  {
    name: "an event that asks for no answer gets none",
    async run(t) {
      const socket = await t.connect();
      const back = next(socket, "echo");
      socket.emit("echo", "no question");
      assert.deepEqual(await back, ["no question"]);
      socket.once("plain", (...args) => socket.emit("echo", "plain", args.length));
      const counted = next(socket, "echo");
      await call(socket, "burst", "plain", 1);
      assert.deepEqual(await counted, ["plain", 1]);
    },
  },
];
