// A key that comes in a link: what is taken of it, and that the address of the page does not keep it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

globalThis.localStorage = globalThis.sessionStorage = undefined;
const { exported, takenFromAddress } = await import("../../web/carry.js");

const KEY = `safe-chat-identity-v1.${"A".repeat(128)}`;

/** What the page has in its address, and what of it is left. */
function opened(hash, before) {
  const replaced = [];
  globalThis.location = { hash, pathname: "/chat/", search: "?lang=en" };
  globalThis.history = { replaceState: (_, __, to) => replaced.push(to) };
  return { taken: takenFromAddress(before), replaced };
}

describe("a key in a link", () => {
  it("is taken out of the address", () => {
    assert.deepEqual(opened(`#key=${KEY}`), { taken: KEY, replaced: ["/chat/?lang=en"] });
    // Also when it is none, and while somebody is in a room.
    assert.deepEqual(opened("#key=", "#aaa~sealed"), { taken: "", replaced: ["/chat/?lang=en#aaa~sealed"] });
  });

  it("is not looked for in the address of a room", () => {
    for (const hash of ["", "#aaa", "#key", "#aaa~sealed"]) assert.deepEqual(opened(hash), { taken: null, replaced: [] });
  });

  it("is found in what somebody pastes, a link or the key alone", () => {
    for (const text of [KEY, ` ${KEY}\n`, `https://chat.example/#key=${KEY}`, `http://h:8080/a/#key=${KEY}\n`]) assert.equal(exported(text), KEY);
    assert.equal(exported(`#key=${"A".repeat(10_000)}`).length, 4096);
  });
});
