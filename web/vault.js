// What sealed rooms keep in this browser: IndexedDB, each value encrypted with a key that no script can read; in the open where the page
// came without https, for then the browser has no such key. A step is written as a whole before anything of it is sent, and only if
// nobody else has gone on from the same state.

const AES = { name: "AES-GCM" };
const SHELVES = "shelves", SAID = "said", LISTS = "lists", KEYS = "keys";

/** Messages and changes of a group kept for a room; the oldest go first. */
const MOST_SAID = 5000;

/** Another tab went on from the same state. */
export class Overtaken extends Error {}

/** What a request or a transaction of IndexedDB comes to. */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error ?? new Error("this browser does not store it"));
  });
}

/** What somebody has in sealed rooms under one name. */
export class Vault {
  /** `subtle`: WebCrypto, or null. Throws where the browser keeps nothing. */
  static async open(indexed, subtle, { user, key }) {
    const opening = indexed.open("safechat-sealed", 1);
    opening.onupgradeneeded = () => {
      for (const store of [SHELVES, SAID, LISTS, KEYS]) opening.result.createObjectStore(store);
    };
    const base = await done(opening);
    const vault = new Vault(base, subtle, `${key}/${user}`);
    vault.aes = await vault.ownKey();
    // A later version of the page may want to change the store.
    base.onversionchange = () => base.close();
    return vault;
  }

  constructor(base, subtle, who) {
    Object.assign(this, { base, subtle, who });
    this.revision = 0;
  }

  close() { this.base.close(); }

  /** One key for all of a browser, made once; of two tabs that make one, the first counts. */
  async ownKey() {
    if (!this.subtle) return null;
    const fresh = await this.subtle.generateKey({ ...AES, length: 256 }, false, ["encrypt", "decrypt"]);
    const change = this.base.transaction(KEYS, "readwrite");
    const keys = change.objectStore(KEYS);
    let key = null;
    keys.get("aes").onsuccess = ({ target }) => {
      key = target.result ?? fresh;
      if (!target.result) keys.put(fresh, "aes");
    };
    await done(change);
    return key;
  }

  async lock(about, bytes) {
    if (!this.aes) return { open: bytes };
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const additionalData = new TextEncoder().encode(about);
    return { iv, locked: await this.subtle.encrypt({ ...AES, iv, additionalData }, this.aes, bytes) };
  }

  async unlock(about, { iv, locked, open }) {
    if (open) return open;
    if (!this.aes) throw new Error("It was stored with https (or localhost), and opens there alone.");
    const additionalData = new TextEncoder().encode(about);
    return new Uint8Array(await this.subtle.decrypt({ ...AES, iv, additionalData }, this.aes, locked));
  }

  lockText(about, value) { return this.lock(about, new TextEncoder().encode(JSON.stringify(value))); }

  async unlockText(about, record) { return JSON.parse(new TextDecoder().decode(await this.unlock(about, record))); }

  get(store, key) { return done(this.base.transaction(store).objectStore(store).get(key)); }

  /** What the device must not forget, or null. */
  async shelf() {
    const record = await this.get(SHELVES, this.who);
    this.revision = record?.revision ?? 0;
    return record ? this.unlock(`shelf ${this.who}`, record) : null;
  }

  /**
   * Stores a step: the shelf (null: as it is), what it had read, [[seq, value]], and lists by their name. Throws Overtaken when the
   * shelf is not the one that this tab knows.
   */
  async store(room, { shelf = null, revision = this.revision, said = [], lists = {} }) {
    const at = `${this.who}/${room}`;
    const locked = shelf && { ...await this.lock(`shelf ${this.who}`, shelf), revision };
    const rows = await Promise.all(said.map(async ([seq, value]) => [seq, await this.lockText(`said ${at} ${seq}`, value)]));
    const named = await Promise.all(Object.entries(lists).map(async ([name, value]) => [name, await this.lockText(`list ${name}`, value)]));
    const change = this.base.transaction([SHELVES, SAID, LISTS], "readwrite", { durability: "strict" });
    const shelves = change.objectStore(SHELVES);
    let overtaken = false;
    shelves.get(this.who).onsuccess = ({ target }) => {
      overtaken = (target.result?.revision ?? 0) !== this.revision;
      if (overtaken) return change.abort();
      if (locked) shelves.put(locked, this.who);
      for (const [seq, row] of rows) change.objectStore(SAID).put(row, [at, seq]);
      for (const [name, list] of named) change.objectStore(LISTS).put(list, name);
    };
    try {
      await done(change);
    } catch (error) {
      throw overtaken ? new Overtaken("another tab went on with this device") : error;
    }
    if (locked) this.revision = revision;
  }

  /** What was read at places of a room: Map of seq and value. */
  async said(room, first, last) {
    const at = `${this.who}/${room}`, range = IDBKeyRange.bound([at, first], [at, last]);
    const said = this.base.transaction(SAID).objectStore(SAID);
    const [keys, rows] = await Promise.all([done(said.getAllKeys(range)), done(said.getAll(range))]);
    const read = await Promise.all(rows.map((row, i) => this.unlockText(`said ${at} ${keys[i][1]}`, row)));
    return new Map(read.map((value, i) => [keys[i][1], value]));
  }

  /** Forgets what is older than the bound. */
  async trim(room) {
    const at = `${this.who}/${room}`, range = IDBKeyRange.bound([at, 0], [at, Infinity]);
    const keys = await done(this.base.transaction(SAID).objectStore(SAID).getAllKeys(range));
    if (keys.length > MOST_SAID) await this.forget(room, keys[keys.length - MOST_SAID][1]);
  }

  /** Forgets what was read before a place. */
  async forget(room, seq) {
    const at = `${this.who}/${room}`;
    const change = this.base.transaction(SAID, "readwrite");
    change.objectStore(SAID).delete(IDBKeyRange.bound([at, 0], [at, seq], false, true));
    await done(change);
  }

  /** Forgets what it read of somebody before a place. */
  async forgetOf(room, user, seq) {
    const read = await this.said(room, 0, seq - 1);
    const change = this.base.transaction(SAID, "readwrite");
    for (const [at, { from }] of read) if (from === user) change.objectStore(SAID).delete([`${this.who}/${room}`, at]);
    await done(change);
  }

  /** A list by its name, or another value. */
  async list(name, otherwise) {
    const record = await this.get(LISTS, name);
    return record ? this.unlockText(`list ${name}`, record) : otherwise;
  }
}
