// The chat of sioedge, in namespace /chat. A socket is in one room at a time. There are
// two servers of it: the demonstration's, whose table follows, and one that goes by rules
// and has an application behind it, whose table is below.
//
// Lengths are in Unicode code points: nick 1–24, room 1–32 (both without space
// around), text 1–2000 (not only space), key 1–64. An acknowledgement is the
// object shown, or {error: "a sentence"}. member = {id, nick}, id being the
// socket's; at = Unix ms; entry = {id, room, from: member, text, at, key}.
//
// At connection, auth {nick, room}: the server puts the socket into the room as
// `join` would, before it handles any event, because the client sends what it
// buffered while offline before its own `join`. Missing or invalid: no room yet.
//
// client -> server                       acknowledgement and effect
//   join     {room, nick}                {room, nick, count, members, history, read}:
//                                        leaves the former room; in the same room
//                                        with the same nick it only answers.
//                                        count, members: as in `members`. history:
//                                        the last 50 entries, oldest first. read:
//                                        {user, id} of each who is there, id being
//                                        the newest entry that user has seen
//   message  {room, text, key}           {id, at}; to the others `message`
//   image    {room, name, type, data,    {id, at}; to the others `image`. type is
//             key}                       image/png, jpeg, gif or webp; data is
//                                        binary of 1–500000 bytes; name ≤ 100 is
//                                        only shown. Not in the history
//   typing   {room, on}                  none, volatile; to the others `typing`
//   read     {room, id}                  none: id was seen; to the others `read`
//   rtt      n                           n
//
// server -> client, to the room
//   message  entry                       to all but the sender
//   image    {id, room, from, name,      to all but the sender
//             type, data, at, key}
//   typing   {room, from, on}            to all but the sender, volatile
//   read     {room, user, id}            to all but the reader; user is the nick
//   joined   {room, member}              to all but the one who joined
//   left     {room, member}              to those who stay
//   members  {room, count, members}      to all, after each joined and left;
//                                        count is all, members at most 100
//
// Errors: "nick must have 1 to 24 characters", "room must have 1 to 32
// characters", "text must have 1 to 2000 characters", "key must have 1 to 64
// characters", "you are not in this room" (message and image whose room is not
// the sender's), "image must be png, jpeg, gif or webp", "image must have 1 to
// 500000 bytes". A typing that is not valid is ignored. Arguments after the one
// shown are ignored on both sides.
//
// With an application behind the server (cmd/sioedge/examples) the page first gets a
// token for the nick, which is then the user, and member.id is the user too. What differs:
//
//   join     {room}                      {ok}; leave {room} leaves it
//   history  {room}                      {history, read}: what the application keeps
//   presence:get  "room:" and the room   {members}: what the server knows; so are
//   presence:join, presence:leave        {room, user}, of who comes and goes
//   typing   {room, on}                  its last argument, {user}, is the server's word
//   system   {text}                      is said by the application
//
// There are no images, and an acknowledgement may be {$error}: the application has not
// answered. The same message with the same key may be sent again then.

import { edge, login } from "./settings.js";

const IMAGE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const IMAGE_LIMIT = 500_000;
const TYPING_EVERY = 2000;
const TYPING_LASTS = 4000;
const RTT_EVERY = 3000;
const READ_AFTER = 300;
const RETRY = 3000;
const PATIENCE = 10_000; // ms for an answer of the server itself

const $ = (id) => document.getElementById(id);
const dom = {
  door: $("door"), doorForm: $("door-form"), nick: $("nick"), firstRoom: $("first-room"), doorError: $("door-error"),
  app: $("app"), rooms: $("rooms"), roomForm: $("room-form"), newRoom: $("new-room"), members: $("members"), count: $("count"),
  state: $("state"), transport: $("transport"), rtt: $("rtt"), attempts: $("attempts"), sid: $("sid"), drop: $("drop"),
  menu: $("menu"), title: $("room-title"), pill: $("pill-text"), log: $("log"), typing: $("typing"),
  composer: $("composer"), text: $("text"), file: $("file"), attach: $("attach"),
};

const me = { nick: "", room: "", loaded: "", token: "" }; // loaded: the room whose log is shown
// The keys of this tab's entries begin with its name, which outlives socket ids
// and reloads: so that one's own words stay on one's own side.
const tab = (sessionStorage.tab ??= crypto.getRandomValues(new Uint32Array(2)).join("-"));
const seen = new Set();   // ids of entries in the log
const mine = new Map();   // key -> element of an own entry
const typists = new Map(); // member id -> {nick, timer}
const readers = new Map(); // user -> id of the newest entry that the user has seen
const people = new Set();  // users in the room, of a server that goes by rules

