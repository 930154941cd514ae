// The page of safe-chat: joins one room over `safechat.v1+json` and shows it.
//
// From top to bottom: limits, small tools, identity (names and key of this browser), Journal (what the room said, in order),
// Outbox (what we said and what became of it), Link (one WebSocket after another), rows (one event as DOM), Log (a window of
// rows that stays small), and at the end the page itself, which wires them.
//
// Text of others reaches the document through textContent only.

const PROTOCOL = "safechat.v1+json";
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const KEY = /^[A-Za-z0-9_-]{1,128}$/;

const TEXT_BYTES = 16384;        // limit of the service
const HISTORY = 50;              // events of a first join, and of one step back
const ROWS = 400;                // rows in the document while one follows the room; twice as many while reading back
const CHUNK = 100;               // rows added by one step of scrolling
const KEPT = 20000;              // events kept in memory; older ones can be asked for again
const GROUP_MS = 5 * 60_000;     // messages of one author within this time share a header
const CONNECT_MS = 10_000;       // a connection without `welcome` after this time has failed
const IDLE_MS = 20_000;          // silence after which we ask with `ping` (a page cannot see WebSocket pings)
const PONG_MS = 10_000;          // silence after `ping` that means: gone
const UNANSWERED_MS = 15_000;    // a message without any answer is sent again, with its id
const STEADY_MS = 5_000;         // a connection that lasted this long starts the backoff anew
const BACKOFF_MS = { first: 500, most: 30_000 };
const MEMBERS_SHOWN = 300;
const AUTO_RETRIES = 5;          // of a message that was rejected with retry_after_ms

// --- small tools ---------------------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
const bytes = (text) => new TextEncoder().encode(text).length;
const number = new Intl.NumberFormat();
const plural = (n, one) => `${number.format(n)} ${one}${n === 1 ? "" : "s"}`;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dated = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text);

function base64url(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function randomId(size) {
  return base64url(crypto.getRandomValues(new Uint8Array(size)));
}

/** Creates an element: make("b", { className: "x" }, "text", child). Strings become text nodes. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function svg(path, className) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 22 16");
  picture.setAttribute("class", className);
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  picture.append(line);
  return picture;
}

function dayOf(at) {
  return new Date(at).toDateString();
}

function dayName(at) {
  const day = new Date(at), now = new Date();
  const days = Math.round((new Date(now.toDateString()) - new Date(day.toDateString())) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return day.getFullYear() === now.getFullYear() ? weekday.format(day) : dated.format(day);
}

/** A hue in degrees that is always the same for a name. */
function hue(name) {
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0), 16777619);
  return (Math.imul(hash ^ (hash >>> 15), 2246822519) >>> 0) % 360;
}

/** The text with its http(s) addresses as links, as nodes. */
function linked(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"]+/gi)) {
    let address = match[0].replace(/[.,;:!?'*_~]+$/, "");
    while (address.endsWith(")") && address.split("(").length < address.split(")").length) address = address.slice(0, -1);
    if (!URL.canParse?.(address)) continue;
    nodes.push(text.slice(from, match.index));
    nodes.push(make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address));
    from = match.index + address.length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

/** Storage that still works, for this page view, when the browser forbids it. */
function store(kind) {
  const memory = new Map();
  let real = null;
  try { real = window[kind]; real.getItem("safechat"); } catch { real = null; }
  return {
    get: (key) => (real ? real.getItem(`safechat.${key}`) : memory.get(key) ?? null),
    set: (key, value) => {
      try { if (real) real.setItem(`safechat.${key}`, value); else memory.set(key, value); } catch { /* full: not remembered */ }
    },
    remove: (key) => { if (real) real.removeItem(`safechat.${key}`); else memory.delete(key); },
  };
}

function parsed(json, otherwise) {
  try { return JSON.parse(json) ?? otherwise; } catch { return otherwise; }
}

// --- identity ------------------------------------------------------------------------------------------------------------

const browser = store("localStorage");
const tab = store("sessionStorage");

const identity = {
  /** The key of this browser: the public half of an Ed25519 pair where WebCrypto has it, else 32 random bytes. */
  async key() {
    const known = browser.get("key");
    if (known && KEY.test(known)) return known;
    let key = randomId(32);
    try {
      const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]);
      key = base64url(await crypto.subtle.exportKey("raw", pair.publicKey));
      // Kept so that possession can be proven once the service asks for it.
      browser.set("key.private", (await crypto.subtle.exportKey("jwk", pair.privateKey)).d);
    } catch { /* not a secure context, or no Ed25519: random bytes do, only the characters are checked */ }
    browser.set("key", key);
    return key;
  },
  /** The key that this name brought to this room before: the first one stays pinned there, whatever the browser's key is now. */
  pinned(room, user) {
    return parsed(browser.get("pinned"), {})[`${room}/${user}`] ?? null;
  },
  pin(room, user, key) {
    browser.set("pinned", JSON.stringify({ ...parsed(browser.get("pinned"), {}), [`${room}/${user}`]: key }));
  },
  /** One per tab: a reload replaces its own earlier session instead of opening one more. */
  device() {
    const device = tab.get("device") ?? `web-${randomId(9)}`;
    tab.set("device", device);
    return device;
  },
};

