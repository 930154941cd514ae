// This browser as a device in one sealed room: runs `seal` (wasm) as docs/adr/0004-seal.md says. What is heard goes in, in its order;
// what comes out is stored first, then sent, asked and shown.
//
//     link -> room -> Sealed -> seal.wasm
//                       |  vault (before anything leaves), asks (key packages, welcomes, the group)
//                       v
//     room: took(event), transmit(frame), changed()

import { Alone } from "./alone.js";
import { Asks } from "./asks.js";
import { Publishing } from "./publishing.js";
import { duration, fromBase64url, plural, randomId } from "./tools.js";
import { Overtaken, Vault } from "./vault.js";
import { wasm } from "./wasm.js";

const TICK_MS = 1_000;           // how often the device sees whether something is due
// Until what could not be asked is asked again: each time twice as long.
const AGAIN_MS = { first: 5_000, most: 60_000 };
const UNANSWERED_MS = 15_000;    // a change without an answer is sent again, with its id
const CLAIM_AGAIN_MS = [1_000, 2_000, 3_000];   // until it is asked again for key packages that are not there
const BATCH = 200;               // events that are stored together
const ALLOWED_MS = 200, ALLOWED_TRIES = 50;   // how often it is looked whether the room has a list of devices
const PATIENCE_MS = 600_000;     // how long it waits, at most, for what may not be asked now
const MOST_WHY = 300;            // letters of what the service says of a refusal that are shown
const MOST_PAIRS = 64;           // rooms of two that it looks after from elsewhere

/** What is shown at its place in the room, beside messages. */
const NOTED = ["changed", "key_changed", "other_group", "leaving", "out", "lost", "shared", "asked"];

/** What no member has said, whoever the service says it is from: without the text, and no message of this page's outbox. */
const unencrypted = ({ seq, at, from }) => ({ seq, at, from, kind: "unencrypted" });

const now = () => Math.floor(Date.now() / 1000);

/** Why this browser cannot be in a sealed room, for people; null: it can. */
export function lacking() {
  if (!globalThis.WebAssembly) return "A sealed room needs WebAssembly, which this browser does not have, or does not allow.";
  if (!globalThis.indexedDB) return "A sealed room needs a place for its keys, which this browser does not give to this page.";
  return null;
}

export class Sealed {
  /**
   * The device of this browser under this name, stored or new. `who`: { room, user, key, door }; `sign` signs for the key. Throws what
   * a person can read.
   */
  static async open(who, sign) {
    const seal = await wasm();
    const vault = await Vault.open(indexedDB, crypto.subtle ?? null, who);
    try {
      const stored = await vault.shelf(), open = who.door === "open";
      let device;
      if (stored) {
        device = seal.Sealed.restore(stored, who.room, open);
      } else {
        const draft = new seal.Draft(who.user, `web-${randomId(6)}`, who.key);
        const signature = await sign(draft.to_sign());
        device = draft.begin(fromBase64url(signature), who.room, open);
      }
      const verified = await vault.list(`verified ${who.key}`, {});
      const kept = await vault.list(`outbox ${vault.who}/${who.room}`, []);
      const pairs = await vault.list(`alone ${vault.who}`, {});
      navigator.storage?.persist?.().catch(() => {});
      return new Sealed(who, { seal, vault, device, verified, kept, pairs, asks: new Asks(who, sign) });
    } catch (error) {
      vault.close();
      throw error;
    }
  }

  constructor(who, parts) {
    Object.assign(this, { who }, parts);
    this.name = this.device.device();
    this.read = new Map();       // what this device has read, by place
    this.changes = new Map();    // changes of the group, and what is shared, on their way, by the id of their frame
    this.numbers = new Map();    // messages on their way: the number of the conversation, by the id of their frame
    this.sharing = new Map();    // with whom messages of before are shared when they are in: how many, by key
    this.queue = [];
    this.pause = AGAIN_MS.first;
    this.state = { isIn: this.device.is_in(), waits: false, question: null };
    this.head = 0;
  }

