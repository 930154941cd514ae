// This browser as a device in a sealed room: what is stored before what is sent, and what a reload finds again. The module of wasm is
// the real one; the room takes everything.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, before, beforeEach, describe, it, mock } from "node:test";
import { gunzipSync } from "node:zlib";

import { words } from "../../web/notes.js";
import { base64url } from "../../web/tools.js";
import { Overtaken } from "../../web/vault.js";

globalThis.localStorage = globalThis.sessionStorage = undefined;
const { Outbox } = await import("../../web/outbox.js");
const { Sealed } = await import("../../web/sealed.js");

let seal;
before(async () => {
  seal = await import("../../web/seal.js");
  await seal.default({ module_or_path: gunzipSync(readFileSync(new URL("../../web/seal_bg.wasm.gz", import.meta.url))) });
});

/** What IndexedDB keeps. A test can hold it up, or have it refuse. */
class MemoryVault {
  who = "KEY/harry";
  kept = { shelf: null, said: new Map(), lists: {} };
  gate = null;
  refusal = null;
  async store(_, { shelf, said, lists }) {
    await this.gate;
    if (this.refusal) throw this.refusal;
    this.kept.shelf = shelf ?? this.kept.shelf;
    for (const [seq, value] of said) this.kept.said.set(seq, value);
    Object.assign(this.kept.lists, JSON.parse(JSON.stringify(lists)));
  }
  async said() { return this.kept.said; }
  async trim() {}
  async forgetOf(_, user, below) { for (const [seq, { from }] of this.kept.said) if (from === user && seq < below) this.kept.said.delete(seq); }
  async forget(_, below) { for (const seq of this.kept.said.keys()) if (seq < below) this.kept.said.delete(seq); }
  close() {}
}

/** A tab in room aaa, with a room that gives every frame the next place. */
class Tab {
  constructor(world, device, kept = []) {
    Object.assign(this, { world, sent: [], took: [], failed: null });
    const asks = { welcome: async () => null, group: async () => null, left: async () => 100, welcomes: async () => [], last: async (room) => world.said?.[room] ?? [] };
    const who = { room: "aaa", user: "harry", key: world.pub };
    this.sealed = new Sealed(who, { seal, vault: world.vault, device, verified: {}, kept, pairs: world.pairs ?? {}, asks });
    this.outbox = new Outbox("aaa", "harry", this.sealed.memory());
    this.sealed.start({
      took: (event) => this.took.push(this.sealed.readable(event)),
      transmit: (frame) => { this.sent.push(frame); return true; },
      isOpen: () => true,
      resume: () => {}, update: () => {}, changed: () => {}, note: (text) => { this.note = text; },
      latest: (count, before) => this.took.filter(({ seq, kind, text }) => seq < before && kind === "sealed" && text !== undefined).slice(-count),
      refused: (message, reason) => { message.refusal = reason; },
      failed: (why, overtaken) => { this.failed = { why, overtaken }; },
    }, this.outbox);
    this.sealed.connected(world.events.length);
  }

  /** Until nothing is under way. */
  async settled() {
    for (let i = 0; i < 30; i++) await new Promise((go) => { setImmediate(go); });
  }

  say(text) {
    const message = this.outbox.add(text, null);
    this.sealed.say(message);
    return message;
  }

  /** The room takes all that was sent, says so, and sends it to everybody. */
  async delivered() {
    await this.settled();
    for (const { id, sealed, handshake } of this.sent.splice(0)) {
      if (this.world.events.some((event) => event.id === id)) continue;
      const event = { seq: this.world.events.length + 1, id, from: "harry", at: 0, kind: sealed ? "sealed" : "handshake", sealed, handshake };
      this.world.events.push(event);
      this.sealed.journaled(id, event.seq);
      this.sealed.event(event);
    }
    await this.settled();
  }
}

