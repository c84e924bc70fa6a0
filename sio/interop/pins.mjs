// Drives the demo's board in Chromium, as two people would:
//
//   node pins.mjs URL         the server whose page is at URL/demo/board.html
//
// What the board does is declared, and no program's. It prints one line per step, "ok
// name" or "FAIL name: reason", leaves screenshots in $ARTEFACTS (build/ of the
// repository), and exits with 1 when a step failed or a page reported an error.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PATIENCE = 15_000;
const ARTEFACTS = process.env.ARTEFACTS ?? fileURLToPath(new URL("../../build", import.meta.url));
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const [url] = process.argv.slice(2);
const problems = [];

// enter opens the page as somebody, in a browser of their own.
async function enter(browser, name, board = "") {
  const page = await (await browser.newContext({ viewport: { width: 1200, height: 760 } })).newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (err) => problems.push(`${name}: ${err.message}`));
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) problems.push(`${name}: ${m.text()}`); });
  await page.goto(`${url}/demo/board.html${board}`);
  await page.waitForSelector('body[data-state="connected"]');
  await page.fill("#name", name);
  return page;
}

const pin = async (page, text) => { await page.fill("#note", text); await page.click("#note-form button"); };
const sees = (page, text) => page.locator("#notes li", { hasText: text }).first().waitFor();
const members = (page, n) => page.waitForFunction((n) => document.querySelectorAll("#members li").length === n, n);

let ada, bob;
const steps = {
  "who comes sees who is there, and is seen": async (browser) => {
    ada = await enter(browser, "Ada");
    await members(ada, 1);
    await pin(ada, "Good morning");
    await sees(ada, "Good morning");
    bob = await enter(browser, "Bob");
    await members(ada, 2);
    await members(bob, 2);
  },
  "what was pinned before is there for who comes later": () => sees(bob, "Good morning"),
  "cursors are relayed with who moves them": async () => {
    await bob.mouse.move(200, 200);
    await bob.mouse.move(300, 260, { steps: 6 });
    await ada.locator(".cursor", { hasText: "Bob" }).waitFor();
    assert.equal(await bob.locator(".cursor").count(), 0, "Bob sees his own cursor");
  },
  "notes reach everybody, as text": async () => {
    await pin(bob, "<b>Hello</b> Ada");
    await sees(ada, "<b>Hello</b> Ada");
    await sees(bob, "<b>Hello</b> Ada");
    await ada.screenshot({ path: join(ARTEFACTS, "demo-board.png") });
  },
  "who pins too much is told so": async () => {
    await bob.evaluate(async () => {
      for (let i = 0; i < 20; i++) {
        document.getElementById("note").value = `too much ${i}`;
        document.getElementById("note-form").requestSubmit();
      }
    });
    await bob.locator("#refused", { hasText: /./ }).waitFor();
    const seen = await ada.locator("#notes li", { hasText: "too much" }).count();
    assert.ok(seen < 20, `all ${seen} were pinned`);
  },
  "another board is another one": async (browser) => {
    const eve = await enter(browser, "Eve", "#elsewhere");
    await members(eve, 1);
    assert.equal(await eve.locator("#notes li").count(), 0);
    await eve.context().close();
  },
  "who leaves is not there any more": async () => {
    await bob.context().close();
    await members(ada, 1);
  },
  "the page fits a phone": async (browser) => {
    const page = await (await browser.newContext({ viewport: { width: 390, height: 800 }, colorScheme: "dark" })).newPage();
    await page.goto(`${url}/demo/board.html`);
    await page.waitForSelector('body[data-state="connected"]');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is wider than the phone");
    await page.screenshot({ path: join(ARTEFACTS, "demo-board-phone.png") });
    await page.context().close();
  },
};

await mkdir(ARTEFACTS, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step(browser);
    console.log(`ok ${name}`);
  } catch (err) {
    failed++;
    console.log(`FAIL ${name}: ${err.message}`);
  }
}
await browser.close();
for (const problem of problems) console.log(`FAIL page: ${problem}`);
process.exit(failed || problems.length ? 1 : 0);
