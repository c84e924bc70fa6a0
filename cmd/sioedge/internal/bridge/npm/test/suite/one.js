"use strict";
// Runs one file of socket.io's tests: node one.js FILE PLAIN GREP. Says of each test what
// became of it, as a line of JSON on descriptor 3.

const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const Mocha = require("mocha");
const ts = require("typescript");

const [file, plain, grep] = process.argv.slice(2);
const folder = path.dirname(file);
const say = (x) => fs.writeSync(3, JSON.stringify(x) + "\n");

// The tests' types are left out, not checked.
require.extensions[".ts"] = (module, filename) => {
  const { outputText } = ts.transpileModule(fs.readFileSync(filename, "utf8"), {
    fileName: filename,
    compilerOptions: { module: "commonjs", target: "es2022", esModuleInterop: true, inlineSourceMap: true },
  });
  module._compile(outputText, filename);
};

// What the tests take for the package beside them is socket.io as it is installed here,
// and so is everything else that they need.
const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  if (parent?.filename?.startsWith(folder + path.sep)) {
    if (/^\.\.(\/\.\.)?(\/(lib|dist))?$/.test(request) && !fs.existsSync(path.join(path.dirname(parent.filename), request, "support"))) {
      return require.resolve("socket.io");
    }
    if (!request.startsWith(".")) return require.resolve(request);
  }
  return resolve.call(this, request, parent, ...rest);
};

const alone = plain === "true";
const bridged = alone ? undefined : require("./bridged.js");
bridged?.install(require("socket.io").Server);

const expectations = require("./expectations.js");
const left = (alone ? expectations.plain : expectations.tests)[path.basename(file)] ?? {};
const seen = new Set();

// name is by which a test is called in the table: with the parts that it is in, but the first.
const name = (test) => test.titlePath().slice(1).join(" › ");

// They count milliseconds, and take it that clients connect in the order in which they are made:
// with plain Node too some fail on a busy machine. Which time a test passed at is said.
const mocha = new Mocha({ timeout: 10_000, retries: 3, grep: grep || undefined, reporter: function () {} });
mocha.addFile(file);
mocha.loadFiles();
mocha.suite.eachTest((test) => {
  seen.add(name(test));
  test.reason = left[name(test)];
  if (test.reason) test.pending = true;
});
mocha.suite.beforeEach(async function () {
  this.timeout(60_000);
  await bridged?.prepared();
});
mocha.suite.afterEach(async function () {
  this.timeout(60_000);
  await bridged?.finished();
});
say({ tests: [...seen] });
const failed = new Map(); // errors by test, of those that did not pass afterwards
const runner = mocha.run(() => {
  for (const [test, error] of failed) say({ test, state: "failed", error });
  for (const stale of Object.keys(left)) if (!seen.has(stale)) say({ stale });
  say({ done: true });
  process.exit();
});
runner.on("pass", (test) => {
  failed.delete(name(test));
  say({ test: name(test), state: "passed", tries: test.currentRetry() + 1 });
});
runner.on("pending", (test) => say({ test: name(test), state: "left out", reason: test.reason ?? "by itself" }));
runner.on("fail", (test, err) => failed.set(name(test), err?.stack ?? String(err)));
