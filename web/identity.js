// Who this browser is: its key and the names it pinned in rooms; and what it remembers.

import { IndexedPairs, Keys } from "./keys.js";
import { parsed, randomId } from "./tools.js";
import { wasm } from "./wasm.js";

export const NAME = /^[A-Za-z0-9_-]{1,64}$/;
export const KEY = /^[A-Za-z0-9_-]{1,128}$/;

/** Sealed rooms that a browser remembers. */
const MOST_SEALED = 500;

/** Storage that still works, for this page view, when the browser forbids it. */
function store(kind) {
  const memory = new Map();
  let real = null;
  try { real = globalThis[kind]; real.getItem("safechat"); } catch { real = null; }
  return {
    get: (key) => (real ? real.getItem(`safechat.${key}`) : memory.get(key) ?? null),
    set: (key, value) => {
      try { if (real) real.setItem(`safechat.${key}`, value); else memory.set(key, value); } catch { /* full: not remembered */ }
    },
    remove: (key) => { if (real) real.removeItem(`safechat.${key}`); else memory.delete(key); },
  };
}

export const browser = store("localStorage");
export const tab = store("sessionStorage");

/** A browser may forbid its memory, or the mere look at it. */
function indexed() {
  try { return globalThis.indexedDB ? new IndexedPairs(globalThis.indexedDB) : null; } catch { return null; }
}

/** Whether the browser protects keys. It does not for a page that came without https, unless from localhost. */
export const isProtected = Boolean(globalThis.crypto?.subtle);

const keys = new Keys(globalThis.crypto?.subtle ?? null, indexed(), wasm);

export const identity = {
  /** The key of this browser: the public half of a pair whose private half stays in it, else 32 random bytes, which only claim a name. */
  async key() {
    const known = browser.get("key");
    if (known && KEY.test(known)) {
      const kept = browser.get("key.private");
      if (kept && await keys.adopt(known, kept)) browser.remove("key.private");
      return known;
    }
    const key = (await keys.create()) ?? randomId(32);
    browser.set("key", key);
    return key;
  },
  /** Another key in the place of one that can only be claimed. */
  async renew() {
    const key = await keys.create();
    if (!key) throw new Error("This browser cannot make a key that can be proven, or cannot keep one.");
    browser.set("key", key);
    return key;
  },
  /** The key of this browser as a text that the passphrase opens, here and in a terminal (`safe-chat keys import`). */
  async export(passphrase) {
    const seed = await keys.seed(await this.key());
    if (!seed) throw new Error("This key stays in this browser: it cannot be proven, or an earlier version of the page made it so.");
    return (await wasm()).export_identity(seed, passphrase);
  },
  /** Makes the key in such a text that of this browser. */
  async import(text, passphrase) {
    const seal = await wasm(), seed = seal.import_identity(text, passphrase), key = seal.public_of(seed);
    await keys.keep(key, seed);
    browser.set("key", key);
    return key;
  },
  /** What signs for this key, or null: it can only be claimed here. */
  signer(key) { return keys.signer(key); },
  /** The key that this name brought to this room before (the first one stays pinned there), else the key of this browser. */
  async keyFor(room, user) {
    return parsed(browser.get("pinned"), {})[`${room}/${user}`] ?? this.key();
  },
  /** Rooms that were sealed when this browser was there last: they are not entered otherwise. */
  isSealed(room) { return parsed(browser.get("sealed"), []).includes(room); },
  rememberSealed(room) {
    const known = parsed(browser.get("sealed"), []).filter((one) => one !== room);
    browser.set("sealed", JSON.stringify([...known, room].slice(-MOST_SEALED)));
  },
  pin(room, user, key) {
    browser.set("pinned", JSON.stringify({ ...parsed(browser.get("pinned"), {}), [`${room}/${user}`]: key }));
  },
};

/** A name to try when this one is taken: harry, harry-2, harry-3. */
export function anotherName(name) {
  const [, stem, number] = /^(.*?)(?:-(\d{1,6}))?$/.exec(name);
  const end = `-${Number(number ?? 1) + 1}`;
  return (stem || name).slice(0, 64 - end.length) + end;
}
