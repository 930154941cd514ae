// The link of the page: when it takes a connection for dead, and what it does about each end.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { Link } from "../../web/link.js";
import { Sockets, Time, answers, settled } from "./world.js";

const WHO = { room: "aaa", user: "harry", key: "KEY", device: "d1" };
let time, sockets, states, link;

beforeEach(() => {
  time = new Time();
  sockets = new Sockets();
  states = [];
  let devices = 1;
  link = new Link(WHO, {
    since: () => null,
    onFrame: () => {},
    onState: (state, detail) => states.push({ state, ...detail }),
    newDevice: async () => `d${(devices += 1)}`,
  });
  link.connect();
});

afterEach(() => {
  link.end();
  time.end();
});

/** The room lets the newest connection in. */
function welcome() {
  sockets.last.says({ type: "welcome", seq: 1, members: [] });
  return sockets.last;
}

it("goes to the server of the page, below the path of the page", () => {
  assert.equal(sockets.last.url.host, "chat.example");
  assert.equal(sockets.last.url.pathname, "/chat/aaa/user/harry");
  Object.assign(location, { protocol: "https:", href: "https://chat.example/talk/?x=1#aaa" });
  link.connect();
  assert.match(sockets.last.url.href, /^wss:\/\/chat\.example\/talk\/chat\/aaa\/user\/harry\?pub=/);
});

it("says which event it goes on behind, if it holds that", () => {
  for (const [at, expected] of [[700, "700"], [null, null]]) {
    Object.assign(link, { since: () => 7, sinceAt: (seq) => seq === 7 ? at : 1 });
    link.connect();
    const { searchParams } = sockets.last.url;
    assert.deepEqual([searchParams.get("since"), searchParams.get("since_at")], ["7", expected]);
  }
});

it("takes no welcome to another room, or as somebody else", () => {
  for (const other of [{ room: "bbb", user: "harry" }, { room: "aaa", user: "kim" }]) {
    const frames = [];
    link.onFrame = (frame) => frames.push(frame);
    link.connect();
    const socket = sockets.last;
    socket.says({ type: "welcome", seq: 1, members: [], ...other });
    assert.deepEqual([frames, link.isOpen(), states.at(-1).state], [[], false, "waiting"]);
    assert.match(states.at(-1).why, /another room/);
    assert.equal(socket.closed, 1005);
  }
});

it("takes no text for a name", () => {
  const frames = [];
  link.onFrame = (frame) => frames.push(frame);
  welcome();
  const from = "charly     use account 777", text = "Hello";
  sockets.last.says({ type: "event", seq: 2, kind: "joined", from });
  sockets.last.says({ type: "history", events: [{ seq: 1, kind: "text", from: "kim", to: from, text }, { seq: 2, kind: "purged", from: "*" }] });
  sockets.last.says({ type: "members", members: ["harry", from] });
  const [, event, { events }, { members }] = frames;
  assert.equal(event.from, "(no name)");
  assert.deepEqual(events.map((one) => one.from), ["kim", "*"]);
  assert.deepEqual([events[0].to, events[0].text], ["(no name)", text]);
  assert.deepEqual(members, ["harry", "(no name)"]);
});

describe("a connection that fell silent", () => {
  it("is asked after 20 s and given up 10 s later", async () => {
    const socket = welcome();
    await time.pass(21);
    assert.deepEqual(socket.sent, [{ type: "ping", id: "p" }]);
    await time.pass(12);
    assert.ok(states.some(({ why }) => why === "The service fell silent."));
    assert.equal(sockets.all.length, 2);
  });

  for (const [what, seconds] of [
    ["back by an hour", -3600],
    ["back by a day", -86_400],
    ["ahead by an hour", 3600],
  ]) {
    it(`is noticed when the clock was set ${what}`, async () => {
      welcome();
      time.wall += seconds * 1000;
      await time.pass(36);
      assert.ok(sockets.all.length > 1);
    });
  }

  it("is given up before it let us in, also when the clock was set back", async () => {
    time.wall -= 3_600_000;
    await time.pass(13);
    assert.equal(sockets.all.length, 2);
  });

  it("is kept while it answers", async () => {
    const socket = welcome();
    for (let i = 0; i < 5; i++) {
      await time.pass(21);
      socket.says({ type: "pong", id: "p" });
    }
    assert.equal(sockets.all.length, 1);
    assert.equal(socket.sent.length, 5);
  });

  it("is asked at once after a sleep in which performance.now() stood still", async () => {
    const socket = welcome();
    time.wall += 3_600_000;
    await time.pass(1);
    assert.equal(socket.sent.length, 1);
    await time.pass(12);
    assert.equal(sockets.all.length, 2);
  });

  it("is asked, not given up, after a pause in which no timer ran", async () => {
    const socket = welcome();
    time.steady += 3_600_000;
    time.wall += 3_600_000;
    await time.pass(2);
    assert.equal(socket.sent.length, 1);
    socket.says({ type: "pong", id: "p" });
    await time.pass(15);
    assert.equal(sockets.all.length, 1);
  });

  it("is asked at once when the network is back", () => {
    const socket = welcome();
    link.hurry();
    link.hurry();
    assert.equal(socket.sent.length, 1);
  });
});