// --- Journal: what the room said -------------------------------------------------------------------------------------------

const SHOWN = new Set(["text", "sealed", "joined", "left"]);
const isMessage = (event) => event.kind === "text" || event.kind === "sealed";

/** The events of the room that we hold: one stretch without gaps, first..last. */
class Journal {
  constructor() { this.clear(0); }

  clear(last) {
    this.events = [];            // of kinds that we can show, ascending
    this.first = last + 1;       // lowest seq that we hold, unknown kinds included
    this.last = last;            // highest one: where to resume
    this.started = last > 0;     // whether `last` is known: before that, any seq may be the first
    this.more = last > 0;        // whether the service has earlier ones
    this.unknown = 0;            // events of kinds that this page does not know
  }

  /** "next" (taken), "known" (a repeat) or "gap" (something is missing before it: not taken). */
  take(event) {
    if (this.started && event.seq <= this.last) return "known";
    if (this.started && event.seq !== this.last + 1) return "gap";
    if (!this.started) {
      this.started = true;
      this.first = event.seq;
      this.more = event.seq > 1;
    }
    this.last = event.seq;
    if (SHOWN.has(event.kind)) this.events.push(event);
    else this.unknown += 1;
    return "next";
  }

  /** A page of history. Returns how many events were added before `first`. */
  takeEarlier(events, more) {
    const earlier = events.filter((event) => event.seq < this.first);
    if (earlier.length && earlier.at(-1).seq !== this.first - 1) return 0;
    this.more = more;
    if (earlier.length) this.first = earlier[0].seq;
    const shown = earlier.filter((event) => SHOWN.has(event.kind));
    this.unknown += earlier.length - shown.length;
    this.events.unshift(...shown);
    return shown.length;
  }

  /** Forgets the oldest when there are too many; they can be asked for again. */
  shrink() {
    if (this.events.length <= KEPT) return;
    this.events.splice(0, this.events.length - KEPT + KEPT / 4);
    this.first = this.events[0].seq;
    this.more = true;
  }

  /** Index of the first event with a seq above this one. */
  after(seq) {
    let low = 0, high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[middle].seq > seq) high = middle; else low = middle + 1;
    }
    return low;
  }
}

// --- Outbox: what we said --------------------------------------------------------------------------------------------------

/** Our messages until they come back in the room. States: sending, accepted, journaled (not yet back), rejected. */
class Outbox {
  constructor(room, user) {
    this.slot = `outbox.${room}/${user}`;
    const kept = parsed(tab.get(this.slot), []);
    this.messages = new Map(kept.map((message) => [message.id, { ...message, sentAt: 0 }]));
  }

  add(text, to) {
    const message = { id: `w${randomId(12)}`, text, to, at: Date.now(), state: "sending", sentAt: 0, tries: 0 };
    this.messages.set(message.id, message);
    this.save();
    return message;
  }

  /** Survives a reload of the tab: the same ids are sent again. */
  save() {
    const kept = [...this.messages.values()].filter((message) => message.state !== "journaled");
    if (kept.length) tab.set(this.slot, JSON.stringify(kept)); else tab.remove(this.slot);
  }

  change(id, change) {
    const message = this.messages.get(id);
    if (!message) return null;
    Object.assign(message, change);
    this.save();
    return message;
  }

  remove(id) {
    const had = this.messages.delete(id);
    if (had) this.save();
    return had;
  }

  /** What has to be sent (again) on a new connection, in the order in which it was written. */
  undecided() {
    return [...this.messages.values()].filter((message) => message.state === "sending" || message.state === "accepted");
  }
}

// --- Link: one WebSocket after another --------------------------------------------------------------------------------------

/** What a close code means for us: reconnect or not, and in which words. */
function closePolicy(code) {
  switch (code) {
    case 4001: return { reconnect: false, why: "An operator ended this session." };
    case 4002: return { reconnect: false, why: "The service did not understand this page: too many bad frames. A reload may bring a newer page." };
    case 4004: return { reconnect: false, why: "The proof of your key failed." };
    case 4005: return { reconnect: false, why: "This session went on in another tab.", action: "Use it here" };
    case 4003: return { reconnect: true, soon: true, why: "This page was too slow for the room; it takes up where it stopped." };
    case 4006: return { reconnect: true, soon: true, why: "The service heard nothing from here." };
    case 4010: return { reconnect: true, why: "The room is not available now." };
    case 1001: return { reconnect: true, why: "The service moves this session to another node." };
    default: return { reconnect: true, why: "The connection was lost." };
  }
}

const RETRYABLE = new Set(["draining", "unavailable", "rate_limited"]);

/**
 * Why a connection was not accepted. A page cannot see the HTTP answer to a failed upgrade, so it asks again without one:
 * { down } nothing answers, { reason, message, retryAfter } a refusal in the service's words, { unknown } it only refuses WebSockets.
 */
