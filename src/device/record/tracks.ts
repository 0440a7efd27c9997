import type { ClosingDetails } from "../../protocol/sealed/details.ts";
import type { Sighting } from "../detect/detect.ts";

type Track = ClosingDetails["tracks"][number];

/** Limits of the sealed details (details.md). */
const mostTracks = 64;
const mostSamples = 512;
/** Detection looks up to five times a second; a box drawn over a clip needs half of that. */
const intervalUs = 350_000;

/** Where whom was seen while one clip ran: boxes over time, per track. */
export class Tracks {
  readonly #tracks = new Map<number, Track>();
  #mostPersons = 0;
  #bestScore = 0;

  /** @param count how many of them were sure at once */
  add(atUs: number, persons: readonly Sighting[], count: number): void {
    this.#mostPersons = Math.max(this.#mostPersons, count);
    for (const person of persons) {
      this.#bestScore = Math.max(this.#bestScore, person.score);
      this.#sight(atUs, person);
    }
  }

  #sight(atUs: number, { track: number, box, score, zones }: Sighting): void {
    let track = this.#tracks.get(number);
    if (!track) {
      if (this.#tracks.size >= mostTracks) return;
      track = { track: number, firstUs: atUs, lastUs: atUs, samples: [] };
      this.#tracks.set(number, track);
    }
    track.lastUs = atUs;
    const last = track.samples.at(-1);
    if (last && atUs - last.atUs < intervalUs) return;
    if (track.samples.length >= mostSamples) {
      track.samples = track.samples.filter((_, i) => i % 2 === 0);
    }
    track.samples.push({ atUs, ...box, score, zones: [...zones] });
  }

  summary(): Pick<ClosingDetails, "tracks" | "mostPersons" | "bestScore"> {
    return {
      tracks: [...this.#tracks.values()],
      mostPersons: this.#mostPersons,
      bestScore: this.#bestScore,
    };
  }
}
