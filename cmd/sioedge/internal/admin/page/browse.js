// Namespaces, the rooms in them, and who is in those. All of it is asked of the server a
// page at a time.

import { h, put, ask, command, dialog, act, session, count, whole, table, card, link, href, pill, trouble } from "./core.js";
import { emitTo } from "./socket.js";

const PAGE = 50;

// crumbs say where one is.
export const crumbs = (...parts) => h("p", { class: "crumbs" }, parts.map((p, i) => [i > 0 && h("span", { class: "soft", "aria-hidden": "true" }, " › "), p]));

const partial = (x) => x?.partial && h("p", { class: "note" }, `Not all servers have answered: ${[...(x.partial.missing ?? []), x.partial.unnamed ? `${x.partial.unnamed} others` : "", x.partial.reason ?? ""].filter(Boolean).join(", ")}.`);

// pager shows pages, one behind the other: load returns one of them for a cursor, and
// draw what is seen of it. What comes late of another search is not shown.
function pager(load, draw) {
  const body = h("div", { "aria-live": "off" }), note = h("span", { class: "soft", role: "status" });
  const first = h("button", { type: "button", onclick: () => go([""]) }, "First");
  const back = h("button", { type: "button", onclick: () => go(trail.slice(0, -1)) }, "Back");
  const next = h("button", { type: "button", onclick: () => go([...trail, cursor]) }, "Next");
  let trail = [""], cursor = "", calls = 0, stop = null;
  const go = async (to) => {
    const call = ++calls;
    stop?.abort();
    stop = new AbortController();
    trail = to;
    body.setAttribute("aria-busy", "true");
    put(note, "…");
    try {
      const x = await load(trail.at(-1), stop.signal, (text) => { if (call === calls) put(note, text); });
      if (call !== calls) return;
      cursor = x.cursor ?? "";
      put(body, draw(x), partial(x));
      put(note, trail.length > 1 ? `page ${trail.length}` : "");
    } catch (err) {
      if (call !== calls) return;
      put(note, "");
      put(body, h("p", { class: "wrong" }, err.message));
      cursor = "";
    } finally {
      if (call === calls) {
        body.removeAttribute("aria-busy");
        first.disabled = back.disabled = trail.length < 2;
        next.disabled = !cursor;
        buttons.hidden = trail.length < 2 && !cursor;
      }
    }
  };
  const buttons = h("div", { class: "row pages" }, first, back, next, note);
  return { el: h("div", {}, body, buttons), start: () => go([""]), again: () => go(trail), end: () => { calls++; stop?.abort(); } };
}

// settle calls f when somebody has not written for a moment.
function settle(f) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(f, 250); };
}

export function namespaces(main) {
  const body = h("div", {});
  put(main, h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, "Namespaces"), h("p", { class: "soft" }, "Sockets and events are those of this server."))), card("", body));
  const load = async () => {
    try {
      const x = await ask("api/namespaces");
      put(body, table("Namespaces",
        [{ name: "Namespace", wide: true }, { name: "Sockets", num: true }, { name: "Instances", num: true }, { name: "Events in", num: true }, { name: "Events out", num: true }, { name: "Refused", num: true }],
        x.namespaces.map((n) => [link(n.name, "in", n.name), whole(n.sockets), whole(n.instances), count(n.events), count(n.emits), whole(n.refused)])));
    } catch (err) {
      trouble(err);
    }
  };
  load();
  const timer = setInterval(() => { if (!document.hidden) load(); }, 5000);
  return () => clearInterval(timer);
}

const isPattern = (name) => /[:*]/.test(name);

export function namespace(main, nsp = "/", tab = "rooms") {
  const tabs = isPattern(nsp) ? [["instances", "Instances"]] : [["rooms", "Rooms"], ["sockets", "Sockets"]];
  if (!tabs.some(([id]) => id === tab)) tab = tabs[0][0];
  const part = h("div", {});
  put(main, crumbs(link("Namespaces", "ns"), nsp),
    h("div", { class: "title" }, h("h1", { tabindex: -1 }, nsp),
      !session.readonly && !isPattern(nsp) && h("div", { class: "row" },
        h("button", { type: "button", onclick: () => emitTo("everybody in " + nsp, { nsp }) }, "Emit…"),
        h("button", { type: "button", onclick: () => { location.hash = href("trace", "route", nsp); } }, "Trace…"))),
    tabs.length > 1 && h("div", { class: "tabs" }, tabs.map(([id, name]) => h("a", { href: href("in", nsp, id), "aria-current": id === tab ? "page" : undefined }, name))),
    part);
  return { rooms, sockets, instances }[tab](part, nsp);
}