async function diagnose({ room, user, key }) {
  const ask = (path) => fetch(path, { cache: "no-store", signal: AbortSignal.timeout?.(CONNECT_MS) });
  const refusal = async (answer) => {
    const { error } = await answer.json().catch(() => ({}));
    const retryAfter = Number(answer.headers.get("retry-after")) * 1000 || null;
    if (error?.reason) return { reason: error.reason, message: error.message ?? "", retryAfter };
    return answer.status >= 500 ? { down: true, status: answer.status } : null;
  };
  try {
    const history = await ask(`/rooms/${room}/history?limit=1`);
    if (!history.ok) return (await refusal(history)) ?? { unknown: true };
    const upgrade = await refusal(await ask(`/chat/${room}/user/${user}?pub=${key}`));
    return upgrade && !["upgrade_required", "not_found"].includes(upgrade.reason) ? upgrade : { unknown: true };
  } catch {
    return { down: true };
  }
}

/**
 * Keeps one connection to the room. Calls back: onState(state, detail), onFrame(frame), onOpen().
 * States: connecting, open, waiting { until, why }, stopped { why, reason, action }.
 */
class Link {
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
    if (welcomed && Date.now() - this.welcomeAt > STEADY_MS) this.attempt = 0;
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

/** A refusal in words for a person. */
function words(found, { room, user }) {
  switch (found.reason) {
    case "key_mismatch": return `The name “${user}” is taken in #${room}: somebody came first, with another key. Choose another name, or bring the key that was used there (under “Your key”).`;
    case "too_many_sessions": return `“${user}” is in #${room} with too many sessions already. Close one of them.`;
    case "bad_pub": return "The service does not accept this key.";
    case "draining": return "This node is being stopped; another one takes over.";
    case undefined: return `The service answers, but did not let you into #${room}. Perhaps the name “${user}” is taken there with another key, or has too many sessions open; or something between here and the service does not pass WebSockets on.`;
    default: return found.message ? `${found.reason}: ${found.message}` : found.reason;
  }
}

// --- rows: one event as DOM ---------------------------------------------------------------------------------------------------

const TICKS = {
  sending: ["M11 2.5a5.5 5.5 0 1 0 .01 0M11 5v3l2 1.5", "sending"],
  accepted: ["M5 8.5l4 4 8-9", "accepted: stored, its place is not decided yet"],
  journaled: ["M1.5 8.5l4 4 8-9M10 11.5l1 1 8-9", "journaled"],
  rejected: ["M11 3v6M11 12.5v.1", "rejected"],
};

function tick(state, seq) {
  const [path, meaning] = TICKS[state];
  const said = seq ? `${meaning} as #${seq}` : meaning;
  return make("span", { title: said }, svg(path, `tick ${state}`), make("span", { className: "sr" }, said));
}

function avatar(name) {
  const round = make("span", { className: "avatar", "aria-hidden": "true" }, name.replace(/^[-_]+/, "").slice(0, 2).toUpperCase() || name.slice(0, 2));
  round.style.setProperty("--hue", hue(name));
  return round;
}

function sealedBytes(base64) {
  return Math.floor((String(base64).replace(/=+$/, "").length * 3) / 4);
}

function bubble(message) {
  const box = make("div", { className: "bubble", dir: "auto" });
  if (message.to && message.to !== "*") box.append(make("span", { className: "label", title: "a label only: the whole room reads it" }, `to ${message.to}`));
  if (message.kind === "sealed") {
    box.classList.add("sealed");
    box.append(`(sealed, ${plural(sealedBytes(message.sealed), "byte")})`);
  } else {
    box.append(...linked(String(message.text ?? "")));
  }
  return box;
}

function timeOf(at) {
  return make("time", { dateTime: new Date(at).toISOString(), title: exact.format(at) }, clock.format(at));
}

function startsGroup(event, before) {
  return !before || !isMessage(before) || before.from !== event.from || event.at - before.at > GROUP_MS || dayOf(before.at) !== dayOf(event.at);
}

function messageRow(event, before, me) {
  const own = event.from === me, first = startsGroup(event, before);
  const seq = make("span", { className: "seq", title: "place in the room" }, `#${event.seq}`);
  const main = make("div", { className: "main" });
  if (own) return ownRow(event, first, tick("journaled", event.seq), seq);
  if (first) {
    const name = make("b", {}, event.from);
    name.style.setProperty("--hue", hue(event.from));
    main.append(make("div", { className: "by" }, name, timeOf(event.at)));
  }
  main.append(make("div", { className: "line" }, bubble(event), make("span", { className: "meta" }, first ? "" : timeOf(event.at), seq)));
  return make("div", { className: `row${first ? " first" : ""}` }, make("div", { className: "side" }, first ? avatar(event.from) : ""), main);
}

function ownRow(message, first, state, ...extra) {
  const main = make("div", { className: "main" });
  if (first) main.append(make("div", { className: "by" }, make("span", { className: "sr" }, "You"), timeOf(message.at)));
  main.append(make("div", { className: "line" }, bubble(message),
    make("span", { className: "meta" }, ...extra, first ? "" : timeOf(message.at), state)));
  return make("div", { className: `row own${first ? " first" : ""}` }, main);
}

function quietRow(event, me) {
  const who = event.from === me ? "You" : event.from;
  return make("p", { className: "quiet", title: `#${event.seq} · ${exact.format(event.at)}` }, make("b", {}, who), event.kind === "joined" ? " joined" : " left");
}

/** The <li> of an event; `before` is the event shown above it, or null. */
function rowOf(event, before, me) {
  const item = make("li");
  if (!before || dayOf(before.at) !== dayOf(event.at)) item.append(make("p", { className: "day" }, dayName(event.at)));
  item.append(isMessage(event) ? messageRow(event, before, me) : quietRow(event, me));
  return item;
}

/** The <li> of a message that is not in the journal yet; `before` is what stands above it. */
function pendingRow(message, before, actions) {
  const { state } = message;
  const row = ownRow(message, startsGroup(message, before), tick(state, message.seq));
  row.classList.add(state === "rejected" ? "rejected" : "pending");
  if (state === "rejected") {
    row.lastChild.append(make("div", { className: "refused" }, make("span", {}, `Not sent: ${message.message || message.reason}`),
      make("button", { type: "button", onclick: actions.retry }, "Retry"),
      make("button", { type: "button", onclick: actions.edit }, "Edit")));
  }
  return make("li", {}, row);
}

// --- Log: a window of rows ----------------------------------------------------------------------------------------------------

/** Shows a stretch of the journal. While it is at the bottom it follows the room, else it stays where the reader is. */
class Log {
  constructor(journal, me, askEarlier) {
    Object.assign(this, { journal, me, askEarlier });
    this.list = $("log");
    this.area = $("scroll");
    this.controller = new AbortController();
    this.clear();
    this.area.addEventListener("scroll", () => this.scrolled(), { passive: true, signal: this.controller.signal });
    this.resized = new ResizeObserver(() => this.settle());
    this.resized.observe(this.area);
    this.resized.observe($("outbox"));
  }

