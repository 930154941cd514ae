// The keys of a browser: made, kept and used without any script reading them; what they sign.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it, mock } from "node:test";
import { gunzipSync } from "node:zlib";

import { Asks } from "../../web/asks.js";
import { Keys, sessionProof } from "../../web/keys.js";
import { base64url, fromBase64url } from "../../web/tools.js";
import { Vault } from "../../web/vault.js";
import { Memory } from "./world.js";

const { subtle } = crypto;
const ED25519 = { name: "Ed25519" };
const DOCUMENT = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");

/** What IndexedDB keeps, keys as they are. */
class Pairs extends Memory {
  async get(pub) { return super.get(pub) ?? undefined; }
  async put(pub, key) { this.set(pub, key); }
  async first(name, key) { if (!super.get(name)) this.set(name, key); return super.get(name); }
}

async function fits(pub, bytes, signature) {
  const key = await subtle.importKey("raw", fromBase64url(pub), ED25519, true, ["verify"]);
  return subtle.verify(ED25519, key, fromBase64url(signature), bytes);
}

describe("the key of a browser", () => {
  it("signs, and cannot be read", async () => {
    const pairs = new Pairs();
    const keys = new Keys(subtle, pairs);
    const pub = await keys.create();
    assert.match(pub, /^[A-Za-z0-9_-]{43}$/);
    const bytes = new Uint8Array([1, 2, 3]);
    // After a reload.
    const sign = await new Keys(subtle, pairs).signer(pub);
    assert.ok(await fits(pub, bytes, await sign(bytes)));
    const kept = await pairs.get(pub);
    assert.equal(kept.extractable, false);
    for (const form of ["jwk", "pkcs8", "raw"]) await assert.rejects(subtle.exportKey(form, kept));
    assert.equal(await keys.signer("another"), null);
  });

  it("can be carried, and lies nowhere where a script can read it", async () => {
    const pairs = new Pairs(), keys = new Keys(subtle, pairs);
    const pub = await keys.create(), seed = await keys.seed(pub);
    assert.equal(seed.length, 32);
    const kept = [...pairs.kept.values()];
    assert.deepEqual(kept.filter((one) => one instanceof CryptoKey).map((key) => key.extractable), [false, false]);
    const readable = kept.filter((one) => !(one instanceof CryptoKey)).map(({ locked }) => Buffer.from(locked).toString("hex"));
    assert.equal(readable.length, 1);
    assert.ok(!readable[0].includes(Buffer.from(seed).toString("hex")));
    const other = new Keys(subtle, new Pairs()), bytes = new Uint8Array([1, 2, 3]);
    await other.keep(pub, seed);
    assert.ok(await fits(pub, bytes, await (await other.signer(pub))(bytes)));
  });

  it("of an older page stays in its browser", async () => {
    const pairs = new Pairs(), pair = await subtle.generateKey(ED25519, false, ["sign", "verify"]);
    const pub = base64url(await subtle.exportKey("raw", pair.publicKey));
    await pairs.put(pub, pair.privateKey);
    const keys = new Keys(subtle, pairs);
    assert.equal(await keys.seed(pub), null);
    assert.notEqual(await keys.signer(pub), null);
  });

  it("that an older page kept in the open is taken over when it is the right one", async () => {
    const pair = await subtle.generateKey(ED25519, true, ["sign", "verify"]);
    const { x, d } = await subtle.exportKey("jwk", pair.privateKey);
    const keys = new Keys(subtle, new Pairs());
    const other = base64url(crypto.getRandomValues(new Uint8Array(32)));
    assert.equal(await keys.adopt(other, d), false);
    assert.equal(await keys.signer(other), null);
    assert.equal(await keys.adopt(x, d), true);
    const bytes = new Uint8Array([4]);
    assert.ok(await fits(x, bytes, await (await keys.signer(x))(bytes)));
  });

  it("is none where the browser cannot make or keep one", async () => {
    const refusing = { get: async () => { throw new Error("no"); }, put: async () => { throw new Error("no"); } };
    const old = { generateKey: async () => { throw new DOMException("", "NotSupportedError"); } };
    for (const keys of [new Keys(null, new Pairs()), new Keys(subtle, null), new Keys(subtle, refusing), new Keys(old, new Pairs())]) {
      assert.equal(await keys.create(), null);
      assert.equal(await keys.signer("KEY"), null);
    }
  });
});

