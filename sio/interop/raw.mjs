// Clients by hand, for what the npm client would not send or does not show.

import { connect as dial } from "node:net";
import { WebSocket } from "ws";
import { next, within } from "./harness.mjs";

// answer makes an HTTP request below the path of Socket.IO.
export async function answer(url, query, options) {
  const got = await fetch(`${url}/socket.io/${query}`, options);
  return { status: got.status, body: await got.text() };
}

// poller is a polling session of Engine.IO 4.
export async function poller(url) {
  const query = "?EIO=4&transport=polling";
  const sid = JSON.parse((await answer(url, query)).body.slice(1)).sid;
  return {
    sid,
    post: (body) => answer(url, `${query}&sid=${sid}`, { method: "POST", body }),
    get: () => answer(url, `${query}&sid=${sid}`),
  };
}

// wire is a WebSocket session of Engine.IO 4 that answers no ping unless asked to.
// Its log has what came, without the ids of the open packet and of CONNECT, and
// at last the code of the close.
export async function wire(t) {
  const ws = new WebSocket(`${t.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  t.onClose(() => ws.terminate());
  const log = [];
  let wake = () => {};
  const add = (entry) => {
    log.push(entry);
    wake();
  };
  let sid;
  ws.on("message", (data, binary) => {
    if (binary) return add(data);
    const text = data.toString();
    if (/^40(\/[^,]*,)?\{"sid"/.test(text)) sid = JSON.parse(text.slice(text.indexOf("{"))).sid;
    add(text.replace(/"sid":"[^"]*"/, '"sid":"…"'));
  });
  ws.on("close", (code) => add(`closed ${code}`));
  ws.on("error", (err) => add(`error ${err.message}`));
  const until = (what) =>
    within(
      new Promise((done) => {
        wake = () => log.some((entry) => what.test(entry)) && done(log);
        wake();
      }),
      `${what}, only ${JSON.stringify(log)}`,
    );
  await until(/^0/);
  log.length = 0;
  return {
    log,
    until,
    send: (data) => ws.send(data),
    get sid() {
      return sid;
    },
  };
}

// head sends bytes of HTTP and returns the first line of the answer, or "" if the
// connection is closed without one.
export async function head(url, lines) {
  const { hostname, port } = new URL(url);
  const socket = dial(port, hostname);
  socket.on("error", () => {});
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const first = await Promise.race([next(socket, "data"), next(socket, "close").then(() => [""])]);
  socket.destroy();
  return String(first[0]).split("\r\n")[0];
}
