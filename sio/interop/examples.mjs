// Drives the chat's page in Chromium with an application behind the server:
//
//   node examples.mjs URL CONTROL     the application's page; CONTROL/stop kills the
//                                     application, and CONTROL/start starts it again
//
// people.mjs says what it prints and leaves, and with what it exits.

import assert from "node:assert/strict";
import { play, until } from "./people.mjs";

const [url, control] = process.argv.slice(2);
if (!control) {
  console.error("usage: node examples.mjs URL CONTROL");
  process.exit(2);
}

async function application(what) {
  const answer = await fetch(`${control}/${what}`);
  assert.equal(answer.status, 200, await answer.text());
}

// texts are those of the log that a pattern matches, in order.
const texts = async (person, pattern) => (await person.messages()).filter((text) => pattern.test(text));

const typesFor = async (bob, ada) => {
  await bob.page.focus("#text");
  await until("Ada sees Bob typing", async () => {
    await bob.write("");
    await bob.page.keyboard.type("thinking");
    return (await ada.text("#typing")) === "Bob is typing…";
  });
  await bob.write("");
};

const steps = {
  "two people log in and see each other": async ({ ada, bob, room }) => {
    await ada.enter(url, room);
    await ada.nicks("Ada");
    await bob.enter(url, room);
    await ada.nicks("Ada", "Bob");
    await bob.nicks("Ada", "Bob");
    await ada.wait("#log .notice", "Bob came in");
    assert.equal(await ada.page.isVisible("#attach"), false, "images are offered");
  },

  "the application says something by itself": ({ ada }) => ada.wait("#log .notice", "Bob is new here"),

  "they chat both ways, and see it delivered and read": async ({ ada, bob }) => {
    await ada.say("Good morning, Bob!");
    await bob.sees("Good morning, Bob!");
    await bob.say("Hello Ada 😀 – 漢字, e\u0301, שלום");
    await ada.sees("Hello Ada 😀 – 漢字, e\u0301, שלום");
    await ada.wait('#log .mine[data-status="read"] .status', "✓✓ read by Bob");
    await bob.wait('#log .mine[data-status="read"] .status', "✓✓ read by Ada");
  },

  "markup stays text": async ({ ada, bob }) => {
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
    await ada.say(markup);
    await bob.sees("<b>bold</b>");
    assert.equal((await bob.messages()).at(-1), markup);
  },

  "typing is shown, and ends with the message": async ({ ada, bob }) => {
    await typesFor(bob, ada);
    await ada.shot("chat");
    await bob.say("done thinking");
    await ada.sees("done thinking");
    await until("the indicator is gone", async () => (await ada.text("#typing")) === "");
  },

  "what was said and read is there after a reload": async ({ ada, bob, room }) => {
    const before = await bob.messages();
    await bob.page.reload();
    await bob.enter(url, room);
    await until("Bob has the history", async () => String(await bob.messages()) === String(before));
    await bob.entry("done thinking", '.mine[data-status="read"]');
    await bob.sees("Good morning, Bob!");
    await bob.nicks("Ada", "Bob");
    await ada.nicks("Ada", "Bob");
  },

  "another room is another one": async ({ ada, bob, eve, room }) => {
    await eve.enter(url, `${room}-2`);
    await eve.nicks("Eve");
    await eve.say("Anybody here?");
    await eve.delivered("Anybody here?");
    await ada.say("Only for our room");
    await bob.sees("Only for our room");
    assert.deepEqual(await eve.messages(), ["Anybody here?"]);
    await ada.nicks("Ada", "Bob");
  },

  "a room that cannot be is refused": async ({ eve, room }) => {
    await eve.page.fill("#new-room", "a:b*");
    await eve.page.press("#new-room", "Enter");
    await eve.wait("#door-error", /./);
    await eve.page.fill("#first-room", `${room}-2`);
    await eve.page.click("#enter");
    await eve.nicks("Eve");
  },

  "the application is killed while they talk: nothing is lost that was acknowledged": async ({ ada, bob }) => {
    let killed;
    for (let i = 1; i <= 16; i++) {
      await ada.say(`number ${i}.`);
      if (i === 8) killed = application("stop");
      await ada.page.waitForTimeout(100);
    }
    await killed;
    const acknowledged = await texts(ada, /^number/);
    const open = await ada.page.locator(':is([data-status="pending"], [data-status="failed"])').count();
    assert.ok(open > 0, "all were acknowledged, by nobody");
    await typesFor(bob, ada); // which needs no application
    await application("start");
    await until("all are delivered", async () => {
      const again = ada.page.locator(".again").first();
      if ((await again.count()) > 0) await again.click({ timeout: 1000 }).catch(() => {});
      return (await ada.page.locator('.mine:not([data-status="delivered"], [data-status="read"])').count()) === 0;
    });
    await until("Bob has all of them", async () => (await texts(bob, /^number/)).length === acknowledged.length);
    assert.deepEqual((await texts(bob, /^number/)).sort(), acknowledged.sort(), "Bob has others, or some twice");
  },

  "and what was kept is what was acknowledged, once": async ({ ada, bob, eve, room }) => {
    await eve.page.fill("#new-room", room);
    await eve.page.press("#new-room", "Enter");
    await eve.sees("number 16.");
    const want = await texts(ada, /^number/);
    assert.deepEqual((await texts(eve, /^number/)).sort(), want.sort());
    for (const person of [ada, bob, eve]) await person.nicks("Ada", "Bob", "Eve");
  },

  "a dropped connection comes back": async ({ ada, bob }) => {
    await bob.page.click("#drop");
    await bob.wait("#log .notice", "connection lost");
    await bob.say("written while offline");
    await bob.connected();
    await bob.delivered("written while offline");
    await ada.sees("written while offline");
    await ada.say("Welcome back");
    await bob.sees("Welcome back");
    for (const person of [ada, bob]) assert.equal((await texts(person, /offline|Welcome/)).length, 2, `copies at ${person.nick}`);
    await bob.nicks("Ada", "Bob", "Eve");
  },

  "who leaves is not there any more": async ({ ada, eve }) => {
    await eve.page.close();
    await ada.wait("#log .notice", "Eve left"); // when she cannot come back any more
    await ada.nicks("Ada", "Bob");
  },
};

process.exit(await play(steps, ["Ada", "Bob", "Eve"], { room: `tea-${process.pid}` }));
