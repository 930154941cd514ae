// What we said, and what became of it. Kept for the tab, so that a reload sends the same ids again.

import { tab } from "./identity.js";
import { parsed, randomId } from "./tools.js";

/** Bound of what waits: a fifth of what browsers let a page keep for a tab. */
const MOST_CHARACTERS = 1_000_000;
const MOST = 200;

/** Our messages until they come back in the room. States: sending, accepted, journaled (not yet back), rejected. */
export class Outbox {
  /** `memory` keeps it; a sealed room has one of its own. */
  constructor(room, user, memory = tab) {
    this.memory = memory;
    this.slot = `outbox.${room}/${user}`;
    const kept = parsed(memory.get(this.slot), []);
    this.messages = new Map(kept.map((message) => [message.id, { ...message, sentAt: 0 }]));
  }

  /** Whether one more may wait. */
  hasRoomFor(text) {
    let sum = text.length;
    for (const message of this.messages.values()) sum += message.text.length;
    return this.messages.size < MOST && sum <= MOST_CHARACTERS;
  }

  /** `sentAt` is of performance.now(), so it is of this page only; 0: not sent by this one. */
  add(text, to) {
    const message = { id: `w${randomId(12)}`, text, to, at: Date.now(), state: "sending", sentAt: 0, tries: 0 };
    this.messages.set(message.id, message);
    this.save();
    return message;
  }

  /** Survives a reload of the tab: the same ids are sent again. */
  save() {
    const kept = [...this.messages.values()].filter((message) => message.state !== "journaled");
    if (kept.length) this.memory.set(this.slot, JSON.stringify(kept)); else this.memory.remove(this.slot);
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
