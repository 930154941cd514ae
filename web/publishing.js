// The key packages by which others add this device while it is away: looked at, and published in
// portions, for the service checks each of them. What goes wrong is told once.

const AGAIN_MS = 20_000;
const LOOKS_MS = { least: 60_000, most: 3_600_000 };   // between two looks at how many are left
// How many wait for others, and how many one request has.
const PACKAGES = { least: 20, made: 50, portion: 20 };

export class Publishing {
  /**
   * make(count) gives the body of a request, whose private halves are stored; note(text) is read by
   * a person.
   */
  constructor(device, asks, { make, note }) {
    Object.assign(this, { device, asks, make, note, lookedAt: -Infinity });
    this.hasBegun = this.isToLook = this.isUnderWay = this.isTold = this.isOver = false;
  }

  /** A session began: the service may be another one than before, that has none of them. */
  begin() {
    this.hasBegun = this.isToLook = true;
    this.tick();
  }

  /** Looks when a session has begun, but not too often; and now and then while one goes on. */
  tick() {
    const passed = performance.now() - this.lookedAt;
    if (!this.hasBegun || passed < LOOKS_MS.least) return;
    if (this.isToLook || passed >= LOOKS_MS.most) this.publish();
  }

  end() {
    this.isOver = true;
    clearTimeout(this.again);
  }

  async publish() {
    if (this.isUnderWay || this.isOver) return;
    clearTimeout(this.again);
    [this.isToLook, this.lookedAt, this.isUnderWay] = [false, performance.now(), true];
    try {
      let left = await this.asks.left(this.device);
      const wanted = left < PACKAGES.least ? PACKAGES.made : 0;
      while (left < wanted && !this.isOver) {
        const count = Math.min(PACKAGES.portion, wanted - left);
        const body = await this.make(count);
        if (this.isOver) return;
        await this.asks.publish(this.device, body);
        left += count;
      }
      this.isTold = false;
    } catch (error) {
      this.later(error);
    } finally {
      this.isUnderWay = false;
    }
  }

  /** If they were taken all the same, enough are there next time. */
  later(error) {
    if (this.isOver) return;
    if (!this.isTold) {
      this.note(`Others may not be able to let this device in yet: its key packages are not there \
(${error.message}). This is tried again by itself.`);
    }
    this.isTold = true;
    clearTimeout(this.again);
    this.again = setTimeout(() => this.publish(), AGAIN_MS);
  }
}
