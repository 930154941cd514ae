// One WebSocket after another: connects, resumes, notices silence, waits with backoff.
// All durations are of performance.now(): a person or the network may set the clock of Date.

import { HISTORY } from "./journal.js";
import { sessionProof } from "./keys.js";
import { RETRYABLE, closePolicy, diagnose, words } from "./refusals.js";
import { TOKEN_REASONS, fresh, isFramed, renew, token } from "./token.js";
import { named, parsed } from "./tools.js";

const PROTOCOL = "safechat.v1+json";
const CONNECT_MS = 10_000;       // a connection without `welcome` after this time has failed
const IDLE_MS = 20_000;          // silence after which we ask with `ping` (a page cannot see WebSocket pings)
const PONG_MS = 10_000;          // silence after `ping` that means: gone
const STEADY_MS = 5_000;         // a connection that lasted this long starts the backoff anew
const SLEPT_MS = 3_000;          // performance.now() may miss less; more means: a sleep
const BACKOFF_MS = { first: 500, most: 30_000 };
const REPLACED = { most: 3, within: 300_000 };   // new devices before a person has to decide
const TOKENS_MOST = 3;           // new tokens that are refused before a person has to know
const BLOCKED_MOST = 3;          // attempts at a first join while something swallows WebSockets

/** Whatever stands for a name in a frame is one. */
function nameAll(frame) {
  for (const event of frame.type === "event" ? [frame] : frame.events ?? []) {
    event.from = named(event.from);
    if (event.to) event.to = named(event.to);
  }
  if (frame.members) frame.members = frame.members.map(named);
}

/**
 * Keeps one connection to the room. Calls back: onState(state, detail), onFrame(frame), and
 * newDevice() for the id of another device when this one was taken over. `sign` signs for the key,
 * where this browser can: then the key is proven.
 * States: connecting, open, waiting { until, why }, stopped { why, found, action }.
 */
export class Link {
  constructor(who, { since, sinceAt, onFrame, onState, newDevice }) {
    Object.assign(this, { who, since, sinceAt, onFrame, onState, newDevice });
    this.sign = null;
    this.attempt = 0;
    this.socket = null;
    this.asking = null;   // the attempt that waits for the page around this one
    this.everWelcome = false;
    this.refusedTokens = 0;
    this.replacedAt = [];
    this.seen = { steady: performance.now(), wall: Date.now() };
    this.tick = setInterval(() => this.watch(), 1000);
  }

  /** Opens the next connection; where this page is in a frame, with a new token of the page around it. */
  connect() {
    clearTimeout(this.timer);
    this.onState("connecting", {});
    if (isFramed()) this.askFirst();
    else this.open(null);
  }

  async askFirst() {
    const attempt = this.asking = {};
    const found = await fresh(this.who);
    if (this.asking === attempt && !this.over && !this.socket) this.open(found);
  }

  open(bearer) {
    this.asking = null;
    const { room, user, key, device, policy } = this.who;
    const query = new URLSearchParams({ pub: key, device, history: HISTORY });
    const since = this.since();
    if (since !== null) query.set("since", since);
    const at = since === null ? null : this.sinceAt?.(since) ?? null;
    if (at !== null) query.set("since_at", at);
    if (this.sign) query.set("auth", 1);
    if (policy) query.set("policy", policy);
    // Beside the page, which a proxy may have below a path.
    const address = new URL(`chat/${room}/user/${user}?${query}`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    // The one way for a page to bring a token that is no address.
    const protocols = bearer ? [PROTOCOL, `safechat.token.${bearer}`] : PROTOCOL;
    let socket;
    try {
      socket = new WebSocket(address.href, protocols);
    } catch {
      // A policy of the page around this one, an extension: what a browser does not allow now it may allow later.
      return this.wait("This browser does not open the connection.", this.backoff());
    }
    this.socket = socket;
    this.behind = since;
    this.welcomeAt = null;
    this.byeAfter = null;
    this.heardAt = performance.now();
    this.askedAt = null;
    socket.onmessage = ({ data }) => { if (this.socket === socket) this.heard(data); };
    socket.onclose = ({ code, reason }) => { if (this.socket === socket) this.closed(code, reason); };
  }

  heard(data) {
    this.heardAt = performance.now();
    this.askedAt = null;
    const frame = parsed(data, null);
    if (frame === null) return;
    nameAll(frame);
    if (frame.type === "challenge") return this.prove(this.socket, frame.nonce);
    if (frame.type === "welcome") {
      const { room, user } = this.who;
      if ((frame.room && frame.room !== room) || (frame.user && frame.user !== user)) {
        return this.restart(`The service let this page into another room, or as somebody else, than #${room} as ${user}: nothing of it is taken.`);
      }
      this.welcomeAt = performance.now();
      this.everWelcome = true;
      this.refusedTokens = 0;
      this.onState("open", {});
    }
    if (frame.type === "expiring") this.renew();
    if (frame.type === "bye") this.byeAfter = Math.max(0, Number(frame.reconnect_after_ms) || 0);
    this.onFrame(frame);
  }

  /** Stays with a new token. Without one the service closes in time, and we come back and ask again. */
  async renew() {
    const socket = this.socket, found = await renew(this.who);
    if (found && this.socket === socket) this.send({ type: "token", id: "token", token: found });
  }

  /** Answers a challenge. A browser that lost the key goes on without a proof. */
  async prove(socket, nonce) {
    const { host } = location;
    try {
      const signature = await this.sign(sessionProof({ ...this.who, host, nonce }));
      if (this.socket === socket) socket.send(JSON.stringify({ type: "proof", host, signature }));
    } catch {
      this.sign = null;
      if (this.socket === socket) this.restart("The key of this browser cannot be used.");
    }
  }

  send(frame) {
    if (!this.isOpen()) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  isOpen() { return this.welcomeAt !== null && this.socket?.readyState === WebSocket.OPEN; }

  /** Gives this connection up and opens the next one, with since. */
  restart(why) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.wait(why, this.backoff());
  }

  /** The same at once: what was heard is to be heard again. */
  again() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    if (!this.over) this.connect();
  }