  clear() {
    this.rows = [];
    this.list.replaceChildren();
    this.stuck = true;
    this.missed = 0;
  }

  end() {
    this.controller.abort();
    this.resized.disconnect();
    this.clear();
  }

  /** Whether the journal has later events than the document. */
  get behind() { return this.rows.length > 0 && this.journal.after(this.rows.at(-1).event.seq) < this.journal.events.length; }

  /** Takes what the journal got since; called once per frame. */
  update(live) {
    const { events } = this.journal;
    let from = this.rows.length ? this.journal.after(this.rows.at(-1).event.seq) : Math.max(0, events.length - ROWS);
    const added = events.length - from;
    if (added === 0) return;
    if (this.stuck) {
      if (added > ROWS) {
        this.list.replaceChildren();
        this.rows = [];
        from = events.length - ROWS;
      }
      this.append(from, events.length, live && added <= 3);
      this.trimTop(ROWS);
      this.settle();
    } else {
      this.missed = events.slice(from).filter(isMessage).length;
      if (this.rows.length + added <= 2 * ROWS) this.append(from, events.length, false);
    }
    this.hint();
    this.fill();
  }

  append(from, to, fresh) {
    const { events } = this.journal, page = document.createDocumentFragment();
    for (let i = from; i < to; i++) {
      const item = rowOf(events[i], this.rows.at(-1)?.event ?? null, this.me);
      if (fresh) item.lastChild.classList.add("fresh");
      this.rows.push({ event: events[i], item });
      page.append(item);
    }
    this.list.append(page);
  }

  /** Puts earlier events on top, without moving what the reader sees. */
  prepend(count) {
    const { events } = this.journal;
    const end = this.rows.length ? this.journal.after(this.rows[0].event.seq) - 1 : 0;
    const from = Math.max(0, end - count);
    if (from === end) return;
    const page = document.createDocumentFragment(), rows = [];
    for (let i = from; i < end; i++) {
      const item = rowOf(events[i], events[i - 1] && i > from ? events[i - 1] : null, this.me);
      rows.push({ event: events[i], item });
      page.append(item);
    }
    this.keepPlace(() => {
      this.list.prepend(page);
      const below = this.rows[0], again = rowOf(below.event, events[end - 1], this.me);   // it may share a header or a day now
      below.item.replaceWith(again);
      below.item = again;
      this.rows.unshift(...rows);
    });
    while (this.rows.length > 2 * ROWS) this.rows.pop().item.remove();
    this.hint();
  }

  trimTop(most) {
    const extra = this.rows.length - most;
    if (extra <= 0) return;
    for (const row of this.rows.splice(0, extra)) row.item.remove();
    const top = this.rows[0], again = rowOf(top.event, null, this.me);
    top.item.replaceWith(again);
    top.item = again;
  }

  keepPlace(change) {
    const height = this.area.scrollHeight, top = this.area.scrollTop;
    change();
    this.area.scrollTop = top + this.area.scrollHeight - height;
  }

