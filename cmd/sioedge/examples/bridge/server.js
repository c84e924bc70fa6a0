"use strict";
// The chat as an ordinary application: Express and socket.io. It runs by itself,
//
//   node server.js                              # http://127.0.0.1:3000
//
// or, by the second of the two lines below, with its clients on an edge:
//
//   BRIDGE=http://127.0.0.1:9000 BRIDGE_KEY=… EDGE_URL=http://127.0.0.1:3000 PORT=8081 node server.js
//
// BRIDGE is where the edge's internal listener is, and EDGE_URL where its clients go, which
// the page is told. ../../demo/demo.js says at its beginning which events there are.

const { createServer } = require("node:http");
const { join } = require("node:path");
const { setTimeout } = require("node:timers/promises");
const express = require("express");
const { Server } = require("socket.io");

const { BRIDGE, BRIDGE_KEY, EDGE_URL = "", PORT = 3000 } = process.env;

const app = express();
const http = createServer(app);
const io = new Server(http, { maxHttpBufferSize: 1e6 });
const bridge = BRIDGE && require("sioedge-bridge").attach(io, { edges: BRIDGE.split(","), key: BRIDGE_KEY, drainOn: ["SIGTERM", "SIGINT"] });

const chat = io.of("/chat");
const MOST = 50; // entries of a room that are kept
const rooms = new Map(); // room -> its last entries; all processes have them

class Refusal extends Error {}

function text(arg, name, longest) {
  const value = typeof arg?.[name] === "string" ? arg[name].trim() : "";
  if (!value || [...value].length > longest) throw new Refusal(`${name} must have 1 to ${longest} characters`);
  return value;
}

const channel = (room) => `room:${room}`;
const member = (socket) => ({ id: socket.id, nick: socket.data.nick });

const complain = (err) => console.error(err.message);

// people are who is in a room, at whichever process.
const people = (room) => chat.in(channel(room)).fetchSockets();

async function tellMembers(room) {
  const all = await people(room).catch(complain);
  if (all) chat.to(channel(room)).emit("members", { room, count: all.length, members: all.slice(0, 100).map(member) });
}

function keep(entry) {
  const kept = rooms.get(entry.room) ?? [];
  if (kept.some(({ id }) => id === entry.id)) return;
  kept.push(entry);
  kept.sort((a, b) => a.at - b.at);
  rooms.set(entry.room, kept.slice(-MOST));
}

// What is said is told to the other processes, and one that starts asks for it.
chat.on("said", keep);
chat.on("history", (answer) => answer([...rooms.values()].flat()));
const others = bridge ? chat : undefined; // a process that is alone has none

async function learn() {
  await bridge.ready();
  await setTimeout(500); // until it knows the others
  const answers = await others.serverSideEmitWithAck("history");
  answers.flat().forEach(keep);
}

let last = 0;

// receipt numbers what is said: ids grow, and no two are the same.
function receipt() {
  last = Math.max(last + 1, Date.now() * 10 + (process.pid % 10));
  return { id: String(last), at: Date.now() };
}

// speaker is who says something in the room where he is.
function speaker(socket, room) {
  if (!socket.data.room || socket.data.room !== room) throw new Refusal("you are not in this room");
  return member(socket);
}

function leave(socket) {
  const { room } = socket.data;
  if (!room) return;
  socket.data.room = undefined;
  socket.leave(channel(room));
  chat.to(channel(room)).emit("left", { room, member: member(socket) });
  tellMembers(room);
}

async function enter(socket, arg) {
  const nick = text(arg, "nick", 24), room = text(arg, "room", 32);
  if (socket.data.room !== room || socket.data.nick !== nick) {
    leave(socket);
    Object.assign(socket.data, { nick, room, read: "" });
    socket.join(channel(room));
    socket.to(channel(room)).emit("joined", { room, member: member(socket) });
    tellMembers(room);
  }
  const all = await people(room);
  const read = all.filter(({ data }) => data.read).map(({ data }) => ({ user: data.nick, id: data.read }));
  return { room, nick, count: all.length, members: all.slice(0, 100).map(member), history: rooms.get(room) ?? [], read };
}

const events = {
  join: enter,

  message(socket, arg) {
    const entry = { room: arg?.room, from: speaker(socket, arg?.room), text: text(arg, "text", 2000), key: text(arg, "key", 64), ...receipt() };
    keep(entry);
    others?.serverSideEmit("said", entry);
    socket.to(channel(entry.room)).emit("message", entry);
    return { id: entry.id, at: entry.at };
  },

  image(socket, arg) {
    const { room, name, type, data } = arg ?? {};
    const from = speaker(socket, room), key = text(arg, "key", 64);
    if (!["image/png", "image/jpeg", "image/gif", "image/webp"].includes(type)) throw new Refusal("image must be png, jpeg, gif or webp");
    if (!Buffer.isBuffer(data) || data.length < 1 || data.length > 500_000) throw new Refusal("image must have 1 to 500000 bytes");
    const done = receipt();
    socket.to(channel(room)).emit("image", { room, from, name: String(name).slice(0, 100), type, data, key, ...done });
    return done;
  },

  typing(socket, arg) {
    const room = arg?.room, from = speaker(socket, room);
    socket.to(channel(room)).volatile.emit("typing", { room, from, on: Boolean(arg.on) });
  },

  read(socket, arg) {
    const room = arg?.room, { nick } = speaker(socket, room);
    const id = text(arg, "id", 20);
    if (!(Number(id) > Number(socket.data.read) && Number(id) <= Date.now() * 10 + 10)) return;
    socket.data.read = id;
    socket.to(channel(room)).emit("read", { room, user: nick, id });
  },

  rtt: (socket, n) => n,
};

chat.on("connection", (socket) => {
  // One that was handed over by another process has its rooms and its data, and nobody has come.
  if (!socket.recovered && socket.handshake.auth.nick) enter(socket, socket.handshake.auth).catch(complain);
  for (const [name, does] of Object.entries(events)) {
    socket.on(name, async (arg, ack) => {
      let answer;
      try {
        answer = await does(socket, arg);
      } catch (err) {
        if (!(err instanceof Refusal)) complain(err);
        answer = { error: err instanceof Refusal ? err.message : "try again" };
      }
      if (typeof ack === "function") ack(answer);
    });
  }
  socket.on("disconnect", () => leave(socket));
});

app.get("/settings.js", (req, res) => res.type("js").send(`export const edge = ${JSON.stringify(EDGE_URL)};\nexport const login = "";\n`));
app.use(express.static(join(__dirname, "..", "..", "demo"), { index: "index.html" }));
http.listen(PORT, "127.0.0.1", async () => {
  if (bridge) await learn().catch(complain);
  console.log(`process ${process.pid}: http://127.0.0.1:${http.address().port}`);
});
