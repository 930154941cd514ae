// What was written and not sent yet, per room and name. Kept for the tab, so that it is there again
// after a reload or another room.

import { parsed } from "./tools.js";

const SLOT = "drafts";

/** Drafts kept; the one that was changed longest ago goes first. */
const MOST = 20;

/** Characters of all drafts together: a tenth of what browsers let a page keep. */
const MOST_CHARACTERS = 500_000;

export class Drafts {
  /** `memory` has get, set, remove, and keeps text. */
  constructor(memory) {
    this.memory = memory;
    this.drafts = new Map(parsed(memory.get(SLOT), []));
  }

  /** { text, to } of this room; empty when nothing is kept. */
  get(room, user) {
    return this.drafts.get(`${room}/${user}`) ?? { text: "", to: null };
  }

  set(room, user, text, to) {
    const key = `${room}/${user}`, known = this.drafts.get(key);
    if (text === (known?.text ?? "") && to === (known?.to ?? null)) return;
    this.drafts.delete(key);
    if (text || to) this.drafts.set(key, { text, to });
    while (this.drafts.size > MOST || this.characters() > MOST_CHARACTERS) {
      this.drafts.delete(this.drafts.keys().next().value);
    }
    if (this.drafts.size) this.memory.set(SLOT, JSON.stringify([...this.drafts]));
    else this.memory.remove(SLOT);
  }

  characters() {
    let sum = 0;
    for (const { text } of this.drafts.values()) sum += text.length;
    return sum;
  }
}
