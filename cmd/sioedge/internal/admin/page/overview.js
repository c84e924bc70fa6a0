// The first view: what the server is doing, and its loops, its neighbours and its backends.

import { h, put, putText, ask, act, dialog, session, count, whole, bytes, millis, span, moment, table, pill, card, trouble } from "./core.js";
import { chart, spark } from "./chart.js";

const KEPT = 300; // samples: five minutes

// samples are kept while the page is open, on whatever view: without a request nothing is
// known of what was.
const samples = [];
let listeners = new Set();
let last = null;

export const latest = () => last;
export function onOverview(f) { listeners.add(f); return () => listeners.delete(f); }

// watch looks at the server as long as the page is seen.
export function watch() {
  let timer, running = false, ended = false;
  const look = async () => {
    clearTimeout(timer);
    if (running || ended || document.hidden) return;
    running = true;
    try {
      const o = await ask("data/overview");
      if (ended) return;
      if (last && (o.time - last.time > 10_000 || o.started !== last.started)) samples.push({ time: o.time }); // a gap
      if (last && o.started === last.started && o.time > last.time) samples.push(rates(last, o));
      samples.splice(0, samples.length - KEPT);
      last = o;
      for (const f of listeners) f(o);
    } catch (err) {
      if (err.status === 401) return;
      for (const f of listeners) f(null);
    } finally {
      running = false;
    }
    timer = setTimeout(look, 1000);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => { ended = true; clearTimeout(timer); document.removeEventListener("visibilitychange", look); samples.length = 0; last = null; listeners.clear(); };
}

// rates returns what happened a second between two overviews.
function rates(a, b) {
  const t = (b.time - a.time) / 1000;
  const per = (name) => Math.max(0, (b[name] - a[name]) / t);
  return {
    time: b.time, clients: b.clients, sockets: b.sockets, rooms: b.rooms, in: per("events_in"), out: per("events_out"), bytesIn: per("bytes_in"), bytesOut: per("bytes_out"),
    queued: b.queued_bytes, lag: b.lag_ms, memory: b.memory.resident || b.memory.in_use, dropped: per("dropped"), opened: per("opened"),
    loops: b.loops.map((l, i) => Object.fromEntries(["events_in", "events_out", "bytes_in", "bytes_out", "writes", "busy_ns"].map((k) => [k, Math.max(0, l[k] - (a.loops[i]?.[k] ?? 0)) / t]))),
    backends: Object.fromEntries(b.backends.map((x) => {
      const was = a.backends.find((y) => y.name === x.name) ?? { requests: x.requests, nanos: x.nanos };
      const n = x.requests - was.requests;
      return [x.name, { rate: n / t, took: n > 0 ? (x.nanos - was.nanos) / n / 1e6 : null }];
    })),
  };
}

const TILES = [
  ["Clients", "clients", (o) => whole(o.clients), (o) => `${whole(o.transports.websocket)} WebSocket, ${whole(o.transports.polling)} polling`],
  ["Sockets", "sockets", (o) => whole(o.sockets), (o, r) => `${count(r?.opened)} new/s`],
  ["Rooms", "rooms", (o) => whole(o.rooms), () => "with somebody in them"],
  ["Events in", "in", (o, r) => `${count(r?.in)}/s`, (o) => `${count(o.events_in)} in all`],
  ["Events out", "out", (o, r) => `${count(r?.out)}/s`, (o) => `${count(o.events_out)} in all`],
  ["Traffic", "bytesOut", (o, r) => `${bytes(r?.bytesOut)}/s`, (o, r) => `${bytes(r?.bytesIn)}/s in`],
  ["Queue", "queued", (o) => bytes(o.queued_bytes), (o) => `${whole(o.waiting)} events wait for handlers`],
  ["Loop lag", "lag", (o) => millis(o.lag_ms), () => "of the loop that is latest"],
  ["Memory", "memory", (o) => bytes(o.memory.resident || o.memory.in_use), (o) => `${o.memory.short ? "short! " : ""}${o.memory.limit ? `limit ${bytes(o.memory.limit)}` : "no limit"}, ${whole(o.memory.goroutines)} goroutines`],
  ["Dropped", "dropped", (o, r) => `${count(r?.dropped)}/s`, (o) => `${count(o.dropped)} in all`],
];

export function overview(main) {
  const tiles = TILES.map(([name]) => {
    const value = h("b", {}), note = h("small", { class: "soft" }), graph = spark();
    return { el: h("div", { class: "tile" }, h("span", {}, name), value, note, graph.el), value, note, graph };
  });
  const charts = [
    [chart("Events a second", ["in", "out"], (n) => count(n)), (x) => [x.in, x.out]],
    [chart("Bytes a second", ["in", "out"], (n) => bytes(n)), (x) => [x.bytesIn, x.bytesOut]],
    [chart("Clients and sockets", ["clients", "sockets"], (n) => count(n)), (x) => [x.clients, x.sockets]],
    [chart("Loop lag", ["the latest"], (n) => millis(n)), (x) => [x.lag]],
  ];
  const loops = h("div", {}), nodes = h("div", {}), backends = h("div", {}), bridges = h("div", {}), adapter = h("div", {}), drops = h("div", {}), head = h("p", { class: "soft" });
  const drainButton = h("button", { id: "drain", onclick: () => drain(last?.draining) }, "Drain…");
  put(main,
    h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, "Overview"), head), !session.readonly && drainButton),
    h("div", { class: "tiles" }, tiles.map((t) => t.el)),
    h("div", { class: "charts" }, charts.map(([c]) => c.el)),
    card("Event loops", loops),
    h("div", { class: "halves" }, card("Cluster", nodes, adapter), card("Backends", backends, bridges), card("Not sent, and not done", drops)));

  const show = (o) => {
    if (!o) return;
    const r = samples.at(-1)?.loops ? samples.at(-1) : undefined;
    putText(head, `${o.node || "this server"} · ${o.version} · ${o.go} · up ${span(o.time - o.started)} · ${whole(o.operators)} operator${o.operators === 1 ? "" : "s"}${o.wrong ? `, ${whole(o.wrong)} ${o.wrong === 1 ? "login has" : "logins have"} failed` : ""}`);
    putText(drainButton, o.draining ? "End draining…" : "Drain…");
    drainButton.className = o.draining ? "primary" : "danger ghost";
    tiles.forEach((t, i) => {
      const [, key, value, note] = TILES[i];
      put(t.value, value(o, r));
      put(t.note, note(o, r));
      t.graph.set(samples.map((x) => x[key]));
    });
    for (const [c, of] of charts) {
      const series = of({}).map(() => []);
      for (const x of samples) of(x).forEach((v, i) => series[i].push(v));
      c.set(samples.map((x) => x.time), series);
    }
    put(loops, loopTable(o, r));
    put(backends, backendTable(o, r));
    if (o.bridges.length) put(bridges, bridgeTable(o));
    put(drops, dropTable(o));
    put(adapter, adapterLine(o));
  };
  const showNodes = async () => {
    try {
      put(nodes, nodeTable(await ask("api/nodes")));
    } catch (err) {
      if (err.status !== 401) trouble(err);
    }
  };
  const off = onOverview(show);
  if (last) show(last);
  showNodes();
  const timer = setInterval(() => { if (!document.hidden) showNodes(); }, 5000);
  return () => { off(); clearInterval(timer); };
}