  /**
   * Calls took(event), transmit(frame), isOpen(), resume(), changed(), note(text), update(seq),
   * refused(message, reason), unseen(message, seq), unread(message, seq), latest(count, before),
   * failed(why, overtaken).
   */
  start(calls, outbox) {
    Object.assign(this, { calls, outbox });
    this.alone = new Alone(this);
    this.publishing = new Publishing(this.name, this.asks, {
      make: (count) => this.packages(count),
      note: (text) => this.calls.note(text),
    });
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.vault.trim(this.who.room).catch(() => {});
  }

  /** The promise is kept when the last step is stored, and another may go on from it. */
  end() {
    if (this.over) return this.ended;
    this.over = true;
    clearInterval(this.timer);
    this.alone?.end();
    clearTimeout(this.again);
    this.publishing?.end();
    this.queue = [];
    this.ended = Promise.resolve(this.running).finally(() => {
      this.vault.close();
      this.device.free();
      this.turn?.end();
    });
    return this.ended;
  }

  /** Behind which place the room is to be read; null: from now on. */
  since() { return this.over ? null : this.device.since() ?? null; }

  // --- what is heard

  purged(seq) { if (!this.over) this.vault.forget(this.who.room, seq).catch(() => {}); }

  erased(user, seq) { if (!this.over) this.vault.forgetOf(this.who.room, user, seq).catch(() => {}); }

  connected(head) {
    this.head = head;
    this.seen(head);
    this.put(() => this.device.connected(head, now()));
    this.publishing.begin();
  }

  disconnected() { if (!this.over) this.put(() => { this.device.disconnected(); return "[]"; }); }

  missed(then) { this.put(() => this.device.missed(now()), then); }

  /** Up to where a room of two was read: what is said behind that is told elsewhere. */
  seen(seq) {
    const { direct, room } = this.who, before = this.pairs[room];
    if (!direct || before?.seen >= seq) return;
    const { [room]: _, ...others } = this.pairs;
    const rest = Object.entries(others).slice(1 - MOST_PAIRS);
    this.pairs = { ...Object.fromEntries(rest), [room]: { ...direct, seen: seq } };
    this.isPairing = true;
  }

  /** `took(event)` follows when it is stored. */
  event(event) {
    const { seq, kind, sealed, handshake } = event;
    this.seen(seq);
    this.put(() => {
      const mine = event.from === this.who.user && event.id ? this.outbox.messages.get(event.id) : null;
      // An own message of before a reload; one of this page comes back as `said`.
      if (kind === "sealed" && mine?.frame === sealed && !mine.isUnread) {
        this.note(seq, { from: this.who.user, text: mine.text });
      }
      return this.device.event(seq, kind === "sealed" ? sealed : undefined, kind === "handshake" ? handshake : undefined, now());
    }, () => this.calls.took(event), seq);
  }

  /** What became of a frame. Whether it was one of the group's: then the room has nothing to do with it. */
  journaled(id, seq) {
    const number = this.changes.get(id)?.number ?? this.numbers.get(id);
    const isChange = this.changes.delete(id);
    this.numbers.delete(id);
    if (number !== undefined) this.put(() => this.device.placed(number, seq, now()));
    return isChange;
  }

  /** A change that may go later. */
  delayed(id, after) {
    const change = this.changes.get(id);
    if (!change || change.tries >= 30) return false;
    change.tries += 1;
    change.sentAt = performance.now() + after;
    setTimeout(() => { if (this.changes.has(id)) this.transmit(id, change); }, after * (1 + Math.random() / 4));
    return true;
  }

  /** `why`: what the service says of it. */
  rejected(id, reason, why = "") {
    const change = this.changes.get(id), number = change?.number ?? this.numbers.get(id);
    this.changes.delete(id);
    this.numbers.delete(id);
    const message = this.outbox.messages.get(id);
    this.put(() => {
      if (message) message.frame = null;
      this.why = why.slice(0, MOST_WHY);
      if (number !== undefined) return this.device.refused(number, reason, now());
      if (message) message.handed = false;   // of before a reload: it is said anew
      return "[]";
    }, () => { if (message && !message.handed) this.say(message); });
    return Boolean(change);
  }

  /** On a new connection, when all that was said meanwhile is here. */
  sendAgain() { for (const [id, change] of this.changes) this.transmit(id, change); }

