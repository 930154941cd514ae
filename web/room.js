// One stay in one room, from join to leave: what each frame means, what is sent and sent again. The other modules do the rest:
// `journal` and `outbox` remember, `link` connects, `log`, `pending` and `screen` show.

import { Group } from "./group.js";
import { identity } from "./identity.js";
import { Journal, isMessage } from "./journal.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { Pending } from "./pending.js";
import { Screen } from "./screen.js";
import { wellFormed } from "./tools.js";

const EARLIER = 100;             // events of one step back
const UNANSWERED_MS = 15_000;    // a message without any answer is sent again, with its id
const AUTO_RETRIES = 30;         // of a message rejected with retry_after_ms; outlasts a takeover

/** Why the group takes nothing that is said here. */
const REFUSED = { bad_credential: "this device does not count in this room any more. A device of yours that is in can let it in again" };

export class Room {
  /**
   * `who`: { room, user, key, device }. Calls back onWelcome(), onState(state, detail),
   * onAddress(name), onEdit(text, to), onRejoin(), onRename(found, why), and onReplaced() for a
   * new device, onAlone({ user, key, room }), onSealed() when the room is sealed and this came without `sealed`, the device of
   * this browser in it. toast(text) says something in passing.
   */
  constructor(who, calls, sealed = null) {
    Object.assign(this, { who, calls, sealed });
    this.journal = new Journal();
    this.outbox = new Outbox(who.room, who.user, sealed?.memory());
    this.members = new Set();
    this.gaps = 0;
    this.screen = new Screen(who, {
      address: (name) => (this.group ? this.group.byName(name) : calls.onAddress(name)),
      hurry: () => this.link.hurry(),
      rejoin: () => calls.onRejoin(),
      rename: (found, why) => calls.onRename(found, why),
    });
    this.log = new Log(this.journal, who, () => this.askEarlier());
    this.pending = new Pending(this.journal, this.outbox, who.user, {
      retry: (message) => this.retry(message),
      edit: (message) => this.edit(message),
      changed: () => this.log.settle(),
    });
    this.link = new Link(who, {
      since: () => this.since(),
      sinceAt: (seq) => this.journal.at(seq),
      onFrame: (frame) => this.take(frame),
      onState: (state, detail) => this.stateChanged(state, detail),
      newDevice: () => calls.onReplaced(),
    });
    if (sealed) this.seal(sealed);
    this.day = new Date().toDateString();
    this.second = setInterval(() => this.everySecond(), 1000);
  }

  /** A sealed room: what is heard and said goes through the device of this browser. */
  seal(sealed) {
    this.group = new Group(sealed, this.calls);
    sealed.start({
      took: (event) => this.took(sealed.readable(event)),
      transmit: (frame) => this.link.send(frame),
      isOpen: () => this.link.isOpen(),
      resume: () => this.link.again(),
      update: (seq) => this.update(seq),
      changed: () => this.group?.show(),
      note: (text) => this.group?.say(text),
      latest: (count, before) => this.journal.events
        .filter(({ seq, kind, text }) => seq < before && kind === "sealed" && text !== undefined)
        .slice(-count),
      refused: (message, reason) => this.change(message.id, { state: "rejected", reason, message: REFUSED[reason] ?? "" }),
      unseen: (message, seq) => this.lost(message, "unseen", `the service says that this is in the \
room as #${seq}, and does not show it there. Others may not have it`),
      unread: (message, seq) => this.lost(message, "unread", `nobody can read it, for this device was \
removed before it came to the room, as #${seq}. Say it again when this device is in, or at another \
one of yours`),
      failed: (why, overtaken) => this.link.stop({ why, action: overtaken ? "Use it here" : "Join again" }),
    }, this.outbox);
  }

  /** Behind which place this is to go on; null: with the history of a first join. */
  since() {
    const last = this.journal.started ? this.journal.last : null, read = this.sealed?.since() ?? null;
    if (read === null) return last;
    return last === null ? read : Math.min(last, read);
  }

  /** `sign` signs for the key, or is null where it can only be claimed. */
  start(sign = null) {
    this.link.sign = sign;
    this.pending.showAll();
    this.schedule();
    this.link.connect();
  }

  end() {
    this.over = true;
    this.sealed?.end();
    this.group?.end();
    this.link.end();
    clearInterval(this.second);
    this.log.end();
    this.pending.end();
    this.screen.end();
  }

  // --- what the service says

  take(frame) {
    switch (frame.type) {
      case "welcome": return this.welcome(frame);
      case "event": return this.event(frame);
      case "accepted": return this.change(frame.id, { state: "accepted" });
      case "journaled": return this.journaled(frame);
      case "rejected": return this.rejected(frame);
      case "history": return this.earlier(frame);
      case "members": return this.addMembers(frame);
      case "reset": return this.reset(frame);
      default: return undefined;   // pong, bye (the link's), and frames added later
    }
  }

