// What a tab remembers: its device, what it wrote, what it said, what it saw.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import { Device } from "../../web/device.js";
import { Drafts } from "../../web/drafts.js";
import { Memory } from "./world.js";

// The modules below look for the storage of a browser when they are loaded.
globalThis.localStorage = globalThis.sessionStorage = undefined;
const { anotherName, tab } = await import("../../web/identity.js");
const { Journal } = await import("../../web/journal.js");
const { Outbox } = await import("../../web/outbox.js");

// AbortSignal.timeout() alone does not keep Node alive, as a page would be.
let alive;
before(() => { alive = setInterval(() => {}, 1000); });
after(() => clearInterval(alive));

/** The Web Locks of one browser, for all of its tabs. */
class Locks {
  constructor() { this.held = new Map(); }

  request(name, { signal }, take) {
    return new Promise((_, fail) => {
      const waiting = () => { this.held.set(name, waiting); take(); };
      if (!this.held.has(name)) return waiting();
      const queue = this.held.get(name);
      queue.next = waiting;
      signal.addEventListener("abort", () => { queue.next = null; fail(signal.reason); });
    });
  }

  /** A page that held it is gone. */
  release(name) {
    const next = this.held.get(name)?.next;
    this.held.delete(name);
    next?.();
  }
}

for (const [how, browser] of [
  ["Web Locks", () => {
    const locks = new Locks();
    return (memory) => new Device(memory, locks, null);
  }],
  ["a BroadcastChannel", () => (memory) => new Device(memory, null, channel())],
]) {
  describe(`the device of a tab, with ${how}`, () => {
    let page;
    beforeEach(() => { page = browser(); });
    afterEach(() => channels.splice(0).forEach((one) => one.close()));

    it("is another one in a tab that was duplicated, and both keep theirs", async () => {
      const memory = new Memory();
      const first = await page(memory).choose();
      const copy = memory.copy();
      const second = await page(copy).choose();
      assert.notEqual(first, second);
      assert.equal(copy.get("device"), second);
      assert.equal(memory.get("device"), first);
    });

    it("is new when another connection took it over", async () => {
      const memory = new Memory(), device = page(memory);
      const first = await device.choose();
      assert.notEqual(await device.renew(), first);
      assert.equal(memory.get("device"), device.id);
    });
  });
}

const channels = [];
function channel() {
  const one = new BroadcastChannel("safechat.device");
  one.unref();
  channels.push(one);
  return one;
}

describe("the device of a tab", () => {
  it("stays over a reload, also when the old page lets go a moment later", async () => {
    const locks = new Locks(), memory = new Memory();
    const before = await new Device(memory, locks, null).choose();
    const after = new Device(memory, locks, null).choose();
    locks.release(`safechat.device.${before}`);
    assert.equal(await after, before);
  });

  it("stays where the browser knows neither locks nor channels, or forbids them", async () => {
    const memory = new Memory([["device", "d1"]]);
    assert.equal(await new Device(memory, null, null).choose(), "d1");
    const forbidden = { request: async () => { throw new DOMException("no", "SecurityError"); } };
    assert.equal(await new Device(memory, forbidden, null).choose(), "d1");
  });
});

describe("drafts", () => {
  it("are there again after a reload, each in its room", () => {
    const memory = new Memory();
    const drafts = new Drafts(memory);
    drafts.set("aaa", "harry", "one", "charly");
    drafts.set("bbb", "harry", "two\nlines", null);
    const again = new Drafts(memory.copy());
    assert.deepEqual(again.get("aaa", "harry"), { text: "one", to: "charly" });
    assert.deepEqual(again.get("bbb", "harry"), { text: "two\nlines", to: null });
    assert.deepEqual(again.get("aaa", "charly"), { text: "", to: null });
  });

  it("are forgotten when they were sent", () => {
    const memory = new Memory();
    const drafts = new Drafts(memory);
    drafts.set("aaa", "harry", "one", null);
    drafts.set("aaa", "harry", "", null);
    assert.equal(memory.kept.size, 0);
  });

  it("are bounded, and the oldest go first", () => {
    const drafts = new Drafts(new Memory());
    for (let i = 0; i < 30; i++) drafts.set(`room${i}`, "harry", "x", null);
    assert.equal(drafts.get("room9", "harry").text, "");
    assert.equal(drafts.get("room10", "harry").text, "x");
    drafts.set("big", "harry", "x".repeat(600_000), null);
    assert.equal(drafts.get("big", "harry").text, "");
  });

  it("that cannot be read are none", () => {
    assert.equal(new Drafts(new Memory([["drafts", "{"]])).get("aaa", "harry").text, "");
  });
});

describe("the outbox", () => {
  it("gives the same ids again after a reload", () => {
    const before = new Outbox("aaa", "harry");
    const { id } = before.add("one", null);
    assert.deepEqual([...new Outbox("aaa", "harry").messages.keys()], [id]);
    before.remove(id);
    assert.equal(tab.get("outbox.aaa/harry"), null);
  });

  it("is bounded in messages and in characters", () => {
    const many = new Outbox("bbb", "harry");
    while (many.hasRoomFor("x")) many.add("x", null);
    assert.equal(many.messages.size, 200);
    const long = new Outbox("ccc", "harry");
    while (long.hasRoomFor("x".repeat(16_000))) long.add("x".repeat(16_000), null);
    assert.equal(long.messages.size, 62);
  });
});

