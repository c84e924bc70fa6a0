// Node behind an edge: starts sioedge, with the settings of the variant, and
// reference-server.mjs, which the bridge attaches to it. What ends the application
// does not end the edge: as anybody's would be, it is started again.
//
//   SIOEDGE=path-of-the-binary BRIDGE=directory-of-the-package node bridged.mjs
//
// It prints the URL that the edge listens to, and ends with its standard input.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { SIOEDGE, EIO3, PARSER, RECOVERY, DEFLATE } = process.env;
const KEY = "key-of-the-bridge-of-this-test";
const NAMESPACES = ["/", "/other", "/early", "/private", "/campaigns/:id/trends", "/gate", "/broken", "/silent"];

// JSON is YAML.
const settings = {
  listen: "127.0.0.1:0",
  internal: { listen: "127.0.0.1:0" },
  api: { keys: [KEY] },
  origins: "*",
  log: { format: "json" },
  drain: "1s",
  drain_delay: "0s",
  ping: { interval: "1s", timeout: "3s" },
  bridges: { main: { grace: "300ms" } },
  namespaces: NAMESPACES.map((pattern) => ({ pattern, bridge: "main" })),
  ...(EIO3 && { eio3: true }),
  ...(PARSER && { parser: "auto" }),
  ...(RECOVERY && { recovery: { window: "1m" } }),
  ...(DEFLATE && { compress: { mode: "all", threshold: 1, max_inflated: 1_000_000 } }),
};

const dir = mkdtempSync(join(tmpdir(), "bridged-"));
const file = join(dir, "sioedge.json");
writeFileSync(file, JSON.stringify(settings));

const edge = spawn(SIOEDGE, ["serve", "--config", file], { stdio: ["ignore", "ignore", "pipe"] });
let application;
let ending = false;

function end(code) {
  if (ending) return;
  ending = true;
  edge.kill();
  application?.kill();
  rmSync(dir, { recursive: true, force: true });
  process.exitCode = code;
}

// serve starts the application, again whenever it has ended.
function serve(inside) {
  application = spawn(process.execPath, ["reference-server.mjs"], {
    cwd: new URL(".", import.meta.url),
    env: { ...process.env, EDGE: inside, KEY },
    stdio: ["pipe", "ignore", process.env.VERBOSE ? "inherit" : "ignore"],
  });
  application.once("exit", () => ending || serve(inside));
}

const said = {};
createInterface({ input: edge.stderr }).on("line", (line) => {
  if (process.env.VERBOSE) console.error(line);
  const { msg, address } = JSON.parse(line);
  if (address) said[msg] ??= `http://${address}`;
  const inside = said["listening for operators and backends"];
  if (application || !said.listening || !inside) return;
  serve(inside);
  console.log(said.listening);
});
edge.once("exit", (code) => end(code || 1));
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => end(0));
process.stdin.resume().on("end", () => end(0));
