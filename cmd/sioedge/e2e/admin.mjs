// Uses the page for operators in Chromium, with clients of npm on the server:
//
//   node admin.mjs CLIENTS PAGE      URLs of the server's listeners
//
// It prints a line a step, leaves screenshots in $ARTEFACTS (build/ of the repository), and
// exits with 1 when a step failed, the page reported an error, or a text of a client ran.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const interop = createRequire(new URL("../../../sio/interop/package.json", import.meta.url));
const { chromium } = interop("playwright-core");
const { io } = interop("socket.io-client");

const [clientsURL, pageURL] = process.argv.slice(2);
const { ADMIN_PASSWORD, API_KEY, JWT_SECRET } = process.env;
const PATIENCE = 30_000;
const ARTEFACTS = process.env.ARTEFACTS ?? fileURLToPath(new URL("../../../build", import.meta.url));
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// What would run if it were not text: it leaves a mark on the page.
const EVIL = `<img src=x onerror="window.ran=1"><script>window.ran=1</script>`;

async function until(what, check) {
  for (const end = Date.now() + PATIENCE; !(await check());) {
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

// token makes a JSON Web Token of a user.
function token(user) {
  const part = (x) => Buffer.from(JSON.stringify(x)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${body}.${createHmac("sha256", JWT_SECRET).update(body).digest("base64url")}`;
}

const sockets = [];

// client connects one and has it enter rooms.
async function client(user, rooms, { nsp = "/", headers } = {}) {
  const s = io(new URL(nsp, clientsURL).href, { transports: ["websocket"], forceNew: true, reconnection: false, auth: { token: token(user) }, extraHeaders: headers });
  s.user = user;
  s.seen = [];
  s.onAny((...event) => s.seen.push(event));
  sockets.push(s);
  await new Promise((done, fail) => { s.on("connect", done); s.on("connect_error", fail); });
  for (const room of rooms) await s.timeout(PATIENCE).emitWithAck("enter", room);
  return s;
}

// api asks the HTTP API, as a backend does.
async function api(path, body) {
  const res = await fetch(pageURL + path, { method: "POST", headers: { "X-API-Key": API_KEY, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(res.status, 200, await res.text());
}

const problems = [];

async function open(browser, options) {
  const context = await browser.newContext({ viewport: { width: 1320, height: 860 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (err) => problems.push(err.message));
  page.on("console", (m) => { if (["error", "warning"].includes(m.type()) && !/status of (401|404|429)/.test(m.text())) problems.push(m.text()); });
  return page;
}

const shot = (page, name, fullPage = false) => page.screenshot({ path: join(ARTEFACTS, `admin-${name}.png`), fullPage });
const sees = (page, text, within = "main") => page.locator(within, { hasText: text }).first().waitFor();

async function login(page) {
  await page.goto(`${pageURL}/admin/`);
  await page.fill("#password", ADMIN_PASSWORD);
  await page.press("#password", "Enter");
  await page.locator("nav").waitFor();
}

// press goes to a view by keys.
async function press(page, key, title) {
  await page.keyboard.press("g");
  await page.keyboard.press(key);
  await page.locator("h1", { hasText: title }).waitFor();
}

const steps = {
  "clients come, and talk": async (w) => {
    for (let i = 0; i < 40; i++) await client(`user-${i}`, ["lobby", `team-${i % 7}`, ...(i % 5 === 0 ? ["vip"] : [])]);
    for (let i = 0; i < 12; i++) await client(`guest-${i}`, [], { nsp: `/rooms/${i % 4}` });
    w.target = await client("ada", ["lobby", "vip"], { headers: { "User-Agent": "npm client", Cookie: "session=hidden", "X-Secret": "shown" } });
    await api("/api/sockets/data", { user: "ada", set: { plan: "pro", seats: 3, tags: ["a", "b"] } });
    w.evil = await client(EVIL, [EVIL, "lobby"], { headers: { "User-Agent": EVIL } });
    await api("/api/sockets/data", { in: [w.evil.id], set: { [EVIL]: EVIL } });
    let n = 0;
    w.chatter = setInterval(() => {
      for (let i = 0; i < 4 + (n++ % 60) / 8; i++) sockets[(n * 7 + i) % 40].emit("message", `team-${i % 7}`, { text: `hello ${n}`, n });
    }, 50);
  },

  "a wrong password is refused, the right one is not": async ({ page }) => {
    await page.goto(`${pageURL}/admin/`);
    await page.fill("#password", "wrong");
    await page.press("#password", "Enter");
    await sees(page, "that is not right");
    await shot(page, "login");
    await login(page);
    assert.equal(await page.evaluate(() => document.cookie), "", "a script can read the cookie");
  },

  "the overview shows loops, neighbours and backends": async ({ page }) => {
    await sees(page, "Event loops");
    await sees(page, "#1");
    await sees(page, "this one");
    await sees(page, "closed"); // the breaker
    await until("there is a graph", async () => ((await page.locator(".chart path.line").first().getAttribute("d")) ?? "").split("L").length > 12);
    const tile = page.locator(".tile", { hasText: "Sockets" }).locator("b").first();
    assert.equal(await tile.textContent(), "54");
    await shot(page, "overview");
  },

  "in the dark, and on a phone": async ({ page, browser }) => {
    await page.click("#theme");
    await page.click("#theme");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    await shot(page, "overview-dark");
    await page.click("#theme");
    const phone = await open(browser, { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark" });
    await login(phone);
    await sees(phone, "Event loops");
    await until("the phone's graph", async () => ((await phone.locator(".chart path.line").first().getAttribute("d")) ?? "").split("L").length > 5);
    await shot(phone, "phone");
    for (const [part, text] of [["ns", "/rooms/:id"], ["hot", "Biggest rooms"], ["trace", "Start"], ["config", "loops:"]]) {
      await phone.goto(`${pageURL}/admin/#/${part}`);
      await sees(phone, text);
      const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `#/${part} is ${wide} px wider than a phone`);
    }
    await phone.goto(`${pageURL}/admin/#/in/${encodeURIComponent("/")}/sockets`);
    await sees(phone, "user-1");
    await shot(phone, "phone-sockets");
    await phone.context().close();
  },

  "from namespaces to rooms to sockets, by keys": async ({ page }) => {
    await press(page, "n", "Namespaces");
    await sees(page, "/rooms/:id");
    await page.locator("main a", { hasText: /^\/$/ }).focus();
    await page.keyboard.press("Enter");
    await sees(page, "lobby");
    await shot(page, "rooms");
    await page.fill("main input[type=search]", "team-");
    await until("other rooms are not shown", async () => !(await page.locator("main table").textContent()).includes("lobby"));
    await page.locator("main a", { hasText: "team-3" }).click();
    await sees(page, "6 sockets in /");
    await sees(page, "user-3");
    await page.goto(`${pageURL}/admin/#/in/${encodeURIComponent("/rooms/:id")}`);
    await page.locator("main a", { hasText: "/rooms/2" }).click();
    await page.locator(".tabs a", { hasText: "Sockets" }).click();
    await sees(page, "guest-2");
  },

  "a search finds a user, an address and data": async ({ page, target }) => {
    await page.goto(`${pageURL}/admin/#/in/${encodeURIComponent("/")}/sockets`);
    await sees(page, "user-1");
    await shot(page, "sockets");
    await page.selectOption("main select", "data");
    await page.fill("main input[type=search]", 'plan = "pro"');
    await until("one is left", async () => (await page.locator("main tbody tr").count()) === 1 && (await page.locator("main tbody").textContent()).includes(target.id));
    await page.keyboard.press("Escape");
    await page.locator("h1").focus();
    await page.keyboard.press("/");
    await page.keyboard.type("ada");
    await page.keyboard.press("Enter");
    await sees(page, "1 found");
    await page.locator("main a", { hasText: target.id }).click();
  },

  "a socket's page shows how it came, and no secret of it": async ({ page, target }) => {
    await sees(page, "user ada");
    await sees(page, "npm client");
    await sees(page, '"plan": "pro"');
    await sees(page, "Token ends");
    const text = await page.locator("main").textContent();
    assert.ok(!text.includes("session=hidden"), "a cookie is shown");
    assert.ok(text.includes("masked"), "nothing is masked");
    await shot(page, "socket");
    await page.locator("main button", { hasText: "Emit…" }).click();
    await page.fill("#f-ev", "news");
    await page.fill("#f-args", '"from the operator", {"a": [1, 2.50]}');
    await shot(page, "emit");
    await page.locator("dialog button[type=submit]").click();
    await until("the client has it", () => target.seen.some(([ev]) => ev === "news"));
    assert.deepEqual(target.seen.find(([ev]) => ev === "news"), ["news", "from the operator", { a: [1, 2.5] }]);
    await page.locator("main button", { hasText: "Join…" }).click();
    await page.fill("#f-room", "backstage");
    await page.keyboard.press("Enter");
    await sees(page, "backstage", ".chips");
    await page.locator('[aria-label="Leave backstage"]').click();
    await page.locator("dialog button[type=submit]").click();
    await until("it has left", async () => !(await page.locator(".chips").first().textContent()).includes("backstage"));
  },

  "a room is traced": async ({ page, target }) => {
    await page.goto(`${pageURL}/admin/#/room/${encodeURIComponent("/")}/vip`);
    await page.locator("main button", { hasText: "Trace…" }).click();
    await page.locator("#start").click();
    await sees(page, "Tracing");
    await until("its event is in the trace", async () => {
      target.emit("whisper", "vip", { text: "psst", n: 1 });
      return (await page.locator(".log").textContent()).includes("whisper");
    });
    await sees(page, '"psst"', ".log li.in");
    await sees(page, '"psst"', ".log li.out");
    await shot(page, "trace");
    await page.locator("#start").click();
    await sees(page, "Stopped");
  },

  "texts of clients stay text": async ({ page, evil }) => {
    const look = async (hash, text) => {
      await page.goto(`${pageURL}/admin/#/${hash}`);
      await sees(page, text);
      assert.equal(await page.locator("main img, main script").count(), 0);
    };
    const slash = encodeURIComponent("/");
    await look(`in/${slash}/rooms`, EVIL);
    await look(`in/${slash}/sockets`, "user-1");
    await look(`room/${slash}/${encodeURIComponent(EVIL)}`, "1 socket in /");
    await look(`socket/${evil.id}/${slash}`, EVIL);
    await shot(page, "evil");
    await look(`search/${encodeURIComponent(EVIL)}`, "1 found");
    await look("hot", EVIL);
    await look(`trace/user/${encodeURIComponent(EVIL)}`, "Nothing is traced");
    await page.locator("#start").click();
    await until("its event is in the trace", async () => {
      evil.emit(EVIL, EVIL, EVIL);
      return (await page.locator(".log").textContent()).includes(EVIL);
    });
    await page.locator("#start").click();
    assert.equal(await page.evaluate(() => window.ran), undefined, "a text of a client has run");
  },

  "hot spots": async ({ page }) => {
    await press(page, "h", "Hot spots");
    await sees(page, "lobby");
    await until("somebody is known to talk", async () => /user-\d/.test(await page.locator(".card", { hasText: "Top talkers" }).textContent()));
    await shot(page, "hot");
    await page.locator("main a", { hasText: "vip" }).focus();
    await page.evaluate(() => { document.querySelector("main table").id = "old"; });
    await until("the table is written anew", async () => (await page.locator("#old").count()) === 0);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "vip", "the focus is lost");
  },

  "the configuration is shown without secrets": async ({ page }) => {
    await press(page, "c", "Settings");
    await sees(page, "********");
    const text = await page.locator("pre").textContent();
    for (const secret of [API_KEY, JWT_SECRET, "$2a$", "a secret of the webhook"]) assert.ok(!text.includes(secret), "a secret is shown");
    await page.click("#reload");
    await page.locator("dialog button[type=submit]").click();
    await sees(page, "Nothing has changed");
    await shot(page, "config");
  },

  "a socket is disconnected": async ({ page, target }) => {
    const left = new Promise((done) => target.on("disconnect", done));
    await page.goto(`${pageURL}/admin/#/socket/${target.id}`);
    await page.locator("main button", { hasText: "Disconnect…" }).click();
    await page.locator("dialog button[type=submit]").click();
    assert.equal(await left, "io server disconnect");
    await sees(page, "has left");
  },

  "who logs out is out, and a key is a login too": async ({ page }) => {
    await press(page, "o", "Overview");
    await page.keyboard.press("?");
    await page.locator("dialog", { hasText: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.click("#logout");
    await page.locator("#password").waitFor();
    assert.equal((await page.request.get(`${pageURL}/admin/data/overview`)).status(), 401);
    await page.fill("#key", API_KEY);
    await page.press("#key", "Enter");
    await page.locator("nav").waitFor();
  },

  "the server drains": async ({ page, chatter }) => {
    clearInterval(chatter);
    const left = Promise.all(sockets.filter((s) => s.connected).map((s) => new Promise((done) => s.on("disconnect", done))));
    await page.click("#drain");
    await shot(page, "drain");
    await page.fill("#f-delay", "0s");
    await page.fill("#f-over", "1s");
    await page.locator("dialog button[type=submit]").click();
    await sees(page, "draining", ".status");
    await left;
    await page.click("#drain");
    await page.locator("dialog button[type=submit]").click();
    await sees(page, "serving", ".status");
    await client("late", ["lobby"]);
  },
};

await mkdir(ARTEFACTS, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const world = { browser, page: await open(browser) };
let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step(world);
    console.log(`ok ${name}`);
  } catch (err) {
    failed = 1;
    console.log(`FAIL ${name}: ${err.message.split("\n").slice(0, 6).join(" ")}`);
    await shot(world.page, "failed");
    break;
  }
}
clearInterval(world.chatter);
for (const s of sockets) s.disconnect();
await browser.close();
for (const problem of problems) {
  console.log(`FAIL the page reports: ${problem}`);
  failed = 1;
}
process.exit(failed);