  tick() {
    const late = performance.now() - UNANSWERED_MS;
    for (const [id, change] of this.changes) if (change.sentAt < late) this.transmit(id, change);
    this.put(() => this.device.tick(now()));
    this.publishing.tick();
  }

  // --- what the person wants

  /** Says a message of the outbox, or sends again what it became. */
  say(message) {
    if (message.frame) return this.calls.transmit({ type: "send", id: message.id, sealed: message.frame });
    if (message.handed) return false;
    message.handed = true;
    this.put(() => {
      try { return this.device.say(message.text, now()); } catch { message.handed = false; return "[]"; }   // too many wait: it is tried again
    });
    return true;
  }

  /** Throws what a person can read. */
  act(what) {
    return new Promise((done, failed) => this.put(() => {
      try { return what(); } catch (error) { failed(error); return "[]"; }
    }, done));
  }

  /** `count`: so many messages of before are shared with them. The devices that could not be added now. */
  async add(user, key, count = 0) {
    let { packages, missing } = await this.claim(user, key);
    // Who has just come may not have published them yet.
    for (const again of CLAIM_AGAIN_MS) {
      if (packages.length) break;
      await new Promise((go) => { setTimeout(go, again); });
      ({ packages, missing } = await this.claim(user, key));
    }
    if (!packages.length) throw new Error(`${user} has no device that can be added: they have to come to a sealed room first, with that key.`);
    this.sharing.set(key, count);
    await this.act(() => this.device.add(user, key, JSON.stringify(packages.map((one) => one.package)), now()));
    return missing;
  }

  /** A key package of each device of somebody. Too often is asked again by itself, when it may be. */
  async claim(user, key) {
    for (;;) {
      try {
        return await this.asks.claim(user, key);
      } catch (error) {
        if (error.status !== 429 || !error.after || error.after > PATIENCE_MS) throw error;
        this.calls.note(`${error.message} (asked again by itself, in ${duration(error.after)})`);
        await new Promise((go) => { setTimeout(go, error.after + 1_000); });
        if (this.over) throw error;
      }
    }
  }

  /** A device of this person counts here again, and is let in. */
  async allow(device) {
    const { user, key } = this.who, { packages } = await this.claim(user, key);
    const found = packages.find((one) => one.device === device);
    if (!found) throw new Error(`${device} cannot be let in now: open it in a sealed room first, so that it says how.`);
    const unsigned = async () => {
      let bytes = null;
      await this.act(() => { bytes = this.device.allowance(found.package); return "[]"; });
      return bytes;
    };
    const bytes = await unsigned();
    if (bytes.length) {
      const signature = fromBase64url(await this.asks.sign(bytes));
      await this.act(() => this.device.announce(signature, now()));
      // It is let in by what the room has then.
      for (let tries = 0; (await unsigned()).length; tries++) {
        if (tries === ALLOWED_TRIES || this.over) throw new Error(`The room does not say yet that ${device} counts: try again when it does.`);
        await new Promise((go) => { setTimeout(go, ALLOWED_MS); });
      }
    }
    await this.act(() => this.device.add(user, key, JSON.stringify([found.package]), now()));
  }

  /** The newest messages that are here of before somebody came. */
  share(key, count) {
    return this.act(() => {
      const earlier = this.calls.latest(count, this.cameAt(key));
      if (!earlier.length && this.calls.latest(1, Infinity).length) {
        throw new Error("There is nothing to share: all that is here of what was said is from when \
they were in the group themselves.");
      }
      for (const { seq, at, from, text } of earlier) this.device.earlier(seq, at, from, text);
      return this.device.share(key, now());
    });
  }

  /**
   * Where the newest device of somebody came, as far as that was read here; those whom this device
   * found there were there before.
   */
  cameAt(key) {
    const came = ({ what, how, by, joined }) => what === "changed"
      && [...joined, ...(how === "in" ? [by] : [])]
        .some((one) => one?.pub === key && !this.isOwn(one));
    const places = [...this.read].filter(([, { notes }]) => notes?.some(came)).map(([seq]) => seq);
    return places.length ? Math.max(...places) : Infinity;
  }

  isOwn({ pub, device }) { return pub === this.who.key && device === this.name; }

