// The rows in the document: a window of the journal that stays small, follows the room, or stays where the reader is.

import { rowOf } from "./rows.js";
import { $, plural } from "./tools.js";

const ROWS = 400;                // rows while one follows the room; twice as many while reading back
const CHUNK = 100;               // rows added by one step of scrolling

/** Shows a stretch of the journal. While it is at the bottom it follows the room, else it stays where the reader is. */
export class Log {
  constructor(journal, me, askEarlier) {
    Object.assign(this, { journal, me, askEarlier });   // me: { user, key }
    this.list = $("log");
    this.area = $("scroll");
    this.controller = new AbortController();
    this.clear();
    this.area.addEventListener("scroll", () => this.scrolled(), { passive: true, signal: this.controller.signal });
    this.resized = new ResizeObserver(() => {
      this.height = this.area.clientHeight;
      this.settle();
    });
    this.resized.observe(this.area);
    this.resized.observe($("outbox"));
  }

  clear() {
    this.rows = [];
    this.list.replaceChildren();
    this.stuck = true;
    this.seenTo = 0;             // where the reader was when he left the end of the room
    this.announce(false);
  }

  /** Whether a screen reader reads new rows out; never those of the past. */
  announce(on) {
    clearTimeout(this.announcing);
    this.list.setAttribute("aria-live", on ? "polite" : "off");
  }

  announceSoon() {
    this.announce(false);
    this.announcing = setTimeout(() => this.announce(true), 500);
  }

  isAtTop() {
    return !this.rows.length || this.rows[0].event === this.journal.events[0];
  }

  end() {
    this.controller.abort();
    this.resized.disconnect();
    this.clear();
    $("latest").hidden = true;
  }

  /** Whether the journal has later events than the document. */
  get behind() { return this.rows.length > 0 && this.journal.after(this.rows.at(-1).event.seq) < this.journal.events.length; }

  /** Takes what the journal got since; called once per frame. */
  update(live) {
    const { events } = this.journal;
    if (this.stuck) this.seenTo = this.journal.last;
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
    } else if (this.rows.length + added <= 2 * ROWS) {
      this.append(from, events.length, false);
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
    this.announceSoon();
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

  /** Makes all rows again, because what they say of the day has changed. */
  redraw() {
    this.announceSoon();
    this.keepPlace(() => this.rows.forEach((row, i) => {
      const again = rowOf(row.event, this.rows[i - 1]?.event ?? null, this.me);
      row.item.replaceWith(again);
      row.item = again;
    }));
    this.settle();
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
      const resized = clientHeight !== this.height;
      this.height = clientHeight;
      // The composer or the window took or gave room: the reader did not scroll.
      if (resized && this.stuck) return this.settle();
      const below = scrollHeight - scrollTop - clientHeight;
      this.stuck = below < 60 && !this.behind;
      if (this.stuck) this.seenTo = this.journal.last;
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
    this.seenTo = this.journal.last;
    this.settle();
    this.hint();
  }

  settle() {
    if (this.stuck) this.area.scrollTop = this.area.scrollHeight;
  }

  hint() {
    $("latest").hidden = this.stuck;
    const missed = this.stuck ? 0 : this.journal.unseen(this.seenTo, this.me.user);
    $("latest-text").textContent = missed ? plural(missed, "new message") : "Latest";
  }
}
