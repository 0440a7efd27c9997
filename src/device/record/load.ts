/** Pictures that were left out, as the clip's sealed details tell it. */
export type Thinned = { fromUs: number; toUs: number; how: "half-rate" | "half-size" | "dropped" };

const tooFarUs = 2_000_000;
const caughtUpUs = 500_000;
const patienceUs = 3_000_000;
/** Less than this closer is no gain: one picture at the recording rate. */
const gainUs = 67_000;

export type Advice = "all" | "every-second" | "smaller";

/**
 * Decides, from how far the encoder is behind the camera, what it is given: all pictures; every
 * second one when it is more than 2 s behind; smaller ones when that has not helped after 3 s more.
 * Pure: the caller says when and how far, once the pre-roll has been fed.
 *
 * A clip begins behind by its pre-roll. As long as the encoder still gains on the camera nothing
 * is left out: an encoder that is fast enough would be punished for its past.
 */
export class Load {
  #advice: "all" | "every-second" = "all";
  #sinceUs = 0;
  #gaining = true;
  #leastUs = Number.POSITIVE_INFINITY;
  #leastAtUs = 0;

  judge(atUs: number, behindUs: number): Advice {
    if (this.#gaining) this.#gaining = this.#gains(atUs, behindUs);
    if (this.#gaining) return "all";
    if (this.#advice === "all") {
      if (behindUs > tooFarUs) {
        this.#advice = "every-second";
        this.#sinceUs = atUs;
      }
      return this.#advice;
    }
    const heldUs = atUs - this.#sinceUs;
    if (behindUs > tooFarUs && heldUs >= patienceUs) return "smaller";
    // Not back at once: the rate would swing with every breath of the encoder.
    if (behindUs < caughtUpUs && heldUs >= patienceUs) this.#advice = "all";
    return this.#advice;
  }

  #gains(atUs: number, behindUs: number): boolean {
    if (behindUs < caughtUpUs) return false;
    if (behindUs < this.#leastUs - gainUs) {
      this.#leastUs = behindUs;
      this.#leastAtUs = atUs;
    }
    return atUs - this.#leastAtUs < patienceUs;
  }
}

/** Joins neighbouring gaps of one kind; the list stays short however long the trouble lasts. */
export class ThinnedList {
  readonly #list: Thinned[] = [];

  /** At most this far apart they are one gap. */
  static readonly #togetherUs = 1_000_000;
  static readonly #most = 256;

  add(how: Thinned["how"], atUs: number): void {
    const last = this.#list.findLast((gap) => gap.how === how);
    const near = last && atUs - last.toUs <= ThinnedList.#togetherUs;
    // When the list is full, the last gap of all grows: too much is said, never too little.
    if (last && (near || this.#list.length >= ThinnedList.#most)) {
      last.toUs = Math.max(last.toUs, atUs);
    } else {
      this.#list.push({ fromUs: atUs, toUs: atUs, how });
    }
  }

  all(): Thinned[] {
    return this.#list.map((gap) => ({ ...gap }));
  }
}
