// One socket: how it came, where it is, how it does, and what can be done to it.

import { h, put, ask, command, dialog, act, session, bytes, whole, millis, moment, span, card, link, href, pill } from "./core.js";
import { crumbs } from "./browse.js";

// args reads the arguments of an event, JSON with commas between them.
function args(text) {
  return JSON.parse(`[${text}]`);
}

const wrongArgs = (v) => { try { args(v.args); } catch (err) { return `The arguments are no JSON: ${err.message}`; } };

// emitTo asks for an event, and sends it.
export async function emitTo(whom, to) {
  const v = await dialog({
    title: `Emit to ${whom}`, ok: "Emit", check: wrongArgs,
    fields: [{ name: "ev", label: "Event", required: true, placeholder: "news" }, { name: "args", label: "Arguments", type: "textarea", placeholder: '"hello", {"a": 1}', hint: "JSON, with commas between them" }],
  });
  if (v) await act(`“${v.ev}” was sent`, async () => { await command("emit", { ...to, ev: v.ev, args: args(v.args) }); });
}

const facts = (all) => h("dl", { class: "facts" }, all.filter(([, v]) => v !== undefined && v !== "" && v !== null).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));

export function socket(main, sid = "", nsp) {
  const body = h("div", {}), where = h("p", { class: "soft" }), buttons = h("div", { class: "row" });
  put(main, crumbs(link("Namespaces", "ns"), nsp ? link(nsp, "in", nsp, "sockets") : "sockets", h("span", { class: "mono" }, sid)),
    h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1, class: "mono" }, sid), where), buttons), body);
  let ended = false, gone = false, timer;
  const load = async () => {
    clearTimeout(timer);
    if (ended || gone) return;
    if (!document.hidden) {
      try {
        const x = await ask(`api/sockets/${encodeURIComponent(sid)}${nsp ? `?nsp=${encodeURIComponent(nsp)}` : ""}`);
        if (ended) return;
        draw(x);
      } catch (err) {
        if (ended || err.status === 401) return;
        if (err.status === 404) {
          gone = true;
          put(where, pill("has left", "warn"));
          put(buttons);
          return;
        }
        put(where, err.message);
      }
    }
    timer = setTimeout(load, 3000);
  };
  const draw = (x) => {
    const filter = { nsp: x.nsp, in: [x.sid] };
    put(where, x.user ? [`user ${x.user} · `] : "", link(x.nsp, "in", x.nsp, "sockets"), ` · ${x.node ? `server ${x.node}` : "a server of Node.js"} · ${x.transport ?? ""}`);
    if (!session.readonly && !buttons.hasChildNodes()) put(buttons, actions(x, filter, load));
    put(body, h("div", { class: "halves" }, h("div", { class: "column" },
      card("State", facts([
        ["Transport", x.transport], ["Waiting to be sent", x.stats && bytes(x.stats.queue_bytes)], ["Round trip", x.stats && (x.stats.rtt_seconds ? millis(x.stats.rtt_seconds * 1000) : "not known")],
        ["Events waiting for handlers", x.stats && whole(x.stats.tasks)], ["Acknowledgements owed", x.stats && whole(x.stats.acks)], ["Rooms", x.stats && whole(x.stats.rooms)],
        ["Token ends", x.expires && `${moment(x.expires)} (in ${span(x.expires - Date.now())})`],
      ]), h("p", { class: "soft small note-below" }, "Events of one socket are counted while they are traced alone: what is not looked at costs nothing.")),
      card("Rooms", h("div", { class: "chips" }, (x.rooms ?? []).map((r) => h("span", { class: "chip" }, link(r, "room", x.nsp, r),
        !session.readonly && h("button", { type: "button", class: "x", "aria-label": `Leave ${r}`, onclick: () => leave(filter, r, load) }, "×"))), !x.rooms?.length && h("span", { class: "soft" }, "It is in none.")),
        x.truncated && h("p", { class: "note" }, "It has more rooms, or data, than are shown.")),
      card("Data", session.readonly ? h("p", { class: "soft" }, "is not shown in read only") : h("pre", { class: "json", tabindex: 0 }, x.data === undefined ? "none" : JSON.stringify(x.data, null, 2)))),
      card("Handshake", handshake(x.handshake))));
  };
  load();
  return () => { ended = true; clearTimeout(timer); };
}

function handshake(hs) {
  if (!hs) return h("p", { class: "soft" }, "is not known");
  const list = (m) => Object.entries(m ?? {}).sort().map(([k, v]) => [h("dt", {}, k), h("dd", { class: "mono" }, v === "…" ? pill("masked") : v)]);
  return [
    facts([["Address", hs.address], ["Since", hs.issued && `${moment(hs.issued)} (${span(Date.now() - hs.issued)})`], ["Path", hs.url && h("span", { class: "mono" }, hs.url)], ["TLS", hs.url && (hs.secure ? "yes" : "no")]]),
    hs.query && Object.keys(hs.query).length > 0 && [h("h3", {}, "Query"), h("dl", { class: "facts" }, list(hs.query))],
    hs.headers && [h("h3", {}, "Headers"), h("dl", { class: "facts" }, list(hs.headers))],
    !hs.url && h("p", { class: "soft" }, "The rest is kept if --keep-handshake says so."),
  ];
}

async function leave(filter, room, done) {
  if (!await dialog({ title: `Leave “${room}”?`, ok: "Leave" })) return;
  await act("Left", () => command("leave", { ...filter, rooms: [room] }));
  done();
}

const code = (v) => (v.code === "" ? {} : { code: Number(v.code) });

function actions(x, filter, done) {
  const button = (text, f, danger) => h("button", { type: "button", class: danger ? "danger ghost" : undefined, onclick: async () => { await f(); done(); } }, text);
  return [
    button("Emit…", () => emitTo(`socket ${x.sid}`, { nsp: x.nsp, to: [x.sid] })),
    button("Join…", async () => {
      const v = await dialog({ title: "Join a room", ok: "Join", fields: [{ name: "room", label: "Room", required: true }] });
      if (v) await act("Joined", () => command("join", { ...filter, rooms: [v.room] }));
    }),
    button("Trace…", () => { location.hash = x.user ? href("trace", "user", x.user) : href("trace", "socket", x.sid); }),
    button("Disconnect…", async () => {
      const v = await dialog({
        title: "Disconnect this socket?", ok: "Disconnect", danger: true,
        fields: [{ name: "close", label: "close the whole connection, with", type: "checkbox", value: true }, { name: "code", label: "Code", type: "number", min: 1000, max: 4999, value: "4403" }, { name: "reason", label: "Reason", value: "disconnected by an operator" }],
      });
      if (v) await act("Disconnected", () => command("disconnect", { ...filter, ...(v.close ? { close: true, reason: v.reason, ...code(v) } : {}) }));
    }, true),
    x.user && button("User…", async () => {
      const v = await dialog({
        title: `Disconnect the user ${x.user} everywhere?`, text: "Its clients may come back, unless its tokens are revoked: those are believed by no server any more.", ok: "Disconnect", danger: true,
        fields: [{ name: "revoke", label: "revoke the tokens that it has", type: "checkbox" }],
      });
      if (!v) return;
      if (v.revoke) await act("Its tokens are revoked", async () => { await command("revoke", { user: x.user }); });
      await act("Disconnected", () => command("user_disconnect", { user: x.user }));
    }, true),
  ];
}
