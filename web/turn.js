// One tab at a time is the device of this browser in sealed rooms. Where it comes to two all the same, the vault lets only one of them
// store, and nothing is sent before it is stored.

const WAIT_MS = 400;             // for another tab that lets go, or answers
const GIVE_MS = 2_000;           // for a tab that stores its last step and gives the turn away; one that is frozen does not answer

export class Turn {
  /**
   * `locks` is the Web Locks API, which pages of plain http do not have; `channel` is a BroadcastChannel of this turn alone, by which
   * the tabs ask each other instead. Either may be null.
   */
  constructor({ user, key }, locks, channel) { Object.assign(this, { name: `safechat.sealed.${key}.${user}`, locks, channel }); }

  /** Whether this tab has it now. `steal`: takes it from the tab that has it, which ends there: `lost()`. */
  take(steal, lost) {
    if (this.locks) return this.lock(steal, lost);
    return this.channel ? this.ask(steal, lost) : Promise.resolve(true);
  }

  lock(steal, lost) {
    return new Promise((taken) => {
      const hold = () => {
        taken(true);
        return new Promise((release) => { this.release = release; });
      };
      // Waiting lets a page that is being reloaded let go.
      const options = steal ? { steal } : { signal: AbortSignal.timeout(WAIT_MS) };
      this.locks.request(this.name, options, hold).catch(() => { if (this.release) lost(); else taken(false); });
    });
  }

  ask(steal, lost) {
    return new Promise((taken) => {
      const end = (isOurs) => {
        clearTimeout(late);
        this.isHeld = isOurs;
        if (isOurs) this.hear((says) => this.answer(says, lost));
        taken(isOurs);
      };
      // Who does not answer is not there, or frozen.
      const late = setTimeout(() => end(true), steal ? GIVE_MS : WAIT_MS);
      this.hear((says) => { if (says === (steal ? "free" : "held")) end(steal); });
      this.say(steal ? "give" : "whose");
    });
  }

  answer(says, lost) {
    if (says === "whose") this.say("held");
    if (says === "give") lost();   // `end` follows, once the last step is stored
  }

  hear(take) { this.channel.onmessage = ({ data }) => { if (data?.turn === this.name) take(data.says); }; }

  say(says) { this.channel.postMessage({ turn: this.name, says }); }

  end() {
    this.release?.();
    this.release = null;
    if (this.isHeld) this.say("free");
    this.isHeld = false;
    this.channel?.close();
  }
}
