// Two people alone: a sealed room that the keys of both name. Lets the other one in, and sees who
// has written to this person alone.

const FIRST_MS = 2_000, LOOK_MS = 30_000;
const MOST = 64;                 // invitations that are remembered, and rooms of two
const LOOKED_AT = 16;            // rooms of two where it looks whether something was said
const LAST = 10;                 // events of each that it looks at

export class Alone {
  /** `sealed` is the device in its room; `who.direct`, { user, key }: whom it meets there. */
  constructor(sealed) {
    Object.assign(this, { sealed });
    this.invitations = [];       // { user, key, room, isOther }, of whom nothing is decided yet
    this.known = new Set();
    this.told = new Map();       // up to which place it was told that somebody writes in a room of two
    this.timer = setTimeout(() => this.look(), FIRST_MS);
  }

  end() { clearTimeout(this.timer); }

  /** Once this device is in, the other one is let in. */
  async meet() {
    const { direct } = this.sealed.who;
    if (!direct || this.hasMet || !this.sealed.state.isIn) return;
    this.hasMet = true;
    if (this.sealed.members().some((one) => one.pub === direct.key)) return;
    try {
      await this.sealed.add(direct.user, direct.key);
    } catch (error) {
      // What is said waits for them, so it is tried again when it is looked next.
      if (!this.sealed.over && !this.metInVain) this.sealed.calls.note(error.message);
      this.metInVain = true;
    }
  }

  async look() {
    if (this.metInVain) {
      this.hasMet = false;
      this.meet();
    }
    try {
      for (const { room, by } of await this.sealed.asks.welcomes(this.sealed.name)) this.invite(room, by);
      for (const room of this.elsewhere()) await this.lookInto(room);
    } catch { /* it is looked again */ }
    if (!this.sealed.over) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  /** Who has added this device to the room of the two. */
  invite(room, { user, pub: key }) {
    const { sealed } = this;
    if (sealed.over || this.known.has(key) || this.known.size >= MOST) return;
    if (room === sealed.who.room || room !== sealed.roomWith(key)) return;
    this.known.add(key);
    const isOther = sealed.members().some((one) => one.user === user && one.pub !== key);
    this.invitations.push({ user, key, room, isOther });
    sealed.calls.changed();
  }

  /** The other rooms of two, those where this device was last. */
  elsewhere() {
    const { pairs, who } = this.sealed;
    return Object.keys(pairs).filter((room) => room !== who.room).slice(-LOOKED_AT);
  }

  /** Whether the other one has written in a room of two since this device was there, and that was told. */
  async lookInto(room) {
    const { sealed } = this, { user, key, seen } = sealed.pairs[room];
    const after = Math.max(seen, this.told.get(room) ?? 0);
    const events = await sealed.asks.last(room, LAST);
    const news = events.findLast((event) => event.kind === "sealed" && event.from === user && event.seq > after);
    if (!news || sealed.over) return;
    this.told.set(room, news.seq);
    if (this.invitations.some((one) => one.room === room)) return;
    this.invitations.push({ user, key, room, isOther: false });
    sealed.calls.changed();
  }

  decided() { this.invitations.shift(); }
}
