// One WebSocket after another: connects, resumes, notices silence, waits with backoff.

import { HISTORY } from "./journal.js";
import { RETRYABLE, closePolicy, diagnose, words } from "./refusals.js";
import { parsed } from "./tools.js";

const PROTOCOL = "safechat.v1+json";
const CONNECT_MS = 10_000;       // a connection without `welcome` after this time has failed
const IDLE_MS = 20_000;          // silence after which we ask with `ping` (a page cannot see WebSocket pings)
const PONG_MS = 10_000;          // silence after `ping` that means: gone
const STEADY_MS = 5_000;         // a connection that lasted this long starts the backoff anew
const BACKOFF_MS = { first: 500, most: 30_000 };

/**
 * Keeps one connection to the room. Calls back: onState(state, detail), onFrame(frame), onOpen().
 * States: connecting, open, waiting { until, why }, stopped { why, reason, action }.
 */
export class Link {
  constructor(who, { since, onFrame, onState }) {
    Object.assign(this, { who, since, onFrame, onState });
    this.attempt = 0;
    this.socket = null;
    this.everWelcome = false;
    this.tick = setInterval(() => this.watch(), 1000);
  }

  connect() {
    clearTimeout(this.timer);
    const { room, user, key, device } = this.who;
    const query = new URLSearchParams({ pub: key, device, history: HISTORY });
    const since = this.since();
    if (since !== null) query.set("since", since);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/chat/${room}/user/${user}?${query}`, PROTOCOL);
    this.socket = socket;
    this.welcomeAt = 0;
    this.byeAfter = null;
    this.heardAt = Date.now();
    this.asked = false;
    this.onState("connecting", {});
    socket.onmessage = ({ data }) => { if (this.socket === socket) this.heard(data); };
    socket.onclose = ({ code }) => { if (this.socket === socket) this.closed(code); };
  }

  heard(data) {
    this.heardAt = Date.now();
    this.asked = false;
    const frame = parsed(data, null);
    if (frame === null) return;
    if (frame.type === "welcome") {
      this.welcomeAt = Date.now();
      this.everWelcome = true;
      this.onState("open", {});
    }
    if (frame.type === "bye") this.byeAfter = Math.max(0, Number(frame.reconnect_after_ms) || 0);
    this.onFrame(frame);
  }

  send(frame) {
    if (!this.isOpen()) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  isOpen() { return this.welcomeAt > 0 && this.socket?.readyState === WebSocket.OPEN; }

  /** Gives this connection up and opens the next one, with since. */
  restart(why) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.wait(why, this.backoff());
  }

  async closed(code) {
    const welcomed = this.welcomeAt > 0;
    const steady = welcomed && Date.now() - this.welcomeAt > STEADY_MS;
    if (steady || this.byeAfter !== null) this.attempt = 0;
    this.socket = null;
    this.welcomeAt = 0;
    const policy = closePolicy(code);
    if (!policy.reconnect) return this.stop(policy);
    if (!welcomed && code === 1006) return this.refused(await diagnose(this.who));
    const backoff = this.backoff();
    if (this.byeAfter !== null) return this.wait(policy.why, this.byeAfter);
    this.wait(policy.why, policy.soon && this.attempt === 1 ? 100 + Math.random() * 300 : backoff);
  }

  refused(found) {
    if (this.over || this.socket) return;
    const backoff = this.backoff();
    if (found.down) return this.wait(`No answer from ${location.host}.`, backoff, found);
    if (RETRYABLE.has(found.reason)) return this.wait(words(found, this.who), Math.max(backoff, found.retryAfter ?? 0), found);
    if (found.unknown && this.everWelcome) return this.wait("The service answers, but does not let this page in.", backoff, found);
    this.stop({ why: words(found, this.who), found });
  }

  backoff() {
    const most = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.attempt);
    this.attempt += 1;
    return most * (0.5 + Math.random() / 2);
  }

  wait(why, delay, found = {}) {
    if (this.over) return;
    const until = Date.now() + delay;
    this.timer = setTimeout(() => this.connect(), delay);
    this.onState("waiting", { until, why, found, attempt: this.attempt });
  }

  stop(detail) {
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

  /** The network may be back: do not wait any longer. */
  hurry() {
    if (!this.over && !this.socket) this.connect();
  }

  watch() {
    if (!this.socket) return;
    const silent = Date.now() - this.heardAt;
    if (!this.welcomeAt) {
      if (silent > CONNECT_MS) this.restart("The service did not answer in time.");
    } else if (this.asked && silent > IDLE_MS + PONG_MS) {
      this.restart("The service fell silent.");
    } else if (!this.asked && silent > IDLE_MS) {
      this.asked = this.send({ type: "ping", id: "p" });
    }
  }
}