describe("a page that came without https", () => {
  let seal;
  before(async () => {
    seal = await import("../../web/seal.js");
    await seal.default({ module_or_path: gunzipSync(readFileSync(new URL("../../web/seal_bg.wasm.gz", import.meta.url))) });
  });
  const wasm = async () => seal;

  it("makes and carries a key that it can prove", async () => {
    const pairs = new Pairs(), keys = new Keys(null, pairs, wasm), bytes = new Uint8Array([1, 2, 3]);
    const pub = await keys.create();
    assert.match(pub, /^[A-Za-z0-9_-]{43}$/);
    assert.ok(await fits(pub, bytes, await (await new Keys(null, pairs, wasm).signer(pub))(bytes)));
    assert.equal(await keys.signer("another"), null);
    // To a browser that protects it, and back.
    const other = new Keys(subtle, new Pairs(), wasm), back = new Keys(null, new Pairs(), wasm);
    await other.keep(pub, await keys.seed(pub));
    assert.ok(await fits(pub, bytes, await (await other.signer(pub))(bytes)));
    await back.keep(pub, await other.seed(pub));
    assert.ok(await fits(pub, bytes, await (await back.signer(pub))(bytes)));
  });

  it("makes none that it could not use again", async () => {
    const broken = async () => { throw new Error("no WebAssembly"); };
    for (const keys of [new Keys(null, null, wasm), new Keys(null, new Pairs(), broken)]) {
      assert.equal(await keys.create(), null);
      assert.equal(await keys.signer("KEY"), null);
    }
    // What another page protected, this one cannot open.
    const pairs = new Pairs(), pub = await new Keys(subtle, pairs).create();
    assert.equal(await new Keys(null, pairs, wasm).signer(pub), null);
  });

  it("keeps what is in sealed rooms as it is, and opens nothing that is encrypted", async () => {
    const bytes = new Uint8Array([1, 2, 3]), open = new Vault(null, null, "KEY/harry"), shut = new Vault(null, subtle, "KEY/harry");
    open.aes = await open.ownKey();
    shut.aes = await subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const kept = await open.lock("shelf", bytes), locked = await shut.lock("shelf", bytes);
    assert.deepEqual(await open.unlock("shelf", kept), bytes);
    assert.deepEqual(await shut.unlock("shelf", locked), bytes);
    assert.equal(locked.open, undefined);
    await assert.rejects(open.unlock("shelf", locked), /with https/);
  });

  it("hashes and signs as WebCrypto does", async () => {
    const seed = Uint8Array.from({ length: 32 }, (_, n) => n), { key, x } = await example();
    assert.equal(seal.public_of(seed), x);
    for (const text of ["", "{\"packages\":[]}"]) {
      const bytes = new TextEncoder().encode(text);
      assert.deepEqual(Buffer.from(seal.sha256(bytes)), Buffer.from(await subtle.digest("SHA-256", bytes)));
      assert.deepEqual(Buffer.from(seal.sign(seed, bytes)), Buffer.from(await subtle.sign(ED25519, key, bytes)));
    }
    assert.throws(() => seal.sign(seed.slice(1), seed), /32 bytes/);
  });
});

/** The key of the protocol's examples. */
async function example() {
  const seed = Uint8Array.from({ length: 32 }, (_, n) => n);
  // PKCS 8 of an Ed25519 key: this head, then the 32 bytes.
  const head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
  const key = await subtle.importKey("pkcs8", new Uint8Array([...head, ...seed]), ED25519, true, ["sign"]);
  const { x } = await subtle.exportKey("jwk", key);
  return { key, x };
}

it("what is signed is the example of the protocol, to the byte", async () => {
  const nonce = base64url(Uint8Array.from({ length: 32 }, (_, n) => 0x40 + n));
  const { key, x } = await example();
  const who = { host: "chat.example", room: "aaa", user: "harry", device: "phone", key: x, nonce };
  const bytes = sessionProof(who);
  const shown = DOCUMENT.replace(/\s+/g, "");
  assert.ok(shown.includes(Buffer.from(bytes).toString("hex")));
  assert.ok(shown.includes(base64url(await subtle.sign(ED25519, key, bytes))));
});

it("a question about key packages is signed as the example of the protocol", async () => {
  const { key, x } = await example();
  const sign = async (bytes) => base64url(await subtle.sign(ED25519, key, bytes));
  globalThis.location = { host: "chat.example", href: "https://chat.example/" };
  const clock = mock.method(Date, "now", () => 1_795_465_200_123);
  let asked = null;
  globalThis.fetch = async (url, options) => { asked = { url: String(url), ...options }; return { status: 404, json: async () => ({}) }; };
  const asks = new Asks({ room: "aaa", user: "harry", key: x }, sign, subtle);
  assert.equal(await asks.ask("DELETE", `/keys/${x}/harry/devices/phone`, ""), null);
  clock.mock.restore();
  assert.equal(asked.url, `https://chat.example/keys/${x}/harry/devices/phone`);
  const [, signature] = /^host=chat.example, time=1795465200123, signature=(.{86})$/.exec(asked.headers["safe-chat-proof"]);
  assert.ok(DOCUMENT.includes(signature));
});
