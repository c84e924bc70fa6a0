// What clients by hand see: refusals, and what ends a connection that breaks the
// protocol. All of it is Engine.IO 4 in JSON, over one transport or another.

import { call, next } from "../harness.mjs";
import { answer, head, poller, wire } from "../raw.mjs";

const only = { json: true, variants: ["4", "mounted"] };

// REQUESTS that open no session.
const REQUESTS = {
  "no query": [""],
  "an unknown transport": ["?EIO=4&transport=tin-cans"],
  "the transport constructor": ["?EIO=4&transport=constructor"],
  "no transport": ["?EIO=4"],
  "websocket without a handshake": ["?EIO=4&transport=websocket"],
  "an unknown sid": ["?EIO=4&transport=polling&sid=unknown"],
  "an empty sid": ["?EIO=4&transport=polling&sid=", {}],
  "a POST without a sid": ["?EIO=4&transport=polling", { method: "POST", body: "40" }],
  "a PUT": ["?EIO=4&transport=polling", { method: "PUT", body: "40" }],
  "OPTIONS": ["?EIO=4&transport=polling", { method: "OPTIONS" }],
  "EIO 3": ["?EIO=3&transport=polling"],
  "EIO 5": ["?EIO=5&transport=polling"],
  "no EIO": ["?transport=polling"],
};

// BREACHES of the protocol by a socket that is in the namespace /.
const BREACHES = {
  "a second CONNECT": "40",
  "CONNECT of an unknown namespace": "40/unknown,",
  "an event of a namespace not joined": '42/other,["echo"]',
  "a packet type that is unknown": "49",
  "no packet type": "4",
  "an event without an array": '42{"a":1}',
  "an event without a name": "42[]",
  "an event with null for a name": "42[null]",
  "an event with a number for a name": '42[1,"x"]',
  "an event in bad JSON": '42["echo"',
  "the reserved name connect": '42["connect"]',
  "the reserved name disconnecting": '42["disconnecting"]',
  "the name newListener": '42["newListener"]',
  "an acknowledgement of nothing": "4399[]",
  "an acknowledgement without an id": "43[]",
  "a CONNECT_ERROR": '44{"message":"x"}',
  "a binary event without its binary": '451-["echo",{"_placeholder":true,"num":0}]|42["echo"]',
  "a placeholder beyond the binaries": '451-["echo",{"_placeholder":true,"num":3}]|bytes',
  "binary out of the blue": "bytes",
  "an Engine.IO type that is unknown": "9",
  "an empty message": "",
  "a pong that nobody asked for": "3",
  "a ping of the client": "2",
  "a ping for a probe": "2probe",
  "an upgrade of what is upgraded": "5",
  "a NOOP": "6",
};

// breach sends packets to a server and tells what comes of it, and what the server
// says the socket went of.
async function breach(t, packets) {
  const raw = await wire(t);
  raw.send("40");
  await raw.until(/^40/);
  raw.log.length = 0;
  const witness = await t.connect();
  await call(witness, "watch", raw.sid);
  const gone = new Promise((done) => witness.once("gone", (_, reason) => done(reason)));
  for (const packet of packets.split("|")) raw.send(packet === "bytes" ? Buffer.from([1, 2, 3]) : packet);
  raw.send('421["echo","after"]');
  const log = await raw.until(/^431|^closed/);
  const closed = /^closed/.test(log.at(-1));
  const got = log.filter((entry) => entry !== "2");
  return { got, gone: closed ? await gone : "stays" };
}

