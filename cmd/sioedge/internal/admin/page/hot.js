// The biggest rooms, who sends most, and who takes least. The server looks for them while
// this view is open, a part at a time.

import { h, put, ask, count, whole, bytes, table, card, link, href, span } from "./core.js";

export function hot(main) {
  const rooms = h("div", {}), talkers = h("div", {}), slow = h("div", {}), note = h("p", { class: "soft" });
  put(main, h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, "Hot spots"), note)),
    h("div", { class: "halves" }, card("Biggest rooms", rooms), card("Top talkers", talkers), card("Slow consumers", slow)));
  let ended = false, timer;
  const who = (x) => [h("a", { class: "mono", href: href("socket", x.sid, x.nsp) }, x.sid), x.user ? h("small", { class: "soft block" }, x.user) : ""];
  const load = async () => {
    if (!document.hidden) {
      try {
        const x = await ask("data/ranks");
        if (ended) return;
        put(note, `Of this server. ${x.rounds ? `All of it was looked at ${whole(x.rounds)} time${x.rounds === 1 ? "" : "s"} in ${span(x.watching_ms)}` : `Looking: ${whole(x.seen)} sockets so far`}.`);
        put(rooms, table("Biggest rooms", [{ name: "Room", wide: true }, { name: "Namespace" }, { name: "Sockets", num: true }], x.rooms.map((r) => [link(r.room, "room", r.nsp, r.room), link(r.nsp, "in", r.nsp), whole(r.sockets)])));
        put(talkers, table("Top talkers", [{ name: "Socket", wide: true }, { name: "Namespace" }, { name: "Events/s", num: true }, { name: "Events", num: true }, { name: "Bytes", num: true }], x.talkers.map((t) => [who(t), link(t.nsp, "in", t.nsp), count(t.rate), count(t.events), bytes(t.bytes)]), "Nobody has sent anything since this view was opened."));
        put(slow, table("Slow consumers", [{ name: "Socket", wide: true }, { name: "Namespace" }, { name: "Waiting", num: true }], x.slow.map((t) => [who(t), link(t.nsp, "in", t.nsp), bytes(t.queue_bytes)]), "Nobody has anything waiting."));
      } catch (err) {
        if (ended || err.status === 401) return;
        put(note, err.message);
      }
    }
    timer = setTimeout(load, 2000);
  };
  load();
  return () => { ended = true; clearTimeout(timer); };
}
