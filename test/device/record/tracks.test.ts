import * as assert from "uvu/assert";
import { Tracks } from "../../../src/device/record/tracks.ts";
import { encodeClosing } from "../../../src/protocol/sealed/details.ts";
import { suite } from "../../lib/suite.ts";

const person = (track: number, x: number, score = 0.5) => ({
  track,
  box: { x, y: 0, width: 10, height: 20 },
  score,
  zones: ["door"],
  still: false,
});

suite("device/record/tracks", (test) => {
  test("boxes over time, per track, with the most persons and the best score", () => {
    const tracks = new Tracks();
    tracks.add(0, [person(1, 0)], 1);
    tracks.add(200_000, [person(1, 1, 0.9), person(2, 50)], 2);
    tracks.add(400_000, [person(1, 2)], 1);
    tracks.add(600_000, [], 0);
    const summary = tracks.summary();
    assert.equal([summary.mostPersons, summary.bestScore], [2, 0.9]);
    assert.equal(
      summary.tracks.map((t) => [t.track, t.firstUs, t.lastUs, t.samples.map((s) => s.x)]),
      [
        [1, 0, 400_000, [0, 2]],
        [2, 200_000, 200_000, [50]],
      ],
    );
  });

  test("an hour of a crowd stays within what a clip's details may hold", () => {
    const tracks = new Tracks();
    for (let i = 0; i < 5 * 3600; i++) {
      const crowd = Array.from({ length: 80 }, (_, k) => person(k, i % 1000));
      tracks.add(i * 200_000, crowd, crowd.length);
    }
    const summary = tracks.summary();
    assert.is(summary.tracks.length, 64);
    assert.is(summary.mostPersons, 80);
    for (const track of summary.tracks) {
      assert.ok(track.samples.length <= 512 && track.samples.length >= 200);
      assert.is(track.samples[0]?.atUs, 0);
      assert.is(track.lastUs, 17_999 * 200_000);
    }
    const details = { endUs: 1, durationMs: 1, frames: 1, thinned: [], reason: "ended" } as const;
    assert.ok(encodeClosing({ ...details, thinned: [], ...summary }).length > 1000);
  });
});
