// People who use the chat's page in Chromium, for the tests of it: they print one line per
// step, "ok name" or "FAIL name: reason", leave screenshots in $ARTEFACTS (build/ of the
// repository), and return 1 when a step failed or a page reported an error. $CHROMIUM is
// the browser (/usr/bin/chromium).

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PATIENCE = 20_000;
const ARTEFACTS = process.env.ARTEFACTS ?? fileURLToPath(new URL("../../build", import.meta.url));
const PREFIX = process.env.SHOTS ?? "demo"; // of the names of screenshots
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// What a browser reports when a connection is dropped on purpose.
const EXPECTED = [/WebSocket connection to .* failed/, /WebSocket is closed before the connection is established/, /Failed to load resource: .*(ERR_|status of 400)/];

const problems = [];

function listen(page, name) {
  page.on("pageerror", (err) => problems.push(`${name}: ${err.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    if (EXPECTED.some((pattern) => pattern.test(message.text()))) return;
    problems.push(`${name}: ${message.text()}`);
  });
}

// A Person is one page of the chat.
export class Person {
  constructor(page, nick) {
    this.page = page;
    this.nick = nick;
  }

  async enter(url, room) {
    await this.page.goto(url);
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
    return this.entry(text, '.mine:is([data-status="delivered"], [data-status="read"])');
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
    return this.page.screenshot({ path: join(ARTEFACTS, `${PREFIX}-${name}.png`) });
  }
}

export async function until(what, check) {
  const deadline = Date.now() + PATIENCE;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function open(browser, nick) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  listen(page, nick);
  return new Person(page, nick);
}

// play has people of these names do the steps in order, each with the world: that is given,
// the people by their names in lower case, and open, by which others come.
export async function play(steps, nicks, given) {
  await mkdir(ARTEFACTS, { recursive: true });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  try {
    const people = await Promise.all(nicks.map((nick) => open(browser, nick)));
    const world = { ...given, ...Object.fromEntries(people.map((p) => [p.nick.toLowerCase(), p])), open: (nick) => open(browser, nick) };
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(world);
      } catch (err) {
        console.log(`FAIL ${name}: ${err.message.split("\n")[0]}`);
        for (const person of people) if (!person.page.isClosed()) await person.shot(`failed-${person.nick.toLowerCase()}`);
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
