// What all views need: elements, requests, numbers, dialogs. Texts of others become text
// nodes here and nothing else: there is no place that parses markup.

const SVG = "http://www.w3.org/2000/svg";

// h makes an element: properties that begin with "on" are listeners, others attributes.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s is h for what is in an SVG.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value") el.value = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  add(el, children);
  return el;
}

function add(el, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    el.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex]";

// put replaces what is in an element. What was focused in it, or scrolled, is that again,
// if there is the same: views are written anew while they are used.
export function put(el, ...children) {
  const focused = document.activeElement, all = el !== focused && el.contains(focused) ? [...el.querySelectorAll(FOCUSABLE)] : [];
  const at = all.indexOf(focused), target = focused?.getAttribute?.("href");
  const scrolled = [...el.querySelectorAll(".scroll")].map((x) => x.scrollLeft);
  el.replaceChildren();
  add(el, children);
  scrolled.forEach((left, i) => { if (left) (el.querySelectorAll(".scroll")[i] ?? {}).scrollLeft = left; });
  if (at >= 0 && !focused.isConnected) {
    const now = [...el.querySelectorAll(FOCUSABLE)];
    (now.find((x) => target && x.getAttribute("href") === target) ?? now[Math.min(at, now.length - 1)])?.focus({ preventScroll: true });
  }
  return el;
}

// putText is put of a text, if it is another: what is read aloud is not said twice.
export function putText(el, text) {
  if (el.textContent !== text) put(el, text);
}

// ---- requests

export const session = { user: "", token: "", readonly: false, node: "", version: "" };

let lastInput = Date.now();
for (const type of ["pointerdown", "keydown", "wheel"]) addEventListener(type, () => { lastInput = Date.now(); }, { passive: true, capture: true });

// A Failure is an answer that is no success.
export class Failure extends Error {
  constructor(status, error) {
    super((error?.field ? `${error.field}: ` : "") + (error?.message ?? `the server answers ${status}`));
    this.status = status;
    this.code = error?.code;
    this.details = error?.details ?? [];
  }
}

let expired = () => {};
export function whenExpired(f) { expired = f; }

// ask sends a request and returns its answer; a body makes it a POST.
export async function ask(path, body, { signal, stream } = {}) {
  const headers = {};
  if (Date.now() - lastInput > 60_000) headers["X-Admin-Watching"] = "1"; // does not prolong the session
  const init = { headers, signal, cache: "no-store", credentials: "same-origin", redirect: "error" };
  if (body !== undefined) {
    init.method = "POST";
    headers["X-Admin-Token"] = session.token;
    if (body !== null) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
  }
  const response = await fetch(path, init);
  if (stream && response.ok) return response;
  let answer;
  try {
    answer = await response.json();
  } catch (err) {
    if (signal?.aborted) throw err;
  }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "login") expired();
  throw new Failure(response.status, answer?.error);
}

// command does one of the API's commands.
export async function command(name, body) {
  const { results: [x] } = await ask("api/batch", { commands: [{ [name]: body }] });
  if (x.error) throw new Failure(0, x.error);
  return x.result;
}

// ---- what numbers look like

export function count(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  const a = Math.abs(n);
  if (a >= 1e9) return `${(n / 1e9).toFixed(a < 1e10 ? 2 : 1)}G`;
  if (a >= 1e6) return `${(n / 1e6).toFixed(a < 1e7 ? 2 : 1)}M`;
  if (a >= 1e5) return `${(n / 1e3).toFixed(0)}k`;
  if (a >= 1e4) return `${(n / 1e3).toFixed(1)}k`;
  if (a >= 100 || Number.isInteger(n)) return String(Math.round(n));
  return n.toFixed(1);
}

export const whole = (n) => (n ?? 0).toLocaleString("en");