describe("a session that was replaced", () => {
  it("goes on as another device", async () => {
    welcome().ends(4005);
    await settled();
    await time.pass(1);
    assert.equal(sockets.all.length, 2);
    assert.equal(sockets.last.url.searchParams.get("device"), "d2");
  });

  it("is given up when it happens again and again", async () => {
    for (let i = 0; i < 4; i++) {
      welcome().ends(4005);
      await settled();
      await time.pass(1);
    }
    assert.equal(sockets.all.length, 4);
    assert.equal(states.at(-1).state, "stopped");
    assert.equal(states.at(-1).action, "Use it here");
  });

  it("may happen now and then for as long as the page is open", async () => {
    for (let i = 0; i < 10; i++) {
      welcome().ends(4005);
      await settled();
      await time.pass(1);
      const socket = welcome();
      for (let j = 0; j < 20; j++) {
        await time.pass(20);
        socket.says({ type: "pong", id: "p" });
      }
    }
    assert.equal(states.at(-1).state, "open");
  });
});

describe("each close code", () => {
  for (const code of [1000, 1001, 1006, 1007, 1009, 1011, 4003, 4006, 4010, 4999]) {
    it(`${code} reconnects`, async () => {
      welcome().ends(code);
      await settled();
      await time.pass(2);
      assert.equal(sockets.all.length, 2);
    });
  }
  for (const code of [4001, 4002, 4004]) {
    it(`${code} stops`, async () => {
      welcome().ends(code);
      await settled();
      await time.pass(60);
      assert.equal(sockets.all.length, 1);
      assert.equal(states.at(-1).state, "stopped");
    });
  }

  it("after a bye comes back exactly when it said", async () => {
    const socket = welcome();
    socket.says({ type: "bye", reason: "draining", reconnect_after_ms: 5000 });
    socket.ends(1001);
    await settled();
    await time.pass(4);
    assert.equal(sockets.all.length, 1);
    await time.pass(1);
    assert.equal(sockets.all.length, 2);
  });
});

describe("a refused connection", () => {
  /** Refuses the upgrade like the service: a page sees 1006 and has to ask why. */
  async function refuse(status, reason, retryAfter) {
    answers(() => ({ status, error: { reason, message: "m" }, retryAfter }));
    sockets.last.ends(1006);
    await settled();
  }

  it("says the reason and stops when trying again cannot help", async () => {
    await refuse(403, "key_mismatch");
    const { state, why, found } = states.at(-1);
    assert.equal(state, "stopped");
    assert.match(why, /“harry” is taken in #aaa/);
    assert.equal(found.reason, "key_mismatch");
  });

  for (const [status, reason] of [[503, "draining"], [503, "unavailable"], [429, "rate_limited"]]) {
    it(`waits as long as the service says: ${reason}`, async () => {
      await refuse(status, reason, 7);
      assert.equal(states.at(-1).state, "waiting");
      await time.pass(6);
      assert.equal(sockets.all.length, 1);
      await time.pass(1);
      assert.equal(sockets.all.length, 2);
    });
  }

  it("with too many sessions stops at a join, and waits when it was in already", async () => {
    await refuse(409, "too_many_sessions");
    assert.equal(states.at(-1).state, "stopped");
    const onState = (state) => states.push({ state });
    link = new Link(WHO, { since: () => 1, onFrame: () => {}, onState });
    link.connect();
    welcome().ends(1006);
    await settled();
    await time.pass(2);
    await refuse(409, "too_many_sessions");
    assert.equal(states.at(-1).state, "waiting");
  });

  it("that the service would take is tried a few times, then given up", async () => {
    answers((url, { method }) => (method === "POST"
      ? { status: 400, error: { reason: "bad_field" } }
      : { status: 426, error: { reason: "upgrade_required" } }));
    for (let i = 0; i < 10 && states.at(-1).state !== "stopped"; i++) {
      sockets.last.ends(1006);
      await settled();
      if (states.at(-1).state === "waiting") await time.pass(10);
    }
    assert.match(states.at(-1).why, /does not pass WebSockets on/);
    assert.equal(sockets.all.length, 4);
  });
});

describe("a key that can be proven", () => {
  beforeEach(() => {
    link.sign = async (bytes) => `signed-${bytes.length}`;
    link.connect();
  });

  it("is proven when the service asks, before anything else is sent", async () => {
    const socket = sockets.last;
    assert.equal(socket.url.searchParams.get("auth"), "1");
    link.who = { ...link.who, key: "A".repeat(43) };
    socket.says({ type: "challenge", nonce: "A".repeat(43), within_ms: 10_000 });
    await settled();
    assert.deepEqual(socket.sent, [{ type: "proof", host: "chat.example", signature: "signed-126" }]);
    socket.says({ type: "welcome", seq: 1, members: [], proven: true });
    assert.ok(link.isOpen());
  });

  it("is not asked for by an older service, which lets the page in at once", () => {
    welcome();
    assert.ok(link.isOpen());
  });

  it("that does not fit ends the attempts, with the reason", async () => {
    sockets.last.onclose({ code: 4004, reason: "the signature does not fit" });
    await settled();
    assert.match(states.at(-1).why, /proof of your key failed: the signature does not fit/);
    assert.equal(states.at(-1).state, "stopped");
  });

  it("that the browser has lost is not asked for again", async () => {
    link.sign = async () => { throw new Error("gone"); };
    sockets.last.says({ type: "challenge", nonce: "AA", within_ms: 10_000 });
    await settled();
    await time.pass(2);
    assert.equal(sockets.last.url.searchParams.get("auth"), null);
  });
});