function instances(main, nsp) {
  const find = h("input", { type: "search", placeholder: "Begins with…", "aria-label": "Names that begin with", maxlength: 512 });
  const list = pager((cursor, signal) => ask(`data/instances?${new URLSearchParams({ nsp, prefix: find.value, behind: cursor, limit: PAGE })}`, undefined, { signal }),
    (x) => table("Instances", [{ name: "Instance", wide: true }, { name: "Sockets here", num: true }], x.instances.map((i) => [link(i.name, "in", i.name), whole(i.sockets)]), "None begins with that."));
  find.addEventListener("input", settle(list.start));
  put(main, card("", h("div", { class: "row" }, find), list.el));
  list.start();
  return list.end;
}

function rooms(main, nsp) {
  const find = h("input", { type: "search", placeholder: "Begins with…", "aria-label": "Names of rooms that begin with", maxlength: 512 });
  const list = pager((cursor, signal) => ask(`api/rooms?${new URLSearchParams({ nsp, limit: PAGE, ...(find.value && { prefix: find.value }), ...(cursor && { cursor }) })}`, undefined, { signal }),
    (x) => table("Rooms", [{ name: "Room", wide: true }, { name: "Sockets", num: true }], x.rooms.map((r) => [link(r.room, "room", nsp, r.room), whole(r.sockets)]), find.value ? "None begins with that." : "There are none."));
  find.addEventListener("input", settle(list.start));
  put(main, card("", h("div", { class: "row" }, find), list.el));
  list.start();
  return list.end;
}

// The columns of tables of sockets.
const socketColumns = [{ name: "Socket" }, { name: "User", wide: true }, { name: "Rooms", wide: true }, { name: "Server" }];

export function socketRow(x) {
  const some = (x.rooms ?? []).slice(0, 5);
  return [h("a", { class: "mono", href: href("socket", x.sid, x.nsp) }, x.sid), x.user || h("span", { class: "soft" }, "–"),
    h("span", { class: "chips" }, some.map((r) => h("a", { class: "chip", href: href("room", x.nsp, r) }, r)), (x.rooms?.length ?? 0) > 5 && h("span", { class: "soft" }, `and ${x.rooms.length - 5}`)),
    x.node || h("span", { class: "soft" }, "Node.js")];
}

// query asks for a page of sockets. The server looks at a bounded number of them for one
// answer: a search goes on until there is a page, or nobody is left.
async function query(filter, limit, cursor, signal, tell = () => {}) {
  const all = { sockets: [], cursor };
  for (let asked = 1; ; asked++) {
    const x = await ask("api/sockets/query", { ...filter, limit: limit - all.sockets.length, ...(all.cursor && { cursor: all.cursor }) }, { signal });
    all.sockets.push(...x.sockets);
    all.cursor = x.cursor ?? "";
    all.partial ??= x.partial;
    if (!all.cursor || all.sockets.length >= limit) return all;
    tell(`searching… (${asked})`);
  }
}

const filters = [["user", "User is"], ["ip", "Address is"], ["room", "In room"], ["data", "Data has"]];

function sockets(main, nsp, room) {
  const kind = h("select", { "aria-label": "What to search for" }, filters.filter(([k]) => !(k === "data" && session.readonly) && !(k === "room" && room)).map(([k, name]) => h("option", { value: k }, name)));
  const find = h("input", { type: "search", placeholder: "anybody", "aria-label": "Search", maxlength: 512 });
  const filter = () => {
    const f = { nsp, fields: ["user", "rooms"], ...(room !== undefined && { in: [room] }) }, text = find.value.trim();
    if (!text) return f;
    if (kind.value === "user") f.user = text;
    else if (kind.value === "ip") f.ip = text;
    else if (kind.value === "room") f.in = [find.value];
    else {
      const [, path = text, , value = "true"] = /^([^=:]+?)\s*([=:])\s*(.*)$/.exec(text) ?? [];
      let is = value;
      try { is = JSON.parse(value); } catch { /* a text */ }
      f.where = { [path.startsWith("data.") ? path : `data.${path}`]: is };
    }
    return f;
  };
  const list = pager((cursor, signal, tell) => query(filter(), PAGE, cursor, signal, tell),
    (x) => table("Sockets", socketColumns, x.sockets.map(socketRow), "There are none."));
  const hints = { user: "anybody", ip: "10.0.0.0/8", room: "name of a room", data: "plan = \"pro\"" };
  kind.addEventListener("change", () => { find.placeholder = hints[kind.value]; if (find.value) list.start(); });
  find.addEventListener("input", settle(list.start));
  put(main, card("", h("div", { class: "row" }, kind, find), list.el));
  list.start();
  return list.end;
}

