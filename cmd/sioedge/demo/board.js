// A board that runs on declarations alone (board.yaml): no program handles its events.
//
// client -> server                          what the declaration does
//   cursor        {x, y, name}              relayed to the others on the board, volatile
//   note          {text, name}              relayed to all, kept, and sent to who comes later;
//                                           acknowledged: {ok} or {error, data}
//   presence:get  room                      acknowledged with who is on the board
//
// server -> client
//   cursor        {x, y, name}, {id, user}  the last argument is the server's: who it was
//   note          {text, name}, {id, user}
//   presence:join, presence:leave           {room, user}: who came, who has left
//
// x and y are shares of the board's width and height. Who has no token is known by
// the id of its socket.

const CURSOR_EVERY = 40; // ms
const CURSOR_LASTS = 5000;

const $ = (id) => document.getElementById(id);
const board = location.hash.slice(1).replace(/[^a-z0-9-]/g, "").slice(0, 32) || "lobby";
const room = `board:${board}`;
const names = new Map(); // of who has been heard, by id
const members = new Set();
const cursors = new Map(); // by id: {element, timer}

const socket = window.io?.(`/boards/${board}`);
const text = (element, value) => { element.textContent = value; return element; };
const hue = (id) => [...id].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);
const nameOf = (id) => names.get(id) ?? `guest ${id.slice(-4)}`;
const myName = () => $("name").value.trim() || (socket?.id ? nameOf(socket.id) : "guest");

function show(state, words) {
  document.body.dataset.state = state;
  text($("pill-text"), words);
}

function showMembers() {
  const list = [...members].map((id) => {
    const li = document.createElement("li");
    li.dataset.id = id;
    li.style.setProperty("--hue", hue(id));
    const face = text(document.createElement("span"), nameOf(id).slice(0, 1).toUpperCase());
    face.className = "face";
    const who = text(document.createElement("span"), id === socket.id ? `${myName()} (you)` : nameOf(id));
    who.className = "who";
    li.append(face, who);
    return li;
  });
  $("members").replaceChildren(...list);
  text($("count"), members.size || "");
}

// heard notes the name that somebody goes by. Who it is says the server.
function heard({ name }, { id }) {
  if (typeof name === "string" && name && names.get(id) !== name.slice(0, 24)) {
    names.set(id, name.slice(0, 24));
    showMembers();
  }
}

function showCursor({ x, y }, { id }) {
  if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return;
  let c = cursors.get(id);
  if (!c) {
    c = { element: document.createElement("div") };
    c.element.className = "cursor";
    c.element.dataset.id = id;
    c.element.style.setProperty("--hue", hue(id));
    $("cursors").append(c.element);
    cursors.set(id, c);
  }
  text(c.element, nameOf(id));
  const { clientWidth, clientHeight } = $("board");
  c.element.style.transform = `translate(${x * clientWidth}px, ${y * clientHeight}px)`;
  clearTimeout(c.timer);
  c.timer = setTimeout(() => hideCursor(id), CURSOR_LASTS);
}

function hideCursor(id) {
  cursors.get(id)?.element.remove();
  cursors.delete(id);
}

function showNote({ text: words }, { id }, name) {
  if (typeof words !== "string") return;
  const li = document.createElement("li");
  li.style.setProperty("--hue", hue(id));
  li.append(text(document.createElement("b"), name), words);
  $("notes").append(li);
  while ($("notes").children.length > 50) $("notes").firstChild.remove();
  li.scrollIntoView({ block: "nearest" });
}

function connection() {
  socket.on("connect", () => {
    show("connected", `board ${board}`);
    if (!socket.recovered) $("notes").replaceChildren(); // what is kept of them comes again
  });
  socket.on("disconnect", () => show("connecting", "connecting"));
  socket.on("connect_error", (err) => show("connecting", err.message));

  // What the server says of who came and left is in order with the list.
  socket.on("presence:join", ({ user }) => { members.add(user); showMembers(); });
  socket.on("presence:leave", ({ user }) => { members.delete(user); hideCursor(user); showMembers(); });
  socket.on("connect", async () => {
    const answer = await socket.timeout(5000).emitWithAck("presence:get", room).catch(() => undefined);
    if (!Array.isArray(answer?.members)) return;
    members.clear();
    for (const { user } of answer.members) members.add(user);
    showMembers();
  });

  // The server's argument is the last one: a client may have sent more of its own.
  socket.on("cursor", (at, ...more) => { heard(at, more.at(-1)); showCursor(at, more.at(-1)); });
  socket.on("note", (note, ...more) => { heard(note, more.at(-1)); showNote(note, more.at(-1), note.name || nameOf(more.at(-1).id)); });
}

let last = 0;
$("board").addEventListener("pointermove", (e) => {
  const now = performance.now();
  if (now - last < CURSOR_EVERY || !socket.connected) return;
  last = now;
  const box = $("board").getBoundingClientRect();
  const share = (v) => Math.round(v * 1000) / 1000;
  socket.volatile.emit("cursor", { x: share((e.clientX - box.left) / box.width), y: share((e.clientY - box.top) / box.height), name: myName() });
});

$("note-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const words = $("note").value.trim();
  if (!words) return;
  const answer = await socket.timeout(5000).emitWithAck("note", { text: words, name: myName() }).catch(() => ({ error: "no answer" }));
  text($("refused"), answer.error ?? "");
  if (!answer.error) $("note").value = "";
});

$("name").value = sessionStorage.nick ?? "";
$("name").addEventListener("change", () => { sessionStorage.nick = $("name").value; showMembers(); });
fetch("board.yaml").then(async (answer) => text($("rules"), await answer.text()));
if (socket) connection();
else show("start", "the browser client is not built in");
