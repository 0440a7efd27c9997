import { equal, is, ok } from "uvu/assert";
import type { Rect } from "../../../src/device/camera/camera.ts";
import { createTracker, type Found } from "../../../src/device/detect/track.ts";
import { suite } from "../../lib/suite.ts";

const tracker = () => createTracker({ sure: 0.4, lostMs: 4000 });
const person = (x: number, y = 100, score = 0.8): Found => {
  return { box: { x, y, width: 40, height: 100 }, score, fresh: true, stirred: true };
};
const look = 200_000;

suite("track", (test) => {
  test("one walker keeps one name, at five looks a second and at one", () => {
    for (const [everyUs, step] of [
      [200_000, 16],
      [1_000_000, 80],
    ] as const) {
      const follow = tracker();
      for (let i = 0; i < 8; i++) {
        const tracks = follow.step([person(i * step)], i * everyUs);
        equal(
          tracks.map(({ id }) => id),
          [1],
        );
      }
      ok(follow.tracks()[0]?.walked);
    }
  });

  test("two who cross keep their names", () => {
    const follow = tracker();
    for (let i = 0; i <= 40; i++) {
      const right = person(100 + 10 * i, 100);
      const left = person(500 - 10 * i, 130);
      // Before each other only the nearer one is found.
      const hidden = Math.abs(right.box.x - left.box.x) < 25;
      follow.step(hidden ? [left] : [right, left], i * look);
    }
    const [first, second] = [...follow.tracks()].sort((a, b) => a.id - b.id);
    is(follow.tracks().length, 2);
    ok((first?.box.x ?? 0) > 450, "the first went right");
    ok((second?.box.x ?? 999) < 150, "the second went left");
  });

  test("a walker behind a tree for a second keeps the name, after five seconds gets a new one", () => {
    for (const [hiddenLooks, names] of [
      [5, [1]],
      [25, [2]],
    ] as const) {
      const follow = tracker();
      for (let i = 0; i < 10; i++) follow.step([person(i * 10)], i * look);
      for (let i = 10; i < 10 + hiddenLooks; i++) follow.step([], i * look);
      const at = 10 + hiddenLooks;
      const tracks = follow.step([person(at * 10)], at * look);
      equal(
        tracks.filter(({ found }) => found).map(({ id }) => id),
        [...names],
      );
    }
  });

  test("a doubtful box continues a track and never begins one", () => {
    const follow = tracker();
    is(follow.step([person(0, 100, 0.3)], 0).length, 0);
    follow.step([person(0)], look);
    const tracks = follow.step([person(5, 100, 0.3)], 2 * look);
    is(tracks.length, 1);
    is(tracks[0]?.score, 0.3);
    ok(tracks[0]?.found);
  });

  test("a sure box is chosen before a doubtful nearer one", () => {
    const follow = tracker();
    follow.step([person(100)], 0);
    const tracks = follow.step([person(101, 100, 0.3), person(108)], look);
    is(tracks[0]?.score, 0.8);
    is(tracks.length, 1);
  });

  test("the doubtful echo of a sure box does not carry on somebody else's track", () => {
    const follow = tracker();
    follow.step([person(100), person(160)], 0);
    const tracks = follow.step([person(104), person(118, 100, 0.3)], look);
    equal(
      tracks.filter(({ found }) => found).map(({ id }) => id),
      [1],
    );
  });

  test("what trembles does not walk, what goes and comes back did", () => {
    const follow = tracker();
    for (let i = 0; i < 50; i++) {
      const jitter = 6 * Math.sin(i * 1.7);
      follow.step([person(100 + jitter, 100 - jitter)], i * look);
    }
    is(follow.tracks()[0]?.walked, false);
    for (let i = 50; i < 60; i++) follow.step([person(100 + 10 * (i - 50))], i * look);
    ok(follow.tracks()[0]?.walked);
  });

  test("boxes far apart or of other size are other persons", () => {
    const follow = tracker();
    follow.step([person(0)], 0);
    const small: Found = { ...person(30, 100), box: { x: 60, y: 20, width: 12, height: 30 } };
    is(follow.step([small], look).filter(({ found }) => found)[0]?.id, 2);
    is(follow.step([person(400)], 2 * look).filter(({ found }) => found)[0]?.id, 3);
  });

  test("random boxes: names are unique, one box one track, nothing is kept beyond its time", () => {
    let state = 5;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    for (let round = 0; round < 200; round++) {
      const follow = tracker();
      let atUs = 0;
      const seen = new Map<number, number>();
      for (let i = 0; i < 30; i++) {
        atUs += 1 + Math.floor(random() * 2e6);
        const found = Array.from({ length: Math.floor(random() * 6) }, () => {
          return person(random() * 300, random() * 100, random());
        });
        const tracks = follow.step(found, atUs);
        is(new Set(tracks.map(({ id }) => id)).size, tracks.length);
        const boxes = new Set<Rect>();
        for (const track of tracks) {
          ok(atUs - track.lastUs <= 4e6);
          is(track.found, track.lastUs === atUs);
          if (track.found) {
            ok(!boxes.has(track.box));
            boxes.add(track.box);
            ok(found.some((one) => one.box === track.box));
          }
          ok((seen.get(track.id) ?? atUs) <= atUs);
          seen.set(track.id, track.lastUs);
          ok(Number.isFinite(track.velocity.x) && Number.isFinite(track.velocity.y));
        }
        for (const one of found.filter(({ score }) => score >= 0.4)) ok(boxes.has(one.box));
      }
    }
  });
});
