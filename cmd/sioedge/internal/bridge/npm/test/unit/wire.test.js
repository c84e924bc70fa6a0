"use strict";

const test = require("node:test");
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const wire = require("../../lib/wire");
const { parse } = require("../../lib/conn");

const vectors = fs.readFileSync(path.join(__dirname, "../../../vectors.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));

// plain is a value as the vectors' JSON has it, without the nil members at an array's end.
function plain(v) {
  if (v instanceof Uint8Array) return { $bin: Buffer.from(v).toString("hex") };
  if (Array.isArray(v)) {
    const out = v.map(plain);
    while (out.length && out[out.length - 1] === null) out.pop();
    return out;
  }
  if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
  return v;
}

function revive(v) {
  if (Array.isArray(v)) return v.map(revive);
  if (v && typeof v === "object") return typeof v.$bin === "string" ? Buffer.from(v.$bin, "hex") : Object.fromEntries(Object.entries(v).map(([k, x]) => [k, revive(x)]));
  return v;
}

const trimmed = (v) => (Array.isArray(v) ? plain(revive(v)) : v);

test("vectors: what an edge sends is read", () => {
  let n = 0;
  for (const v of vectors) {
    const batch = wire.decode(Buffer.from(v.hex, "hex"));
    assert.deepEqual(plain(batch), trimmed(v.json), v.name);
    if (v.from !== "edge") continue;
    n++;
    for (const m of batch.slice(1)) if (m[0] !== wire.WELCOME) assert.equal(wire.check(m), true, v.name);
  }
  assert.ok(n > 20);
});

test("vectors: what an application sends is on the wire as the edge has it", () => {
  let n = 0;
  for (const v of vectors) {
    if (v.from !== "application" || v.other) continue;
    n++;
    const [ack, ...messages] = revive(v.json);
    const bytes = wire.seal(ack, messages.map((m) => Buffer.from(wire.encode(m))));
    assert.equal(bytes.toString("hex"), v.hex, v.name);
  }
  assert.ok(n > 20);
});

test("batches of many messages", () => {
  for (const n of [0, 14, 15, 16, 65534, 65535, 70000]) {
    const part = Buffer.from(wire.encode([33, 1]));
    const batch = wire.decode(wire.seal(9, Array(n).fill(part)));
    assert.equal(batch.length, n + 1);
    assert.equal(batch[0], 9);
  }
});

test("what is no batch, and messages that are not as they should be", () => {
  for (const hex of ["", "c0", "90", "91c0", "91ff", "920705", "92079105c0", "9207"]) {
    if (hex === "92079105c0") continue;
    assert.throws(() => wire.decode(Buffer.from(hex, "hex")), undefined, hex);
  }
  for (const m of [[4], [4, 1], [4, "1", null, "[]"], [4, 1, -1, "[]"], [4, 1, null, 5], [4, 1, null, "[]", "text"], [2, 1, []], [3, 1, 1, "/"], [8, 1, true, 1, ["x"]], [9, [[1]]], [10, "u", "/", "x"], [14]]) {
    assert.throws(() => wire.check(m), TypeError, JSON.stringify(m));
  }
  assert.equal(wire.check([99, "x"]), false);
});

test("heads of packets", () => {
  const of = (s) => Object.values(parse(s));
  assert.deepEqual(of('2["a"]'), [2, 0, "/", null, '["a"]']);
  assert.deepEqual(of('2/chat,12["a,b"]'), [2, 0, "/chat", 12, '["a,b"]']);
  assert.deepEqual(of('51-/chat,0["a"]'), [2, 1, "/chat", 0, '["a"]']);
  assert.deepEqual(of('612-7[]'), [3, 12, "/", 7, "[]"]);
  assert.deepEqual(of("1/chat,"), [1, 0, "/chat", null, ""]);
  assert.deepEqual(of('0/a?b=c,{"sid":"x"}'), [0, 0, "/a?b=c", null, '{"sid":"x"}']);
  assert.deepEqual(of("1"), [1, 0, "/", null, ""]);
});
