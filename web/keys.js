// Key pairs that prove whose a name is. WebCrypto makes the private half and signs with it, IndexedDB keeps it; no script can read it.

import { base64url, fromBase64url } from "./tools.js";

const ED25519 = { name: "Ed25519" };
const SESSION = "safe-chat session proof v1";
const STORE = "pairs";

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
  /** `subtle` is WebCrypto, which pages of plain http do not have; `pairs` keeps { get(pub), put(pub, key) }. Either may be null. */
  constructor(subtle, pairs) { Object.assign(this, { subtle, pairs }); }

  /** The public key of a new pair; null: this browser cannot make one, or cannot keep it. */
  async create() {
    if (!this.subtle || !this.pairs) return null;
    try {
      const pair = await this.subtle.generateKey(ED25519, false, ["sign", "verify"]);
      const pub = base64url(await this.subtle.exportKey("raw", pair.publicKey));
      await this.pairs.put(pub, pair.privateKey);
      return pub;
    } catch { return null; }
  }

  /** Takes over a private half that an older page kept where scripts can read it. Whether it is of this public key, and kept now. */
  async adopt(pub, d) {
    if (!this.subtle || !this.pairs) return false;
    try {
      const key = await this.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x: pub, d }, ED25519, false, ["sign"]);
      const open = await this.subtle.importKey("raw", fromBase64url(pub), ED25519, true, ["verify"]);
      const probe = crypto.getRandomValues(new Uint8Array(16));
      if (!(await this.subtle.verify(ED25519, open, await this.subtle.sign(ED25519, key, probe), probe))) return false;
      await this.pairs.put(pub, key);
      return true;
    } catch { return false; }
  }

  /** What signs with the private half of this key; null: it is not here. */
  async signer(pub) {
    if (!this.subtle || !this.pairs) return null;
    const key = await this.pairs.get(pub).catch(() => null);
    return key ? async (bytes) => base64url(await this.subtle.sign(ED25519, key, bytes)) : null;
  }
}

/** The bytes that prove a session's key: each part behind its length in two bytes (docs/protocol.md). */
export function sessionProof({ host, room, user, device, key, nonce }) {
  const text = (part) => new TextEncoder().encode(part);
  const parts = [text(SESSION), text(host), text(room), text(user), text(device ?? ""), fromBase64url(key), fromBase64url(nonce)];
  return new Uint8Array(parts.flatMap((part) => [part.length >> 8, part.length & 255, ...part]));
}
