// What the client sees of origins, refusals, cookies, headers and close codes:
//
//	node surface.mjs URL
//
// The server's options are those of TestInteropSurface. It exits with 1 if
// something is not as it should be.

import assert from "node:assert/strict";
import { io } from "socket.io-client";

const url = process.argv[2];
const polling = { transports: ["polling"], upgrade: false };
const websocket = { transports: ["websocket"] };

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what}`)), 8000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function next(emitter, event) {
  return within(new Promise((done) => emitter.once(event, (...args) => done(args))), event);
}

function client(options) {
  return io(url, { forceNew: true, reconnection: false, ...options });
}

async function refused(options) {
  const socket = client(options);
  const [err] = await next(socket, "connect_error");
  socket.disconnect();
  return err;
}

const scenarios = {
  async "a page of another origin is refused, whatever it comes by"() {
    const extraHeaders = { origin: "https://evil.example" };
    const err = await refused({ ...polling, extraHeaders });
    assert.equal(err.description, 403);
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: extraHeaders });
    assert.deepEqual(await answer.json(), { code: 4, message: "origin https://evil.example is not allowed" });
    const failed = await refused({ ...websocket, extraHeaders });
    assert.equal(failed.message, "websocket error");
    assert.match(failed.description.message, /403/);
  },

  async "a page of an origin that is allowed connects, and upgrades"() {
    const socket = client({ extraHeaders: { origin: "https://www.app.example" } });
    await next(socket, "connect");
    const { engine } = socket.io;
    if (engine.transport.name !== "websocket") await next(engine, "upgrade");
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, {
      headers: { origin: "https://www.app.example" },
    });
    assert.equal(answer.headers.get("access-control-allow-origin"), "https://www.app.example");
    assert.equal(answer.headers.get("access-control-allow-credentials"), "true");
    assert.equal(answer.headers.get("vary"), "Origin");
    socket.disconnect();
  },

  async "a refusal has its message"() {
    const err = await refused({ ...polling, query: { ticket: "stale" } });
    assert.equal(err.description, 403);
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling&ticket=stale`);
    assert.deepEqual(await answer.json(), { code: 4, message: "stale ticket" });
    const failed = await refused({ ...websocket, query: { ticket: "stale" } });
    assert.match(failed.description.message, /400/);
  },

  async "the first answer has the cookie and the headers, the others only headers"() {
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
    const { sid } = JSON.parse((await answer.text()).slice(1));
    assert.equal(answer.headers.get("set-cookie"), `io=${sid}; Path=/; HttpOnly; SameSite=Lax`);
    assert.equal(answer.headers.get("x-first"), "yes");
    assert.equal(answer.headers.get("x-each"), "yes");
    const second = await fetch(`${url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: "POST", body: "40" });
    assert.equal(await second.text(), "ok");
    assert.equal(second.headers.get("set-cookie"), null);
    assert.equal(second.headers.get("x-first"), null);
    assert.equal(second.headers.get("x-each"), "yes");
    const socket = client({ withCredentials: true });
    await next(socket, "connect");
    socket.disconnect();
  },

  async "a close code and its reason are in the details of the disconnect event"() {
    const socket = client(websocket);
    await next(socket, "connect");
    socket.emit("close-with", 4401, "token expired");
    const [reason, details] = await next(socket, "disconnect");
    assert.equal(reason, "transport close");
    assert.equal(details.context.code, 4401);
    assert.equal(details.context.reason, "token expired");
  },

  async "over polling the connection is closed without them"() {
    const socket = client(polling);
    await next(socket, "connect");
    socket.emit("close-with", 4401, "token expired");
    const [reason] = await next(socket, "disconnect");
    assert.match(reason, /^transport (close|error)$/);
  },

  async "after a close code the client comes back by itself"() {
    const socket = client({ reconnection: true, reconnectionDelay: 20 });
    await next(socket, "connect");
    const back = next(socket.io, "reconnect");
    socket.emit("close-with", 4000, "");
    await next(socket, "disconnect");
    await back;
    socket.disconnect();
  },
};

let failed = 0;
for (const [name, run] of Object.entries(scenarios)) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (err) {
    failed++;
    console.log(`FAIL ${name}: ${err.stack}`);
  }
}
process.exit(failed > 0 ? 1 : 0);