  scrolled() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const { scrollTop, scrollHeight, clientHeight } = this.area;
      const below = scrollHeight - scrollTop - clientHeight;
      this.stuck = below < 60 && !this.behind;
      if (this.stuck) this.missed = 0;
      if (below < 600 && this.behind) this.later();
      this.fill();
      this.hint();
    });
  }

  /** Earlier rows when the reader comes near the top: from memory, else from the service. */
  fill() {
    if (this.area.scrollTop > 600 || !this.rows.length) return;
    if (this.journal.events[0].seq < this.rows[0].event.seq) this.prepend(CHUNK);
    else if (this.journal.more) this.askEarlier();
  }

  later() {
    const from = this.journal.after(this.rows.at(-1).event.seq);
    this.append(from, Math.min(from + CHUNK, this.journal.events.length), false);
    this.keepPlace(() => this.trimTop(2 * ROWS));
  }

  toLatest() {
    if (this.behind) {
      this.rows = [];
      this.list.replaceChildren();
      this.append(Math.max(0, this.journal.events.length - ROWS), this.journal.events.length, false);
    }
    this.stuck = true;
    this.missed = 0;
    this.settle();
    this.hint();
  }

  settle() {
    if (this.stuck) this.area.scrollTop = this.area.scrollHeight;
  }

  hint() {
    $("latest").hidden = this.stuck;
    $("latest-text").textContent = this.missed ? `${plural(this.missed, "new message")}` : "Latest";
  }
}

// --- the room ------------------------------------------------------------------------------------------------------------------

/** One stay in one room, from join to leave. */
class Room {
  constructor(who, { onWelcome, onStopped }) {
    Object.assign(this, { who, onWelcome, onStopped });
    this.journal = new Journal();
    this.outbox = new Outbox(who.room, who.user);
    this.members = new Set();
    this.pendingItems = new Map();
    this.to = null;
    this.unread = 0;
    this.gaps = 0;
    this.log = new Log(this.journal, who.user, () => this.askEarlier());
    this.link = new Link(who, {
      since: () => (this.journal.started ? this.journal.last : null),
      onFrame: (frame) => this.take(frame),
      onState: (state, detail) => this.showState(state, detail),
    });
    this.second = setInterval(() => this.everySecond(), 1000);
  }

  start() {
    $("room-name").textContent = `#${this.who.room}`;
    this.setTo(null);
    $("log").setAttribute("aria-live", "off");
    for (const message of this.outbox.messages.values()) this.showPending(message);
    this.membersDirty = true;
    this.schedule();
    this.link.connect();
  }

  end() {
    this.over = true;
    this.link.end();
    clearInterval(this.second);
    this.log.end();
    $("outbox").replaceChildren();
    this.unread = 0;
    document.title = "safe-chat";
  }

  // What the service says.

  take(frame) {
    switch (frame.type) {
      case "welcome": return this.welcome(frame);
      case "event": return this.event(frame);
      case "accepted": return this.decided(frame.id, { state: "accepted" });
      case "journaled": return this.journaled(frame);
      case "rejected": return this.rejected(frame);
      case "history": return this.earlier(frame);
      case "members": return this.setMembers(frame.members);
      case "reset": return this.reset(frame);
      default: return undefined;   // pong, bye (the link's), and frames added later
    }
  }

  welcome(frame) {
    this.head = frame.seq;
    this.facts = frame;
    this.asking = null;
    this.caughtUp = false;
    this.since ??= frame.seq;
    identity.pin(this.who.room, this.who.user, this.who.key);
    this.setMembers(frame.members ?? []);
    this.onWelcome();
    this.catchUp();
  }

  /**
   * Messages are sent again only when all that was said meanwhile is here: those that were journaled have come back by then,
   * even if they are older than the service's window of known ids.
   */
  catchUp() {
    if (this.caughtUp || !this.journal.started || this.journal.last < this.head) return;
    this.caughtUp = true;
    for (const message of this.outbox.undecided()) this.transmit(message);
    setTimeout(() => $("log").setAttribute("aria-live", "polite"), 500);
  }

  event(event) {
    const taken = this.journal.take(event);
    if (taken === "known") return;
    if (taken === "gap") {
      this.gaps += 1;
      console.error(`safe-chat: #${event.seq} came after #${this.journal.last}; joining again`);
      this.schedule();
      this.link.restart("An event was missing; joining again.");
      return;
    }
    if (event.seq > this.head) this.trackMember(event);
    if (event.from === this.who.user && event.id && this.outbox.remove(event.id)) this.dropPending(event.id);
    if (document.hidden && isMessage(event) && event.from !== this.who.user && event.seq > this.since) this.setUnread(this.unread + 1);
    this.catchUp();
    this.schedule();
  }

  trackMember({ kind, from }) {
    if (kind === "joined") this.members.add(from);
    else if (kind === "left") this.members.delete(from);
    else return;
    this.membersDirty = true;
  }

  setMembers(names) {
    this.members = new Set(names);
    this.membersDirty = true;
    this.schedule();
  }