  /** Whom this device has just let in. */
  letIn({ by, joined }) {
    if (!by || !this.isOwn(by)) return;
    for (const { pub } of joined) {
      const count = this.sharing.get(pub);
      this.sharing.delete(pub);
      if (count) this.share(pub, count).catch((error) => this.calls.note(error.message));
    }
  }

  /** Asks everybody for messages of before. */
  askForEarlier(count) { return this.act(() => this.device.ask_for_earlier(count, now())); }

  /** A device of this person does not count here any more. Nobody is given its key packages from now on. */
  async revoke(device) {
    let bytes = null;
    await this.act(() => { bytes = this.device.revocation(device); return "[]"; });
    const signature = fromBase64url(await this.asks.sign(bytes));
    await this.act(() => this.device.announce(signature, now()));
    await this.asks.forget(device);
  }

  remove(user, device) { return this.act(() => this.device.remove(user, device, now())); }

  async leave() {
    await this.act(() => this.device.leave(now()));
    this.hasLeft = true;
    this.calls.changed();
  }

  agree() {
    this.state.question = null;
    this.hasLeft = false;
    return this.act(() => this.device.agree(now()));
  }

  /** Two people have compared their number, or have not any more. */
  async verify(key, isVerified) {
    if (isVerified) this.verified[key] = Date.now(); else delete this.verified[key];
    await this.act(() => { this.isVerifying = true; return "[]"; });
    this.calls.changed();
  }

  /** Devices of this person: those that are in, { device, isIn }, and those that others can let in. */
  async ownDevices() {
    const isIn = this.members().filter((one) => one.pub === this.who.key).map((one) => one.device);
    const known = (await this.asks.devices()).map((one) => one.device);
    return [...new Set([...isIn, ...known])].sort().map((device) => ({ device, isIn: isIn.includes(device) }));
  }

  /** The room of this person and another one. */
  roomWith(key) { return this.seal.room_of_two(this.who.key, key); }

  members() { return this.over ? [] : JSON.parse(this.device.members()); }

  code() { return this.over ? null : this.device.code() ?? null; }

  number(key) { return this.seal.safety_number(this.who.key, key); }

  // --- what was read

  /** The event as this device reads it. */
  readable(event) {
    if (event.kind === "text" && !event.erased) return unencrypted(event);
    if (event.kind !== "sealed" && event.kind !== "handshake") return event;
    return { ...event, ...this.read.get(event.seq), kind: event.kind };
  }

  /** Makes a page of history readable. */
  async recall(events) {
    if (!events.length || this.over) return events;
    const found = await this.vault.said(this.who.room, events[0].seq, events.at(-1).seq).catch(() => new Map());
    for (const [seq, value] of found) if (!this.read.has(seq)) this.read.set(seq, value);
    return events.map((event) => this.readable(event));
  }

  /** This browser forgets what it has read in this room. */
  async forgetAll() {
    await this.vault.forget(this.who.room, Infinity);
    for (const seq of this.read.keys()) {
      this.read.set(seq, { text: undefined, notes: undefined, why: undefined });
      this.calls.update(seq);
    }
    this.read.clear();
  }

  /** The room forgets what is older. */
  forget(first) { for (const seq of this.read.keys()) if (seq < first) this.read.delete(seq); }

  note(seq, what) {
    const before = this.read.get(seq), notes = [...before?.notes ?? [], ...what.notes ?? []];
    const value = { ...before, ...what, ...(notes.length ? { notes } : {}) };
    this.read.set(seq, value);
    this.fresh.set(seq, value);
  }

  // --- the order of things

  /** `input` gives effects as JSON; `then` is called when they are stored. */
  put(input, then = null, seq = null) {
    if (this.over) return;
    this.queue.push({ input, then, seq });
    this.running ??= this.run();
  }

  async run() {
    await null;   // who puts several gets one write
    try {
      while ((this.queue.length || this.kept.changed) && !this.over) await this.step(this.queue.splice(0, BATCH));
    } catch (error) {
      if (this.over) return;
      console.error("safe-chat: the sealed room ends here:", error);
      const overtaken = error instanceof Overtaken;
      this.calls.failed(overtaken ? "The room went on in another tab." : `What this device must not forget cannot be stored: ${error.message}`, overtaken);
      this.end();
    } finally {
      this.running = null;
    }
  }

