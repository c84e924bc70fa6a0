// Graphs of what changes over time, as SVG.

import { h, s, put, clock } from "./core.js";

const W = 600, H = 120;

// paths returns the line and the area below it of values of which some may be missing.
function paths(values, max, width, height) {
  const step = width / Math.max(1, values.length - 1);
  const at = (v, i) => `${(i * step).toFixed(1)},${(height - (v / max) * height).toFixed(1)}`;
  let line = "", area = "", first = -1;
  const end = (i) => { if (first >= 0) area += `L${((i - 1) * step).toFixed(1)},${height}L${(first * step).toFixed(1)},${height}Z`; first = -1; };
  values.forEach((v, i) => {
    if (v === null || v === undefined) return end(i);
    const p = at(v, i);
    line += (first < 0 ? "M" : "L") + p;
    area += (first < 0 ? "M" : "L") + p;
    if (first < 0) first = i;
  });
  end(values.length);
  return { line, area };
}

// nice returns a round number that is not below n.
function nice(n) {
  if (!(n > 0)) return 1;
  const p = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 2.5, 5, 10].map((f) => f * p).find((x) => x >= n);
}

// spark is a small graph without axes.
export function spark() {
  const line = s("path", { class: "line" }), area = s("path", { class: "area" });
  const el = s("svg", { class: "spark", viewBox: "0 0 120 28", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  const set = (values) => {
    const p = paths(values, Math.max(1e-9, ...values.map((v) => v ?? 0)) * 1.08, 120, 28);
    line.setAttribute("d", p.line);
    area.setAttribute("d", p.area);
  };
  return { el, set };
}

// chart is a graph of several series, whose values under the pointer are shown.
export function chart(title, names, format) {
  const lines = names.map((_, i) => s("path", { class: `line c${i}` }));
  const areas = names.map((_, i) => s("path", { class: `area c${i}` }));
  const cross = s("line", { class: "cross", y1: 0, y2: H, x1: -1, x2: -1 });
  const grid = [0, 0.5, 1].map((y) => s("line", { class: "grid", x1: 0, x2: W, y1: y * H, y2: y * H }));
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", "aria-hidden": "true" }, grid, areas, lines, cross);
  const top = h("span", { class: "top" }), mid = h("span", { class: "mid" });
  const values = names.map(() => h("b", {}));
  const when = h("span", { class: "when" });
  const left = h("span", {}), plot = h("div", { class: "plot" }, svg, top, mid);
  let data = names.map(() => []), times = [], pointed = -1;

  const legend = () => {
    const i = pointed >= 0 ? Math.min(pointed, times.length - 1) : times.length - 1;
    names.forEach((_, k) => put(values[k], data[k][i] === null || data[k][i] === undefined ? "–" : format(data[k][i])));
    put(when, pointed >= 0 && times[i] ? clock(times[i]) : "");
    const x = pointed >= 0 ? (i / Math.max(1, times.length - 1)) * W : -1;
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    cross.setAttribute("visibility", x < 0 ? "hidden" : "visible");
  };
  plot.addEventListener("pointermove", (event) => {
    const r = plot.getBoundingClientRect();
    pointed = Math.round(((event.clientX - r.left) / r.width) * (times.length - 1));
    legend();
  });
  plot.addEventListener("pointerleave", () => { pointed = -1; legend(); });

  const el = h("section", { class: "card chart" },
    h("header", {}, h("h2", {}, title), when,
      h("div", { class: "legend" }, names.map((name, i) => h("span", { class: `c${i}` }, h("i", { "aria-hidden": "true" }), name, " ", values[i])))),
    plot, h("footer", { class: "soft" }, left, h("span", {}, "now")));
  const set = (at, series) => {
    times = at;
    data = series;
    const max = nice(Math.max(1e-9, ...series.flat().map((v) => v ?? 0)));
    series.forEach((v, i) => {
      const p = paths(v, max, W, H);
      lines[i].setAttribute("d", p.line);
      areas[i].setAttribute("d", p.area);
    });
    put(top, format(max));
    put(mid, format(max / 2));
    put(left, at[0] ? clock(at[0]) : "");
    legend();
  };
  return { el, set };
}