  decided(id, change) {
    const message = this.outbox.messages.get(id);
    if (!message || message.state === "journaled") return;
    this.outbox.change(id, change);
    this.showPending(message);
  }

  journaled({ id, seq }) {
    if (seq <= this.journal.last && this.outbox.remove(id)) return this.dropPending(id);   // it came back before
    this.decided(id, { state: "journaled", seq });
  }

  rejected({ id, reason, message, retry_after_ms: after }) {
    const own = id && this.outbox.messages.get(id);
    if (!own) return console.warn(`safe-chat: rejected ${reason}: ${message}`);
    if (after != null && own.tries < AUTO_RETRIES) {
      this.outbox.change(id, { tries: own.tries + 1, state: "sending" });
      own.sentAt = Date.now() + after;
      setTimeout(() => this.transmit(own), after * (1 + Math.random() / 4));
      return this.showPending(own);
    }
    this.decided(id, { state: "rejected", reason, message });
  }

  reset({ seq }) {
    this.journal.clear(seq - 1);
    this.log.clear();
    for (const [id, message] of this.outbox.messages) {
      if (message.state === "journaled" && message.seq < seq && this.outbox.remove(id)) this.dropPending(id);
    }
    this.catchUp();
    this.schedule();
  }

  askEarlier() {
    if (this.asking || !this.journal.started) return;
    const id = `h${this.journal.first}`;
    if (this.link.send({ type: "history", id, before: this.journal.first, limit: CHUNK })) this.asking = id;
    this.showTop();
  }

  earlier({ id, events, more }) {
    if (id !== this.asking) return;
    this.asking = null;
    if (this.log.rows.length === 0) this.log.update(false);
    const live = $("log").getAttribute("aria-live");
    $("log").setAttribute("aria-live", "off");
    const added = this.journal.takeEarlier(events ?? [], Boolean(more));
    this.log.prepend(added);
    setTimeout(() => $("log").setAttribute("aria-live", live), 300);
    this.showTop();
    if (this.journal.more) this.log.fill();
  }

  // What we say.

  say(text) {
    const message = this.outbox.add(wellFormed(text), this.to);
    this.log.toLatest();
    this.showPending(message);
    this.transmit(message);
    this.log.settle();
  }

  transmit(message) {
    if (!this.caughtUp || !this.outbox.messages.has(message.id) || message.state === "journaled" || message.state === "rejected") return;
    const frame = { type: "send", id: message.id, text: message.text };
    if (message.to) frame.to = message.to;
    if (this.link.send(frame)) message.sentAt = Date.now();
  }

  retry(message) {
    this.outbox.change(message.id, { state: "sending", tries: 0, sentAt: 0 });
    this.showPending(message);
    this.transmit(message);
  }

  edit(message) {
    this.outbox.remove(message.id);
    this.dropPending(message.id);
    $("text").value = $("text").value ? `${message.text}\n${$("text").value}` : message.text;
    this.setTo(message.to);
    composerChanged();
    $("text").focus();
  }

  setTo(name) {
    this.to = name;
    $("to-row").hidden = !name;
    $("to-name").textContent = name ?? "";
    $("text").placeholder = `Message #${this.who.room}`;
  }

  // What is seen.

  showPending(message) {
    const actions = { retry: () => this.retry(message), edit: () => this.edit(message) };
    const mine = { kind: "text", from: this.who.user };
    let before = this.journal.events.at(-1);
    for (const other of this.outbox.messages.values()) {
      if (other === message) break;
      before = { ...other, ...mine };
    }
    const item = pendingRow({ ...message, ...mine }, before, actions), old = this.pendingItems.get(message.id);
    if (old) old.replaceWith(item); else $("outbox").append(item);
    this.pendingItems.set(message.id, item);
    this.log.settle();
  }