  async closed(code, reason) {
    const welcomed = this.welcomeAt !== null;
    const steady = welcomed && performance.now() - this.welcomeAt > STEADY_MS;
    if (steady || this.byeAfter !== null) this.attempt = 0;
    this.socket = null;
    this.welcomeAt = null;
    const policy = closePolicy(code, reason);
    if (policy.replaced) return this.replaced(policy);
    if (!policy.reconnect) return this.stop(policy);
    if (!welcomed && code === 1006) return this.refused(await diagnose({ ...this.who, proves: Boolean(this.sign) }, token(this.who.room)));
    const backoff = this.backoff();
    if (this.byeAfter !== null) return this.wait(policy.why, this.byeAfter);
    this.wait(policy.why, policy.soon && this.attempt === 1 ? 100 + Math.random() * 300 : backoff);
  }

  /**
   * Another connection came with our device: a copy of this tab, or an own attempt that was given
   * up here and came late there. Both can live, so this page goes on as another device. Bounded,
   * because a page that is replaced again and again would fight with something it does not know.
   */
  async replaced({ why }) {
    const now = performance.now();
    this.replacedAt = this.replacedAt.filter((at) => now - at < REPLACED.within);
    if (this.replacedAt.length >= REPLACED.most) {
      return this.stop({ why: `${why} It happens again and again.`, action: "Use it here" });
    }
    this.replacedAt.push(now);
    const device = await this.newDevice();
    this.who = { ...this.who, device };
    this.wait(why, 100 + Math.random() * 300);
  }

  async refused(found) {
    if (this.over || this.socket) return;
    if (TOKEN_REASONS.has(found.reason) && this.refusedTokens < TOKENS_MOST) {
      this.refusedTokens += 1;
      if (await renew(this.who)) return this.wait(words(found, this.who), this.backoff(), found);
      if (this.over || this.socket) return;
    }
    const backoff = this.backoff(), why = words(found, this.who);
    const passes = found.down || RETRYABLE.has(found.reason);
    const mayPass = found.blocked || found.reason === "too_many_sessions";
    const again = found.blocked && this.attempt <= BLOCKED_MOST;
    if (passes || again || (mayPass && this.everWelcome)) {
      return this.wait(why, Math.max(backoff, found.retryAfter ?? 0), found);
    }
    this.stop({ why, found });
  }

  backoff() {
    const most = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.attempt);
    this.attempt += 1;
    return most * (0.5 + Math.random() / 2);
  }

  wait(why, delay, found = {}) {
    if (this.over || this.socket) return;
    this.asking = null;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), delay);
    const until = performance.now() + delay;
    this.onState("waiting", { until, why, found, attempt: this.attempt });
  }

  stop(detail) {
    if (this.over) return;
    this.end();
    this.onState("stopped", detail);
  }

  end() {
    this.over = true;
    clearTimeout(this.timer);
    clearInterval(this.tick);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }

  /** The network, the person or the machine is back: wait no longer, and doubt the connection. */
  hurry() {
    if (this.over) return;
    if (this.socket) this.ask();
    else this.connect();
  }

  ask() {
    if (this.askedAt !== null || !this.send({ type: "ping", id: "p" })) return;
    this.askedAt = performance.now();
  }

  watch() {
    this.noticeSleep();
    if (!this.socket) return;
    const now = performance.now();
    if (this.welcomeAt === null) {
      if (now - this.heardAt > CONNECT_MS) this.restart("The service did not answer in time.");
    } else if (this.askedAt !== null) {
      if (now - this.askedAt > PONG_MS) this.restart("The service fell silent.");
    } else if (now - this.heardAt > IDLE_MS) {
      this.ask();
    }
  }

  /**
   * In some browsers performance.now() stands still while the machine sleeps. Then the other clock
   * goes ahead of it. A clock that was set does the same; that costs one ping.
   */
  noticeSleep() {
    const steady = performance.now(), wall = Date.now();
    const missed = wall - this.seen.wall - (steady - this.seen.steady);
    this.seen = { steady, wall };
    if (missed > SLEPT_MS) this.hurry();
  }
}
