// A sealed room in a real browser, with a terminal in it: `cargo xtask browser`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { World, goes, goesAlone, keyOf, makesSealed, notes, reads, says, scans, stored } from "./world.mjs";

const world = new World(), room = `sealed-${Date.now().toString(36)}`;
const digits = (text) => text.replace(/\D/g, "");

async function claim(what, check) {
  const since = Date.now();
  await check();
  console.log(`ok: ${what} (${((Date.now() - since) / 1000).toFixed(1)} s)`);
}

try {
  await world.start();
  const browser = await world.person();
  let harry = await world.tab(browser);
  let charly, revoked;

  await claim("a person makes a sealed room", async () => {
    await goes(harry, world, room, "harry");
    await harry.waitForSelector("#choice:not([hidden])");
    await world.shot(harry, "choice");
    await makesSealed(harry);
    await notes(harry, "you sealed this room");
    assert.match(harry.url(), /~sealed$/);
    await says(harry, "MARKER only for me");
  });

  await claim("lets a terminal in, and both read each other", async () => {
    charly = world.terminal(room, "charly");
    const key = /\/add charly (\S+)/.exec(await charly.reads(/\/add charly \S+/))[1];
    await harry.fill("#let-in-who", `charly ${key}`);
    await harry.click("#let-in-go");
    await notes(harry, "you let in charly");
    charly.types("MARKER from the terminal");
    await reads(harry, "MARKER from the terminal");
    await says(harry, "MARKER from the page");
    await charly.reads(/harry -> \*\] MARKER from the page/);
    assert.ok(!charly.lines.some((line) => line.includes("only for me")), "nothing from before");
  });

  await claim("both see the same numbers, and who was compared stays so", async () => {
    await harry.click("#group-people .member:has-text('charly')");
    const shown = digits(await harry.textContent("#person-number"));
    assert.equal(shown, digits(charly.number(await keyOf(harry))));
    await world.shot(harry, "person");
    await harry.click("#person-same");
    await harry.waitForSelector("#seal[data-state=compared]");
    await harry.click("#person-close");
    await world.shot(harry, "room");
  });

  await claim("after a reload all is there, and nothing of it lies in the open", async () => {
    await harry.reload();
    for (const text of ["only for me", "from the terminal", "from the page"]) await reads(harry, `MARKER ${text}`);
    await harry.waitForSelector("#seal[data-state=compared]");
    const kept = await stored(harry);
    assert.ok(kept.includes("safechat-sealed/shelves"), "there is a store");
    assert.ok(!kept.includes("MARKER"), "a message is readable in the stores of the browser");
  });

  await claim("what was said meanwhile is read when the page comes back", async () => {
    await harry.close();
    charly.types("MARKER while you were away");
    await charly.reads(/charly -> \*\] MARKER while you were away/);
    harry = await world.tab(browser);
    await goes(harry, world, room, "harry");
    await reads(harry, "MARKER while you were away");
    await reads(harry, "MARKER only for me");
  });

  await claim("of two tabs one is in the room, and the other takes over when asked", async () => {
    const second = await world.tab(browser);
    await goes(second, world, room, "harry");
    await second.click("#refusal-action:not([hidden])");
    await second.waitForSelector("#seal[data-state=compared]");
    await harry.locator("#trouble-text", { hasText: "another tab" }).waitFor();
    await says(second, "MARKER from the second tab");
    await charly.reads(/MARKER from the second tab/);
    await second.close();
    await harry.click("#trouble-action");
    await reads(harry, "MARKER from the second tab");
    await says(harry, "MARKER from the first again");
    await charly.reads(/MARKER from the first again/);
  });

  await claim("two people are alone, in the page and in a terminal", async () => {
    await goesAlone(harry, "charly");
    await notes(harry, "you let in charly");
    await says(harry, "MARKER between us");
    await world.shot(harry, "alone");
    const [, alone] = /#(dm-[^~]+)~sealed$/.exec(harry.url());
    await charly.ends();
    charly = world.terminal(alone, "charly");
    await charly.reads(/harry -> \*\] MARKER between us/);
    charly.types("MARKER just for harry");
    await reads(harry, "MARKER just for harry");
    await harry.reload();
    await harry.locator("#room-name", { hasText: "charly, alone" }).waitFor();
    await reads(harry, "MARKER between us");
    await harry.click("#leave");
    await reads(harry, "MARKER only for me");
    assert.equal(await harry.locator("#log .bubble", { hasText: "between us" }).count(), 0);
    await charly.ends();
    charly = world.terminal(room, "charly");
    await charly.reads(/joined/);
  });

  await claim("who has no welcome waits outside, and a member lets them in", async () => {
    const phone = await world.person({ viewport: { width: 390, height: 844 }, colorScheme: "dark", isMobile: true, hasTouch: true });
    const kim = await world.tab(phone);
    await goes(kim, world, room, "kim");
    await kim.waitForSelector("#group-notice:not([hidden])");
    await world.shot(kim, "phone-outside");
    await harry.fill("#let-in-who", `kim ${await keyOf(kim)}`);
    await harry.fill("#let-in-share", "3");
    await harry.click("#let-in-go");
    await kim.waitForSelector("#group-notice[hidden]", { state: "attached" });
    // What is shared is no message, and says whose word it is.
    const shared = kim.locator("#log .shared", { hasText: "As harry has them" });
    await shared.waitFor();
    assert.match(await shared.textContent(), /harry #\d+ .*MARKER from the first again/);
    await notes(harry, "you shared 3 earlier messages with kim");
    await charly.reads(/harry shared 3 earlier messages with kim$/);
    await kim.evaluate(() => document.querySelector("#ask-earlier").click());
    await charly.reads(/kim \(web-\S+\) asks for the last 50 messages from before: \/share kim 50/);
    await notes(harry, "asks for the last 50 messages");
    await says(kim, "MARKER from the phone");
    await reads(harry, "MARKER from the phone");
    await charly.reads(/kim -> \*\] MARKER from the phone/);
    assert.equal(await kim.locator("#log .bubble", { hasText: "only for me" }).count(), 0);
    assert.equal(await kim.textContent("#group-code"), await harry.textContent("#group-code"));
    await world.shot(kim, "phone");
    await kim.click("#people-toggle");
    await kim.waitForTimeout(400);   // the drawer comes in, for the picture
    await world.shot(kim, "phone-group");
    await goesAlone(harry, "kim");
    await notes(harry, "you let in kim");
    await kim.reload();
    await kim.locator("#group-notice-text", { hasText: "harry writes to you alone" }).waitFor();
    await world.shot(kim, "phone-invited");
    await kim.click("#group-alone");
    await kim.locator("#room-name", { hasText: "harry, alone" }).waitFor();
    await says(kim, "MARKER to harry alone");
    await reads(harry, "MARKER to harry alone");
    await harry.click("#leave");
    await reads(harry, "MARKER from the phone");
    await phone.close();
  });

  await claim("who was removed reads nothing more", async () => {
    await harry.click("#group-people .member:has-text('charly')");
    await harry.click("#person-remove");
    await notes(harry, "you removed charly");
    await charly.reads(/harry removed this device, cli-\S+: you are not in the group of this room any more/);
    const from = charly.lines.length;
    await says(harry, "MARKER without charly");
    assert.ok(!charly.lines.slice(from).some((line) => line.includes("MARKER")));
  });

  await claim("a key is carried to another browser, whose device comes in by itself", async () => {
    await harry.click("#leave");
    await harry.click("details.key summary");
    await harry.click("#key-save");
    await harry.fill("#carry-passphrase", "correct horse battery");
    await harry.fill("#carry-again", "correct horse batterz");
    await harry.click("#carry-go");
    await harry.locator("#carry-error", { hasText: "not the same" }).waitFor();
    await harry.fill("#carry-again", "correct horse battery");
    await world.shot(harry, "key");
    const [file] = await Promise.all([harry.waitForEvent("download"), harry.click("#carry-go")]);
    const path = join(world.keys, "carried");
    await file.saveAs(path);
    assert.match(readFileSync(path, "utf8"), /^safe-chat-identity-v1\./);
    const laptop = await world.tab(await world.person());
    await laptop.goto(world.url);
    await laptop.setInputFiles("#key-file", path);
    await laptop.fill("#carry-passphrase", "correct horse batterz");
    await laptop.click("#carry-go");
    await laptop.locator("#carry-error", { hasText: "does not open" }).waitFor();
    await laptop.fill("#carry-passphrase", "correct horse battery");
    await laptop.click("#carry-go");
    await laptop.waitForSelector("#carry:not([open])", { state: "attached" });
    await goes(laptop, world, room, "harry");
    await says(laptop, "MARKER from the laptop");
    assert.equal(await keyOf(laptop), await keyOf(harry));
    await goes(harry, world, room, "harry");
    await reads(harry, "MARKER from the laptop");
    await notes(harry, "you came in");
    revoked = laptop;
  });

  await claim("a key is carried to a telephone by a QR code, and its link stays nowhere", async () => {
    await harry.click("#leave");
    await harry.click("#key-save");
    await harry.fill("#carry-passphrase", "correct horse battery");
    await harry.fill("#carry-again", "correct horse battery");
    await harry.click("#carry-show");
    await harry.waitForSelector("#carry-code:not([hidden])");
    await world.shot(harry, "qr");
    const link = await scans(harry, "#carry-qr");
    assert.equal(link, await harry.textContent("#carry-link"));
    assert.ok(link.startsWith(`${world.url}#key=safe-chat-identity-v1.`), link);
    await harry.click("#carry-close");
    assert.ok(!(await harry.content()).includes("safe-chat-identity-v1."));
    const phone = await world.tab(await world.person({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }));
    const asked = [];
    phone.on("request", (request) => asked.push(request.url()));
    await phone.goto(link);
    await phone.waitForSelector("#carry[open]");
    await world.shot(phone, "phone-key");
    assert.equal(phone.url(), world.url);
    assert.ok(!asked.some((url) => url.includes("identity-v1") && !url.includes("#")), "a server was shown it");
    await phone.fill("#carry-passphrase", "correct horse battery");
    await phone.click("#carry-go");
    await phone.waitForSelector("#carry:not([open])", { state: "attached" });
    assert.equal(await keyOf(phone), await keyOf(harry));
    await phone.goto(`${world.url}#${room}`);
    await phone.goBack();
    assert.ok(!phone.url().includes("key="), phone.url());
    // Also in a page that is there already.
    await phone.evaluate((hash) => { location.hash = hash; }, new URL(link).hash);
    await phone.waitForSelector("#carry[open]");
    assert.ok(!phone.url().includes("key="), phone.url());
    await phone.context().close();
    await goes(harry, world, room, "harry");
    // Nothing new was said, and no one came: another device of harry's was there.
    await reads(harry, "MARKER from the laptop");
    await says(harry, "MARKER from who came back");
    await reads(revoked, "MARKER from who came back");
  });

  await claim("a device of one's own is revoked, and says so", async () => {
    await harry.click("#group-people .member:has-text('harry')");
    await harry.locator("#person-devices li", { hasText: "this one" }).waitFor();
    await world.shot(harry, "devices");
    await harry.click("#person-devices button:has-text('Revoke')");
    await notes(harry, "you have revoked the device");
    await revoked.locator("#group-notice-text", { hasText: "You have revoked this device" }).waitFor();
    await notes(harry, "you removed your device");
    await harry.click("#person-close");
  });

  await claim("a device that was revoked is let in again, and reads", async () => {
    // Started again, it says how it can be added.
    await revoked.reload();
    await revoked.locator("#group-notice-text", { hasText: "You have revoked this device" }).waitFor();
    const letIn = harry.locator("#person-devices button:has-text('Let in')");
    for (let tries = 0; tries < 30 && !(await letIn.count()); tries++) {
      if (await harry.locator("#person[open]").count()) await harry.click("#person-close");
      await harry.click("#group-people .member:has-text('harry')");
      await harry.waitForTimeout(500);
    }
    await letIn.click();
    await notes(harry, "you let in harry");
    await harry.click("#person-close");
    await says(harry, "MARKER to both of mine");
    await reads(revoked, "MARKER to both of mine");
  });

  await claim("a person at a terminal asks, shares, and writes to somebody alone", async () => {
    const tom = world.terminal(room, "tom", true);
    const key = /\/add tom (\S+)/.exec(await tom.reads(/\/add tom \S{43}/))[1];
    await harry.fill("#let-in-who", `tom ${key}`);
    await harry.click("#let-in-go");
    await tom.reads(/harry let you in/);
    tom.types("/ask 7");
    await notes(harry, "asks for the last 7 messages from before");
    await says(harry, "MARKER for tom");
    await tom.reads(/MARKER for tom/);
    tom.types("/share harry 1");
    await tom.reads(/\/share harry: there is nothing to share/);
    tom.types("/dm harry");
    await tom.reads(/you let in harry/);
    await harry.reload();
    await harry.click("#group-alone:not([hidden])");
    await harry.locator("#room-name", { hasText: "tom, alone" }).waitFor();
    await says(harry, "MARKER just for tom");
    await tom.reads(/MARKER just for tom/);
    const back = tom.lines.length;
    tom.types("/back");
    await harry.click("#leave");
    await reads(harry, "MARKER for tom");
    await tom.reads(/joined #/, back);
    const there = tom.lines.length;
    tom.types("/dm harry");
    await tom.reads(/joined #/, there);
    tom.types("MARKER again just for harry");
    await harry.click("#group-alone:not([hidden])");
    await reads(harry, "MARKER again just for harry");
    tom.types("/back");
    await harry.click("#leave");
    await reads(harry, "MARKER for tom");
  });

  await claim("who has left forgets what was read there", async () => {
    await revoked.click("#leave-group");
    await notes(revoked, "you are not in the group any more");
    await revoked.click("#group-forget:not([hidden])");
    await revoked.locator("#group-said", { hasText: "has forgotten" }).waitFor();
    assert.equal(await revoked.locator("#log .bubble", { hasText: "MARKER" }).count(), 0);
    await revoked.reload();
    await revoked.waitForSelector("#group-notice:not([hidden])");
    assert.equal(await revoked.locator("#log .bubble", { hasText: "MARKER" }).count(), 0);
  });

  await claim("a link that says that its room is sealed leads into no other", async () => {
    const page = await world.tab(await world.person()), name = `${room}-open`;
    await goes(page, world, name, "hermione");
    await page.check("#make-open");
    await page.click("#enter");
    await says(page, "in the open");
    const other = await world.tab(await world.person());
    await goes(other, world, `${name}~sealed`, "kim");
    await other.locator("#refusal-text", { hasText: "says that it is not" }).waitFor();
  });

  await claim("without https a browser comes in with a warning, and one tab at a time is there", async () => {
    const person = await world.person(), first = await world.tab(person);
    await goes(first, world, room, "luna", world.plain);
    assert.equal(await first.evaluate(() => isSecureContext || Boolean(crypto.subtle ?? navigator.locks)), false);
    await first.waitForSelector("#group-notice:not([hidden])");
    await harry.fill("#let-in-who", `luna ${await keyOf(first)}`);
    await harry.click("#let-in-go");
    await notes(harry, "you let in luna");
    await says(first, "MARKER without https");
    await reads(harry, "MARKER without https");
    await first.waitForSelector("#unprotected:not([hidden])");
    await world.shot(first, "unprotected");
    await first.reload();
    await reads(first, "MARKER without https");
    const second = await world.tab(person);
    await second.goto(world.plain);
    await second.waitForSelector("#unprotected-start:not([hidden])");
    await world.shot(second, "unprotected-start");
    await goes(second, world, room, "luna", world.plain);
    await second.click("#refusal-action:not([hidden])");
    await first.locator("#trouble-text", { hasText: "another tab" }).waitFor();
    await says(second, "MARKER from the second of luna");
    await reads(harry, "MARKER from the second of luna");
    await person.close();
  });

  await claim("a browser without WebAssembly says why it cannot come in", async () => {
    const old = await world.person();
    await old.addInitScript(() => { delete globalThis.WebAssembly; });
    const page = await world.tab(old);
    await goes(page, world, room, "hermione");
    await page.locator("#refusal-text", { hasText: "WebAssembly" }).waitFor();
    await world.shot(page, "refused");
  });

  await world.shot(harry, "end");
  assert.deepEqual(world.faults, [], "the page complains");
  console.log(`pictures: ${world.shots}`);
} catch (error) {
  await world.tells();
  throw error;
} finally {
  await world.end();
}
