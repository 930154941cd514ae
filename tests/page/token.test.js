// Tokens of the page around this one: asked for when a room needs one, renewed in time, never in an address.

import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";

import { Sockets, Time, answers, settled } from "./world.js";

const WHO = { room: "aaa", user: "harry", key: "KEY", device: "d1" };
let listeners = [];
globalThis.addEventListener = (kind, listener) => listeners.push(listener);
const around = { wanted: [], token: null };
around.postMessage = (data) => {
  around.wanted.push(data);
  if (around.token !== null) hands(around.token);
};
globalThis.parent = around;
const { Link } = await import("../../web/link.js");

function hands(token, source = around) {
  for (const listener of listeners) listener({ source, data: { type: "safechat.token", token } });
}

let time, sockets, states, link;

beforeEach(() => {
  time = new Time();
  sockets = new Sockets();
  around.wanted = [];
  around.token = null;
  states = [];
  link = new Link(WHO, {
    since: () => null,
    onFrame: () => {},
    onState: (state, detail) => states.push({ state, ...detail }),
    newDevice: async () => "d2",
  });
});

afterEach(() => {
  link.end();
  time.end();
});

function refuses(reason) {
  answers((url, { headers = {} }) => {
    const { authorization } = headers;
    assert.doesNotMatch(url.href, /secret/);
    return { status: 401, error: { reason: authorization === "Bearer secret.2" ? "upgrade_required" : reason, message: "" } };
  });
}

it("asks for a token when the room needs one, and brings it as a subprotocol", async () => {
  refuses("token_required");
  link.connect();
  assert.equal(sockets.last.protocols, "safechat.v1+json");
  around.token = "secret.1";
  sockets.last.ends(1006);
  await settled();
  assert.deepEqual(around.wanted, [{ type: "safechat.token-wanted", room: "aaa", user: "harry" }]);
  await time.pass(2);
  assert.deepEqual(sockets.last.protocols, ["safechat.v1+json", "safechat.token.secret.1"]);
  assert.doesNotMatch(sockets.last.url.href, /secret/);
});

it("takes tokens from the page around it alone", async () => {
  hands("secret.of.a.stranger", { postMessage() {} });
  link.connect();
  assert.deepEqual(sockets.last.protocols, ["safechat.v1+json", "safechat.token.secret.1"]);
});

it("sends a new one before the old one expires, and comes back with one when it was late", async () => {
  link.connect();
  sockets.last.says({ type: "welcome", seq: 1, members: [] });
  around.token = "secret.2";
  sockets.last.says({ type: "expiring", expires_in_ms: 60_000 });
  await settled();
  assert.deepEqual(sockets.last.sent, [{ type: "token", id: "token", token: "secret.2" }]);
  sockets.last.ends(4007);
  await time.pass(2);
  assert.equal(sockets.all.length, 2);
});

it("says what is wrong when nobody has a better token", async () => {
  refuses("token_invalid");
  hands("secret.3");
  around.token = "secret.4";
  link.connect();
  for (let attempt = 0; attempt < 5 && !states.some(({ state }) => state === "stopped"); attempt++) {
    sockets.last.ends(1006);
    await settled();
    await time.pass(5);
  }
  assert.equal(around.wanted.length, 3);
  assert.match(states.at(-1).why, /does not accept the permission/);
});
