// The chat's application in Node: Express, and SQLite in WebAssembly. See ../README.md.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import express from "express";
import sqlite from "node-sqlite3-wasm";

const { API, API_KEY, DATABASE, JWT_SECRET, LISTEN, PUBLIC, WEBHOOK_SECRET } = process.env;
const WEBHOOK_KEY = Buffer.from(WEBHOOK_SECRET.replace("whsec_", ""), "base64");

rmSync(`${DATABASE}.lock`, { recursive: true, force: true }); // of a process that was killed: this is the only one
const db = new sqlite.Database(DATABASE);
db.exec(readFileSync(new URL("../schema.sql", import.meta.url), "utf8"));

class Refusal extends Error {}

// text takes a text out of what a client has sent, which may be anything.
function text(arg, name, longest) {
  const value = arg?.[name];
  if (typeof value !== "string" || !value.trim() || [...value].length > longest) throw new Refusal(`${name} must have 1 to ${longest} characters`);
  return value;
}

const entry = ({ id, room, nick, text, key, at }) => ({ id: String(id), room, from: { id: nick, nick }, text, key, at });
const tellOthers = (room, ev, arg) => [{ op: "emit", to: [`room:${room}`], except: ["$sid"], ev, args: [arg] }];

const events = {
  // One that comes again, by its key, is told again, by its id: the answer may have been lost.
  message(user, arg) {
    const [row] = db.all(`INSERT INTO messages (room, nick, text, key, at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (nick, key) DO UPDATE SET key = key RETURNING id, room, nick, text, key, at`,
    [text(arg, "room", 32), user, text(arg, "text", 2000), text(arg, "key", 64), Date.now()]);
    const said = entry(row);
    return { ack: [{ id: said.id, at: said.at }], actions: tellOthers(said.room, "message", said) };
  },

  history(user, arg) {
    const room = text(arg, "room", 32);
    const said = db.all("SELECT id, room, nick, text, key, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT 50", [room]);
    const read = db.all("SELECT nick AS user, CAST(id AS TEXT) AS id FROM receipts WHERE room = ? ORDER BY receipts.id DESC LIMIT 100", [room]);
    return { ack: [{ history: said.reverse().map(entry), read }] };
  },

  read(user, arg) {
    const room = text(arg, "room", 32), id = text(arg, "id", 20);
    db.run(`INSERT INTO receipts SELECT room, ?, id FROM messages WHERE room = ? AND id = ?
      ON CONFLICT (room, nick) DO UPDATE SET id = max(id, excluded.id)`, [user, room, id]);
    return { actions: tellOthers(room, "read", { room, user, id }) };
  },
};

function result({ id, ev, user, args }) {
  try {
    return { id, ...events[ev](user, args[0]) };
  } catch (err) {
    if (!(err instanceof Refusal)) throw err;
    return { id, ack: [{ error: err.message }] };
  }
}

const hmac = (key, value) => createHmac("sha256", key).update(value);

// signed tells whether a request is the edge's, and of just now: Standard Webhooks.
function signed(req) {
  const id = req.get("webhook-id"), at = req.get("webhook-timestamp");
  const want = Buffer.from(`v1,${hmac(WEBHOOK_KEY, `${id}.${at}.`).update(req.body ?? "").digest("base64")}`);
  const equal = (one) => one.length === want.length && timingSafeEqual(one, want);
  return (req.get("webhook-signature") ?? "").split(" ").some((one) => equal(Buffer.from(one))) && Math.abs(Date.now() / 1000 - at) < 300;
}

function token(nick) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 3600, rooms = ["room:*"]; // that it may join
  const head = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: nick, exp, rooms })}`;
  return `${head}.${hmac(JWT_SECRET, head).digest("base64url")}`;
}

// announce says something to everybody, by the HTTP API of the edge.
async function announce(words) {
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };
  const body = JSON.stringify({ nsp: "/chat", ev: "system", args: [{ text: words }] });
  await fetch(`${API}/api/emit`, { method: "POST", headers, body }).catch((err) => console.error(`the edge was not told: ${err.message}`));
}

const app = express();
app.use(express.static(PUBLIC));
app.post("/sio", express.raw({ type: () => true, limit: "2mb" }), (req, res) => {
  if (!signed(req)) return res.status(401).json({ error: "not signed by the edge" });
  res.json({ results: JSON.parse(req.body).events.filter(({ type }) => type === "event").map(result) });
});
app.post("/login", express.json(), async (req, res) => {
  const nick = text(req.body, "nick", 24); // there are no passwords: whoever says so is it
  if (db.run("INSERT OR IGNORE INTO users VALUES (?)", [nick]).changes === 1) await announce(`${nick} is new here`);
  res.json({ token: token(nick) });
});
app.use((err, req, res, next) => (err instanceof Refusal ? res.status(400).json({ error: err.message }) : next(err)));
const [host, port] = LISTEN.split(":");
app.listen(port, host);
