// Plays the scenarios with one kind of client against two servers side by side:
//
//   node play.mjs URL [filter]
//
// URL serves the application of reference-server.mjs; Node's socket.io, started
// here, is the other. With "bridge" for a URL, bridged.mjs is started as well. filter is part of a name, as "theme: scenario [mode]". It
// prints a line of JSON for each scenario and mode, for run.mjs to compare:
//
//   {scenario, mode, node: {seen, error}, here: {seen, error}, differs, again}
//
// What Node's server does not pass is played again, on both: it says nothing.

import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { sound } from "./compare.mjs";
import { CLIENT, Context, MODES, PARSER, shown } from "./harness.mjs";

const TIMEOUT = 40_000;
const ATTEMPTS = 3;
const SIDE_BY_SIDE = 2; // scenarios, each in all its modes and on both servers
const VARIANT = process.env.VARIANT ?? String(CLIENT);
const running = new AsyncLocalStorage(); // what an error that nobody awaits belongs to
const here = new URL(".", import.meta.url);
const [target, filter = ""] = process.argv.slice(2);
const SERVER = target === "bridge" ? "bridge" : "go"; // that differences are declared for

async function load() {
  const dir = new URL("scenarios/", here);
  const all = [];
  for (const file of (await readdir(dir)).sort()) {
    if (!file.endsWith(".mjs")) continue;
    const theme = file.slice(0, -".mjs".length);
    for (const scenario of (await import(new URL(file, dir))).default) {
      all.push({ ...scenario, theme, name: `${theme}: ${scenario.name}` });
    }
  }
  return all;
}

// applies tells whether the scenario is one for this kind of client.
function applies(scenario) {
  if (scenario.json && PARSER) return false;
  if (CLIENT < (scenario.since ?? 2) || CLIENT > (scenario.until ?? 4)) return false;
  // With recovery on nothing must change for clients that stay.
  if (VARIANT === "recovery") return scenario.theme === "recovery" || scenario.theme === "order";
  return scenario.theme !== "recovery" && (scenario.variants ?? [VARIANT]).includes(VARIANT);
}

// played has the modes that a scenario is played in. Behind a bridge transports are
// those of the edge, and were all played with it: one kind of client shows that.
function played(scenario) {
  const modes = scenario.modes ?? MODES;
  return SERVER === "bridge" && VARIANT !== "4" && modes.includes("websocket") ? ["websocket"] : modes;
}

// reference starts Node's server, and bridged Node behind an edge; they end with
// this process.
const reference = () => start("reference-server.mjs");
const bridged = () => start("bridged.mjs");

async function start(script) {
  const child = spawn(process.execPath, [script], {
    cwd: here,
    env: { ...process.env, WITH_PARENT: "1" },
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.unref();
  const url = await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once("line", done);
    child.once("exit", (code) => failed(new Error(`${script} exited with ${code}`)));
  });
  return { url, stop: () => child.kill() };
}

async function attempt(scenario, url, mode, another) {
  const t = new Context(url, mode, another);
  const limit = scenario.timeout ?? TIMEOUT;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${limit} ms`)), limit);
  });
  try {
    await Promise.race([scenario.run(t), late]);
    return { seen: t.seen };
  } catch (err) {
    return { seen: t.seen, error: oneLine(err), stack: process.env.VERBOSE && err.stack };
  } finally {
    clearTimeout(timer);
    t.close();
  }
}

// declared has the differences of the scenario that hold in the mode.
function declared(scenario, mode) {
  return (scenario.differs ?? [])
    .filter((d) => (d.modes ?? [mode]).includes(mode) && (d.variants ?? [VARIANT]).includes(VARIANT) && (d.servers ?? [SERVER]).includes(SERVER))
    .map(({ seen, row }) => ({
      row,
      seen: Object.fromEntries(Object.entries(seen).map(([name, [node, here]]) => [name, { node: shown(node), here: shown(here) }])),
    }));
}

function oneLine(err) {
  const text = String(err?.message ?? err).replace(/\s+/g, " ").trim();
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

// compared plays the scenario on both servers, which share nothing but this process.
async function compared(scenario, mode, url, nodeUrl) {
  const on = (server, ...args) => running.run({ name: scenario.name, mode, server }, () => attempt(scenario, ...args));
  const first = on("node", nodeUrl, mode, reference);
  if (scenario.theme === "order") await first; // it has many clients
  const [node, ours] = await Promise.all([first, on("here", url, mode, SERVER === "bridge" ? bridged : undefined)]);
  return { scenario: scenario.name, mode, node, here: ours, differs: declared(scenario, mode) };
}

async function play(scenario, filter, url, nodeUrl) {
  const modes = played(scenario).filter((mode) => `${scenario.name} [${mode}]`.includes(filter));
  await Promise.all(
    modes.map(async (mode) => {
      let result;
      let again = -1;
      do {
        result = await compared(scenario, mode, url, nodeUrl);
        again++;
      } while (!sound(result) && again + 1 < ATTEMPTS);
      console.log(JSON.stringify({ ...result, again }));
    }),
  );
}

// An error that no scenario awaits must not end the list in the middle, nor pass
// unseen.
for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (err) => {
    const { name = "unknown", mode = "polling", server = "here" } = running.getStore() ?? {};
    const result = { scenario: `unawaited in ${name}`, mode, node: { seen: {} }, here: { seen: {} }, differs: [] };
    result[server].error = oneLine(process.env.VERBOSE ? err.stack : err);
    console.log(JSON.stringify(result));
  });
}

// The runner holds our standard input open: when it dies, however, so do we.
process.stdin.resume().on("end", () => process.exit(1));

const url = SERVER === "bridge" ? (await bridged()).url : target;
const nodeUrl = (await reference()).url;
const all = (await load()).filter(applies);
const waiting = all.filter((scenario) => scenario.theme !== "order");
await Promise.all(
  Array.from({ length: SIDE_BY_SIDE }, async () => {
    while (waiting.length > 0) await play(waiting.shift(), filter, url, nodeUrl);
  }),
);
for (const scenario of all.filter(({ theme }) => theme === "order")) await play(scenario, filter, url, nodeUrl);
process.stdout.write("", () => process.exit(0)); // behind all that was printed
