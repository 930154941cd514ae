// Key pairs that prove whose a name is. WebCrypto signs with the private half and shows it to nobody; IndexedDB keeps it. What it was made
// of (its seed) is beside it for those who carry their key elsewhere, encrypted with a key that nobody can read. A page that came without
// https has no WebCrypto: there the seed lies in the open, and `seal` signs with it.

import { base64url, fromBase64url } from "./tools.js";

const ED25519 = { name: "Ed25519" };
const SESSION = "safe-chat session proof v1";
const STORE = "pairs";
const AES = { name: "AES-GCM", length: 256 };
/** PKCS 8 of an Ed25519 key: this head, then the 32 bytes of the seed. */
const HEAD = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/** What a request or a transaction of IndexedDB comes to. */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error);
  });
}

/** The pairs of this browser, by the public key as `pub` names it. */
export class IndexedPairs {
  constructor(indexed) { this.indexed = indexed; }

  async open() {
    const opening = this.indexed.open("safechat", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    return done(opening);
  }

  async get(pub) {
    const base = await this.open();
    try { return await done(base.transaction(STORE).objectStore(STORE).get(pub)); } finally { base.close(); }
  }

  /** What is there under this name, or this from now on: of two tabs that bring one, the first counts. */
  async first(name, fresh) {
    const base = await this.open();
    try {
      const change = base.transaction(STORE, "readwrite"), store = change.objectStore(STORE);
      let kept = fresh;
      store.get(name).onsuccess = ({ target }) => { if (target.result) kept = target.result; else store.put(fresh, name); };
      await done(change);
      return kept;
    } finally { base.close(); }
  }

  async put(pub, key) {
    const base = await this.open();
    try {
      const change = base.transaction(STORE, "readwrite");
      change.objectStore(STORE).put(key, pub);
      await done(change);
    } finally { base.close(); }
  }
}

export class Keys {
  /**
   * `subtle` is WebCrypto, which pages of plain http do not have; `pairs` keeps { get(pub), put(pub, key), first(name, key) }; wasm() gives
   * `seal`. Each may be null.
   */
  constructor(subtle, pairs, wasm = null) { Object.assign(this, { subtle, pairs, wasm }); }

  /** The public key of a new pair; null: this browser cannot make one, or cannot keep it. */
  async create() {
    if (!(this.subtle || this.wasm) || !this.pairs) return null;
    try {
      if (!this.subtle) return await this.createOpen();
      const pair = await this.subtle.generateKey(ED25519, true, ["sign", "verify"]);
      const pub = base64url(await this.subtle.exportKey("raw", pair.publicKey));
      await this.keep(pub, new Uint8Array(await this.subtle.exportKey("pkcs8", pair.privateKey)).slice(HEAD.length));
      return pub;
    } catch { return null; }
  }

  async createOpen() {
    const seed = crypto.getRandomValues(new Uint8Array(32)), pub = (await this.wasm()).public_of(seed);
    await this.keep(pub, seed);
    return pub;
  }

  /** Keeps a pair that was carried here, or made just now, by its 32 secret bytes. */
  async keep(pub, seed) {
    if (!this.subtle) return this.pairs.put(`seed ${pub}`, { open: seed });
    const key = await this.subtle.importKey("pkcs8", new Uint8Array([...HEAD, ...seed]), ED25519, false, ["sign"]);
    const aes = await this.pairs.first("aes", await this.subtle.generateKey(AES, false, ["encrypt", "decrypt"]));
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const locked = await this.subtle.encrypt({ ...AES, iv, additionalData: new TextEncoder().encode(pub) }, aes, seed);
    await this.pairs.put(`seed ${pub}`, { iv, locked });
    await this.pairs.put(pub, key);
  }

  /** The 32 secret bytes of a pair; null: an older page made it, and it stays in this browser. */
  async seed(pub) {
    const kept = await this.pairs?.get(`seed ${pub}`);
    if (kept?.open) return kept.open;
    if (!kept || !this.subtle) return null;
    const aes = await this.pairs.get("aes"), additionalData = new TextEncoder().encode(pub);
    return new Uint8Array(await this.subtle.decrypt({ ...AES, iv: kept.iv, additionalData }, aes, kept.locked));
  }

  /** Takes over a private half that an older page kept where scripts can read it. Whether it is of this public key, and kept now. */
  async adopt(pub, d) {
    if (!this.subtle || !this.pairs) return false;
    try {
      const key = await this.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x: pub, d }, ED25519, false, ["sign"]);
      const open = await this.subtle.importKey("raw", fromBase64url(pub), ED25519, true, ["verify"]);
      const probe = crypto.getRandomValues(new Uint8Array(16));
      if (!(await this.subtle.verify(ED25519, open, await this.subtle.sign(ED25519, key, probe), probe))) return false;
      await this.keep(pub, fromBase64url(d));
      return true;
    } catch { return false; }
  }

  /** What signs with the private half of this key; null: it is not here. */
  async signer(pub) {
    if (!this.pairs) return null;
    if (!this.subtle) return this.openSigner(pub);
    const key = await this.pairs.get(pub).catch(() => null);
    return key ? async (bytes) => base64url(await this.subtle.sign(ED25519, key, bytes)) : null;
  }

  async openSigner(pub) {
    const seed = this.wasm && await this.seed(pub).catch(() => null);
    return seed ? async (bytes) => base64url((await this.wasm()).sign(seed, bytes)) : null;
  }
}

/** The bytes that prove a session's key: each part behind its length in two bytes (docs/protocol.md). */
export function sessionProof({ host, room, user, device, key, nonce }) {
  const text = (part) => new TextEncoder().encode(part);
  const parts = [text(SESSION), text(host), text(room), text(user), text(device ?? ""), fromBase64url(key), fromBase64url(nonce)];
  return new Uint8Array(parts.flatMap((part) => [part.length >> 8, part.length & 255, ...part]));
}