  /** Its event is shown by the same animation frame, so that it does not blink. */
  dropPending(id) {
    (this.droppedItems ??= []).push(this.pendingItems.get(id));
    this.pendingItems.delete(id);
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.over) return;
      this.log.update(this.caughtUp);
      for (const item of this.droppedItems ?? []) item?.remove();
      this.droppedItems = [];
      this.log.settle();
      if (this.log.stuck) this.journal.shrink();
      if (this.membersDirty) this.showMembers();
      this.showTop();
      this.showFacts();
    });
  }

  showMembers() {
    this.membersDirty = false;
    const { user } = this.who, names = [...this.members].sort((a, b) => a.localeCompare(b));
    if (this.members.has(user)) names.unshift(...names.splice(names.indexOf(user), 1));
    const items = names.slice(0, MEMBERS_SHOWN).map((name) => {
      const content = [avatar(name), make("span", { className: "who" }, name)];
      if (name === user) return make("li", {}, make("div", { className: "member" }, ...content, make("span", { className: "you" }, "you")));
      return make("li", {}, make("button", { className: "member", type: "button", title: `Write to ${name} (a label: the whole room reads it)`, onclick: () => this.address(name) }, ...content));
    });
    if (names.length > MEMBERS_SHOWN) items.push(make("li", { className: "rest" }, `and ${number.format(names.length - MEMBERS_SHOWN)} more`));
    $("members").replaceChildren(...items);
    $("people-total").textContent = $("people-count").textContent = number.format(names.length);
  }

  address(name) {
    this.setTo(name);
    drawer(false);
    $("text").focus();
  }

  showTop() {
    const { journal } = this, atTop = !this.log.rows.length || this.log.rows[0].event === journal.events[0];
    let text = "";
    if (this.asking) text = "Loading earlier messages…";
    else if (journal.started && atTop && !journal.more) text = journal.first > 1 ? "Earlier messages are no longer kept." : `The beginning of #${this.who.room}`;
    if ($("top-text").textContent !== text) $("top-text").textContent = text;
  }

  showFacts() {
    if (!this.facts) return;
    const { node, epoch } = this.facts, { last, unknown } = this.journal;
    const lines = [`${node ?? "node ?"} · epoch ${epoch ?? "?"}`, `#${last} is the latest`];
    if (unknown) lines.push(`${plural(unknown, "event")} of kinds this page does not know`);
    if (this.gaps) lines.push(`${plural(this.gaps, "gap")} seen`);
    $("facts").textContent = lines.join("\n");
  }

  setUnread(count) {
    this.unread = count;
    document.title = `${count ? `(${count > 99 ? "99+" : count}) ` : ""}#${this.who.room} · safe-chat`;
  }

  showState(state, detail) {
    this.state = { state, detail };
    $("chat").dataset.state = state;
    if (state === "open") this.setUnread(this.unread);
    if (state !== "open") this.caughtUp = false;
    this.showStateText();
    this.showTrouble(state, detail);
    if (state === "stopped") this.onStopped(detail);
  }

  showStateText() {
    const { state, detail } = this.state ?? {};
    const seconds = Math.max(0, Math.ceil(((detail?.until ?? 0) - Date.now()) / 1000));
    const text = { connecting: "connecting…", open: "connected", stopped: "not connected", waiting: seconds ? `reconnecting in ${seconds} s` : "reconnecting…" }[state];
    if ($("state-text").textContent !== text) $("state-text").textContent = text;
  }

  showTrouble(state, { why, action, attempt }) {
    const box = $("trouble");
    if (state === "open") box.hidden = true;
    if (state === "waiting" && (attempt ?? 0) > 1) {
      box.className = "notice wait";
      $("trouble-text").textContent = `${why} What you write now is kept and sent afterwards.`;
      this.setAction("Try now", () => this.link.hurry());
    }
    if (state === "stopped") {
      box.className = "notice";
      $("trouble-text").textContent = why;
      this.setAction(action ?? "Join again", () => rejoin());
    }
  }

  setAction(label, action) {
    $("trouble-action").textContent = label;
    $("trouble-action").onclick = action;
    $("trouble").hidden = false;
  }

  everySecond() {
    this.showStateText();
    if (!this.caughtUp) return;
    for (const message of this.outbox.undecided()) {
      if (message.state === "sending" && Date.now() - message.sentAt > UNANSWERED_MS) this.transmit(message);
    }
  }
}

// --- the page ------------------------------------------------------------------------------------------------------------------

let room = null;

function fieldError(id, text) {
  const line = $(`${id}-error`);
  line.textContent = text ?? "";
  line.hidden = !text;
  $(id).setAttribute("aria-invalid", text ? "true" : "false");
  return !text;
}

const NAME_RULE = "1 to 64 of the letters A–Z a–z, digits, _ and -";

