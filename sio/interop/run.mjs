// Runs the scenarios against a server:
//
//   node run.mjs URL [filter]          the server at URL, which serves the
//                                      application of reference-server.mjs
//   node run.mjs reference [filter]    Node's socket.io, started here
//
// It prints one line per scenario and mode, "ok name" or "FAIL name: reason",
// and exits with 1 when one failed or none matched the filter (part of a name).

import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { CLIENT, Context, MODES, PARSER } from "./harness.mjs";

const TIMEOUT = 20_000;
const here = new URL(".", import.meta.url);

async function load() {
  const dir = new URL("scenarios/", here);
  const all = [];
  for (const file of (await readdir(dir)).sort()) {
    if (!file.endsWith(".mjs")) continue;
    const theme = file.slice(0, -".mjs".length);
    for (const scenario of (await import(new URL(file, dir))).default) {
      all.push({ ...scenario, name: `${theme}: ${scenario.name}` });
    }
  }
  return all;
}

// reference starts Node's server; it ends with this process.
async function reference() {
  const child = spawn(process.execPath, ["reference-server.mjs"], {
    cwd: here,
    env: { ...process.env, WITH_PARENT: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.unref();
  const [url] = await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once("line", (line) => done([line]));
    child.once("exit", (code) => failed(new Error(`reference server exited with ${code}`)));
  });
  return url;
}

async function attempt(scenario, url, mode) {
  const t = new Context(url, mode);
  const limit = scenario.timeout ?? TIMEOUT;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${limit} ms`)), limit);
  });
  try {
    await Promise.race([scenario.run(t), late]);
    return null;
  } catch (err) {
    return err;
  } finally {
    clearTimeout(timer);
    t.close();
  }
}

function oneLine(err) {
  const text = String(err?.message ?? err).replace(/\s+/g, " ").trim();
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

async function main([target, filter = ""]) {
  if (!target) {
    console.error("usage: node run.mjs URL|reference [filter]");
    return 2;
  }
  const url = target === "reference" ? await reference() : target.replace(/\/+$/, "");
  let ok = 0;
  let failed = 0;
  for (const scenario of await load()) {
    if (scenario.json && PARSER) continue; // of the JSON parser alone
    if (CLIENT < (scenario.since ?? 2) || CLIENT > (scenario.until ?? 4)) continue; // of some clients alone
    const modes = (scenario.modes ?? MODES).filter((mode) => `${scenario.name} [${mode}]`.includes(filter));
    // The modes run side by side: they share nothing but the server.
    const results = await Promise.all(modes.map((mode) => attempt(scenario, url, mode)));
    modes.forEach((mode, i) => {
      const err = results[i];
      if (err) failed++;
      else ok++;
      console.log(`${err ? "FAIL" : "ok"} ${scenario.name} [${mode}]${err ? `: ${oneLine(err)}` : ""}`);
      if (err && process.env.VERBOSE) console.log(err.stack);
    });
  }
  console.log(`# ${ok} ok, ${failed} failed`);
  return failed === 0 && ok > 0 ? 0 : 1;
}

// A rejection that no scenario awaits must not end the list in the middle, nor
// pass unseen.
let stray = 0;
process.on("unhandledRejection", (err) => {
  stray++;
  console.log(`FAIL unawaited: ${oneLine(err)}`);
});

const status = await main(process.argv.slice(2));
process.exit(stray > 0 ? 1 : status);