export default [
  {
    ...only,
    name: "requests that are refused",
    modes: ["polling"],
    differs: [
      {
        servers: ["bridge"],
        seen: { OPTIONS: [{ status: 400, body: '{"code":2,"message":"Bad handshake method"}' }, { status: 204, body: "" }] },
        row: { case: "OPTIONS of no page", node: "400", here: "204", why: "balancers ask sioedge by it whether it is well" },
      },
    ],
    async run(t) {
      for (const [what, [query, options]] of Object.entries(REQUESTS)) {
        const got = await answer(t.url, query, options);
        t.note(what, { ...got, body: got.body.replace(/"sid":"[^"]*"/, '"sid":"…"') });
      }
    },
  },
  {
    ...only,
    name: "versions that a WebSocket is refused for",
    modes: ["websocket"],
    differs: [
      {
        seen: { "EIO 3": ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 400 Bad Request"], "EIO 5": ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 400 Bad Request"] },
        row: { case: "version errors on a WebSocket", node: "bytes of HTTP inside the WebSocket", here: "400 before the upgrade", why: "a client can read that" },
      },
    ],
    async run(t) {
      for (const version of [3, 4, 5]) {
        const first = await head(t.url, [
          `GET /socket.io/?EIO=${version}&transport=websocket HTTP/1.1`,
          "Host: localhost",
          "Connection: Upgrade",
          "Upgrade: websocket",
          "Sec-WebSocket-Version: 13",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]);
        t.note(`EIO ${version}`, first);
      }
    },
  },
  {
    ...only,
    name: "a payload of a poll that makes no sense",
    modes: ["polling"],
    differs: [
      {
        seen: { post: [{ status: 200, body: "ok" }, { status: 400, body: "" }] },
        row: { case: "a malformed polling payload", node: "200 `ok`, then closed", here: "400, then closed", why: "the protocol's own test suite" },
      },
    ],
    async run(t) {
      const client = await poller(t.url);
      t.note("post", await client.post("abc"));
      t.note("then", (await client.get()).status);
    },
  },
  {
    ...only,
    name: "a close packet over WebSocket",
    modes: ["websocket"],
    differs: [
      {
        seen: { first: ["2", "closed 1005"] },
        row: { case: "packet `1` over WebSocket", node: "closed by the ping time-out", here: "closed at once", why: "the client has said that it leaves" },
      },
    ],
    async run(t) {
      const raw = await wire(t);
      raw.send("1");
      t.note("first", (await raw.until(/^2|^closed/))[0]);
    },
  },
  {
    ...only,
    name: "packets that break the protocol",
    modes: ["websocket"],
    async run(t) {
      await Promise.all(Object.entries(BREACHES).map(async ([what, packets]) => t.note(what, await breach(t, packets))));
    },
  },
  {
    ...only,
    name: "first packets that break the protocol",
    modes: ["websocket"],
    async run(t) {
      for (const packet of ['42["echo"]', "41", "43", "abc", "bytes", "40/unknown,", "40[]", '40"x"', "40{"]) {
        const raw = await wire(t);
        raw.send(packet === "bytes" ? Buffer.from([1]) : packet);
        raw.send("40");
        const log = await raw.until(/^40|^closed/);
        t.note(packet, [...log]);
      }
    },
  },
  {
    ...only,
    name: "the server closes a connection",
    async run(t) {
      const socket = await t.connect("/", { reconnection: false });
      await t.upgraded(socket);
      const witness = await t.connect();
      await call(witness, "watch", socket.id);
      const gone = next(witness, "gone");
      const left = next(socket, "disconnect");
      socket.emit("cut");
      t.note("the client's reason", (await left)[0]);
      t.note("the server's reason", (await gone)[1]);
    },
  },
  {
    ...only,
    name: "an event with a name of 300 characters",
    differs: [
      {
        seen: { "the client": ["stays", "transport close"] },
        row: { case: "an event name of more than 256 bytes", node: "passes", here: "closes the connection (`MaxEventName`)", why: "memory" },
      },
    ],
    modes: ["websocket"],
    async run(t) {
      const socket = await t.connect("/", { reconnection: false });
      const left = new Promise((done) => socket.once("disconnect", done));
      socket.emit("n".repeat(300));
      t.note("the client", await Promise.race([left, call(socket, "echo").then(() => "stays", () => left)]));
    },
  },
  {
    ...only,
    name: "130 namespaces on one connection",
    differs: [
      {
        seen: { results: [{ connected: 130 }, { connected: 127, "too many namespaces": 3 }] },
        row: { case: "more than 128 namespaces on one connection", node: "joined", here: "refused (`MaxNamespaces`)", why: "memory" },
      },
    ],
    modes: ["websocket"],
    async run(t) {
      const main = await t.connect();
      const answered = (socket) =>
        Promise.race([next(socket, "connect").then(() => "connected"), next(socket, "connect_error").then(([err]) => err.message)]);
      const sockets = Array.from({ length: 130 }, (_, i) => main.io.socket(`/campaigns/${t.name(i)}/trends`));
      const results = sockets.map(answered);
      for (const socket of sockets) socket.connect();
      const all = await Promise.all(results);
      const counts = {};
      for (const result of all) counts[result] = (counts[result] ?? 0) + 1;
      t.note("results", counts);
      for (const socket of sockets) socket.disconnect();
    },
  },
];
