// Compression: of answers to polls, as browsers ask for it, and of messages over
// WebSocket if the server has it on.

import assert from "node:assert/strict";
import { call, DEFLATE, next } from "../harness.mjs";

const LONG = "all work and no play makes jack a dull boy. ".repeat(500);

// poller is a polling client by hand: fetch shows how an answer was encoded.
async function poller(url) {
  const base = `${url}/socket.io/?EIO=4&transport=polling`;
  const open = await fetch(base);
  assert.equal(open.headers.get("content-encoding"), null, "the handshake");
  const { sid } = JSON.parse((await open.text()).slice(1));
  return {
    async post(body) {
      const answer = await fetch(`${base}&sid=${sid}`, { method: "POST", body });
      assert.equal(answer.headers.get("content-encoding"), null, "the answer to POST");
      assert.equal(await answer.text(), "ok");
    },
    // get returns the answer to a poll without the pings in it.
    async get(encoding) {
      const answer = await fetch(`${base}&sid=${sid}`, { headers: { "accept-encoding": encoding } });
      const packets = (await answer.text()).split("\x1e");
      if (packets.includes("2")) await this.post("3");
      const body = packets.filter((packet) => packet !== "2").join("\x1e");
      return body === "" ? this.get(encoding) : { encoding: answer.headers.get("content-encoding"), body };
    },
  };
}

export default [
  {
    name: "a long answer to a poll is encoded as asked for",
    modes: ["polling"],
    json: true,
    async run(t) {
      const client = await poller(t.url);
      await client.post("40");
      assert.match((await client.get("gzip")).body, /^40\{"sid"/);
      const packet = `42["echo","${LONG}"]`;
      for (const [accepted, encoding] of [
        ["gzip, deflate, br", "gzip"],
        ["deflate", "deflate"],
        ["deflate;q=0.5, gzip;q=0.7", "gzip"],
        ["identity", null],
        ["br", null],
      ]) {
        await client.post(packet);
        assert.deepEqual(await client.get(accepted), { encoding, body: packet });
      }
      await client.post('42["echo","short"]');
      assert.deepEqual(await client.get("gzip"), { encoding: null, body: '42["echo","short"]' });
      await client.post("1");
    },
  },
  {
    name: "what is long is short on the wire",
    modes: ["websocket"],
    async run(t) {
      const socket = await t.connect();
      const ws = socket.io.engine.transport.ws;
      if (!DEFLATE.perMessageDeflate) {
        assert.equal(ws.extensions, "");
        return;
      }
      assert.match(ws.extensions, /^permessage-deflate/);
      const { bytesRead, bytesWritten } = ws._socket;
      const back = next(socket, "echo");
      socket.emit("echo", LONG, Buffer.alloc(20_000, "binary"));
      const [text, binary] = await back;
      assert.equal(text, LONG);
      assert.deepEqual(binary, Buffer.alloc(20_000, "binary"));
      assert.equal(await call(socket, "measure", LONG), LONG.length);
      assert.ok(ws._socket.bytesRead - bytesRead < 2000, `received ${ws._socket.bytesRead - bytesRead} bytes`);
      assert.ok(ws._socket.bytesWritten - bytesWritten < 2000, `sent ${ws._socket.bytesWritten - bytesWritten} bytes`);
    },
  },
];