describe("the messages that were not seen", () => {
  const event = (seq, kind = "text", from = "charly") => ({ seq, kind, from, at: 0 });

  it("are counted from where the reader left, however they came", () => {
    const journal = new Journal();
    for (let seq = 1; seq <= 10; seq++) journal.take(event(seq));
    assert.equal(journal.unseen(10, "harry"), 0);
    for (let seq = 11; seq <= 17; seq++) {
      journal.take(event(seq));
      assert.equal(journal.unseen(10, "harry"), seq - 10);
    }
  });

  it("are neither own ones nor arrivals, and earlier history does not change them", () => {
    const journal = new Journal();
    journal.take(event(5));
    journal.take(event(6, "joined"));
    journal.take(event(7, "text", "harry"));
    journal.take(event(8, "sealed"));
    journal.take(event(9, "a_later_kind"));
    assert.equal(journal.unseen(5, "harry"), 1);
    journal.takeEarlier([event(3), event(4)], true);
    assert.equal(journal.unseen(5, "harry"), 1);
  });
});

it("a hole in the history is shown as one, and what is below it as well", () => {
  const journal = new Journal();
  const event = (seq) => ({ seq, kind: "text", from: "charly", at: seq });
  journal.take(event(180));
  assert.equal(journal.takeEarlier([event(173), event(174)], true), 3);
  const [, , hole, above] = journal.events;
  assert.deepEqual([hole.kind, hole.seq, hole.count, above.seq], ["hole", 179, 5, 180]);
  assert.equal(journal.takeEarlier([event(172)], false), 1);
  assert.deepEqual([journal.first, journal.more], [172, false]);
  assert.equal(journal.takeEarlier([], false), 0);
});

it("many unencrypted events of a sealed room are one row, with their number", () => {
  const journal = new Journal();
  const event = (seq, kind, from) => ({ seq, kind, from, at: seq });
  const forged = (seqs) => seqs.map((seq) => event(seq, "unencrypted", `kim${seq}`));
  journal.take(event(10, "sealed", "kim"));
  for (const one of forged([11, 12, 13])) assert.equal(journal.take(one), "next");
  journal.take(event(14, "sealed", "kim"));
  journal.take(forged([15])[0]);
  const rows = () => journal.events.map(({ seq, kind, from, count }) => [seq, kind, from, count]);
  const after = [[10, "sealed", "kim", undefined], [13, "unencrypted", "kim13", 3], [14, "sealed", "kim", undefined], [15, "unencrypted", "kim15", undefined]];
  assert.deepEqual(rows(), after);
  assert.equal(journal.takeEarlier([event(7, "joined", "kim"), ...forged([8, 9])], true), 2);
  assert.deepEqual(rows(), [[7, "joined", "kim", undefined], [9, "unencrypted", "kim9", 2], ...after]);
  assert.deepEqual([journal.first, journal.last], [7, 15]);
});

it("what was before a purge is forgotten, and nobody asks for it again", () => {
  const journal = new Journal();
  for (let seq = 5; seq <= 7; seq++) journal.take({ seq, kind: "text", from: "charly", at: seq });
  assert.equal(journal.more, true);
  assert.equal(journal.take({ seq: 8, kind: "purged", from: "*", at: 8 }), "next");
  assert.deepEqual(journal.events.map(({ kind }) => kind), ["purged"]);
  assert.deepEqual([journal.first, journal.last, journal.more], [8, 8, false]);
});

it("what somebody said before it was erased is without content", () => {
  const journal = new Journal();
  const said = { text: { kind: "text", text: "Hello" }, sealed: { kind: "sealed", sealed: "AA", text: "Hello", notes: [] } };
  journal.take({ seq: 5, from: "charly", at: 5, ...said.text });
  journal.take({ seq: 6, from: "harry", at: 6, ...said.text });
  journal.take({ seq: 7, from: "charly", at: 7, id: "m7", ...said.sealed });
  assert.equal(journal.take({ seq: 8, kind: "erased", from: "charly", at: 8 }), "next");
  journal.take({ seq: 9, from: "charly", at: 9, ...said.text });
  const [first, other, second, , later] = journal.events;
  assert.deepEqual(second, { seq: 7, kind: "text", text: "", from: "charly", at: 7, id: "m7", erased: true });
  assert.deepEqual([first.text, first.erased, other.text, later.text], ["", true, "Hello", "Hello"]);
});

it("another name is offered that the service takes", () => {
  assert.equal(anotherName("harry"), "harry-2");
  assert.equal(anotherName("harry-2"), "harry-3");
  assert.equal(anotherName("a-b"), "a-b-2");
  assert.equal(anotherName("-7"), "-7-8");
  assert.equal(anotherName("x".repeat(64)), `${"x".repeat(62)}-2`);
});
