// The frame of the page: who logs in, where one is, and what keys do.

import { h, put, ask, session, whenExpired, dialog, href, pill } from "./core.js";
import { overview, watch, onOverview } from "./overview.js";
import { namespaces, namespace, room, search } from "./browse.js";
import { socket } from "./socket.js";
import { hot } from "./hot.js";
import { trace } from "./trace.js";
import { settings } from "./config.js";

const app = document.getElementById("app");

// The views, by the first part of what is behind #/.
const views = { "": overview, ns: namespaces, in: namespace, room, socket, search, hot, trace, config: settings };
const places = [["Overview", "", "o"], ["Namespaces", "ns", "n"], ["Hot spots", "hot", "h"], ["Trace", "trace", "t"], ["Settings", "config", "c"]];

let leave = () => {}; // the view that is there
let unwatch = null;

// ---- light and dark

const themes = ["auto", "light", "dark"];
let theme = "auto";
try { theme = themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto"; } catch { /* is not kept then */ }

function setTheme(name) {
  theme = name;
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try { localStorage.setItem("theme", name); } catch { /* as above */ }
  const button = document.getElementById("theme");
  if (button) {
    put(button, { auto: "◐", light: "☀", dark: "☾" }[name]);
    button.setAttribute("aria-label", `Colours: ${name}. Press for ${themes[(themes.indexOf(name) + 1) % 3]}.`);
    button.title = `Colours: ${name}`;
  }
}
const nextTheme = () => setTheme(themes[(themes.indexOf(theme) + 1) % 3]);

// ---- login

function end() {
  leave();
  leave = () => {};
  unwatch?.();
  unwatch = null;
  session.token = "";
}

function login(message = "") {
  end();
  const wrong = h("p", { class: "wrong", role: "alert" }, message);
  const user = h("input", { id: "user", autocomplete: "username", value: "admin", required: true, maxlength: 256 });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password", maxlength: 1024 });
  const key = h("input", { id: "key", type: "password", autocomplete: "off", maxlength: 4096 });
  const button = h("button", { class: "primary", type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    put(wrong);
    try {
      enter(await ask("login", key.value ? { key: key.value } : { user: user.value, password: password.value }));
    } catch (err) {
      put(wrong, err.message);
      button.disabled = false;
      (key.value ? key : password).select();
    }
  };
  document.title = "Log in · sioedge";
  put(app, h("main", { id: "main", class: "door" },
    h("form", { class: "card", onsubmit: submit },
      h("h1", {}, h("span", { class: "mark", "aria-hidden": "true" }), "sioedge"),
      h("label", {}, h("span", {}, "User"), user),
      h("label", {}, h("span", {}, "Password"), password),
      h("p", { class: "or soft" }, h("span", {}, "or")),
      h("label", {}, h("span", {}, "Key of the API"), key),
      wrong, button)));
  password.focus();
}

function enter(x) {
  Object.assign(session, x);
  const status = h("span", { class: "status", role: "status" });
  const find = h("input", { id: "find", type: "search", placeholder: "Find a socket, user or address", "aria-label": "Find a socket by its id, a user, or an address", "aria-keyshortcuts": "/", maxlength: 512, spellcheck: "false", autocomplete: "off" });
  const found = (event) => {
    event.preventDefault();
    if (find.value.trim()) location.hash = href("search", find.value.trim());
    find.value = "";
  };
  put(app,
    h("header", { class: "top" },
      h("a", { class: "brand", href: "#/" }, h("span", { class: "mark", "aria-hidden": "true" }), "sioedge"),
      h("form", { class: "find", role: "search", onsubmit: found }, find, h("kbd", { "aria-hidden": "true" }, "/")),
      status,
      h("button", { id: "theme", class: "icon", type: "button", onclick: nextTheme }),
      h("button", { id: "help", class: "icon", type: "button", "aria-label": "Keys", title: "Keys (?)", onclick: help }, "?"),
      h("button", { id: "logout", type: "button", onclick: logout, title: session.user }, "Log out")),
    h("nav", { "aria-label": "Views" }, places.map(([name, part, key]) => h("a", { href: part ? `#/${part}` : "#/", "data-part": part, "aria-keyshortcuts": `g ${key}` }, name))),
    h("main", { id: "main", tabindex: -1 }));
  setTheme(theme);
  unwatch = watch();
  let was = "";
  onOverview((o) => {
    const is = o === null ? "not reached" : o.draining ? "draining" : "serving";
    if (is !== was) put(status, pill(was = is, { "not reached": "bad", draining: "warn", serving: "ok" }[is]), session.readonly ? pill("read only") : "");
  });
  show();
}

async function logout() {
  try { await ask("logout", null); } catch { /* it has ended all the same */ }
  login();
}

// ---- where one is

function show() {
  if (!session.token) return;
  leave();
  const [part = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map((x) => { try { return decodeURIComponent(x); } catch { return x; } });
  const view = views[part] ?? overview;
  const shownAs = { in: "ns", room: "ns", socket: "ns", search: "" }[part] ?? part;
  for (const a of document.querySelectorAll("nav a")) {
    if (a.dataset.part === shownAs && part !== "search") a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  put(main);
  leave = view(main, ...rest) ?? (() => {});
  const title = main.querySelector("h1");
  document.title = `${title?.textContent ?? "sioedge"} · sioedge`;
  title?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

// ---- keys

const keys = [["/", "find a socket, user or address"], ["g o", "overview"], ["g n", "namespaces"], ["g h", "hot spots"], ["g t", "trace"], ["g c", "settings"], ["d", "light, dark, or as the system has it"], ["?", "this list"], ["Esc", "close a dialog"]];

function help() {
  if (document.querySelector("dialog")) return;
  const back = document.activeElement;
  const box = h("dialog", { class: "box", "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "facts" }, keys.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("form", { method: "dialog", class: "row end" }, h("button", { class: "primary" }, "Close")));
  box.addEventListener("close", () => { box.remove(); back?.focus?.(); });
  document.body.append(box);
  box.showModal();
}

let going = 0; // when g was pressed
addEventListener("keydown", (event) => {
  if (!session.token || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog") || event.target.closest?.("input, textarea, select")) return;
  if (Date.now() - going < 1500) {
    going = 0;
    const place = places.find(([, , key]) => key === event.key);
    if (place) {
      event.preventDefault();
      location.hash = place[1] ? `#/${place[1]}` : "#/";
    }
    return;
  }
  switch (event.key) {
    case "g": going = Date.now(); break;
    case "/": event.preventDefault(); document.getElementById("find").focus(); break;
    case "d": nextTheme(); break;
    case "?": help(); break;
  }
});

addEventListener("hashchange", show);
whenExpired(() => { if (session.token) login("The session has ended."); });
setTheme(theme);
ask("session").then(enter, () => login());
