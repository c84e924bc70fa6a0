"use strict";
// Applications as npm would have installed them: socket.io, and the bridge beside it.

const { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } = require("node:fs");
const { createRequire } = require("node:module");
const { tmpdir } = require("node:os");
const path = require("node:path");

const npm = path.join(__dirname, "..");
const { dependencies, files } = require("../package.json");

// installed makes a folder for an application, which goes with the process, and returns it.
// Its node_modules have the socket.io that is called so in modules, and all else that is there if
// it is called socket.io.
function installed(modules, socketio = "socket.io") {
  const home = realpathSync(mkdtempSync(path.join(tmpdir(), "sioedge-bridge-app-")));
  process.on("exit", () => rmSync(home, { recursive: true, force: true }));
  const into = path.join(home, "node_modules");
  const bridge = path.join(into, "sioedge-bridge");
  mkdirSync(bridge, { recursive: true });
  for (const part of ["package.json", ...files]) cpSync(path.join(npm, part), path.join(bridge, part), { recursive: true });

  const link = (name, from) => {
    mkdirSync(path.dirname(path.join(into, name)), { recursive: true });
    symlinkSync(realpathSync(from), path.join(into, name));
  };
  const there = new Set(["sioedge-bridge"]);
  if (socketio === "socket.io") {
    for (const name of readdirSync(modules).filter((n) => !n.startsWith("."))) {
      link(name, path.join(modules, name));
      there.add(name);
    }
  } else link("socket.io", path.join(modules, socketio));

  const own = createRequire(path.join(realpathSync(path.join(into, "socket.io")), "package.json"));
  for (const [name, range] of Object.entries(dependencies)) {
    // what socket.io needs too is there once, if its version allows
    if (!there.has(name)) link(name, shared(own, name, range) ?? path.join(npm, "node_modules", name));
  }
  return home;
}

// shared returns where socket.io has a package, if that is what the bridge asks for: ^a.b.c.
function shared(own, name, range) {
  let file;
  try {
    file = own.resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
  const [a, b, c] = numbers(range), [x, y, z] = numbers(own(file).version);
  return a === x && (y > b || (y === b && z >= c)) ? path.dirname(file) : undefined;
}

const numbers = (version) => version.replace(/^[^0-9]*/, "").split(".").map(Number);

module.exports = { installed };
