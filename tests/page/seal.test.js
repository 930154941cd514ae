// The module of wasm that is committed: it loads, founds a room, says something, and goes on from what was stored.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";

import { base64url } from "../../web/tools.js";

const MOST = 500_000;
const { subtle } = crypto;
const now = () => Math.floor(Date.now() / 1000);
let seal;

before(async () => {
  const packed = readFileSync(new URL("../../web/seal_bg.wasm.gz", import.meta.url));
  assert.ok(packed.length <= MOST, `a browser fetches ${packed.length} bytes`);
  seal = await import("../../web/seal.js");
  await seal.default({ module_or_path: gunzipSync(packed) });
});

/** A device of an identity that WebCrypto has, in a room that nobody has founded. */
async function founder() {
  const pair = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const pub = base64url(await subtle.exportKey("raw", pair.publicKey));
  const draft = new seal.Draft("harry", "web-1", pub);
  const signature = new Uint8Array(await subtle.sign("Ed25519", pair.privateKey, draft.to_sign()));
  const device = draft.begin(signature, "aaa", true);
  return { pub, device, shelf: null, seq: 0 };
}

/** What comes of a call, once it is stored. */
function effects(one, answer) {
  one.shelf = one.device.shelf() ?? one.shelf;
  return JSON.parse(answer);
}

/** The room takes what was sent, and sends it back. */
function placed(one, { number, sealed, handshake }) {
  one.seq += 1;
  return [
    ...effects(one, one.device.placed(number, one.seq, now())),
    ...effects(one, one.device.event(one.seq, sealed, handshake, now())),
  ];
}

async function founded() {
  const one = await founder();
  assert.deepEqual(effects(one, one.device.connected(0, now())).map((it) => it.do), ["ask_welcome"]);
  assert.deepEqual(effects(one, one.device.no_welcome(now())).map((it) => it.do), ["ask_group"]);
  const [founding] = effects(one, one.device.no_group(now()));
  assert.ok(founding.handshake);
  assert.equal(placed(one, founding).at(-1).what, "changed");
  assert.ok(one.device.is_in());
  return one;
}

describe("the module of wasm", () => {
  it("founds a room, and says something in it", async () => {
    const one = await founded();
    const [sent] = effects(one, one.device.say("Hello \u{1f44b}", now()));
    assert.equal(sent.text, "Hello \u{1f44b}");
    assert.ok(!atob(sent.sealed.replace(/-/g, "+").replace(/_/g, "/")).includes("Hello"));
    const said = placed(one, sent).find((it) => it.what === "said");
    assert.deepEqual([said.seq, said.text], [2, "Hello \u{1f44b}"]);
    assert.deepEqual(JSON.parse(one.device.members()), [{ user: "harry", device: "web-1", pub: one.pub }]);
    assert.match(one.device.code(), /^(\d{5} ){11}\d{5}$/);
  });

  it("goes on from what was stored", async () => {
    const one = await founded(), code = one.device.code();
    const again = seal.Sealed.restore(one.shelf, "aaa", true);
    assert.deepEqual([again.device(), again.since(), again.code()], ["web-1", 1, code]);
    assert.throws(() => seal.Sealed.restore(one.shelf.slice(0, 50), "aaa", true), /cannot be read/);
  });

  it("publishes key packages, and is not shaken by what is none", async () => {
    const one = await founded();
    const { packages, last_resort: last } = JSON.parse(one.device.publish(3, now()));
    assert.deepEqual([packages.length, typeof last], [3, "string"]);
    assert.throws(() => one.device.add(JSON.stringify(["AAAA"]), now()));
    assert.throws(() => one.device.remove("nobody", undefined, now()), /nothing changes/);
    assert.deepEqual(effects(one, one.device.event(2, "AAAA", undefined, now())).map((it) => it.what), ["unreadable"]);
    assert.ok(one.device.is_in());
  });

  it("takes no certificate that the identity did not sign", () => {
    const draft = new seal.Draft("harry", "web-1", "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
    assert.throws(() => draft.begin(new Uint8Array(64), "aaa", false), /did not sign/);
  });

  it("carries an identity as the terminal does", () => {
    const text = readFileSync(new URL("../../seal/tests/identity.v1", import.meta.url), "utf8");
    const seed = seal.import_identity(text, "correct horse battery");
    assert.deepEqual([...seed], Array(32).fill(9));
    assert.throws(() => seal.import_identity(text, "correct horse batterz"), /does not open/);
    const own = seal.export_identity(seed, "another passphrase");
    assert.deepEqual([...seal.import_identity(own, "another passphrase")], [...seed]);
    assert.throws(() => seal.export_identity(seed, "short"), /12 characters/);
  });

  it("draws what people compare", () => {
    const [one, other] = [7, 8].map((n) => seal.public_of(new Uint8Array(32).fill(n)));
    const number = seal.safety_number(one, other);
    assert.equal(number, seal.safety_number(other, one));
    assert.match(number, /^(\d{5} ){11}\d{5}$/);
    assert.match(seal.qr(number.replaceAll(" ", "")), /^\d+ (M\d+ \d+h1v1h-1z)+$/);
  });
});
