// What a user, a room, a socket or a namespace sends and is sent, as it happens, for five
// minutes at most.

import { h, put, ask, session, card, link, href, pill, trouble, whole } from "./core.js";

const KEPT = 1000; // lines

const kinds = [["user", "User"], ["room", "Room"], ["route", "Namespace or pattern"], ["socket", "Socket"]];

export function trace(main, kind = "user", name = "", nsp = "/") {
  const of = h("select", { id: "kind", "aria-label": "What to trace" }, kinds.map(([k, text]) => h("option", { value: k, selected: k === kind }, text)));
  const what = h("input", { id: "what", value: name, required: true, "aria-label": "Its name", maxlength: 1024, placeholder: "name", spellcheck: "false", autocomplete: "off" });
  const place = h("input", { id: "nsp", value: nsp, "aria-label": "Namespace of the room", maxlength: 1024, placeholder: "namespace" });
  const share = h("select", { id: "share", "aria-label": "How many of them" }, [["1", "all events"], ["0.1", "1 in 10"], ["0.01", "1 in 100"]].map(([v, text]) => h("option", { value: v }, text)));
  const button = h("button", { type: "submit", class: "primary", id: "start" }, "Start");
  const state = h("p", { class: "soft" }, "Nothing is traced.");
  const log = h("ol", { class: "log", tabindex: 0, role: "log", "aria-label": "Events", "aria-live": "off" });
  let stop = null, lines = 0, left = 0;

  const show = () => { place.hidden = of.value !== "room"; };
  of.addEventListener("change", show);
  show();

  const start = async (event) => {
    event.preventDefault();
    if (stop) return stop.abort();
    const mine = stop = new AbortController();
    put(button, "Stop");
    put(log);
    lines = left = 0;
    const ends = Date.now() + 300_000;
    const tick = setInterval(() => say(`Tracing for ${Math.max(0, Math.round((ends - Date.now()) / 1000))} s more`), 1000);
    const say = (text) => put(state, `${text}: ${whole(lines)} lines${left ? `, ${whole(left)} left out for the bound of lines` : ""}.`);
    say("Tracing");
    try {
      const response = await ask("data/trace", { kind: of.value, name: what.value, nsp: of.value === "room" ? place.value : "", share: Number(share.value) }, { signal: mine.signal, stream: true });
      for await (const x of ndjson(response.body)) {
        if (x.left_out) left += x.left_out;
        if (x.what) { lines++; line(x); }
        if (x.end) { say(x.end); return; }
      }
      say("The server has ended it");
    } catch (err) {
      say(mine.signal.aborted ? "Stopped" : "Broken off");
      if (!mine.signal.aborted) trouble(err);
    } finally {
      clearInterval(tick);
      if (stop === mine) stop = null;
      put(button, "Start");
    }
  };

  const marks = { in: ["→", "in"], out: ["←", "out"], connect: ["+", "life"], disconnect: ["−", "life"], join: ["»", "life"], leave: ["«", "life"], data: ["·", "life"], upgrade: ["↑", "life"] };
  const line = (x) => {
    const [mark, kindOf] = marks[x.what] ?? ["·", "life"];
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(h("li", { class: kindOf },
      h("time", {}, new Date(x.time).toISOString().slice(11, 23)), h("span", { class: "mark", title: x.what, "aria-label": x.what }, mark),
      h("a", { class: "mono", href: href("socket", x.sid, x.nsp) }, x.sid.slice(0, 8)), x.user ? h("span", { class: "user" }, x.user) : "",
      h("b", {}, x.event ?? x.room ?? x.what), x.ack ? pill("ack") : "", x.to ? h("span", { class: "soft" }, x.to) : "", h("code", {}, x.text ?? ""), x.cut ? h("span", { class: "soft" }, ` … ${whole(x.cut)} bytes more`) : ""));
    while (log.childElementCount > KEPT) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  put(main, h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, "Trace"), h("p", { class: "soft" }, "Of sockets of this server. It ends after five minutes, or when this view is left; nothing is kept."))),
    session.readonly
      ? card("", h("p", {}, "What clients say to each other is not shown in read only."))
      : [card("", h("form", { class: "row", onsubmit: start }, of, what, place, share, button), state), card("", log)]);
  return () => stop?.abort();
}

// ndjson yields what the lines of a stream say.
async function* ndjson(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n");
    text = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}
