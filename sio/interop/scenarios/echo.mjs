// Values through the server and back: as acknowledgement and as event.

import assert from "node:assert/strict";
import { call, callAll, next, range } from "../harness.mjs";

// What JSON can hold and an implementation may get wrong.
const VALUES = {
  null: null,
  booleans: [true, false],
  integers: [0, 1, -1, 255, 65536, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
  fractions: [0.5, -1.25, 1e-7, 1e21, 5e-324, 1.7976931348623157e308],
  strings: ["", " ", "plain", '"quoted"', "back\\slash", "a/b", "<script>&amp;'", "\u2028\u2029"],
  controls: "\u0000\u0001\b\t\n\v\f\r\u001b\u001e\u001f\u007f",
  arrays: [[], [[]], [1, [2, [3, []]]], [null]],
  objects: [{}, { "": "" }, { a: { b: { c: [1, { d: null }] } } }],
  keys: { "with space": 1, 'with "quotes"': 2, ключ: 3, "😀": 4, 42: 5, "a.b": 6 },
  likeAPacket: ['42["echo"]', "451-[]", '{"_placeholder":true,"num":0}', "2probe"],
};

const DATE = new Date(1700000000000);

const TEXTS = [
  "é",
  "€",
  "汉字かな한글",
  "😀𝄞𐍈\u{10FFFF}",
  "👩‍👩‍👧‍👦 flag 🇪🇺",
  "e\u0301 \u202Eright to left\u202C \uFEFF bom",
  "\uE000\uFFFD\uFFFE",
  "x".repeat(125),
  "x".repeat(126),
  "é".repeat(40_000),
  "a😀".repeat(20_000),
];

async function echoed(socket, ...args) {
  const back = next(socket, "echo");
  socket.emit("echo", ...args);
  return back;
}

export default [
  {
    name: "JSON of every kind comes back equal",
    json: true, // MessagePack: its encoder writes wrong integers from 2^64 on
    async run(t) {
      const socket = await t.connect();
      for (const [kind, value] of Object.entries(VALUES)) {
        assert.deepEqual(await call(socket, "echo", value), value, `acknowledged ${kind}`);
        assert.deepEqual(await echoed(socket, value), [value], `event with ${kind}`);
      }
    },
  },
  {
    name: "values without JSON become what JSON.stringify makes of them",
    differs: [
      {
        variants: ["msgpack"],
        seen: {
          undefined: [undefined, null],
          NaN: [NaN, null],
          Infinity: [Infinity, null],
          date: [DATE, DATE.toISOString()],
          object: [{ gone: undefined, kept: 1 }, { kept: 1 }],
        },
        row: {
          case: "`NaN`, `undefined`, dates from MessagePack clients",
          node: "kept",
          here: "what JSON makes of them",
          why: "handlers and clients of both parsers see the same",
        },
      },
    ],
    async run(t) {
      const socket = await t.connect();
      const sent = { undefined, NaN, Infinity, date: DATE, object: { gone: undefined, kept: 1 }, zero: -0 };
      const got = await callAll(socket, "echo", ...Object.values(sent));
      Object.keys(sent).forEach((name, i) => t.note(name, got[i]));
    },
  },
  {
    name: "text outside ASCII and outside the BMP comes back equal",
    async run(t) {
      const socket = await t.connect();
      for (const text of TEXTS) {
        const label = `${text.slice(0, 12)}… of ${text.length}`;
        assert.ok((await call(socket, "echo", text)) === text, `acknowledged ${label}`);
        const [back] = await echoed(socket, text);
        assert.ok(back === text, `event with ${label}`);
      }
    },
  },
  {
    name: "bytes of a string are counted as UTF-8",
    async run(t) {
      const socket = await t.connect();
      assert.equal(await call(socket, "measure", "aé€😀"), 10);
    },
  },
  {
    name: "an event may have no argument or fifty",
    async run(t) {
      const socket = await t.connect();
      assert.deepEqual(await echoed(socket), []);
      assert.deepEqual(await echoed(socket, ...range(50)), range(50));
    },
  },
  {
    name: "event names may be any text",
    async run(t) {
      const socket = await t.connect();
      const names = ["message", "error", "ping", "42", "a,b", '["x"]', "naïve 😀 event", "__proto__", "constructor", " "];
      for (const name of names) {
        socket.once(name, (value, ack) => ack(`${value} answered`));
        const got = await call(socket, "ask", name, ["asked"], 5000);
        assert.deepEqual(got, { answer: ["asked answered"] }, `event ${JSON.stringify(name)}`);
      }
    },
  },
  {
    name: "an event without handler is ignored",
    async run(t) {
      const socket = await t.connect();
      const id = socket.id;
      let answered = false;
      socket.emit("nobody-listens", 1, () => {
        answered = true;
      });
      assert.equal(await call(socket, "echo", "after"), "after");
      assert.equal(answered, false);
      assert.equal(socket.id, id);
    },
  },
];