// ---- The connection -------------------------------------------------------

const socket = window.io?.(`${edge}/chat`, {
  autoConnect: false,
  auth: (done) => done(login ? { token: me.token } : { nick: me.nick, room: me.room }),
});

// logIn gets a token for the nick.
async function logIn() {
  const answer = await fetch(login, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ nick: me.nick }),
  });
  const { token, error } = await answer.json();
  if (!token) throw new Error(error ?? "no token");
  me.token = token;
}

// connect connects with a token, if one is needed.
async function connect() {
  try {
    if (login) await logIn();
    socket.connect();
  } catch (err) {
    if (me.loaded) setTimeout(connect, RETRY);
    else dom.doorError.textContent = `cannot log in: ${err.message}`;
  }
}

// self is by what the server knows who is here.
const self = () => (login ? me.nick : socket.id);

function connection() {
  socket.on("connect", async () => {
    if (me.loaded) notice(socket.recovered ? "connected again, session recovered" : "connected again");
    showTransport();
    socket.io.engine.on("upgrade", showTransport);
    show("connected", "connected");
    await join();
    measure();
  });
  socket.on("disconnect", (reason) => {
    if (me.loaded) notice(`connection lost (${reason})`);
    dom.rtt.textContent = dom.transport.textContent = dom.sid.textContent = "–";
    for (const id of [...typists.keys()]) stopTyping(id);
    show(socket.active ? "connecting" : "offline", socket.active ? "reconnecting" : "disconnected");
  });
  socket.on("connect_error", (err) => {
    show(socket.active ? "connecting" : "offline", socket.active ? "reconnecting" : err.message);
    if (me.loaded && err.data?.code === 401) setTimeout(connect, RETRY); // the token has expired
    if (!me.loaded) dom.doorError.textContent = `cannot connect: ${err.message}`;
  });
  socket.io.on("reconnect_attempt", (n) => {
    dom.attempts.textContent = n;
    show("connecting", `reconnecting, attempt ${n}`);
  });
  setInterval(measure, RTT_EVERY);
  dom.drop.addEventListener("click", () => {
    // Closing the engine is what a lost network looks like: unlike
    // socket.disconnect(), the client then reconnects by itself.
    if (socket.active) socket.io.engine.close();
    else connect();
  });
  socket.on("auth:expiring", async () => {
    await logIn().catch(() => {}); // then connect_error tries again
    socket.emit("auth:refresh", me.token);
  });
}

function show(state, text) {
  document.body.dataset.state = state;
  dom.state.textContent = dom.pill.textContent = text;
  dom.drop.textContent = state === "offline" ? "Connect" : "Drop the connection";
}

function showTransport() {
  dom.transport.textContent = socket.io.engine.transport.name;
  dom.sid.textContent = dom.sid.title = socket.id ?? "–";
}

function measure() {
  if (!socket.connected) return;
  const start = performance.now();
  socket.emit("rtt", start, () => {
    dom.rtt.textContent = `${(performance.now() - start).toFixed(1)} ms`;
  });
}

// ---- Rooms and people -----------------------------------------------------

async function join() {
  const { room, nick } = me;
  let answer = await ask("join", { room, nick });
  if (answer?.ok) answer = await arrive(room);
  if (room !== me.room || !answer) return;
  if (answer.error) {
    leaveDoor(false, answer.error);
    return;
  }
  leaveDoor(true);
  if (me.loaded !== room) openRoom(room);
  showMembers(answer);
  for (const entry of answer.history) receive(entry);
  for (const receipt of answer.read) showRead({ room, ...receipt });
  // What was written while offline has come before `join`, and rules refuse it then.
  if (login) for (const again of dom.log.querySelectorAll(".again")) again.click();
}

// arrive asks for what a server that goes by rules does not say of itself to who joins.
async function arrive(room) {
  const [kept, present] = await Promise.all([ask("history", { room }), whoIsHere(room)]);
  if (room !== me.room || !kept || !present) return undefined;
  if (!kept.history) setTimeout(() => room === me.room && socket.connected && join(), RETRY);
  return { history: [], read: [], ...kept, ...everybody(room) };
}

