// Which device this tab is. A device has one session in a room: a reload replaces its own earlier
// session. The browser copies a tab's memory when it duplicates the tab, so a tab takes the device
// that it remembers only when no other tab holds it.

import { randomId } from "./tools.js";

/** How long a page that is being left, or another tab, may take to let go or to answer. */
const WAIT_MS = 250;

export class Device {
  /**
   * `memory` keeps the id over a reload. `locks` is the Web Locks API, which pages of plain http do
   * not have; `channel` is a BroadcastChannel that asks the other tabs instead; either may be null.
   */
  constructor(memory, locks, channel) {
    Object.assign(this, { memory, locks, channel });
    this.id = null;
    channel?.addEventListener("message", ({ data }) => {
      if (data?.ask && data.ask === this.id) channel.postMessage({ held: data.ask });
    });
  }

  /** The remembered id, or a new one when there is none or another tab holds it. */
  async choose() {
    this.id = this.memory.get("device");
    if (!this.id || !(await this.hold(this.id))) await this.renew();
    return this.id;
  }

  /** Another id, because another connection took this one over. */
  async renew() {
    this.id = `web-${randomId(9)}`;
    this.memory.set("device", this.id);
    await this.hold(this.id);
    return this.id;
  }

  /** Whether the id is ours, for as long as this page lives. */
  hold(id) {
    if (this.locks) return this.lock(id);
    return this.channel ? this.unclaimed(id) : true;
  }

  lock(id) {
    return new Promise((held) => {
      const forever = () => { held(true); return new Promise(() => {}); };
      const options = { signal: AbortSignal.timeout(WAIT_MS) };
      // Waiting lets a page that is being reloaded release its lock. An error other than the end of
      // the wait means that the browser forbids locks here: then the id counts as ours.
      this.locks.request(`safechat.device.${id}`, options, forever)
        .catch((error) => held(error.name !== "TimeoutError"));
    });
  }

  unclaimed(id) {
    return new Promise((answer) => {
      const listen = ({ data }) => { if (data?.held === id) end(false); };
      const timer = setTimeout(() => end(true), WAIT_MS);
      const end = (ours) => {
        clearTimeout(timer);
        this.channel.removeEventListener("message", listen);
        answer(ours);
      };
      this.channel.addEventListener("message", listen);
      this.channel.postMessage({ ask: id });
    });
  }
}
