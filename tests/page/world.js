// What a browser has and Node has not, as far as the logic of the page needs it: time that a test
// moves, WebSockets that a test answers, memory, answers to fetch.

import { mock } from "node:test";

/** Time of one test. The clock of Date can be set; performance.now() can stand still in a sleep. */
export class Time {
  constructor() {
    this.steady = 1000;
    this.wall = 1_795_000_000_000;
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    mock.method(performance, "now", () => this.steady);
    mock.method(Date, "now", () => this.wall);
    mock.method(Math, "random", () => 0.5);
  }

  /** Lets time pass second by second, and what waits for it happen. */
  async pass(seconds) {
    for (let i = 0; i < seconds; i++) {
      this.steady += 1000;
      this.wall += 1000;
      mock.timers.tick(1000);
      await settled();
    }
  }

  end() {
    mock.timers.reset();
    mock.restoreAll();
  }
}

/** All promises that can go on without time have. */
export async function settled() {
  for (let i = 0; i < 20; i++) await null;
}

/** The other end of every WebSocket that the page opens. */
export class Sockets {
  constructor() {
    const all = this.all = [];
    const host = "chat.example";
    globalThis.location = { protocol: "http:", host, origin: `http://${host}`, href: `http://${host}/#aaa` };
    globalThis.WebSocket = class {
      static OPEN = 1;
      constructor(url, protocols) {
        Object.assign(this, { url: new URL(url), protocols, readyState: 1, sent: [], closed: null });
        all.push(this);
      }
      send(text) { this.sent.push(JSON.parse(text)); }
      close(code) { this.closed = code ?? 1005; this.readyState = 3; }
      says(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
      ends(code) { this.readyState = 3; this.onclose({ code }); }
    };
  }

  get last() { return this.all.at(-1); }
}

/** Answers every fetch with what `reply(url, options)` returns: { status, error, retryAfter }. */
export function answers(reply) {
  globalThis.fetch = async (path, options = {}) => {
    const url = new URL(path, "http://chat.example");
    const { status = 200, error, retryAfter } = reply(url, options);
    const headers = new Map(retryAfter ? [["retry-after", String(retryAfter)]] : []);
    const json = async () => (error ? { error } : JSON.parse("not JSON"));
    return { status, ok: status < 400, headers, json };
  };
}

/** What a tab remembers. */
export class Memory {
  constructor(copied = []) { this.kept = new Map(copied); }
  get(key) { return this.kept.get(key) ?? null; }
  set(key, value) { this.kept.set(key, value); }
  remove(key) { this.kept.delete(key); }
  /** What a browser does for a tab that is duplicated. */
  copy() { return new Memory(this.kept); }
}
