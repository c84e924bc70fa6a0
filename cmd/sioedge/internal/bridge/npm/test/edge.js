"use strict";
// Processes of sioedge for tests: each on ports of its own, with one application or
// several behind it.

const { execFileSync, spawn } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const net = require("node:net");
const { tmpdir } = require("node:os");
const path = require("node:path");
const readline = require("node:readline");

// How long one awaited thing may take before its test fails. A busy machine takes its time.
const PATIENCE = Number(process.env.PATIENCE ?? 20_000);

const folder = mkdtempSync(path.join(tmpdir(), "sioedge-bridge-"));
const running = new Set();
process.on("exit", () => {
  for (const edge of running) edge.process.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

let built = process.env.SIOEDGE;

// binary returns the path of sioedge: $SIOEDGE, or it is built, once.
function binary() {
  if (!built) {
    built = path.join(folder, "sioedge");
    execFileSync("go", ["build", "-o", built, "./cmd/sioedge"], { cwd: path.join(__dirname, "../../../../../.."), stdio: "inherit" });
  }
  return built;
}

// freePort returns a port on which nobody listens just now.
function freePort() {
  const server = net.createServer().listen(0); // without a name to look up it listens at once
  const { port } = server.address();
  server.close();
  return port;
}

// An Edge is a process. Its addresses are known at once; ready says when it listens.
class Edge {
  // settings are those of its file, beside addresses and keys; bridges names the
  // applications, each with the patterns of its namespaces.
  constructor(settings = {}, bridges = { main: ["/", "/*rest"] }) {
    const port = freePort(), internal = freePort();
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.internal = `http://127.0.0.1:${internal}`;
    this.keys = {};
    this.log = [];
    const file = {
      origins: "*", log: { format: "json" }, ...settings,
      listen: `127.0.0.1:${port}`, internal: { listen: `127.0.0.1:${internal}` },
      bridges: {}, namespaces: [],
    };
    for (const [name, patterns] of Object.entries(bridges)) {
      this.keys[name] = randomBytes(24).toString("hex");
      file.bridges[name] = { keys: [this.keys[name]] };
      for (const pattern of patterns) file.namespaces.push({ pattern, bridge: name });
    }
    this.key = Object.values(this.keys)[0];
    const config = path.join(folder, `${port}.json`);
    writeFileSync(config, JSON.stringify(file), { mode: 0o600 });
    this.process = spawn(binary(), ["serve", "--config", config, "--drain-delay", "0s"], {
      env: { ...process.env, PORT: "", REDIS_URL: "" }, stdio: ["ignore", "ignore", "pipe"],
    });
    running.add(this);
    this.ended = new Promise((resolve) => this.process.once("exit", () => {
      running.delete(this);
      resolve();
    }));
    this.ready = this.#listens();
    this.ready.catch(() => {}); // whoever waits for it is told
  }

  #listens() {
    return new Promise((resolve, reject) => {
      readline.createInterface({ input: this.process.stderr }).on("line", (line) => {
        this.log.push(line);
        let said = {};
        try { said = JSON.parse(line); } catch {} // a panic is text
        if (said.msg === "listening") resolve(this);
        if (process.env.VERBOSE) console.error(line);
      });
      this.ended.then(() => reject(new Error(`sioedge has ended: ${this.log.join("\n")}`)));
    });
  }

  // stop ends the process without a word, and waits for that.
  async stop() {
    this.process.kill("SIGKILL");
    await this.ended;
  }
}

// until waits for what ok returns to be true.
async function until(what, ok) {
  for (const end = Date.now() + PATIENCE; ;) {
    const value = await ok();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

module.exports = { Edge, PATIENCE, binary, until };
