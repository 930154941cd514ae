// Tokens of the page around this one: asked for when a room needs one, renewed in time, never in an address.

import assert from "node:assert/strict";
import { afterEach, beforeEach, it, mock } from "node:test";

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

function hands(token, { source = around, room } = {}) {
  for (const listener of listeners) listener({ source, data: { type: "safechat.token", token, room } });
}

/** The newest connection brings this token, or none. */
function brings(token) {
  assert.deepEqual(sockets.last.protocols, token ? ["safechat.v1+json", `safechat.token.${token}`] : "safechat.v1+json");
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

it("waits a moment for a page that gives no tokens, once, and asks again when the room needs one", async () => {
  refuses("token_required");
  link.connect();
  await settled();
  assert.deepEqual(around.wanted, [{ type: "safechat.token-wanted", room: "aaa", user: "harry" }]);
  assert.equal(sockets.all.length, 0);
  await time.pass(1);
  brings(null);
  sockets.last.ends(4010);
  await settled();
  await time.pass(1);
  assert.equal(sockets.all.length, 2);
  brings(null);
  sockets.last.ends(1006);
  around.token = "secret.1";
  await settled();
  await time.pass(2);
  brings("secret.1");
  assert.doesNotMatch(sockets.last.url.href, /secret/);
});

it("asks before each connection, and brings what it is given as a subprotocol", async () => {
  for (const token of ["secret.1", "secret.2"]) {
    around.token = token;
    if (!sockets.last) link.connect();
    await settled();
    await time.pass(2);
    brings(token);
    sockets.last.ends(4010);
    await settled();
  }
});

it("takes tokens from the page around it alone", async () => {
  hands("secret.of.a.stranger", { source: { postMessage() {} } });
  link.connect();
  await time.pass(1);
  brings("secret.2");
});

it("keeps a token for the room that it is for", async () => {
  link.connect();
  hands("secret.of.bbb", { room: "bbb" });
  await settled();
  assert.equal(sockets.all.length, 0, "that answers nothing");
  await time.pass(1);
  brings(null);
  sockets.last.ends(4010);
  await settled();
  await time.pass(1);
  hands("secret.2", { room: "aaa" });
  await settled();
  brings("secret.2");
});

it("takes a token that ends its line, and nothing that is none", async () => {
  around.token = "secret.2\n";
  link.connect();
  await settled();
  brings("secret.2");
  const warned = mock.method(console, "warn", () => {});
  around.token = "<html>Log in first</html>";
  sockets.last.ends(4010);
  await settled();
  await time.pass(1);
  assert.equal(sockets.all.length, 2);
  brings("secret.2");
  assert.equal(warned.mock.callCount(), 1);
});

it("says so and tries again when the browser opens no connection", async () => {
  const { WebSocket } = globalThis;
  globalThis.WebSocket = class { constructor() { throw new SyntaxError("no"); } };
  around.token = "secret.2";
  link.connect();
  await settled();
  assert.equal(states.at(-1).state, "waiting");
  globalThis.WebSocket = WebSocket;
  await time.pass(2);
  brings("secret.2");
});

it("sends a new one before the old one expires, and comes back with one when it was late", async () => {
  around.token = "secret.1";
  link.connect();
  await settled();
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
  await settled();
  for (let attempt = 0; attempt < 5 && !states.some(({ state }) => state === "stopped"); attempt++) {
    sockets.last.ends(1006);
    await settled();
    await time.pass(5);
  }
  // Before each of four connections, and after each of the first three refusals.
  assert.equal(around.wanted.length, 7);
  assert.match(states.at(-1).why, /does not accept the permission/);
});
