// Drives the demo page in Chromium, as two people would:
//
//   node browser.mjs URL      the server whose page is at URL/demo/
//
// people.mjs says what it prints and leaves, and with what it exits.

import assert from "node:assert/strict";
import { play, until } from "./people.mjs";

// A PNG of 2 by 2 pixels.
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAE0lEQVR42mPwd3u6IvQ7AxADWQAuSAbdR6pzdgAAAABJRU5ErkJggg==",
  "base64",
);

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

  "they see that the other has read it": async ({ ada, bob }) => {
    await ada.wait('#log .mine[data-status="read"] .status', "✓✓ read by Bob");
    await bob.wait('#log .mine[data-status="read"] .status', "✓✓ read by Ada");
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

const [target] = process.argv.slice(2);
if (!target) {
  console.error("usage: node browser.mjs URL");
  process.exit(2);
}
process.exit(await play(steps, ["Ada", "Bob", "Eve"], { url: `${target.replace(/\/+$/, "")}/demo/`, room: `tea-${process.pid}` }));
