// Why the page was not let in, found out and said.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { diagnose, policyOf, words } from "../../web/refusals.js";
import { Sockets, answers } from "./world.js";

const WHO = { room: "aaa", user: "harry", key: "KEY", device: "d1" };

beforeEach(() => new Sockets());

/** A service that refuses an upgrade and a GET alike, and knows its own origin. */
function service(status, reason, { foreign = false } = {}) {
  answers(({ pathname }, { method = "GET" }) => {
    const message = "the service's words";
    if (pathname === "/chat/aaa/user/harry") return { status, error: { reason, message } };
    if (foreign && method === "POST") return { status: 403, error: { reason: "bad_origin" } };
    return { status: 400, error: { reason: "bad_field", message: "" } };
  });
}

async function said() {
  return words(await diagnose(WHO), WHO);
}

describe("the page says", () => {
  for (const [status, reason, text] of [
    [403, "key_mismatch", /name “harry” is taken in #aaa/],
    [409, "too_many_sessions", /too many sessions/],
    [403, "bad_origin", /pages of http:\/\/chat\.example/],
    [429, "rate_limited", /Too many connections/],
    [503, "draining", /being stopped/],
    [503, "unavailable", /not available now/],
    [400, "bad_pub", /does not accept this key/],
    [400, "some_new_reason", /some_new_reason: the service's words/],
  ]) {
    it(`why: ${reason}`, async () => {
      service(status, reason);
      assert.match(await said(), text);
    });
  }

  it("that its origin is not let in, which only a POST tells", async () => {
    service(426, "upgrade_required", { foreign: true });
    const text = await said();
    assert.match(text, /gateway\.allowed_origins/);
    assert.doesNotMatch(text, /taken/);
  });

  it("that something between swallows WebSockets when the service would take one", async () => {
    service(426, "upgrade_required");
    assert.match(await said(), /does not pass WebSockets on/);
  });

  it("that something else answered", async () => {
    answers(() => ({ status: 502 }));
    assert.match(await said(), /not as safe-chat \(HTTP 502\)/);
  });

  it("that nothing answered", async () => {
    globalThis.fetch = async () => { throw new TypeError("failed to fetch"); };
    assert.match(await said(), /No answer from chat\.example/);
  });
});

it("the question names who asks, and a message is never sent with it", async () => {
  const asked = [];
  answers((url, { method = "GET", body }) => {
    asked.push({ method, path: url.pathname + url.search, body });
    return { status: 426, error: { reason: "upgrade_required" } };
  });
  await diagnose(WHO);
  assert.deepEqual(asked, [
    { method: "GET", path: "/chat/aaa/user/harry?pub=KEY&device=d1", body: undefined },
    { method: "POST", path: "/rooms/aaa/messages?user=harry&pub=KEY", body: "{}" },
  ]);
});

it("the question is asked below the path of the page", async () => {
  const paths = [];
  globalThis.location = { ...location, href: "http://chat.example/talk/#aaa" };
  answers((url) => {
    paths.push(url.pathname);
    return { status: 426, error: { reason: "upgrade_required" } };
  });
  await diagnose(WHO);
  assert.deepEqual(paths, ["/talk/chat/aaa/user/harry", "/talk/rooms/aaa/messages"]);
});

describe("what a room is, before one joins", () => {
  /** A room with a policy, or none yet. */
  function room(own) {
    answers(({ searchParams }) => {
      const wanted = searchParams.get("policy"), needsProof = (own ?? wanted) !== "open" && searchParams.get("auth") !== "1";
      if (own && own !== wanted) return { status: 409, error: { reason: "other_policy" } };
      return needsProof ? { status: 403, error: { reason: "proof_required" } } : { status: 426, error: { reason: "upgrade_required" } };
    });
  }

  for (const [own, proves, found] of [
    [null, true, "new"], ["sealed", true, "sealed"], ["open", true, "other"], ["proven", true, "other"],
    [null, false, "new"], ["sealed", false, "sealed"], ["open", false, "new"],
  ]) {
    it(`${own ?? "not made yet"}, ${proves ? "with" : "without"} a proof: ${found}`, async () => {
      room(own);
      assert.equal(await policyOf({ ...WHO, proves }), found);
    });
  }

  it("is not known when the service says something else", async () => {
    service(503, "draining");
    assert.equal(await policyOf({ ...WHO, proves: true }), null);
    answers(() => { throw new Error("offline"); });
    assert.equal(await policyOf({ ...WHO, proves: true }), null);
  });
});