  async step(batch) {
    this.fresh = new Map();
    const done = [];
    for (const { input, then, seq } of batch) {
      for (const effect of JSON.parse(input())) {
        this.prepare(effect, seq);
        done.push(() => this.perform(effect, seq));
      }
      if (then) done.push(then);
    }
    await this.persist();
    if (this.over) return;
    this.state.isIn = this.device.is_in();
    if (this.state.isIn) Object.assign(this.state, { waits: false, question: null });
    for (const one of done) one();
    this.alone.meet();
    this.calls.changed();
  }

  /** What of an effect is to be stored with it. */
  prepare(effect, seq) {
    if (effect.do === "send" && effect.sealed && effect.text !== null) {
      const messages = [...this.outbox.messages.values()];
      const message = messages.find((one) => one.handed && !one.frame && one.state !== "rejected" && one.text === effect.text);
      if (!message) return;
      Object.assign(message, { frame: effect.sealed, state: "sending" });
      effect.id = message.id;
      this.numbers.set(message.id, effect.number);
      this.outbox.save();
    }
    if (effect.do !== "show") return;
    const at = effect.seq ?? seq, { what } = effect;
    if (what === "message") this.note(at, { from: effect.from.user, device: effect.from.device, text: effect.text });
    else if (what === "said") this.note(at, { from: this.who.user, text: effect.text });
    else if (what === "unreadable") this.note(at, { why: effect.why });
    else if (what === "unread") {
      const message = this.sent(effect.text);
      if (message) message.isUnread = true;
      const why = "it came after this device was removed, so that nobody can read it";
      this.note(effect.place, { text: undefined, why });
    }
    else if (at && NOTED.includes(what)) this.note(at, { notes: [effect] });
    effect.at = at;
  }

  async persist() {
    const shelf = this.device.shelf() ?? null, lists = {};
    if (this.kept.changed) lists[`outbox ${this.vault.who}/${this.who.room}`] = this.kept;
    if (this.isVerifying) lists[`verified ${this.who.key}`] = this.verified;
    if (this.isPairing) lists[`alone ${this.vault.who}`] = this.pairs;
    this.kept.changed = this.isVerifying = this.isPairing = false;
    if (!shelf && !this.fresh.size && !Object.keys(lists).length) return;
    await this.vault.store(this.who.room, { shelf, revision: this.device.revision(), said: [...this.fresh], lists });
  }

  /** Where the outbox of this room is kept: with the steps. */
  memory() {
    return {
      get: () => JSON.stringify(this.kept),
      set: (_, json) => this.keep(JSON.parse(json)),
      remove: () => this.keep([]),
    };
  }

  keep(list) {
    this.kept = list.map(({ handed: _, ...message }) => message);
    this.kept.changed = true;
    if (!this.running) this.put(() => "[]");
  }

  perform(effect, seq) {
    switch (effect.do) {
      case "send": return this.sendNew(effect);
      case "ask_welcome": return this.askWelcome();
      case "ask_group": return this.askGroup();
      case "resume": return this.calls.resume();
      default: return this.show(effect, seq);
    }
  }

  /** What is no message of the outbox is kept here until it is answered. */
  sendNew({ id, number, sealed, handshake, text }) {
    if (sealed && text !== null) return this.calls.transmit({ type: "send", id, sealed });
    const change = { number, frame: sealed ? { sealed } : { handshake }, tries: 0, sentAt: 0 }, own = `h${randomId(12)}`;
    this.changes.set(own, change);
    return this.transmit(own, change);
  }

  transmit(id, change) {
    if (this.calls.transmit({ type: "send", id, ...change.frame })) change.sentAt = performance.now();
  }

