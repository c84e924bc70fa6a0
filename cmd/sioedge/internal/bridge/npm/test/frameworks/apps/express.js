"use strict";
// An Express application whose sockets have its sessions: who logs in by HTTP is known to the
// handlers, and what they change is there for the next request.

const express = require("express");
const session = require("express-session");
const { Server } = require("socket.io");
const { attach } = require("sioedge-bridge");

const sessions = session({ secret: "of a test", resave: false, saveUninitialized: false });
const app = express();
app.use(sessions);
app.get("/login", (request, response) => {
  request.session.name = request.query.name;
  response.json({ name: request.session.name });
});
app.get("/me", (request, response) => response.json({ name: request.session.name ?? null, said: request.session.said ?? 0 }));

const http = app.listen(0, "127.0.0.1", async () => {
  const io = new Server(http);
  io.engine.use(sessions);
  const bridge = attach(io, { edges: [process.env.EDGE], key: process.env.KEY });
  io.use((socket, next) => next(socket.request.session.name ? undefined : new Error("log in")));
  io.on("connection", (socket) => {
    const { session } = socket.request;
    socket.join(session.id);
    socket.on("say", (text, answer) => session.reload((err) => {
      if (err) return socket.disconnect();
      session.said = (session.said ?? 0) + 1;
      session.save(() => {
        io.emit("said", session.name, text);
        answer(session.said);
      });
    }));
  });
  await bridge.ready();
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${http.address().port}` }));
  process.stdin.on("end", () => process.exit()).resume();
});