describe("a device in a sealed room", () => {
  let world, tab;

  beforeEach(async () => {
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const pub = base64url(await crypto.subtle.exportKey("raw", pair.publicKey));
    const draft = new seal.Draft("harry", "web-1", pub);
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, draft.to_sign()));
    world = { pub, vault: new MemoryVault(), events: [] };
    tab = new Tab(world, draft.begin(signature, "aaa", true));
    await tab.delivered();
    assert.ok(tab.sealed.state.isIn);
  });

  afterEach(() => tab.sealed.end());

  /** The page is loaded again, with what was stored. */
  const reload = () => {
    const { shelf, lists } = world.vault.kept;
    tab.sealed.end();
    return new Tab(world, seal.Sealed.restore(shelf, "aaa", true), lists["outbox KEY/harry/aaa"] ?? []);
  };

  it("says what changed, and reads its own messages", async () => {
    assert.equal(words(tab.took[0].notes[0], world.pub), "you sealed this room");
    tab.say("Hello");
    await tab.delivered();
    assert.deepEqual([tab.took[1].kind, tab.took[1].from, tab.took[1].text], ["sealed", "harry", "Hello"]);
    assert.equal(world.vault.kept.said.get(2).text, "Hello");
  });

  it("keeps nothing that it read before a purge", async () => {
    tab.say("Hello");
    await tab.delivered();
    tab.sealed.purged(3);
    await tab.settled();
    assert.equal(world.vault.kept.said.size, 0);
  });

  it("keeps nothing that it read of somebody before it was erased", async () => {
    tab.say("Hello");
    await tab.delivered();
    tab.sealed.erased("charly", 3);
    await tab.settled();
    assert.equal(world.vault.kept.said.get(2).text, "Hello");
    tab.sealed.erased("harry", 3);
    await tab.settled();
    assert.equal(world.vault.kept.said.has(2), false);
  });

  it("sends nothing before it is stored", async () => {
    let open;
    world.vault.gate = new Promise((go) => { open = go; });
    tab.say("Hello");
    await tab.settled();
    assert.deepEqual(tab.sent, []);
    open();
    await tab.settled();
    assert.equal(tab.sent.length, 1);
  });

  it("sends nothing, and ends, when it cannot be stored or another tab went on", async () => {
    const said = mock.method(console, "error", () => {});
    world.vault.refusal = new Overtaken("another tab");
    tab.say("Hello");
    await tab.settled();
    assert.deepEqual(tab.sent, []);
    assert.deepEqual(tab.failed, { why: "The room went on in another tab.", overtaken: true });
    said.mock.restore();
  });

  it("sends the same again after a reload, and knows it when it comes back", async () => {
    const { id } = tab.say("Hello");
    await tab.settled();
    const [first] = tab.sent;
    assert.equal(first.id, id);
    tab = reload();
    const message = tab.outbox.messages.get(id);
    assert.deepEqual([message.text, message.frame], ["Hello", first.sealed]);
    tab.sealed.say(message);
    assert.deepEqual(tab.sent, [first]);
    await tab.delivered();
    assert.equal(tab.took.at(-1).text, "Hello");
  });

  it("says anew what was refused because its keys were too old", async () => {
    const { id } = tab.say("Hello");
    await tab.settled();
    const [first] = tab.sent.splice(0), later = Date.now() + 8 * 86_400_000;
    const clock = mock.method(Date, "now", () => later);
    tab.sealed.tick();
    await tab.settled();
    clock.mock.restore();
    assert.equal(tab.sealed.rejected(id, "stale_epoch"), false);
    await tab.settled();
    assert.deepEqual(tab.sent.map((frame) => "handshake" in frame), [true], "its newer keys are on their way");
    await tab.delivered();
    const [second] = tab.sent;
    assert.equal(second.id, id);
    assert.notEqual(second.sealed, first.sealed);
    // The same of one of before a reload.
    tab = reload();
    tab.sealed.rejected(id, "stale_epoch");
    await tab.settled();
    assert.equal(tab.sent.length, 1);
    assert.ok(![first.sealed, second.sealed].includes(tab.sent[0].sealed));
  });

  it("tells of what is refused for good", async () => {
    const message = tab.say("Hello");
    await tab.settled();
    tab.sealed.rejected(message.id, "too_large");
    await tab.settled();
    assert.equal(message.refusal, "too_large");
  });

  it("asks the person before it comes back to others, and goes on when they agree", async () => {
    const { device } = tab.sealed, newcomers = [{ user: "mallory", device: "web-9", pub: "M" }];
    const asked = [{ do: "show", what: "ask", newcomers }];
    device.is_in = () => false;
    device.tick = () => JSON.stringify(asked);
    let agreed = 0;
    device.agree = () => { agreed += 1; return "[]"; };
    tab.sealed.tick();
    await tab.settled();
    assert.deepEqual([tab.sealed.state.question.newcomers, agreed], [newcomers, 0]);
    await tab.sealed.agree();
    assert.deepEqual([tab.sealed.state.question, agreed], [null, 1]);
  });

  it("shares what was said, which is no message of its own, and tells of a refusal", async () => {
    tab.say("Hello");
    await tab.delivered();
    await tab.sealed.share(world.pub, 20);
    await tab.settled();
    const [{ id }] = tab.sent;
    tab.sealed.sendAgain();   // there is a new connection
    assert.deepEqual(tab.sent[1], tab.sent[0]);
    await tab.delivered();
    const shared = tab.took.at(-1), [note] = tab.sealed.readable(shared).notes;
    assert.deepEqual([shared.id, shared.text, note.count], [id, undefined, 1]);
    assert.match(words(note, world.pub), /^you shared 1 earlier message with you/);
    await tab.sealed.askForEarlier(20);
    await tab.settled();
    tab.sealed.rejected(tab.sent[0].id, "too_large");
    await tab.settled();
    assert.match(tab.note, /neither shared nor asked for, for the room refused that: too_large/);
  });

  it("tells once of who writes to this person alone, and of nobody else", async () => {
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const pub = base64url(await crypto.subtle.exportKey("raw", pair.publicKey)), room = tab.sealed.roomWith(pub);
    const charly = { user: "charly", device: "cli-1", pub }, { alone } = tab.sealed;
    alone.invite("aaa-other", charly);
    alone.invite(room, { ...charly, pub: world.pub });
    assert.deepEqual(alone.invitations, []);
    alone.invite(room, charly);
    alone.invite(room, charly);
    assert.deepEqual(alone.invitations, [{ user: "charly", key: pub, room, isOther: false }]);
    // Somebody whose name is another one's here.
    const other = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const key = base64url(await crypto.subtle.exportKey("raw", other.publicKey));
    alone.invite(tab.sealed.roomWith(key), { user: "harry", device: "cli-1", pub: key });
    assert.equal(alone.invitations[1].isOther, true);
  });

  it("tells each time somebody writes in a room of two, until it was there", async () => {
    const there = { user: "charly", key: "KEY", seen: 3 }, said = (seq, from, kind = "sealed") => ({ seq, from, kind });
    tab.sealed.pairs = { "dm-1": there, aaa: { user: "kim", key: "K", seen: 0 } };
    const { alone } = tab.sealed, rooms = () => alone.invitations.splice(0).map(({ room, user }) => `${room} ${user}`);
    world.said = { "dm-1": [said(3, "charly"), said(4, "harry"), said(5, "charly", "joined")], aaa: [said(9, "kim")] };
    await alone.look();
    assert.deepEqual(rooms(), []);
    world.said["dm-1"].push(said(6, "charly"));
    await alone.look();
    await alone.look();
    assert.deepEqual(rooms(), ["dm-1 charly"]);
    await alone.look();
    assert.deepEqual(rooms(), []);
    world.said["dm-1"].push(said(7, "charly"));
    await alone.look();
    assert.deepEqual(rooms(), ["dm-1 charly"]);
  });

  it("remembers up to where it read in a room of two, over a reload", async () => {
    tab.sealed.who.direct = { user: "charly", key: "KEY" };
    tab.sealed.add = async () => {};
    tab.say("Hello");
    await tab.delivered();
    assert.deepEqual(world.vault.kept.lists["alone KEY/harry"], { aaa: { user: "charly", key: "KEY", seen: 2 } });
  });

  it("asks again by itself for what was asked too often, and says so", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      let asked = 0;
      tab.sealed.asks.claim = async () => {
        if (asked++) return { packages: [], missing: ["laptop"] };
        throw Object.assign(new Error("asked often: try again later"), { status: 429, after: 180_000 });
      };
      const claimed = tab.sealed.claim("charly", "KEY");
      await tab.settled();
      assert.equal(tab.note, "asked often: try again later (asked again by itself, in 3 min)");
      mock.timers.tick(181_000);
      assert.deepEqual(await claimed, { packages: [], missing: ["laptop"] });
      tab.sealed.asks.claim = async () => { throw Object.assign(new Error("much later"), { status: 429, after: 3_600_000 }); };
      await assert.rejects(tab.sealed.claim("charly", "KEY"), /much later/);
    } finally {
      mock.timers.reset();
    }
  });

  it("forgets what it has read when it is told to", async () => {
    tab.say("Hello");
    await tab.delivered();
    const updated = [];
    tab.sealed.calls.update = (seq) => updated.push(tab.sealed.readable({ seq, kind: "sealed", text: "Hello", notes: [] }));
    await tab.sealed.forgetAll();
    assert.deepEqual(updated.map(({ seq, text, notes }) => ({ seq, text, notes })), [1, 2].map((seq) => ({ seq, text: undefined, notes: undefined })));
    assert.deepEqual([...world.vault.kept.said], []);
    const [, page] = await tab.sealed.recall(world.events);
    assert.equal(page.text, undefined);
  });

  it("lets in the one whom it meets, once it is in", async () => {
    const asked = [];
    tab.sealed.who.direct = { user: "charly", key: "KEY" };
    tab.sealed.add = async (user, key) => { asked.push([user, key]); };
    for (let n = 0; n < 2; n++) { tab.sealed.tick(); await tab.settled(); }
    assert.deepEqual(asked, [["charly", "KEY"]]);
  });

  it("lets nobody in by key packages of somebody else than was named", async () => {
    const person = async (user) => {
      const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
      const pub = base64url(await crypto.subtle.exportKey("raw", pair.publicKey)), draft = new seal.Draft(user, "web-2", pub);
      const device = draft.begin(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, draft.to_sign())), "aaa", true);
      return { pub, packages: JSON.parse(device.publish(1, Math.floor(Date.now() / 1000))).packages.map((one) => ({ device: "web-2", package: one })) };
    };
    const charly = await person("charly"), other = await person("charly"), bob = await person("bob");
    const asks = (key, { packages }) => {
      tab.sealed.asks.claim = async () => ({ packages, missing: [] });
      return tab.sealed.add("charly", key);
    };
    await assert.rejects(asks(charly.pub, other), /another key or name than was asked for: nobody was added/);
    await assert.rejects(asks(bob.pub, bob), /another key or name than was asked for: nobody was added/);
    assert.deepEqual(tab.sent, []);
    await asks(charly.pub, charly);
    await tab.delivered();
    assert.deepEqual(tab.sealed.members().map((one) => one.user).sort(), ["charly", "harry"]);
  });

  it("publishes key packages in portions, and tells once that they are not taken", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      let left = 0, isTaking = false;
      const portions = [], notes = [];
      tab.sealed.calls.note = (text) => notes.push(text);
      tab.sealed.asks.left = async () => left;
      tab.sealed.asks.publish = async (_, body) => {
        if (!isTaking) throw new Error("no answer");
        const { packages } = JSON.parse(body);
        portions.push(packages.length);
        left += packages.length;
      };
      for (let tries = 0; tries < 3; tries++) { tab.sealed.publishing.publish(); await tab.settled(); mock.timers.tick(0); }
      assert.deepEqual([notes.length, portions], [1, []]);
      isTaking = true;
      tab.sealed.publishing.publish();
      await tab.settled();
      assert.deepEqual(portions, [20, 20, 10]);
    } finally {
      mock.timers.reset();
    }
  });

  it("looks for its key packages at each session, but not too often, and now and then in a long one", async () => {
    let looks = 0, passed = performance.now();
    tab.sealed.asks.left = async () => { looks += 1; return 100; };
    const clock = mock.method(performance, "now", () => passed);
    const looked = async (ms, act) => { [passed, looks] = [passed + ms, 0]; act(); await tab.settled(); return looks; };
    const begins = () => tab.sealed.connected(world.events.length);
    assert.equal(await looked(61_000, begins), 1);
    // One session after the other: the next look is when it is time.
    assert.equal(await looked(1_000, begins), 0);
    assert.equal(await looked(61_000, () => tab.sealed.tick()), 1);
    assert.equal(await looked(600_000, () => tab.sealed.tick()), 0);
    assert.equal(await looked(3_600_000, () => tab.sealed.tick()), 1);
    clock.mock.restore();
  });

  it("tells once why it does not know how to come in, and asks less and less often", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const notes = [], { device } = tab.sealed;
      let asked = 0;
      tab.sealed.calls.note = (text) => notes.push(text);
      tab.sealed.asks.group = async () => { asked += 1; throw new Error("HTTP 302"); };
      device.is_in = () => false;
      device.connected = () => JSON.stringify([{ do: "ask_welcome" }]);
      device.no_welcome = () => JSON.stringify([{ do: "ask_group" }]);
      tab.sealed.connected(world.events.length);
      await tab.settled();
      for (let seconds = 0; seconds < 600; seconds++) { mock.timers.tick(1_000); await tab.settled(); }
      assert.equal(notes.length, 1);
      assert.match(notes[0], /HTTP 302/);
      assert.ok(asked > 5 && asked < 20, `${asked}`);
    } finally {
      mock.timers.reset();
    }
  });

  it("shares what is of before somebody came, and says so where that is nothing", async () => {
    const shared = [];
    const shares = async () => {
      const { device } = tab.sealed;
      device.earlier = (seq, at, from, text) => shared.push(text);
      device.share = () => "[]";
      await tab.sealed.share("KIM", 3);
      return shared.splice(0);
    };
    const says = async (text) => { tab.say(text); await tab.delivered(); };
    const comes = async (pub) => {
      const [{ device }, seq] = [tab.sealed, world.events.length + 1], event = { seq, from: "kim", at: 0, kind: "handshake", handshake: "AA" };
      const by = { user: "kim", device: "web-3", pub }, { event: real } = Object.getPrototypeOf(device);
      device.event = () => JSON.stringify([{ do: "show", what: "changed", how: "in", by, joined: [by], left: [], seq }]);
      world.events.push(event);
      tab.sealed.event(event);
      await tab.settled();
      device.event = real;
    };
    await says("one");
    await comes("KIM");
    for (const text of ["two", "three"]) await says(text);
    assert.deepEqual(await shares(), ["one"]);
    await comes("MARY");
    assert.deepEqual(await shares(), ["one"]);
    tab.took.shift();
    while (tab.took[0].text !== "two") tab.took.shift();
    await assert.rejects(shares(), /from when they were in the group themselves/);
  });

  it("tells of what nobody can read, for it came after this device was removed", async () => {
    for (const isShownFirst of [false, true]) {
      const message = tab.say("Hello"), lost = [];
      tab.sealed.calls.unread = (one, seq) => lost.push([one.id, seq]);
      await tab.settled();
      const [{ id, sealed }] = tab.sent.splice(0), seq = world.events.length + 1;
      const event = { seq, id, from: "harry", at: 0, kind: "sealed", sealed };
      world.events.push(event);
      const { device } = tab.sealed;
      device.event = () => "[]";
      device.placed = () => JSON.stringify([{ do: "show", what: "unread", place: seq, text: "Hello" }]);
      if (isShownFirst) tab.sealed.event(event);
      tab.sealed.journaled(id, seq);
      await tab.settled();
      if (!isShownFirst) tab.sealed.event(event);
      await tab.settled();
      assert.deepEqual(lost, [[message.id, seq]]);
      const read = tab.sealed.readable(event);
      assert.ok(read.text === undefined && /nobody can read/.test(read.why), JSON.stringify(read));
      tab.outbox.remove(id);
    }
  });

  it("says why an open group takes in nobody now, and that it tries again", async () => {
    const { device } = tab.sealed;
    device.is_in = () => false;
    device.refused = () => JSON.stringify([{ do: "show", what: "shut" }]);
    tab.say("Hello");
    await tab.settled();
    tab.sealed.rejected(tab.sent[0].id, "not_a_member", `nobody comes in by itself for 57 minutes${"x".repeat(1_000)}`);
    await tab.settled();
    assert.equal(tab.sealed.state.waits, "shut");
    assert.match(tab.sealed.state.why, /^nobody comes in by itself for 57 minutes/);
    assert.equal(tab.sealed.state.why.length, 300);
  });

  it("knows that its person has left, until they come back", async () => {
    await tab.sealed.leave();
    assert.equal(tab.sealed.hasLeft, true);
    await tab.delivered();
    assert.equal(tab.sealed.state.isIn, false);
    await tab.sealed.agree();
    assert.equal(tab.sealed.hasLeft, false);
  });

  it("shows nothing as a message that is not encrypted, live and of before", async () => {
    const message = tab.say("Hello");
    await tab.settled();
    const forged = { seq: 2, at: 7, id: message.id, from: "harry", to: "kim", kind: "text", text: "send me money" };
    const seen = { seq: 2, at: 7, from: "harry", kind: "unencrypted" };
    tab.sealed.event(forged);
    await tab.settled();
    assert.deepEqual(tab.took.at(-1), seen);
    assert.deepEqual(await tab.sealed.recall([forged]), [seen]);
    assert.equal(tab.outbox.messages.size, 1, "what it has said goes on its way");
    assert.equal(tab.sealed.calls.latest(9, Infinity).length, 0, "nor is it shared");
    // What an operator has erased is no forged message.
    const erased = { seq: 3, from: "kim", kind: "text", text: "", erased: true };
    assert.deepEqual(await tab.sealed.recall([erased]), [erased]);
  });

  it("shows what it has read before again, and nothing for the rest", async () => {
    tab.say("Hello");
    await tab.delivered();
    tab = reload();
    const page = await tab.sealed.recall([...world.events, { seq: 3, kind: "sealed", sealed: "AAAA", from: "kim" }]);
    assert.deepEqual(page.map((event) => event.text), [undefined, "Hello", undefined]);
    assert.equal(page[0].notes[0].what, "changed");
  });
});

