// Runs the scenarios against a server and against Node's, and prints the table of
// what is the same and what differs:
//
//   node run.mjs [--filter part-of-a-name] VARIANT=URL…
//
// The URLs serve the application of reference-server.mjs, with the options of
// their variant of client and server; the URL "bridge" is that of bridged.mjs: Node
// behind an edge. It exits with 1 if a scenario failed on a
// server, if the servers differ and that is not declared beside the scenario, if a
// declared difference does not show, or if nothing was compared.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { compare, differences, table } from "./compare.mjs";

// What the processes of a variant find in their environment.
const VARIANTS = {
  4: {},
  3: { CLIENT: "3" },
  2: { CLIENT: "2", EIO3: "1" },
  msgpack: { PARSER: "msgpack" },
  recovery: { RECOVERY: "1" },
  deflate: { DEFLATE: "1" },
  mounted: {},
};
const SIDE_BY_SIDE = 2;

// play runs one variant and returns what its scenarios came to.
async function play(variant, url, filter) {
  const began = Date.now();
  const child = spawn(process.execPath, ["play.mjs", url, filter], {
    cwd: new URL(".", import.meta.url),
    env: { ...process.env, ...VARIANTS[variant], VARIANT: variant },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((done) => child.once("close", done));
  const results = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const result = JSON.parse(line);
    const compared = { variant, ...result, ...compare(result) };
    results.push(compared);
    // At once: who ends this run before its table is to know.
    if (compared.verdict === "wrong") console.log(`wrong: ${variant}, ${result.scenario} [${result.mode}]: ${compared.lines.join("; ")}`);
  }
  const code = await ended;
  console.log(`${variant}: ${results.length} compared in ${Math.round((Date.now() - began) / 1000)} s`);
  if (code !== 0) throw new Error(`${variant}: play.mjs exited with ${code}`);
  return results;
}

async function main() {
  const { values, positionals } = parseArgs({ options: { filter: { type: "string", default: "" } }, allowPositionals: true });
  const targets = positionals.map((arg) => arg.split(/=(.*)/s));
  if (targets.length === 0 || targets.some(([variant, url]) => !VARIANTS[variant] || !url)) {
    console.error(`usage: node run.mjs [--filter part-of-a-name] VARIANT=URL…\nvariants: ${Object.keys(VARIANTS).join(", ")}`);
    return 2;
  }
  const results = [];
  const waiting = [...targets];
  const lane = async () => {
    while (waiting.length > 0) {
      const [variant, url] = waiting.shift();
      results.push(...(await play(variant, url, values.filter)));
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, lane));
  if (results.length === 0) {
    console.error(`no scenario has "${values.filter}" in its name`);
    return 1;
  }
  const count = (verdict) => results.filter((r) => r.verdict === verdict).length;
  console.log(table(results, targets.map(([variant]) => variant)).join("\n"));
  console.log(`\n${differences(results).join("\n")}`);
  const again = results.filter((r) => r.again > 0).length;
  console.log(`\n# ${count("same")} same, ${count("differs")} different as declared, ${count("wrong")} wrong`);
  if (again > 0) console.log(`# ${again} were played again, as Node's server had not passed them`);
  return count("wrong") > 0 ? 1 : 0;
}

process.exitCode = await main();