const share = (ns) => (ns === undefined ? "–" : `${Math.min(100, Math.round(ns / 1e7))} %`);

const loopTable = (o, r) => table("Event loops",
  [{ name: "Loop" }, { name: "Clients", num: true }, { name: "Sockets", num: true }, { name: "Events in/s", num: true }, { name: "Out/s", num: true }, { name: "Bytes in/s", num: true }, { name: "Out/s", num: true }, { name: "Writes/s", num: true }, { name: "Busy", num: true }, { name: "Lag", num: true }, { name: "Queue", num: true }, { name: "Slow", num: true }, { name: "Mail", num: true }, { name: "Dropped", num: true }],
  o.loops.map((l, i) => {
    const x = r?.loops[i];
    return [[`#${i} `, l.late_ms ? pill(`stuck for ${millis(l.late_ms)}`, "bad") : ""], whole(l.clients), whole(l.sockets), count(x?.events_in), count(x?.events_out), bytes(x?.bytes_in), bytes(x?.bytes_out), count(x?.writes), share(x?.busy_ns),
      l.lag_ms >= 100 ? pill(millis(l.lag_ms), "warn") : millis(l.lag_ms), bytes(l.queued_bytes), l.slow ? pill(whole(l.slow), "warn") : "0", whole(l.mail), whole(l.dropped)];
  }));