// whoIsHere takes the list of who is in the room in its turn among presence:join and
// presence:leave: those that come behind it change it.
function whoIsHere(room) {
  return new Promise((resolve) => {
    socket.timeout(PATIENCE).emit("presence:get", `room:${room}`, (err, answer) => {
      if (!err && room === me.room) {
        people.clear();
        for (const { user } of answer.members ?? []) people.add(user);
      }
      resolve(err ? undefined : answer);
    });
  });
}

function everybody(room) {
  return { room, count: people.size, members: [...people].map((user) => ({ id: user, nick: user })) };
}

// ask resolves with the acknowledgement, or with nothing when the connection
// was lost before it came.
async function ask(event, value) {
  try {
    return await socket.emitWithAck(event, value);
  } catch {
    return undefined;
  }
}

function leaveDoor(entered, error = "") {
  dom.door.hidden = entered;
  dom.app.hidden = !entered;
  dom.doorError.textContent = error;
}

function openRoom(room) {
  me.loaded = room;
  dom.log.replaceChildren();
  seen.clear();
  mine.clear();
  readers.clear();
  newest = told = 0;
  for (const id of [...typists.keys()]) stopTyping(id);
  dom.title.textContent = `#${room}`;
  notice(`this is #${room}`);
  dom.text.focus();
}

function enter(room) {
  if (login && me.loaded && me.loaded !== room.trim()) socket.emit("leave", { room: me.loaded });
  me.room = room.trim();
  remember();
  showRooms();
  document.body.classList.remove("drawer");
  dom.menu.setAttribute("aria-expanded", "false");
  if (decodeHash() !== me.room) location.hash = encodeURIComponent(me.room);
  if (socket.connected) join();
  else if (me.loaded) openRoom(me.room);
}

function decodeHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return "";
  }
}

function knownRooms() {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem("rooms") ?? "[]");
  } catch {
    // Somebody else's entry, or none: the two rooms below are enough.
  }
  return [...new Set(["lobby", "random", ...kept, me.room])].filter((room) => room);
}

function remember() {
  sessionStorage.setItem("rooms", JSON.stringify(knownRooms().slice(-20)));
  sessionStorage.setItem("nick", me.nick);
}

function showRooms() {
  dom.rooms.replaceChildren(...knownRooms().map((room) => {
    const button = make("button", { textContent: room, type: "button" });
    button.dataset.room = room;
    button.setAttribute("aria-current", room === me.room);
    button.addEventListener("click", () => enter(room));
    const item = make("li");
    item.append(button);
    return item;
  }));
}

function showMembers({ room, count, members }) {
  if (room !== me.room) return;
  dom.count.textContent = count;
  const sorted = [...members].sort((a, b) => a.nick.localeCompare(b.nick));
  dom.members.replaceChildren(...sorted.map((member) => {
    const item = make("li");
    item.dataset.id = member.id;
    item.dataset.nick = member.nick;
    item.append(face(member.nick), make("span", { className: "who", textContent: member.nick }));
    if (member.id === self()) item.append(make("span", { className: "you", textContent: "(you)" }));
    return item;
  }));
}

// ---- The log --------------------------------------------------------------

// Everything that comes from a peer enters the page as textContent, never as
// markup.
function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

function face(nick) {
  const element = make("span", { className: "face", textContent: [...nick][0]?.toUpperCase() ?? "?" });
  let hue = 0;
  for (const c of nick) hue = (hue * 31 + c.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hue);
  element.setAttribute("aria-hidden", "true");
  return element;
}

function fromEnd() {
  return dom.log.scrollHeight - dom.log.scrollTop - dom.log.clientHeight;
}

// append keeps the end of the log in view for whoever was looking at it.
function append(element) {
  const atEnd = fromEnd() < 120;
  dom.log.append(element);
  if (atEnd || element.classList.contains("mine")) dom.log.scrollTop = dom.log.scrollHeight;
}

function notice(text) {
  append(make("li", { className: "notice", textContent: text }));
}

// add appends an entry; content is a text or an image element.
function add({ id, key, from, at }, content, own) {
  const item = make("li", { className: own ? "message mine" : "message" });
  item.dataset.key = key ?? "";
  if (id) item.dataset.id = id;
  const by = make("span", { className: "by" });
  by.append(make("b", { textContent: from.nick }), " ", make("time", { textContent: clock(at) }), " ", make("span", { className: "status" }));
  const bubble = make("div", { className: "bubble" });
  bubble.append(content);
  item.append(face(from.nick), by, bubble);
  append(item);
  if (own) delivered(item, id);
  return item;
}