export function room(main, nsp = "/", name = "") {
  const n = h("p", { class: "soft" }), part = h("div", {}), data = h("div", {});
  const filter = { nsp, in: [name] };
  const change = async (what, done, op, fields, make) => {
    const v = await dialog({ title: what, text: `Everybody in “${name}”, on all servers.`, fields, ok: what, danger: op === "disconnect" });
    if (v) { await act(done, () => command(op, { ...filter, ...make(v) })); refresh(); }
  };
  const actions = [
    ["Emit…", () => emitTo(`room ${name}`, { nsp, to: [name] })],
    ["Join…", () => change("Join a room", "Joined", "join", [{ name: "room", label: "Room that they join", required: true }], (v) => ({ rooms: [v.room] }))],
    ["Empty…", () => change("Have them leave", "Left", "leave", [], () => ({ rooms: [name] }))],
    ["Disconnect…", () => change("Disconnect", "Disconnected", "disconnect", [{ name: "close", label: "close the whole connection", type: "checkbox" }], (v) => ({ close: v.close }))],
  ];
  put(main, crumbs(link("Namespaces", "ns"), link(nsp, "in", nsp), name),
    h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, name), n),
      !session.readonly && h("div", { class: "row" }, actions.map(([text, f]) => h("button", { type: "button", class: text.startsWith("Disc") ? "danger ghost" : undefined, onclick: f }, text)),
        h("button", { type: "button", onclick: () => { location.hash = href("trace", "room", name, nsp); } }, "Trace…"))),
    data, part);
  const size = async () => {
    if (name === "." || name === "..") return; // is no part of a path
    try {
      const x = await ask(`api/rooms/${encodeURIComponent(nsp)}/${encodeURIComponent(name)}?limit=1`);
      put(n, `${whole(x.count)} socket${x.count === 1 ? "" : "s"} in ${nsp}, on all servers`, x.partial ? pill("not all have answered", "warn") : "");
      put(data, x.data !== undefined && card("Data of the room", h("pre", { class: "json", tabindex: 0 }, JSON.stringify(x.data, null, 2))));
    } catch (err) {
      trouble(err);
    }
  };
  let end = () => {};
  const refresh = () => { end(); size(); end = sockets(part, nsp, name); };
  refresh();
  return () => end();
}

// search finds a socket by its id, or those of a user or an address, in all namespaces.
export function search(main, text = "") {
  const results = h("div", {}), note = h("p", { class: "soft", role: "status" });
  const stop = new AbortController();
  put(main, h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, `“${text}”`), note)), card("", results));
  const all = [];
  const draw = () => put(results, table("Sockets", [socketColumns[0], { name: "Namespace" }, ...socketColumns.slice(1)], all.map((x) => { const [a, ...b] = socketRow(x); return [a, link(x.nsp, "in", x.nsp), ...b]; }), "Nothing was found yet."));
  const run = async () => {
    draw();
    if (/^[\w-]{12,64}$/.test(text)) {
      try {
        all.push(await ask(`api/sockets/${encodeURIComponent(text)}`, undefined, { signal: stop.signal }));
        draw();
      } catch (err) {
        if (err.status !== 404) throw err;
      }
    }
    const isAddress = /^[0-9a-f:.]+(\/\d+)?$/i.test(text) && /[.:]/.test(text);
    for (const n of (await ask("api/namespaces", undefined, { signal: stop.signal })).namespaces) {
      const names = isPattern(n.name) ? (await ask(`data/instances?${new URLSearchParams({ nsp: n.name, limit: 100 })}`, undefined, { signal: stop.signal })).instances.map((i) => i.name) : [n.name];
      for (const nsp of names) {
        put(note, `searching ${nsp}…`);
        const x = await query({ nsp, fields: ["user", "rooms"], ...(isAddress ? { ip: text } : { user: text }) }, 100, "", stop.signal, (t) => put(note, `${nsp}: ${t}`));
        all.push(...x.sockets.filter((y) => !all.some((z) => z.sid === y.sid)));
        draw();
        if (all.length >= 200) return put(note, "the first 200, of all that there may be");
      }
    }
    put(note, `by ${isAddress ? "address" : "id and user"}: ${whole(all.length)} found`);
  };
  run().catch((err) => { if (!stop.signal.aborted) { put(note, ""); trouble(err); } });
  return () => stop.abort();
}