  show(effect) {
    switch (effect.what) {
      case "not_in": case "revoked": case "not_founded": this.state.waits = effect.what; return;
      case "shut": Object.assign(this.state, { waits: "shut", why: this.why }); return;
      case "in_vain":
        if (this.state.isIn) return this.calls.note(`${effect.why}. This device goes on trying.`);
        Object.assign(this.state, { waits: "in_vain", why: effect.why });
        return;
      case "unseen": return this.unseen(effect);
      case "unread": return this.unread(effect);
      case "missed": return this.calls.note(`${plural(effect.count, "message")} of while this device was out of the group cannot be read by it: ask the others for what was said.`);
      case "ask": this.state.question = effect; this.state.waits = false; return;
      case "refused": return this.refused(effect);
      case "odd": return this.calls.note(effect.at ? `#${effect.at}: ${effect.why}` : effect.why);
      case "not_shared": return this.calls.note(`Messages from before were neither shared nor asked for, for the room refused that: ${this.why || effect.reason}. Try it later.`);
      default:
        if (effect.what === "changed") this.letIn(effect);
        if (effect.at) this.calls.update(effect.at);
    }
  }

  /** The message of the outbox that was sent with this text. */
  sent(text) {
    const is = (one) => one.frame && one.state !== "rejected" && one.text === text;
    return text === null ? null : [...this.outbox.messages.values()].find(is);
  }

  /** What is in the room behind the place where this device was removed. */
  unread({ place, text }) {
    const message = this.sent(text);
    this.calls.update(place);
    if (message) return this.calls.unread(message, place);
    const what = text === null ? "what you shared, or asked for," : `“${text}”`;
    return this.calls.note(`Nobody can read ${what}, for this device was removed before it came to \
the room, as #${place}. Say it again when this device is in, or at another one of yours.`);
  }

  /** What the service says is in the room, and does not show there. */
  unseen({ place, text }) {
    const message = this.sent(text);
    if (message) return this.calls.unseen(message, place);
    return this.calls.note(`The service says that ${text === null ? "a change of yours, or what you shared," : `“${text}”`} is in the room as #${place}, and does not show it there: it may not count. Look who is in, and do it again.`);
  }

  refused({ text, reason }) {
    // Who is not in tries to come in first; where members let others in, that is refused.
    if (text === null && reason === "not_a_member" && !this.state.isIn) return undefined;
    if (text === null) return this.calls.note(`A change of the group was not made, for the room refused it: ${this.why || reason}. Do it again in a moment.`);
    const message = [...this.outbox.messages.values()].find((one) => one.handed && !one.frame && one.text === text);
    if (message) this.calls.refused(message, reason);
  }

  // --- what is asked

  async askWelcome() {
    const found = await this.asked(() => this.asks.welcome(this.name));
    if (found === undefined) return;
    if (!found) return this.put(() => this.device.no_welcome(now()));
    this.put(this.careful(() => this.device.welcome(found.seq, found.welcome, found.tree, now())), () => {
      // It is asked for again when the person has said yes.
      if (!this.state.question) this.asks.confirm(this.name, found.id).catch(() => {});
    });
  }

  async askGroup() {
    const found = await this.asked(() => this.asks.group(), true);
    if (found === undefined) return;
    this.put(this.careful(() => (found ? this.device.group(found.group_info, found.tree, now()) : this.device.no_group(now()))));
  }

  /** What the service sent may be none of what it should be. */
  careful(input) {
    return () => {
      try { return input(); } catch (error) { this.calls.note(error.message); return "[]"; }
    };
  }

  /** The answer, or undefined: it is asked again later. */
  async asked(ask, isLast = false) {
    try {
      const found = await ask() ?? null;
      // A welcome that is not there says nothing of the group, which is asked for next.
      if (found || isLast) [this.toldWhy, this.pause] = [null, AGAIN_MS.first];
      return found;
    } catch (error) {
      if (this.over) return undefined;
      if (this.toldWhy !== error.message) {
        this.calls.note(`The service does not say how to come into the group (${error.message}). \
It is asked again by itself.`);
      }
      this.toldWhy = error.message;
      this.disconnected();
      clearTimeout(this.again);
      this.again = setTimeout(() => {
        if (this.calls.isOpen()) this.put(() => this.device.connected(this.head, now()));
      }, this.pause);
      this.pause = Math.min(this.pause * 2, AGAIN_MS.most);
      return undefined;
    }
  }

  /** Key packages as a request has them, whose private halves are stored. */
  packages(count) {
    let body = null;
    return new Promise((stored) => this.put(() => { body = this.device.publish(count, now()); return "[]"; }, () => stored(body)));
  }
}