function validated() {
  const user = $("name").value.trim(), name = $("room").value.trim().replace(/^#/, ""), key = $("key").value.trim();
  const good = [
    fieldError("name", NAME.test(user) ? null : user ? `A name has ${NAME_RULE}.` : "Choose a name."),
    fieldError("room", NAME.test(name) ? null : name ? `A room has ${NAME_RULE}.` : "Choose a room."),
    fieldError("key", KEY.test(key) ? null : "A key has 1 to 128 of A–Z a–z 0–9 _ and -."),
  ];
  if (!good[2]) document.querySelector("details.key").open = true;
  $(["name", "room", "key"][good.indexOf(false)])?.focus();
  return good.every(Boolean) ? { user, room: name, key, device: identity.device() } : null;
}

function refusal(text, wait) {
  $("refusal").hidden = !text;
  $("refusal").textContent = text ?? "";
  $("refusal").classList.toggle("wait", Boolean(wait));
}

function busy(on) {
  $("enter").disabled = on;
  $("enter-label").textContent = on ? "Joining…" : "Join";
}

function showRoom(shown) {
  $("start").hidden = shown;
  $("chat").hidden = !shown;
  drawer(false);
  if (shown) composerChanged();
}

/** Joins. The card stays until `welcome`, unless this tab was in the room before (a reload): then the room shows how it waits. */
function join(who, returning = false) {
  room?.end();
  refusal(null);
  busy(true);
  $("trouble").hidden = true;
  let welcomed = returning;
  const current = new Room(who, {
    onWelcome: () => {
      if (current.arrived) return;
      current.arrived = welcomed = true;
      busy(false);
      tab.set("in", JSON.stringify({ user: who.user, room: who.room }));
      browser.set("name", who.user);
      browser.set("room", who.room);
      history.replaceState(null, "", `#${who.room}`);
      showRoom(true);
      current.log.settle();
      if (matchMedia("(pointer: fine)").matches) $("text").focus();
    },
    onStopped: ({ why }) => { if (!welcomed) fail(why); },
  });
  const showState = current.link.onState;
  current.link.onState = (state, detail) => {
    showState(state, detail);
    if (state === "waiting" && !welcomed) fail(`${detail.why} Try again in a moment.`, true);
  };
  const fail = (why, wait) => {
    current.end();
    if (room === current) room = null;
    busy(false);
    refusal(why, wait);
  };
  room = current;
  if (returning) {
    busy(false);
    showRoom(true);
  }
  current.start();
}

function rejoin() {
  const { who } = room;
  join(who, true);
}

function leave() {
  room?.end();
  room = null;
  tab.remove("in");
  showRoom(false);
  refusal(null);
  fillKey();
  $("room").focus();
}

function drawer(open) {
  $("chat").classList.toggle("drawer", open);
  $("people-toggle").setAttribute("aria-expanded", String(open));
  if (open) $("people-close").focus();
}

function composerChanged() {
  const field = $("text"), size = bytes(field.value), over = size > TEXT_BYTES;
  field.style.height = "auto";
  field.style.height = `${Math.max(38, field.scrollHeight)}px`;
  $("send").disabled = over || field.value.trim() === "";
  $("counter").hidden = size < TEXT_BYTES * 0.8;
  $("counter").classList.toggle("over", over);
  $("counter").textContent = over
    ? `${number.format(size - TEXT_BYTES)} bytes too long`
    : `${number.format(size)} of ${number.format(TEXT_BYTES)} bytes`;
  room?.log.settle();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("on"), 1800);
}

/** The key that fits the name and room on the card, unless the person typed one. */
async function fillKey() {
  if ($("key").dataset.typed) return;
  const key = identity.pinned($("room").value.trim(), $("name").value.trim()) ?? (await identity.key());
  if (!$("key").dataset.typed) $("key").value = key;
}

function hashRoom() {
  const name = decodeURIComponent(location.hash.slice(1));
  return NAME.test(name) ? name : null;
}

$("join").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const who = validated();
  if (!who) return;
  if ($("key").dataset.typed) browser.set("key", who.key);
  delete $("key").dataset.typed;
  join(who);
});
$("key").addEventListener("input", () => { $("key").dataset.typed = "yes"; });
for (const id of ["name", "room"]) $(id).addEventListener("input", () => { fieldError(id, null); fillKey(); });

$("composer").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if ($("send").disabled || !room) return;
  room.say($("text").value);
  $("text").value = "";
  composerChanged();
  $("text").focus();
});
$("text").addEventListener("input", composerChanged);
$("text").addEventListener("keydown", (key) => {
  if (key.key !== "Enter" || key.shiftKey || key.isComposing || key.keyCode === 229) return;
  key.preventDefault();
  $("composer").requestSubmit();
});

$("leave").addEventListener("click", leave);
$("latest").addEventListener("click", () => room?.log.toLatest());
$("to-clear").addEventListener("click", () => { room?.setTo(null); $("text").focus(); });
$("people-toggle").addEventListener("click", () => drawer(true));
$("people-close").addEventListener("click", () => { drawer(false); $("people-toggle").focus(); });
$("veil").addEventListener("click", () => drawer(false));
$("share").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("Link copied");
  } catch {
    toast("Copy the address of this page to share the room");
  }
});

addEventListener("keydown", (key) => {
  if (key.key !== "Escape" || !room) return;
  if ($("chat").classList.contains("drawer")) drawer(false);
  else if (room.to) room.setTo(null);
});
addEventListener("online", () => room?.link.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !room) return;
  room.setUnread(0);
  room.link.hurry();
});
addEventListener("hashchange", () => {
  const name = hashRoom();
  if (!name || name === room?.who.room) return;
  $("room").value = name;
  if (room) enter(name, room.who.user);
  else fillKey();
});

/** Joins without the card: after a reload, or when the address changed to another room. */
async function enter(name, user) {
  const key = identity.pinned(name, user) ?? (await identity.key());
  join({ room: name, user, key, device: identity.device() }, true);
}

// The keyboard of a phone covers the page without resizing it; the room takes what is left.
window.visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) $("chat").style.setProperty("--visible", `${visualViewport.height}px`);
  room?.log.settle();
});

(async () => {
  $("name").value = browser.get("name") ?? "";
  $("room").value = hashRoom() ?? browser.get("room") ?? "";
  await fillKey();
  const before = parsed(tab.get("in"), null);
  if (before && before.room === (hashRoom() ?? before.room)) enter(before.room, before.user);
  else ($("name").value ? $("room") : $("name")).focus();
})();