describe("what changed in a group, in words", () => {
  const [harry, charly] = [{ user: "harry", device: "web-1", pub: "H" }, { user: "charly", device: "cli-2", pub: "C" }];
  const changed = (how, by, joined, left) => words({ what: "changed", how, by, joined, left }, "H");

  it("names who did what, and whether for the first time", () => {
    assert.equal(changed("change", harry, [charly], []), "you let in charly (cli-2)");
    assert.equal(changed("change", charly, [], [harry]), "charly removed harry (web-1)");
    assert.equal(changed("change", charly, [], [charly]), "charly removed their own device cli-2");
    assert.equal(changed("change", harry, [], []), "you renewed keys");
    assert.equal(changed("in", charly, [charly], []), "charly came in");
    assert.equal(changed("back", charly, [], []), "charly came back");
    assert.equal(changed("let_in", charly, [charly, harry], []), "charly let you in, to charly (cli-2)");
    assert.equal(changed("let_in_again", charly, [], [charly]), "charly let you in again; meanwhile charly (cli-2) went");
    assert.equal(changed("in", harry, [charly, harry], []), "you came in, to charly (cli-2)");
    assert.equal(changed("founded", null, [harry], []), "you sealed this room");
    assert.equal(changed(undefined, null, [harry], []), "you sealed this room");
    assert.equal(changed(undefined, charly, [charly], []), "charly came in");
  });

  it("tells who was removed by whom", () => {
    const out = (by) => words({ what: "out", by }, "H"), said = "you are not in the group any more";
    assert.equal(out(charly), `charly removed this device: ${said}`);
    assert.equal(out(harry), `your device web-1 removed this device: ${said}`);
    assert.equal(out(null), said);
    assert.equal(out(undefined), said);
  });
});
