// Runs the tests of socket.io's server through the bridge: node run.mjs DIR [--plain]
// [--only FILE] [--grep TEXT] [--verbose]. See README.md.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const { binary } = require("../edge.js");
const { files } = require("./expectations.js");
const one = fileURLToPath(new URL("one.js", import.meta.url));

const { values: options, positionals: [folder] } = parseArgs({
  allowPositionals: true,
  options: { plain: { type: "boolean" }, only: { type: "string" }, grep: { type: "string" }, verbose: { type: "boolean" } },
});
if (!folder || !existsSync(join(folder, "support"))) {
  console.error("usage: node run.mjs DIR, the folder packages/socket.io/test of socket.io's repository");
  process.exit(2);
}

const all = readdirSync(folder).filter((f) => f.endsWith(".ts") && !f.endsWith("test-d.ts") && f !== "index.ts");
const run = all.filter((f) => !files[f] && (!options.only || f === options.only));
const count = { passed: 0, failed: 0, "left out": 0 };
const env = options.plain ? process.env : { ...process.env, SIOEDGE: binary() };
let wrong = false;

function show(file, { test, state, reason, error, tries }) {
  count[state]++;
  if (state === "passed" && tries === 1 && !options.verbose) return;
  console.log(`${state}  ${file}: ${test}${tries > 1 ? ` (${tries} tries)` : ""}${reason ? `\n          ${reason}` : ""}${error ? `\n${error.replace(/^/gm, "          ")}` : ""}`);
}

// runFile runs one file in a process, which ends with it.
async function runFile(file) {
  const child = spawn(process.execPath, [one, resolve(folder, file), String(!!options.plain), options.grep ?? ""], {
    env, stdio: ["ignore", options.verbose ? "inherit" : "ignore", "inherit", "pipe"],
  });
  let whole = false, awaited = new Set();
  for await (const line of createInterface({ input: child.stdio[3] })) {
    const said = JSON.parse(line);
    if (said.tests) awaited = new Set(said.tests);
    else if (said.test) {
      awaited.delete(said.test);
      show(file, said);
    }
    else if (said.stale) {
      wrong = true;
      console.log(`stale     ${file}: ${said.stale}`);
    } else whole = true;
  }
  if (!whole) {
    wrong = true;
    console.log(`failed  ${file}: its process has ended`);
  }
  if (!options.grep) for (const test of awaited) show(file, { test, state: "failed", error: "it has not run" });
}

for (const [file, reason] of Object.entries(files)) {
  if (!options.only || file === options.only) console.log(`left out  ${file}\n          ${reason}`);
}
const queue = [...run];
await Promise.all(Array.from({ length: availableParallelism() }, async () => {
  for (let file; (file = queue.shift());) await runFile(file);
}));
console.log(`${count.passed} passed, ${count.failed} failed, ${count["left out"]} left out`);
process.exit(wrong || count.failed || !count.passed ? 1 : 0);
