"use strict";
// What is on the wire: ../../protocol.md.

const { Encoder, Decoder } = require("@msgpack/msgpack");

// Edge to application.
const WELCOME = 1, OPEN = 2, CONNECT = 3, EVENT = 4, ANSWER = 5, LEFT = 6, CLOSED = 7, ANSWERS = 8, PEERS = 9,
  RELAYED = 10, UPGRADED = 11, DRAINED = 12, SETTINGS = 13, BYE = 14;
// Application to edge.
const HELLO = 32, ACCEPT = 33, REFUSE = 34, EMIT = 35, ACK = 36, BROADCAST = 37, JOIN = 38, LEAVE = 39, JOIN_ALL = 40,
  LEAVE_ALL = 41, DISCONNECT = 42, CLOSE = 43, DISCONNECT_ALL = 44, DATA = 45, GONE = 46, RELAY = 47, DRAINING = 48,
  HANDOVER = 49, HANDED = 50, CHANGE = 51, CANCEL = 52;

const NAMES = 5000; // of a list in a message; an edge takes 10,000

const VOLATILE = 1, UNCOMPRESSED = 2; // flags

// One of each for all links: neither keeps anything between two calls.
const encoder = new Encoder({ ignoreUndefined: true, initialBufferSize: 64 << 10 });
const decoder = new Decoder();

// encode returns the bytes of a message, or of a batch. Nil members at the end are left out. The bytes are valid until
// the next call.
function encode(message) {
  let n = message.length;
  while (n > 0 && message[n - 1] == null) n--;
  message.length = n;
  return encoder.encodeSharedRef(message);
}

// A Batch collects messages as they will be on the wire. It is used once.
class Batch {
  constructor() {
    this.parts = [];
    this.bytes = 0;
  }

  // push adds a message that is encoded.
  push(part) {
    this.parts.push(part);
    this.bytes += part.length;
  }

  get length() {
    return this.parts.length;
  }

  // seal returns the batch with its ack, one Buffer.
  seal(ack) {
    return seal(ack, this.parts);
  }
}

function seal(ack, parts) {
  const n = parts.length + 1;
  let bytes = 0;
  for (const p of parts) bytes += p.length;
  const out = Buffer.allocUnsafe(bytes + 16);
  let i = 0;
  if (n < 16) {
    out[i++] = 0x90 | n;
  } else if (n < 65536) {
    out[i++] = 0xdc;
    i = out.writeUInt16BE(n, i);
  } else {
    out[i++] = 0xdd;
    i = out.writeUInt32BE(n, i);
  }
  const a = encoder.encodeSharedRef(ack);
  out.set(a, i);
  i += a.length;
  for (const p of parts) {
    out.set(p, i);
    i += p.length;
  }
  return out.subarray(0, i);
}

// decode returns the batch's array, [ack, message, …]; it throws if it is none.
function decode(bytes) {
  const batch = decoder.decode(bytes);
  if (!Array.isArray(batch) || !count(batch[0])) throw new TypeError("not a batch");
  for (let i = 1; i < batch.length; i++) {
    if (!Array.isArray(batch[i]) || !count(batch[i][0])) throw new TypeError("not a message");
  }
  return batch;
}

// Of a relay's payload, which only processes read.
const pack = (value) => Buffer.from(encoder.encodeSharedRef(value));
const unpack = (bytes) => decoder.decode(bytes);

const count = (v) => Number.isSafeInteger(v) && v >= 0;
const text = (v) => typeof v === "string";
const texts = (v) => Array.isArray(v) && v.every(text);
const bytes = (v) => v instanceof Uint8Array;
const map = (v) => typeof v === "object" && v !== null && !Array.isArray(v) && !bytes(v);
const answer = (v) => Array.isArray(v) && text(v[0]) && v.slice(1).every(bytes);
const maybe = (is) => (v) => v == null || is(v);
const peer = (v) => Array.isArray(v) && text(v[0]) && maybe(texts)(v[1]);
const listOf = (is) => (v) => Array.isArray(v) && v.every(is);

// What the edge's messages are made of; what is not so is a broken edge.
const shapes = {
  [OPEN]: [count, map],
  [CONNECT]: [count, count, text, text, maybe(text), maybe(map), maybe(map)],
  [EVENT]: [count, maybe(count), text],
  [ANSWER]: [count, count, text],
  [LEFT]: [count, text],
  [CLOSED]: [count, text],
  [ANSWERS]: [count, (v) => typeof v === "boolean", maybe(count), maybe(listOf(answer))],
  [PEERS]: [maybe(listOf(peer))],
  [RELAYED]: [text, text, bytes],
  [UPGRADED]: [count, text],
  [DRAINED]: [],
  [SETTINGS]: [map],
  [BYE]: [text, maybe(text)],
};

// check throws if m is not as the protocol has it. It returns false if m has a number that is not known.
function check(m) {
  const shape = shapes[m[0]];
  if (!shape) return false;
  for (let i = 0; i < shape.length; i++) {
    if (!shape[i](m[i + 1])) throw new TypeError(`message ${m[0]}: member ${i + 1} is not as it should be`);
  }
  if (m[0] === EVENT || m[0] === ANSWER) {
    for (let i = 4; i < m.length; i++) {
      if (!bytes(m[i])) throw new TypeError(`message ${m[0]}: member ${i} is not binary`);
    }
  }
  return true;
}

// attachments copies what stands behind the first n members of m: a batch's memory is not kept for the sake of one.
function attachments(m, n) {
  const out = [];
  for (let i = n; i < m.length; i++) out.push(Buffer.from(m[i]));
  return out;
}

module.exports = {
  WELCOME, OPEN, CONNECT, EVENT, ANSWER, LEFT, CLOSED, ANSWERS, PEERS, RELAYED, UPGRADED, DRAINED, SETTINGS, BYE,
  HELLO, ACCEPT, REFUSE, EMIT, ACK, BROADCAST, JOIN, LEAVE, JOIN_ALL, LEAVE_ALL, DISCONNECT, CLOSE, DISCONNECT_ALL, DATA,
  GONE, RELAY, DRAINING, HANDOVER, HANDED, CHANGE, CANCEL, NAMES, VOLATILE, UNCOMPRESSED,
  Batch, encode, seal, decode, pack, unpack, check, attachments, count, text, texts, bytes, map,
};
