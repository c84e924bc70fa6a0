"use strict";
// Options of attach, with what they are if they are not given.

const { randomBytes } = require("node:crypto");

const defaults = {
  name: "main",
  window: 4 << 20,
  maxMessage: 64 << 20,
  maxPending: 256 << 20,
  settle: 2000,
  disconnectOnHandover: false,
};

const known = new Set([...Object.keys(defaults), "edges", "key", "uid", "data", "tls", "log", "drainOn"]);

// read returns the options checked; it throws a TypeError that names what is wrong.
function read(given) {
  if (typeof given !== "object" || given === null) throw new TypeError("sioedge-bridge: options are missing");
  for (const k of Object.keys(given)) {
    if (!known.has(k)) throw new TypeError(`sioedge-bridge: there is no option ${JSON.stringify(k)}`);
  }
  const o = { ...defaults, ...dropUndefined(given) };
  const is = (ok, what) => {
    if (!ok) throw new TypeError(`sioedge-bridge: ${what}`);
  };
  is(Array.isArray(o.edges) && o.edges.length > 0, "edges is not a list of URLs");
  is(typeof o.key === "string" && o.key !== "", "key is missing");
  is(/^[\x21-\x7e]+$/.test(o.key), "key has characters that a header cannot have");
  is(typeof o.name === "string" && o.name !== "", "name is not text");
  if (o.uid === undefined) o.uid = randomBytes(12).toString("hex");
  is(typeof o.uid === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(o.uid), "uid is not 1 to 64 of A-Z a-z 0-9 _ -");
  is(o.data === undefined || o.data === "eager" || o.data === "drain", 'data is neither "eager" nor "drain"');
  for (const k of ["window", "maxMessage", "maxPending"]) is(Number.isSafeInteger(o[k]) && o[k] > 0, `${k} is not a number of bytes`);
  is(typeof o.settle === "number" && o.settle >= 0, "settle is not a number of milliseconds");
  is(o.log === undefined || o.log === false || typeof o.log === "function", "log is neither a function nor false");
  is(o.drainOn === undefined || [o.drainOn].flat().every((s) => typeof s === "string"), "drainOn is not the name of a signal");
  o.urls = o.edges.map(readURL);
  is(new Set(o.urls.map(String)).size === o.urls.length, "edges has one twice");
  return o;
}

function readURL(edge) {
  let url;
  try {
    url = new URL(edge);
  } catch {
    throw new TypeError(`sioedge-bridge: edges: ${JSON.stringify(edge)} is not a URL`);
  }
  const protocol = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[url.protocol];
  if (!protocol || url.username || url.search || url.hash) throw new TypeError(`sioedge-bridge: edges: ${JSON.stringify(edge)} is not http://HOST:PORT`);
  return String(url).replace(/^[a-z]+:/, protocol).replace(/\/+$/, "");
}

function dropUndefined(o) {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));
}

module.exports = { read };