  welcome(frame) {
    const isSealed = frame.policy === "sealed";
    if (isSealed && !this.sealed) return this.calls.onSealed();
    // A server that hides that a room is sealed would have people write in the open.
    if (!isSealed && this.sealed) return this.link.stop({ why: `The service says that #${this.who.room} is not sealed. It was: do not write here.` });
    this.facts = frame;
    this.heard = this.link.behind;
    this.firstHead ??= frame.seq;
    this.asking = null;
    this.caughtUp = false;
    this.lost = frame.recovered === false;   // `reset` follows
    identity.pin(this.who.room, this.who.user, this.who.key);
    this.setMembers(frame.members ?? []);
    if (frame.more_members) this.askMembers(frame.members.at(-1));
    this.calls.onWelcome();
    this.sealed?.connected(frame.seq);
    this.upToDate(frame.seq);
    this.catchUp();
  }

  /** Where nothing followed what the device had read before, the room is here; what was read is shown again. */
  upToDate(head) {
    if (this.journal.started || this.lost || this.heard !== head) return;
    this.journal.clear(head);
    this.askEarlier();
  }

  /**
   * Messages are sent again only when all that was said meanwhile is here: those that were journaled have come back by then,
   * even if they are older than the service's window of known ids.
   */
  catchUp() {
    if (this.caughtUp || this.lost || !this.facts || !this.journal.started || this.journal.last < this.facts.seq) return;
    this.caughtUp = true;
    this.sealed?.sendAgain();
    for (const message of this.outbox.undecided()) this.transmit(message);
    this.log.announceSoon();
  }

  event(event) {
    if (!this.sealed) return this.took(event);
    if (this.heard !== null && event.seq !== this.heard + 1) return this.gap(event);
    this.heard = event.seq;
    return this.sealed.event(event);
  }

  /** What an event at this place means is known better now. */
  update(seq) {
    const event = this.journal.events[this.journal.after(seq - 1)];
    if (event?.seq !== seq) return;
    Object.assign(event, this.sealed.readable(event));
    this.stale = true;
    this.schedule();
  }

  took(event) {
    const taken = this.journal.take(event);
    if (taken === "known") return;
    if (taken === "gap") return this.gap(event);
    if (event.kind === "purged") this.purged(event.seq);
    if (event.kind === "erased") this.erased(event.from, event.seq);
    if (event.seq > this.facts.seq) this.trackMember(event);
    if (event.from === this.who.user && event.id && this.outbox.remove(event.id)) this.pending.drop(event.id);
    if (event.kind === "unencrypted") this.stale = true;   // it may be one more of a row that is there
    if (isMessage(event) && event.from !== this.who.user && event.seq > this.firstHead) this.screen.countUnread();
    if (this.journal.isFull()) {
      this.journal.shrink();
      this.log.toLatest();
    }
    this.catchUp();
    this.schedule();
  }

  /** Never seen by a client of a correct service; the way out is the same as after any broken connection. */
  gap(event) {
    this.gaps += 1;
    console.error(`safe-chat: #${event.seq} came after #${this.journal.last}; joining again`);
    this.link.restart("An event was missing; joining again.");
    this.schedule();
  }

  /** An operator had everything of before forgotten. */
  purged(seq) {
    this.log.clear();
    this.sealed?.purged(seq);
  }

  /** An operator had erased what somebody said before. */
  erased(user, seq) {
    this.log.clear();
    this.sealed?.erased(user, seq);
  }

  trackMember({ kind, from }) {
    if (kind === "joined") this.members.add(from);
    else if (kind === "left") this.members.delete(from);
    else return;
    this.membersChanged = true;
  }

  /** Of a large room `welcome` has the first part; the parts and the events come in one order. */
  askMembers(after) {
    this.link.send({ type: "members", id: "members", after });
  }

  addMembers({ members, more }) {
    for (const name of members) this.members.add(name);
    this.membersChanged = true;
    if (more) this.askMembers(members.at(-1));
    this.schedule();
  }

  setMembers(names) {
    this.members = new Set(names);
    this.membersChanged = true;
    this.schedule();
  }

  /** A message may be in the room, and others do not have it. */
  lost(message, reason, why) {
    this.outbox.change(message.id, { state: "rejected", reason, message: why });
    this.pending.show(message);
  }

  change(id, change) {
    const message = this.outbox.messages.get(id);
    if (!message || message.state === "journaled") return;
    this.outbox.change(id, change);
    this.pending.show(message);
  }

  journaled({ id, seq }) {
    if (this.sealed?.journaled(id, seq)) return;
    // In a sealed room the device says whether it is what came back.
    const cameBack = seq <= this.journal.last && !this.sealed;
    if (!cameBack) return this.change(id, { state: "journaled", seq });
    if (this.outbox.remove(id)) this.drop(id);
  }

  drop(id) {
    this.pending.drop(id);
    this.schedule();
  }

