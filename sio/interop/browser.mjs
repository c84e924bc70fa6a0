// Drives the demo page in Chromium, as two people would:
//
//   node browser.mjs URL      the server whose page is at URL/demo/
//
// It prints one line per step, "ok name" or "FAIL name: reason", leaves
// screenshots in $ARTEFACTS (build/ of the repository), and exits with 1 when a step failed or a
// page reported an error. $CHROMIUM is the browser (/usr/bin/chromium).

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PATIENCE = 10_000;
const ARTEFACTS = process.env.ARTEFACTS ?? fileURLToPath(new URL("../../build", import.meta.url));
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// What a browser reports when a connection is dropped on purpose.
const EXPECTED = [/WebSocket connection to .* failed/, /WebSocket is closed before the connection is established/, /Failed to load resource: .*(ERR_|status of 400)/];

// A PNG of 2 by 2 pixels.
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAE0lEQVR42mPwd3u6IvQ7AxADWQAuSAbdR6pzdgAAAABJRU5ErkJggg==",
  "base64",
);

const problems = [];

function listen(page, name) {
  page.on("pageerror", (err) => problems.push(`${name}: ${err.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    if (EXPECTED.some((pattern) => pattern.test(message.text()))) return;
    problems.push(`${name}: ${message.text()}`);
  });
}

// Person is one page of the chat.
class Person {
  constructor(page, nick) {
    this.page = page;
    this.nick = nick;
  }

  async enter(url, room) {
    await this.page.goto(`${url}/demo/`);
    if (this.nick === "Ada") await this.shot("door");
    await this.page.fill("#nick", this.nick);
    await this.page.fill("#first-room", room);
    await this.page.click("#enter");
    await this.page.waitForSelector("#log");
    await this.connected();
  }

  connected() {
    return this.page.waitForSelector('body[data-state="connected"]');
  }

  write(text) {
    return this.page.fill("#text", text);
  }

  async say(text) {
    await this.write(text);
    await this.page.press("#text", "Enter");
  }

  // entry waits for a message with the text.
  entry(text, more = "") {
    return this.page.locator(`#log .message${more}`, { hasText: text }).last().waitFor();
  }

  sees(text) {
    return this.entry(text, ":not(.mine)");
  }

  delivered(text) {
    return this.entry(text, '.mine[data-status="delivered"]');
  }

  async text(id) {
    return (await this.page.textContent(id)).trim();
  }

  wait(selector, text) {
    return this.page.locator(selector, { hasText: text }).first().waitFor();
  }

  // nicks waits until exactly these people are listed.
  async nicks(...want) {
    const got = () => this.page.$$eval("#members li", (items) => items.map((item) => item.dataset.nick).sort());
    await until(`${this.nick} sees ${want}`, async () => String(await got()) === String(want.sort()));
  }

  async messages() {
    return this.page.$$eval("#log .message .bubble", (items) => items.map((item) => item.textContent));
  }

  shot(name) {
    return this.page.screenshot({ path: join(ARTEFACTS, `demo-${name}.png`) });
  }
}

async function until(what, check) {
  const deadline = Date.now() + PATIENCE;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

// The steps run in order; each begins where the one before it ended.
const steps = {
  "two people enter and see each other": async ({ url, ada, bob, room }) => {
    await ada.enter(url, room);
    await bob.enter(url, room);
    await ada.nicks("Ada", "Bob");
    await bob.nicks("Ada", "Bob");
    await ada.wait("#log .notice", "Bob came in");
  },

  "they chat both ways and see the delivered tick": async ({ ada, bob }) => {
    await ada.say("Good morning, Bob!");
    await ada.delivered("Good morning, Bob!");
    await bob.sees("Good morning, Bob!");
    await bob.say("Hello Ada 😀 – 漢字, e\u0301, שלום");
    await bob.delivered("Hello Ada 😀");
    await ada.sees("Hello Ada 😀 – 漢字, e\u0301, שלום");
  },

  "the page shows its transport, id and round trip": async ({ ada }) => {
    await ada.wait("#transport", "websocket");
    await ada.wait("#rtt", "ms");
    assert.match(await ada.text("#sid"), /^[\w-]{20}$/);
    assert.equal(await ada.text("#state"), "connected");
  },

  "markup in messages, names and rooms stays text": async ({ ada, bob, room }) => {
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
    await ada.say(markup);
    await bob.sees("<b>bold</b>");
    assert.equal((await bob.messages()).at(-1), markup);
    await ada.page.fill("#new-room", "<i>room</i>");
    await ada.page.press("#new-room", "Enter");
    await ada.wait("#room-title", "#<i>room</i>");
    assert.equal(await ada.page.locator("#side i, #log i, #log b b, main header i").count(), 0);
    await ada.page.click(`[data-room="${room}"]`);
    await bob.nicks("Ada", "Bob");
  },

  "typing is shown and ends with the message": async ({ ada, bob }) => {
    await bob.page.focus("#text");
    await until("Ada sees Bob typing", async () => {
      await bob.write("");
      await bob.page.keyboard.type("thinking");
      return (await ada.text("#typing")) === "Bob is typing…";
    });
    await ada.shot("chat");
    await bob.say("done thinking");
    await ada.sees("done thinking");
    await until("the indicator is gone", async () => (await ada.text("#typing")) === "");
  },

  "an image is sent and seen": async ({ ada, bob }) => {
    await ada.page.setInputFiles("#file", { name: "pixels.png", mimeType: "image/png", buffer: PNG });
    await ada.page.locator('#log .message.mine[data-status="delivered"] img').last().waitFor();
    const image = bob.page.locator("#log .message:not(.mine) img").last();
    await image.waitFor();
    const size = () => image.evaluate((img) => `${img.naturalWidth}x${img.naturalHeight}`);
    await until("Bob's image is decoded", async () => (await size()) === "2x2");
  },

  "a photograph above the limit is made smaller and pasted": async ({ ada, bob }) => {
    await ada.page.evaluate(async () => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1100;
      const context = canvas.getContext("2d");
      const sky = context.createLinearGradient(0, 0, 0, 1100);
      sky.addColorStop(0, "#1e3a8a");
      sky.addColorStop(0.6, "#f97316");
      sky.addColorStop(1, "#312e81");
      context.fillStyle = sky;
      context.fillRect(0, 0, 1100, 1100);
      for (let i = 0; i < 100_000; i++) {
        context.fillStyle = `rgb(255 255 255 / ${(i % 10) / 60})`;
        context.fillRect(Math.random() * 1100, Math.random() * 1100, 2, 2);
      }
      const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
      if (blob.size <= 500_000) throw new Error(`the photograph has only ${blob.size} bytes`);
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([blob], "sunset.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, cancelable: true }));
    });
    await ada.page.locator('#log .message.mine[data-status="delivered"] img[alt="sunset.png"]').waitFor();
    const image = bob.page.locator('#log img[alt="sunset.png"]');
    await image.waitFor();
    await until("the image is decoded", () => image.evaluate((img) => img.naturalWidth > 500));
  },

  "a dropped connection comes back, into the same room": async ({ ada, bob }) => {
    await ada.page.click("#drop");
    await ada.wait("#log .notice", "connection lost");
    await ada.wait("#log .notice", "connected again");
    await ada.connected();
    await bob.nicks("Ada", "Bob");
    await bob.say("Are you back?");
    await ada.sees("Are you back?");
    await ada.say("Yes, I am back.");
    await ada.delivered("Yes, I am back.");
    await bob.sees("Yes, I am back.");
  },

  "what is written while offline is sent afterwards, once": async ({ ada, bob }) => {
    await bob.page.click("#drop");
    await bob.wait("#log .notice", "connection lost");
    assert.notEqual(await bob.page.getAttribute("body", "data-state"), "connected");
    await bob.say("written while offline");
    await bob.entry("written while offline", '.mine[data-status="pending"]');
    await bob.delivered("written while offline");
    await ada.sees("written while offline");
    for (const person of [ada, bob]) {
      const copies = (await person.messages()).filter((text) => text === "written while offline");
      assert.equal(copies.length, 1, `copies at ${person.nick}`);
    }
  },

  "a third person in another room hears nothing": async ({ url, ada, bob, eve, room }) => {
    await eve.enter(url, `${room}-2`);
    await eve.nicks("Eve");
    await eve.say("Anybody here?");
    await eve.delivered("Anybody here?");
    await ada.say("Only for our room");
    await bob.sees("Only for our room");
    await ada.nicks("Ada", "Bob");
    assert.deepEqual(await eve.messages(), ["Anybody here?"]);
    for (const person of [ada, bob]) assert.ok(!(await person.messages()).includes("Anybody here?"));
  },

  "whoever changes rooms gets its history and its people": async ({ bob, ada, eve, room }) => {
    await eve.page.fill("#new-room", room);
    await eve.page.press("#new-room", "Enter");
    await eve.sees("Good morning, Bob!");
    await eve.sees("Only for our room");
    await eve.nicks("Ada", "Bob", "Eve");
    await bob.nicks("Ada", "Bob", "Eve");
    await eve.page.close();
    await ada.wait("#log .notice", "Eve left");
    await ada.nicks("Ada", "Bob");
  },

  "the page fits a phone, light and dark": async ({ ada, bob }) => {
    await ada.page.emulateMedia({ colorScheme: "dark" });
    await ada.shot("dark");
    await bob.page.setViewportSize({ width: 390, height: 780 });
    await bob.page.waitForTimeout(300); // the drawer slides away
    const overflow = await bob.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the page is ${overflow} pixels too wide`);
    await bob.shot("phone");
    await bob.page.click("#menu");
    await bob.page.locator("#drop").scrollIntoViewIfNeeded();
    await bob.page.waitForTimeout(300);
    await bob.shot("phone-menu");
  },
};

async function open(browser, nick) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  listen(page, nick);
  return new Person(page, nick);
}

async function main([target]) {
  if (!target) {
    console.error("usage: node browser.mjs URL");
    return 2;
  }
  await mkdir(ARTEFACTS, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
  try {
    const [ada, bob, eve] = [await open(browser, "Ada"), await open(browser, "Bob"), await open(browser, "Eve")];
    const world = { url: target.replace(/\/+$/, ""), ada, bob, eve, room: `tea-${process.pid}` };
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(world);
      } catch (err) {
        console.log(`FAIL ${name}: ${err.message.split("\n")[0]}`);
        await ada.shot("failed-ada");
        await bob.shot("failed-bob");
        for (const problem of problems) console.log(`# ${problem}`);
        return 1;
      }
      console.log(`ok ${name}`);
    }
  } finally {
    await browser.close();
  }
  for (const problem of problems) console.log(`FAIL page error: ${problem}`);
  return problems.length === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
