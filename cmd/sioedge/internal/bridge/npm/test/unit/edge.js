"use strict";
// An edge as the protocol has it, for tests: it does nothing by itself but the link, and what it is told to.

const http = require("node:http");
const { WebSocketServer } = require("ws");
const { encode, decode } = require("@msgpack/msgpack");
const { Server } = require("socket.io");
const { attach } = require("../../");

const KEY = "a-key-of-the-edge-of-some-length";

const SETTINGS = { window: 1 << 20, max_message: 4 << 20, max_data: 1024, timeout: 3000, grace: 2000, takeover: 2000, data: "drain", recovery: 0 };

class FakeEdge {
  constructor(settings) {
    this.settings = { ...SETTINGS, ...settings };
    this.session = null; // {id, got, sent: [], acked}
    this.hellos = [];
    this.log = []; // messages of the process, in order
    this.batches = []; // [ack, messages] of the process, as they came
    this.waiting = [];
    this.autoAck = true;
    this.refuse = null;
    this.next = 1;
    this.dials = 0;
  }

  listen(port = 0) {
    this.server = http.createServer();
    const wss = (this.wss = new WebSocketServer({ noServer: true, handleProtocols: (p) => [...p][0] }));
    this.server.on("upgrade", (req, socket, head) => {
      this.dials++;
      this.request = req;
      if (this.refuse) {
        const body = JSON.stringify({ title: "no", detail: this.refuse.detail });
        socket.end(`HTTP/1.1 ${this.refuse.status} No\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
        return;
      }
      wss.handleUpgrade(req, socket, head, (ws) => this.onLink(ws));
    });
    return new Promise((resolve) => this.server.listen(port, "127.0.0.1", () => resolve(this)));
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  onLink(ws) {
    this.ws = ws;
    let said = false;
    ws.on("message", (data) => {
      const [ack, ...messages] = decode(data);
      if (!said) {
        said = true;
        return this.onHello(ws, messages[0][1]);
      }
      const s = this.session;
      for (; s.acked < ack; s.acked++);
      this.lastAck = ack;
      if (messages.length) {
        s.got++;
        this.batches.push([ack, messages]);
        this.log.push(...messages);
        if (this.autoAck) ws.send(encode([s.got]));
      }
      this.look();
    });
    ws.on("error", () => {});
    ws.on("close", (code) => {
      this.closeCode = code;
      this.look();
    });
  }

  onHello(ws, hello) {
    this.hellos.push(hello);
    const resumed = this.session !== null && hello.resume === this.session.id;
    if (!resumed) this.session = { id: `s${this.next++}`, got: 0, sent: [], acked: 0 };
    const s = this.session;
    ws.send(encode([0, [1, { version: 1, edge: "edge-1", session: s.id, resumed, received: s.got, server: "test", ...this.settings }]]));
    if (resumed) for (const batch of s.sent.slice(hello.received)) ws.send(encode([s.got, ...batch]));
    this.look();
  }

  // send sends messages as one batch, and again after a connection that was cut.
  send(...messages) {
    this.session.sent.push(messages);
    if (this.ws.readyState === 1) this.ws.send(encode([this.autoAck ? this.session.got : 0, ...messages]));
  }

  open(conn, more) {
    return [2, conn, { id: `eio-${conn}`, address: "10.0.0.1", port: 1234, headers: { host: "example.com", cookie: "a=b" }, url: "/socket.io/?EIO=4&transport=websocket&who=me", secure: true, issued: 1_600_000_000_000, transport: "websocket", protocol: 4, ...more }];
  }

  // join opens a connection and its socket, whose numbers are n, and waits until it is in.
  async join(n, { nsp = "/", id = `sid-${n}`, auth = "{}", state = null, identity = null } = {}) {
    this.send(this.open(n), [3, n, n, nsp, id, auth, state, identity]);
    await this.until(() => this.find(33, n));
  }

  find(kind, number) {
    return this.log.find((m) => m[0] === kind && (number === undefined || m[1] === number));
  }

  all(kind, number) {
    return this.log.filter((m) => m[0] === kind && (number === undefined || m[1] === number));
  }

  until(is) {
    return new Promise((resolve) => {
      const w = () => {
        const v = is();
        if (v) resolve(v);
        return v;
      };
      if (!w()) this.waiting.push(w);
    });
  }

  // message waits for one of a kind.
  message(kind, number) {
    return this.until(() => this.find(kind, number));
  }

  look() {
    this.waiting = this.waiting.filter((w) => !w());
  }

  cut() {
    this.ws.terminate();
  }

  close() {
    for (const c of this.wss.clients) c.terminate();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

// start gives an edge, a server and its bridge that are linked, and closes them behind the test.
async function start(t, { settings, server, options, prepare } = {}) {
  const edge = await new FakeEdge(settings).listen();
  const io = new Server(server);
  if (prepare) prepare(io);
  const bridge = attach(io, { edges: [edge.url], key: KEY, log: false, ...options });
  t.after(async () => {
    await bridge.close();
    await edge.close();
  });
  await bridge.ready();
  return { edge, io, bridge };
}

module.exports = { FakeEdge, start, KEY };