function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

const MARKS = { pending: "sending…", delivered: "✓ delivered", read: "✓✓ read", failed: "✗" };

function mark(item, status, text = "") {
  item.dataset.status = status;
  item.querySelector(".status").textContent = `${MARKS[status]} ${text}`.trim();
  item.querySelector(".again")?.remove();
}

// delivered marks an own entry that the server has, by its id, and who has seen it.
function delivered(item, id) {
  item.dataset.id = id;
  const by = [...readers].filter(([, seen]) => seen >= Number(id)).map(([user]) => user);
  if (by.length === 0) mark(item, "delivered");
  else mark(item, "read", by.length > 3 ? `by ${by.length}` : `by ${by.join(", ")}`);
}

function showRead({ room, user, id }) {
  if (room !== me.room || user === me.nick) return;
  readers.set(user, Math.max(Number(id), readers.get(user) ?? 0));
  for (const item of dom.log.querySelectorAll(":is([data-status=delivered], [data-status=read])[data-id]")) delivered(item, item.dataset.id);
}

let newest = 0; // id of the newest entry of others
let told = 0;   // that was said to be read

// read tells the others what has been seen here, by who looks at it.
function read() {
  if (document.hidden || !socket.connected || newest <= told) return;
  told = newest;
  socket.emit("read", { room: me.room, id: String(newest) });
}

// receive shows a text that is not shown yet. An own one without confirmation,
// which the history of a new connection brings, is confirmed by it.
function receive(entry) {
  if (entry.room !== me.room || seen.has(entry.id)) return;
  seen.add(entry.id);
  stopTyping(entry.from.id);
  const own = login ? entry.from.id === me.nick : entry.key.startsWith(`${tab}/`);
  const item = own && mine.get(entry.key);
  if (item) delivered(item, entry.id);
  else add(entry, entry.text, own);
  if (own) return;
  newest = Math.max(newest, Number(entry.id));
  setTimeout(read, READ_AFTER);
}

function receiveImage({ data, type, name, ...entry }) {
  if (entry.room !== me.room || seen.has(entry.id) || !IMAGE_TYPES.includes(type)) return;
  seen.add(entry.id);
  add(entry, picture(data, type, name), false);
}

function picture(data, type, name) {
  const image = make("img", { alt: name, title: name, src: URL.createObjectURL(new Blob([data], { type })) });
  image.addEventListener("load", () => {
    URL.revokeObjectURL(image.src);
    if (fromEnd() < 120 + image.clientHeight) dom.log.scrollTop = dom.log.scrollHeight;
  });
  image.addEventListener("error", () => image.replaceWith(`${name} (cannot be shown)`));
  return image;
}

// ---- Sending --------------------------------------------------------------

function sendText(text) {
  deliver("message", { text }, text);
}

