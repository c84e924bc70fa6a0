"use strict";
// Each version of socket.io, on an edge: node --test versions.test.js. $VERSIONS has some of
// them, $PLAIN=1 has the scenarios of one process run without edge and bridge.

const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const path = require("node:path");
const { after, before, describe, it } = require("node:test");
const { Edge } = require("../edge.js");
const { installed } = require("../installed.js");
const { Context } = require("./harness.js");
const { recovery } = require("./recovery.js");
const { scenarios } = require("./scenarios.js");
const { together } = require("./together.js");

const all = Object.keys(require("./package.json").devDependencies).filter((name) => /^socket\.io-\d/.test(name)).map((name) => name.slice("socket.io-".length));
const versions = process.env.VERSIONS?.split(",") ?? all;
const plain = !!process.env.PLAIN;
const minor = (version) => Number(version.split(".")[1]);

// A Site is an edge with the application's processes behind it, or one process alone.
class Site {
  constructor(require, options = {}) {
    this.require = require;
    this.options = options;
    this.apps = [];
  }

  async start() {
    if (plain) return this.alone();
    this.edge = await new Edge(this.options.connectionStateRecovery && { recovery: { window: "1m" } }).ready;
    this.add();
  }

  // add attaches one more process.
  add() {
    const io = new (this.require("socket.io").Server)(this.options);
    const bridge = this.require("sioedge-bridge").attach(io, { name: "main", key: this.edge.key, edges: [this.edge.internal] });
    this.apps.push({ io, bridge });
  }

  async alone() {
    const http = createServer();
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    this.edge = { url: `http://127.0.0.1:${http.address().port}`, stop() {} };
    this.apps.push({ io: new (this.require("socket.io").Server)(http, this.options), bridge: { close() {} } });
  }

  async stop() {
    await Promise.all(this.apps.map(async ({ io, bridge }) => {
      await io.close();
      await bridge.close();
    }));
    await this.edge.stop();
  }
}

for (const version of versions) {
  const home = installed(path.join(__dirname, "node_modules"), `socket.io-${version}`);
  const require = createRequire(path.join(home, "index.js"));

  // suite has scenarios run on a site of their own.
  const suite = (name, scenarios, options, processes = 1) => describe(`socket.io ${version}: ${name}`, { skip: plain && processes > 1 }, () => {
    const site = new Site(require, options);
    before(async () => {
      await site.start();
      while (site.apps.length < processes) site.add();
    });
    after(() => site.stop());
    for (const { name, since, run } of scenarios) {
      it(name, { skip: minor(version) < minor(since) && `an interface of ${since}` }, async () => {
        const t = new Context(site.edge, site.apps.map(({ io }) => io));
        try {
          await run(t);
        } finally {
          t.close();
        }
      });
    }
  });

  suite("one process", scenarios);
  suite("two processes", together, {}, 2);
  suite("recovery", recovery, { connectionStateRecovery: {} });
}
