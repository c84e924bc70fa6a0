// A reader of a market board that pauses reading its socket, again and again:
//
//	node board.mjs URL SYMBOLS KIND
//
// It exits with 0 if each symbol's prices went only forward, up to the last, and says
// how many prices it has got.

import { io } from "socket.io-client";
import { io as io3 } from "socket.io-client-3";
import io2 from "socket.io-client-2";

const [url, symbols, kind] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const connect = { 4: io, 3: io3, 2: io2 }[kind];
const fail = (why) => { console.log(why); process.exit(1); };
setTimeout(() => fail("not at the end in time"), 60_000);

const socket = connect(url, { forceNew: true, transports: ["websocket"] });
const last = new Map();
let got = 0, ended = false;

async function readSlowly() {
  const tcp = socket.io.engine.transport.ws._socket;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let i = 0; i < 30 && !ended; i++) {
    tcp.pause();
    await pause(100);
    tcp.resume();
    await pause(2);
  }
  tcp.resume();
}

socket.on("connect", () => {
  readSlowly();
  socket.emit("begin");
});
socket.on("disconnect", (why) => fail(`disconnected: ${why}`));
socket.on("price", (symbol, price, blob) => {
  got++;
  if (price <= (last.get(symbol) ?? 0)) fail(`symbol ${symbol} goes from ${last.get(symbol)} to ${price}`);
  if (blob.length === 0 || Buffer.from(blob)[0] !== price % 256) fail(`price ${price} has the attachment of another`);
  last.set(symbol, price);
});
socket.on("end", (price) => {
  ended = true;
  if (last.size !== symbols) fail(`${last.size} symbols`);
  for (const [symbol, at] of last) if (at !== price) fail(`symbol ${symbol} ends with ${at}, not ${price}`);
  console.log(`client ${kind}: ${got} prices`);
  socket.emit("got", got, () => process.exit(0));
});
