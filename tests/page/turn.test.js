// One tab at a time is a device, also where there are no Web Locks: the tabs ask each other.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { Turn } from "../../web/turn.js";
import { Time, settled } from "./world.js";

/** BroadcastChannels of one name: who posts does not hear it, who is frozen answers nothing. */
class Channels {
  all = new Set();
  open() {
    const { all } = this, own = {
      onmessage: null, isFrozen: false,
      postMessage: (data) => { for (const one of [...all]) if (one !== own) queueMicrotask(() => { if (!one.isFrozen) one.onmessage?.({ data }); }); },
      close: () => all.delete(own),
    };
    all.add(own);
    return own;
  }
}

describe("the turn of a tab without Web Locks", () => {
  const who = { user: "harry", key: "KEY" };
  let time, channels;
  beforeEach(() => { time = new Time(); channels = new Channels(); });
  afterEach(() => time.end());

  const tab = (about = who) => new Turn(about, null, channels.open());

  /** What taking it comes to; null: it waits. */
  async function takes(turn, { steal = false, lost = () => {}, seconds = 0 } = {}) {
    let found = null;
    turn.take(steal, lost).then((taken) => { found = taken; });
    await settled();
    await time.pass(seconds);
    return found;
  }

  it("is taken when nobody else says that they have it", async () => {
    assert.equal(await takes(tab(), { seconds: 1 }), true);
    assert.equal(await takes(tab({ user: "charly", key: "KEY" }), { seconds: 1 }), true);
  });

  it("is refused to a second tab, at once", async () => {
    await takes(tab(), { seconds: 1 });
    const second = tab(), third = tab();
    assert.equal(await takes(second), false);
    // Who was refused gives nothing away.
    let isTaken = false;
    third.take(true, () => {}).then(() => { isTaken = true; });
    await settled();
    second.end();
    await settled();
    assert.equal(isTaken, false);
  });

  it("is free again when the tab that had it ends", async () => {
    const first = tab();
    await takes(first, { seconds: 1 });
    first.end();
    assert.equal(await takes(tab(), { seconds: 1 }), true);
  });

  it("goes to the tab that steals it once the other one has stored its last step", async () => {
    const first = tab(), second = tab();
    let isLost = false, taken = null;
    await takes(first, { lost: () => { isLost = true; }, seconds: 1 });
    second.take(true, () => {}).then((found) => { taken = found; });
    await settled();
    assert.deepEqual([isLost, taken], [true, null]);
    first.end();
    await settled();
    assert.equal(taken, true);
    assert.equal(await takes(tab()), false);
  });

  it("is stolen from a frozen tab after a while", async () => {
    const first = tab();
    await takes(first, { seconds: 1 });
    first.channel.isFrozen = true;
    assert.equal(await takes(tab(), { steal: true, seconds: 2 }), true);
  });
});