  rejected({ id, reason, message, retry_after_ms: after }) {
    if (id && id === this.asking) return this.earlierFailed(after ?? UNANSWERED_MS);
    if (id && after != null && this.sealed?.delayed(id, after)) return;
    const own = id && this.outbox.messages.get(id), isFinal = after == null || own?.tries >= AUTO_RETRIES;
    // What becomes of it then, the group says.
    if (this.sealed && id && (isFinal || !own) && (this.sealed.rejected(id, reason, message) || own)) return;
    if (!own) return console.warn(`safe-chat: rejected ${reason}: ${message}`);
    if (isFinal) return this.change(id, { state: "rejected", reason, message });
    this.change(id, { tries: own.tries + 1, state: "sending", sentAt: performance.now() + after });
    setTimeout(() => this.transmit(own), after * (1 + Math.random() / 4));
  }

  reset(frame) {
    this.heard = frame.seq - 1;
    if (this.sealed) this.sealed.missed(() => this.begin(frame));
    else this.begin(frame);
  }

  /** Forgets, and goes on from here. */
  begin({ seq }) {
    this.lost = false;
    this.journal.clear(seq - 1);
    this.log.clear();
    for (const [id, message] of this.outbox.messages) {
      if (message.state === "journaled" && message.seq < seq && this.outbox.remove(id)) this.pending.drop(id);
    }
    this.catchUp();
    this.schedule();
  }

  askEarlier() {
    if (this.asking || !this.journal.started) return;
    const id = `h${this.journal.first}`;
    if (this.link.send({ type: "history", id, before: this.journal.first, limit: EARLIER })) {
      this.asking = id;
      this.askedAt = performance.now();
    }
    this.showTop();
  }

  /** Asks again after a while, if the reader is still there. */
  earlierFailed(delay) {
    this.asking = null;
    this.showTop();
    setTimeout(() => { if (!this.over) this.log.fill(); }, Math.max(delay, 1000));
  }

  async earlier({ id, events = [], more }) {
    if (id !== this.asking) return;
    const page = this.sealed ? await this.sealed.recall(events) : events;
    if (id !== this.asking || this.over) return;
    this.asking = null;
    if (this.log.rows.length === 0) this.log.update(false);
    const added = this.journal.takeEarlier(page, Boolean(more));
    if (this.log.rows.length === 0) this.log.update(false);
    else this.log.prepend(added);
    this.showTop();
    if (this.journal.more) this.log.fill();
  }

  // --- what we say

  /** Whether it was taken; else it stays where it was written. */
  say(text, to) {
    if (!this.outbox.hasRoomFor(text)) return false;
    const message = this.outbox.add(wellFormed(text), to);
    this.log.toLatest();
    this.pending.show(message);
    this.transmit(message);
    return true;
  }

  transmit(message) {
    const open = message.state === "sending" || message.state === "accepted";
    if (!this.caughtUp || !open || !this.outbox.messages.has(message.id)) return;
    if (this.sealed) {
      if (this.sealed.say(message)) message.sentAt = performance.now();
      return;
    }
    const frame = { type: "send", id: message.id, text: message.text };
    if (message.to) frame.to = message.to;
    if (this.link.send(frame)) message.sentAt = performance.now();
  }

  retry(message) {
    this.change(message.id, { state: "sending", tries: 0, sentAt: 0, handed: false, frame: null });
    this.transmit(message);
  }

  edit(message) {
    this.outbox.remove(message.id);
    this.drop(message.id);
    this.calls.onEdit(message.text, message.to);
  }

  // --- what is seen

  /** At most once per animation frame, however many events arrive. */
  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.over) return;
      this.log.update(this.caughtUp);
      if (this.stale) this.log.redraw();
      this.stale = false;
      this.pending.sweep();
      this.log.settle();
      if (this.log.stuck) this.journal.shrink();
      this.sealed?.forget(this.journal.first);
      if (this.membersChanged) this.screen.members(this.members);
      this.membersChanged = false;
      this.showTop();
      if (this.facts) this.screen.facts(this.facts, this.journal, this.gaps, this.link.sign !== null);
    });
  }

  showTop() {
    const { journal } = this;
    if (this.asking) this.screen.top("Loading earlier messages…");
    else if (!journal.started || journal.more || !this.log.isAtTop()) this.screen.top("");
    else this.screen.top(journal.first > 1 ? "Earlier messages are no longer kept." : this.who.direct ? `Here you are alone with ${this.who.direct.user}` : `The beginning of #${this.who.room}`);
  }

  stateChanged(state, detail) {
    if (state !== "open") {
      this.caughtUp = false;
      this.sealed?.disconnected();
    }
    this.screen.state(state, detail);
    this.calls.onState(state, detail);
  }

  everySecond() {
    this.screen.countDown();
    const day = new Date().toDateString();
    if (day !== this.day) this.log.redraw();   // "Today" is another one
    this.day = day;
    if (!this.caughtUp) return;
    const latest = performance.now() - UNANSWERED_MS;
    if (this.asking && this.askedAt < latest) this.earlierFailed(0);
    for (const message of this.outbox.undecided()) {
      if (message.state === "sending" && (message.sentAt < latest || (this.sealed && !message.handed && !message.frame))) this.transmit(message);
    }
  }
}
