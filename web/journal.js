// What the room said, in order. Knows no network and no document.

/** Events in memory; older ones can be asked for again. For a reader of old ones, twice as many. */
const KEPT = 20000;

/** Events of a first join. */
export const HISTORY = 50;

const SHOWN = new Set(["text", "sealed", "handshake", "joined", "left", "unpinned", "purged", "erased", "unencrypted"]);
export const isMessage = (event) => event.kind === "text" || event.kind === "sealed";

/** Of what no member has said, many in a row are one, with their number: a service could show them without end. */
function counted(first, { seq, from }) {
  Object.assign(first, { seq, from, count: (first.count ?? 1) + 1 });
}

/** The events of the room that we hold: one stretch without gaps, first..last. */
export class Journal {
  constructor() {
    this.clear(0);
    this.started = false;        // `last` is not known yet: any seq may be the first
  }

  /** Takes the content out of what a user said before a place. */
  erase(user, seq) {
    const goes = (event) => isMessage(event) && event.from === user && event.seq < seq;
    const without = ({ sealed, notes, why, ...event }) => ({ ...event, kind: "text", text: "", erased: true });
    this.events = this.events.map((event) => (goes(event) ? without(event) : event));
  }

  /** When the event at a place was stored; null: we do not hold it, or cannot show it. */
  at(seq) {
    const event = this.events.findLast((event) => event.seq <= seq);
    return event?.seq === seq && event.kind !== "hole" ? event.at : null;
  }

  /** Forgets; what follows comes after `last`. */
  clear(last) {
    this.started = true;
    this.events = [];            // of kinds that we can show, ascending
    this.first = last + 1;       // lowest seq that we hold, unknown kinds included
    this.last = last;            // highest one: where to resume
    this.more = last > 0;        // whether the service has earlier ones
    this.unknown = 0;            // events of kinds that this page does not know
  }

  /** "next" (taken), "known" (a repeat) or "gap" (something is missing before it: not taken). */
  take(event) {
    if (this.started && event.seq <= this.last) return "known";
    if (this.started && event.seq !== this.last + 1) return "gap";
    if (event.kind === "purged") {
      this.clear(event.seq - 1);
      this.more = false;
    }
    if (event.kind === "erased") this.erase(event.from, event.seq);
    if (!this.started) {
      this.started = true;
      this.first = event.seq;
      this.more = event.seq > 1;
    }
    this.last = event.seq;
    const before = this.events.at(-1);
    if (event.kind === "unencrypted" && before?.kind === "unencrypted") counted(before, event);
    else if (SHOWN.has(event.kind)) this.events.push(event);
    else this.unknown += 1;
    return "next";
  }

  /**
   * A page of history. Returns how many rows were added before `first`. A page that does not reach
   * up to `first` was asked for across a hole: events that the service lost. The hole is a row.
   */
  takeEarlier(events, more) {
    const earlier = events.filter((event) => event.seq < this.first);
    this.more = more;
    if (!earlier.length) return 0;
    const known = earlier.filter((event) => SHOWN.has(event.kind)), shown = [];
    this.unknown += earlier.length - known.length;
    for (const event of known) {
      if (event.kind === "unencrypted" && shown.at(-1)?.kind === "unencrypted") counted(shown.at(-1), event);
      else shown.push(event);
    }
    const { seq, at } = earlier.at(-1), last = this.first - 1;
    if (seq < last) shown.push({ kind: "hole", seq: last, at, from: "", count: last - seq });
    this.first = earlier[0].seq;
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

  /** Too many to wait until the reader of old ones is back at the end of the room. */
  isFull() {
    return this.events.length > 2 * KEPT;
  }

  /** Messages of others after a seq: what somebody who saw the room up to there has not seen. */
  unseen(seq, me) {
    let count = 0;
    for (let i = this.after(seq); i < this.events.length; i++) {
      if (isMessage(this.events[i]) && this.events[i].from !== me) count += 1;
    }
    return count;
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