const nodeTable = (x) => table("Servers of the cluster",
  [{ name: "Server", wide: true }, { name: "Sessions", num: true }, { name: "Sockets", num: true }, { name: "Heard of", num: true }],
  x.nodes.map((n) => [[n.name || n.node, " ", n.self ? pill("this one", "accent") : "", n.address ? h("small", { class: "soft block" }, n.address) : ""], whole(n.sessions), whole(n.sockets), n.self || !n.seen ? "–" : `${span(Date.now() - n.seen)} ago`]));

function adapterLine(o) {
  const a = o.adapter;
  if (!a) return h("p", { class: "soft" }, "No adapter: the server is alone.");
  return h("dl", { class: "facts" },
    [["Adapter", [pill(a.up ? "up" : "down", a.up ? "ok" : "bad"), ` since ${moment(a.since)}`, a.reason ? ` · ${a.reason}` : ""]],
      ["Messages", `${count(a.sent)} sent, ${count(a.received)} received, ${count(a.waiting)} waiting`],
      ["Lost", `${count(a.lost)} not sent, ${count(a.malformed)} not understood, ${count(a.reconnects)} reconnects`],
      ["Questions", `${count(a.pending)} under way, ${count(a.incomplete)} not answered by all`],
      ["Subscriptions", count(a.subscriptions)]].map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}

const breaker = (state) => pill(state, state === "closed" ? "ok" : state === "open" ? "bad" : "warn");

const backendTable = (o, r) => table("Backends",
  [{ name: "Backend", wide: true }, { name: "Breaker" }, { name: "Under way", num: true }, { name: "Queue", num: true }, { name: "Requests/s", num: true }, { name: "Took", num: true }, { name: "Failed", num: true }, { name: "Lost", num: true }],
  o.backends.map((b) => [b.name, breaker(b.breaker), [whole(b.in_flight), b.waiting ? ` + ${whole(b.waiting)}` : ""], bytes(b.queued_bytes), count(r?.backends[b.name]?.rate), r?.backends[b.name]?.took ? millis(r.backends[b.name].took) : "–", whole(b.failed), b.lost ? pill(whole(b.lost), "bad") : "0"]),
  "None is configured.");

const bridgeTable = (o) => table("Bridges",
  [{ name: "Bridge", wide: true }, { name: "Processes", num: true }, { name: "Sockets", num: true }, { name: "Events", num: true }, { name: "Emits", num: true }, { name: "Waiting", num: true }, { name: "Taken over", num: true }, { name: "Closed", num: true }],
  o.bridges.map((b) => [[b.name, " ", b.links > b.draining ? "" : pill("no process", "bad")], [whole(b.processes), b.draining ? ` (${whole(b.draining)} links leave)` : ""], whole(b.sockets), whole(b.events), whole(b.emits),
    b.waiting || b.paused ? pill(`${whole(b.waiting)} + ${whole(b.paused)} events`, "warn") : "0", whole(b.taken), b.closed ? pill(whole(b.closed), "bad") : "0"]));

const dropTable = (o) => table("Not sent, and not done", [{ name: "What", wide: true }, { name: "In all", num: true }],
  [...Object.entries(o.drops).sort((a, b) => b[1] - a[1]).map(([k, n]) => [`Dropped: ${k}`, whole(n)]),
    ...Object.entries(o.closes).filter(([, n]) => n).sort((a, b) => b[1] - a[1]).map(([k, n]) => [`Sessions ended: ${k}`, whole(n)])], "Nothing was dropped, and no session has ended.");

// drain has the server let its clients go, or takes that back.
async function drain(draining) {
  if (draining) {
    const yes = await dialog({ title: "End draining?", text: "The server is ready again, and takes new sessions.", ok: "End draining" });
    if (yes) await act("Draining has ended", () => ask("api/undrain", null));
    return;
  }
  const v = await dialog({
    title: "Drain this server?", ok: "Drain", danger: true,
    text: "It says that it is not ready, so that balancers look elsewhere, and then ends its sessions one after the other: their clients come back to other servers.",
    fields: [{ name: "delay", label: "Not ready, and serving all the same, for", placeholder: "as drain_delay says", hint: "such as 5s" },
      { name: "over", label: "Then they leave over", placeholder: "half of drain", hint: "such as 1m" },
      { name: "stop", label: "the server stops then", type: "checkbox" }],
  });
  if (!v) return;
  const times = Object.fromEntries(["delay", "over"].filter((k) => v[k].trim()).map((k) => [k, v[k].trim()]));
  await act("The server drains", () => ask("api/drain", { ...times, ...(v.stop && { stop: true }) }));
}
