// Our messages that are not in the journal yet, below the log, each with its state.

import { pendingRow } from "./rows.js";
import { $ } from "./tools.js";

export class Pending {
  /** Calls back retry(message), edit(message), changed(). */
  constructor(journal, outbox, user, calls) {
    Object.assign(this, { journal, outbox, user, calls });
    this.list = $("outbox");
    this.items = new Map();
    this.dropped = [];
  }

  showAll() {
    for (const message of this.outbox.messages.values()) this.show(message);
  }

  show(message) {
    const actions = { retry: () => this.calls.retry(message), edit: () => this.calls.edit(message) };
    const item = pendingRow(this.asEvent(message), this.above(message), actions);
    const old = this.items.get(message.id);
    if (old) old.replaceWith(item);
    else this.list.append(item);
    this.items.set(message.id, item);
    this.calls.changed();
  }

  asEvent(message) {
    return { ...message, kind: "text", from: this.user };
  }

  /** What stands above a message: another one of ours, or the latest event. */
  above(message) {
    let above = this.journal.events.at(-1);
    for (const other of this.outbox.messages.values()) {
      if (other === message) break;
      above = this.asEvent(other);
    }
    return above;
  }

  /** Leaves the list with the next sweep, in the frame that shows its event, so that nothing blinks. */
  drop(id) {
    this.dropped.push(this.items.get(id));
    this.items.delete(id);
  }

  sweep() {
    for (const item of this.dropped) item?.remove();
    this.dropped = [];
  }

  end() {
    this.list.replaceChildren();
  }
}