export function bytes(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  let unit = 0;
  while (Math.abs(n) >= 1024 && unit < 4) { n /= 1024; unit++; }
  return `${unit === 0 ? Math.round(n) : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

export const millis = (n) => (n >= 1000 ? `${(n / 1000).toFixed(1)} s` : `${Math.round(n)} ms`);

export function span(ms) {
  const t = Math.max(0, Math.round(ms / 1000));
  const d = Math.floor(t / 86400), hh = Math.floor(t / 3600) % 24, m = Math.floor(t / 60) % 60;
  if (d) return `${d} d ${hh} h`;
  if (hh) return `${hh} h ${m} min`;
  return m ? `${m} min ${t % 60} s` : `${t} s`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
export const moment = (ms) => new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// ---- what is said, and asked

let silence;
export function say(text, bad = false) {
  const el = document.getElementById("said");
  put(el, text);
  el.className = bad ? "said on bad" : "said on";
  clearTimeout(silence);
  silence = setTimeout(() => { el.className = "said"; }, bad ? 8000 : 3500);
}

export const trouble = (err) => { if (err?.name !== "AbortError") say(err.message, true); };

// dialog asks for values, and for confirmation: it returns the values by name, or null.
export function dialog({ title, text, fields = [], ok = "OK", danger = false, check }) {
  return new Promise((resolve) => {
    const back = document.activeElement;
    const wrong = h("p", { class: "wrong", role: "alert" });
    const inputs = fields.map((f) => {
      const props = { name: f.name, id: `f-${f.name}`, required: f.required, placeholder: f.placeholder, value: f.value, autocomplete: "off", spellcheck: "false" };
      let el;
      if (f.type === "textarea") el = h("textarea", { ...props, rows: 4 });
      else if (f.type === "checkbox") el = h("input", { ...props, type: "checkbox" });
      else el = h("input", { ...props, type: f.type ?? "text", min: f.min, max: f.max });
      if (f.type === "checkbox") el.checked = Boolean(f.value);
      return el;
    });
    const label = (f, el) => f.type === "checkbox"
      ? h("label", { class: "check" }, el, f.label)
      : h("label", {}, h("span", {}, f.label), el, f.hint && h("small", {}, f.hint));
    const done = (value) => { box.close(); box.remove(); back?.focus?.(); resolve(value); };
    const submit = (event) => {
      event.preventDefault();
      const values = Object.fromEntries(fields.map((f, i) => [f.name, f.type === "checkbox" ? inputs[i].checked : inputs[i].value]));
      const problem = check?.(values);
      if (problem) put(wrong, problem);
      else done(values);
    };
    const box = h("dialog", { class: "box", "aria-labelledby": "box-title" },
      h("form", { onsubmit: submit },
        h("h2", { id: "box-title" }, title),
        text && h("p", { class: "soft" }, text),
        fields.map((f, i) => label(f, inputs[i])),
        wrong,
        h("div", { class: "row end" },
          h("button", { type: "button", onclick: () => done(null) }, "Cancel"),
          h("button", { type: "submit", class: danger ? "danger" : "primary" }, ok))));
    box.addEventListener("cancel", (event) => { event.preventDefault(); done(null); });
    document.body.append(box);
    box.showModal();
    (inputs[0] ?? box.querySelector("button[type=submit]")).focus();
  });
}

// act does something that was confirmed, and says what came of it.
export async function act(what, f) {
  try {
    const result = await f();
    const n = result?.sockets;
    const missing = result?.partial ? `; not all servers have answered (${(result.partial.missing ?? []).join(", ") || result.partial.reason || "unnamed"})` : "";
    say(`${what}${n === undefined ? "" : `: ${whole(n)} socket${n === 1 ? "" : "s"}`}${missing}`, Boolean(missing));
    return result;
  } catch (err) {
    trouble(err);
    return null;
  }
}

// ---- pieces of views

// table makes a table: of columns {name, num}, and rows of cells.
export function table(label, columns, rows, empty = "There are none.") {
  return h("div", { class: "scroll", tabindex: rows.length ? 0 : undefined, role: "region", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : undefined }, c.name)))),
      h("tbody", {}, rows.length
        ? rows.map((cells) => h("tr", { class: cells.class }, cells.map((cell, i) => h("td", { class: [columns[i].num && "num", columns[i].wide && "wide"].filter(Boolean).join(" ") || undefined }, cell))))
        : h("tr", {}, h("td", { colspan: columns.length, class: "soft" }, empty)))));
}

export const pill = (text, kind = "") => h("span", { class: `pill ${kind}` }, text);

export const card = (title, ...children) => h("section", { class: "card" }, title && h("h2", {}, title), children);

export const href = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

export const link = (text, ...parts) => h("a", { href: href(...parts) }, text);
