"use strict";
// An application behind sioedge's webhooks, and behind Centrifugo's proxy: it has each
// event acknowledged with its payload, at once.
//
//   node backend.js SECRET
//
// What comes to /sio is signed with SECRET (Standard Webhooks), and not believed
// otherwise; Centrifugo's requests, to /rpc, are not.

const { createServer } = require("node:http");
const { createHmac, timingSafeEqual } = require("node:crypto");

const secret = process.argv[2];

function signed(headers, body) {
  const mac = createHmac("sha256", secret)
    .update(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`).update(body).digest("base64");
  const want = Buffer.from(`v1,${mac}`);
  const got = Buffer.from(headers["webhook-signature"] ?? "");
  return got.length === want.length && timingSafeEqual(got, want);
}

function answer(request, body) {
  if (request.url === "/rpc") {
    return { result: { data: JSON.parse(body).data } };
  }
  if (!signed(request.headers, body)) return undefined;
  return { results: JSON.parse(body).events.map((item) => ({ id: item.id, ack: item.args })) };
}

const http = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const result = answer(request, parts.length === 1 ? parts[0] : Buffer.concat(parts));
    if (!result) return response.writeHead(401).end();
    const text = JSON.stringify(result);
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
    response.end(text);
  });
});

http.keepAliveTimeout = 120_000;
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${http.address().port}`);
});