function deliver(event, value, content) {
  const key = `${tab}/${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const payload = { room: me.room, key, ...value };
  const item = add({ key, from: { nick: me.nick }, at: Date.now() }, content, true);
  mine.set(key, item);
  transmit(item, event, payload);
}

// transmit emits and follows the fate of an entry. While offline the client
// keeps the event and sends it at the next connection.
async function transmit(item, event, payload) {
  mark(item, "pending");
  const answer = await ask(event, payload);
  if (answer?.id) {
    seen.add(answer.id);
    delivered(item, answer.id);
    return;
  }
  if (item.dataset.status !== "pending") return;
  mark(item, "failed", answer?.error ?? "not confirmed");
  const again = make("button", { className: "again", type: "button", textContent: "send again" });
  again.addEventListener("click", () => transmit(item, event, payload));
  item.querySelector(".by").append(again);
}

async function sendImage(file) {
  let image = file;
  if (file.size > IMAGE_LIMIT || !IMAGE_TYPES.includes(file.type)) image = await shrink(file);
  if (!image) {
    notice(`${file.name || "the image"} is too large, or not an image`);
    return;
  }
  const value = { name: (file.name || "pasted image").slice(0, 100), type: image.type, data: await image.arrayBuffer() };
  deliver("image", value, picture(value.data, value.type, value.name));
}

// shrink makes a JPEG that is small enough, or nothing.
async function shrink(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return null;
  for (const side of [1600, 1000, 600]) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    const canvas = make("canvas", { width: Math.ceil(bitmap.width * scale), height: Math.ceil(bitmap.height * scale) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
    if (blob && blob.size <= IMAGE_LIMIT) return blob;
  }
  return null;
}

// ---- Typing ---------------------------------------------------------------

let typedAt = 0;

function typing(on) {
  const now = Date.now();
  if (!socket.connected || (on ? now - typedAt < TYPING_EVERY : typedAt === 0)) return;
  typedAt = on ? now : 0;
  socket.volatile.emit("typing", { room: me.room, on });
}

// The one who types is named by the server: in the event, or by rules behind whatever the
// client has sent.
function showTyping({ room, from, on }, ...more) {
  if (login && more.length > 0) from = { id: more.at(-1).user, nick: more.at(-1).user };
  stopTyping(from.id);
  if (on && room === me.room) {
    const timer = setTimeout(stopTyping, TYPING_LASTS, from.id);
    typists.set(from.id, { nick: from.nick, timer });
  }
  const nicks = [...typists.values()].map((typist) => typist.nick);
  if (nicks.length === 0) dom.typing.textContent = "";
  else if (nicks.length > 2) dom.typing.textContent = "several people are typing…";
  else dom.typing.textContent = `${nicks.join(" and ")} ${nicks.length > 1 ? "are" : "is"} typing…`;
}

function stopTyping(id) {
  const typist = typists.get(id);
  if (!typist) return;
  clearTimeout(typist.timer);
  typists.delete(id);
  showTyping({ room: "", from: { id }, on: false });
}

// ---- Wiring ---------------------------------------------------------------

function events() {
  socket.on("message", receive);
  socket.on("image", receiveImage);
  socket.on("typing", showTyping);
  socket.on("read", showRead);
  socket.on("system", ({ text }) => notice(text));
  socket.on("members", showMembers);
  socket.on("presence:join", ({ room, user }) => moved(room, user, "came in", () => people.add(user)));
  socket.on("presence:leave", ({ room, user }) => moved(room, user, "left", () => people.delete(user)));
  socket.on("joined", ({ room, member }) => room === me.room && notice(`${member.nick} came in`));
  socket.on("left", ({ room, member }) => {
    stopTyping(member.id);
    if (room === me.room) notice(`${member.nick} left`);
  });
}

// moved shows who has come or left, as a server says that goes by rules.
function moved(room, user, how, change) {
  if (room !== `room:${me.room}`) return;
  change();
  if (user !== me.nick) notice(`${user} ${how}`);
  if (how === "left") stopTyping(user);
  showMembers(everybody(me.room));
}

function submit() {
  const text = dom.text.value;
  if (!text.trim()) return;
  sendText(text);
  dom.text.value = "";
  dom.text.style.height = "";
  typing(false);
}

function forms() {
  onSubmit(dom.doorForm, () => {
    me.nick = dom.nick.value.trim();
    enter(dom.firstRoom.value);
    show("connecting", "connecting");
    if (!socket.connected) connect();
  });
  onSubmit(dom.roomForm, () => {
    if (dom.newRoom.value.trim()) enter(dom.newRoom.value);
    dom.newRoom.value = "";
  });
  onSubmit(dom.composer, submit);
  dom.text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  dom.text.addEventListener("input", () => {
    dom.text.style.height = "auto";
    dom.text.style.height = `${dom.text.scrollHeight + 2}px`;
    typing(dom.text.value !== "");
  });
  dom.attach.addEventListener("click", () => dom.file.click());
  dom.file.addEventListener("change", () => {
    for (const file of dom.file.files) sendImage(file);
    dom.file.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0 || dom.app.hidden || dom.attach.hidden) return;
    event.preventDefault();
    files.forEach(sendImage);
  });
  dom.menu.addEventListener("click", () => {
    dom.menu.setAttribute("aria-expanded", document.body.classList.toggle("drawer"));
  });
  dom.log.addEventListener("click", () => document.body.classList.remove("drawer"));
  window.addEventListener("hashchange", () => {
    const room = decodeHash();
    if (me.nick && room && room !== me.room) enter(room);
  });
}

function onSubmit(form, run) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
}

if (socket) {
  dom.nick.value = sessionStorage.getItem("nick") ?? "";
  dom.firstRoom.value = decodeHash() || "lobby";
  dom.attach.hidden = login !== "";
  for (const tabs of document.querySelectorAll(".tabs")) tabs.hidden = login !== ""; // they are of the demonstration
  document.addEventListener("visibilitychange", read);
  connection();
  events();
  forms();
} else {
  dom.doorError.textContent = "The client bundle /socket.io/socket.io.min.js is not served here.";
}
