import { equal, is, ok } from "uvu/assert";
import { createPresence, type Incident } from "../../../src/device/detect/presence.ts";
import type { Found } from "../../../src/device/detect/track.ts";
import type { Zone } from "../../../src/device/detect/zone.ts";
import { suite } from "../../lib/suite.ts";

const frame = { width: 640, height: 480 };
const lookUs = 200_000;

const person = (x: number, { y = 100, score = 0.8, fresh = true, stirred = true } = {}): Found => {
  return { box: { x, y, width: 40, height: 100 }, score, fresh, stirred };
};
/** Looks like a person, never was one: part of the scene from the start. */
const cone = (score = 0.7): Found => person(500, { y: 300, score, fresh: false, stirred: false });

type Looks = (i: number) => Found[] | undefined;

/** Plays looks five times a second; where there is no look, time goes on alone. */
function play(
  count: number,
  looks: Looks,
  options: { zones?: Zone[]; stillForGoodMs?: number; everyUs?: number } = {},
) {
  let names = 0;
  const presence = createPresence({
    zones: options.zones ?? [],
    threshold: 0.4,
    separateVisitMs: 5_000,
    ...(options.stillForGoodMs ? { stillForGoodMs: options.stillForGoodMs } : {}),
    newId: () => `visit ${++names}`,
  });
  const events: Incident[] = [];
  const everyUs = options.everyUs ?? lookUs;
  for (let i = 0; i < count; i++) {
    const atUs = i * everyUs;
    const found = looks(i);
    events.push(...(found ? presence.look({ atUs, found, frame }) : presence.tick(atUs)));
  }
  return { events, presence };
}

const starts = (events: Incident[]) => events.filter((e) => e.kind === "start");
const ends = (events: Incident[]) => events.filter((e) => e.kind === "end");
const between = (i: number, from: number, to: number) => from <= i && i < to;

suite("presence", (test) => {
  test("a walker starts a visit at the second look and is dated by the first", () => {
    const { events } = play(80, (i) => (between(i, 10, 40) ? [person(8 * i)] : []));
    const [start] = starts(events);
    is(start?.firstSeenUs, 10 * lookUs);
    is(start?.atUs, 11 * lookUs);
    is(start?.persons.length, 1);
    const [end] = ends(events);
    is(end?.lastSeenUs, 39 * lookUs);
    is(end?.atUs, 39 * lookUs + 5_000_000);
    is(end?.mostPersons, 1);
    is(events.length, 1 + 28 + 1 + 1); // each look with somebody, and one for the leaving
  });

  test("two of three looks: one missed look does not matter, two of four are not enough", () => {
    is(starts(play(20, (i) => (i === 5 || i === 7 ? [person(100 + i)] : [])).events).length, 1);
    is(starts(play(20, (i) => (i === 5 || i === 8 ? [person(100 + i)] : [])).events).length, 0);
    is(starts(play(40, (i) => (i % 7 === 0 ? [person(100)] : [])).events).length, 0);
  });

  test("a board too busy to look often does not split a visit, nor miss it", () => {
    for (const everyUs of [2_500_000, 3_000_000, 4_500_000]) {
      // Walks; one look in five finds nobody.
      const looks: Looks = (i) => (i < 20 && i % 5 !== 4 ? [person(20 * i)] : []);
      const { events } = play(40, looks, { everyUs });
      is(starts(events).length, 1, `${everyUs}`);
      equal(starts(events)[0]?.atUs, everyUs);
      const [end, ...more] = ends(events);
      is(more.length, 0);
      is(end?.lastSeenUs, 18 * everyUs);
      // Three looks that found nobody, which stand for six seconds.
      is(end?.atUs, 21 * everyUs);
    }
  });

  test("a look that comes after a long pause belongs to another visit", () => {
    const { presence } = play(0, () => undefined);
    const events = [0, 200_000, 400_000, 24_000_000, 24_200_000].flatMap((atUs, i) =>
      presence.look({ atUs, frame, found: [person(8 * i)] }),
    );
    is(starts(events).length, 2);
    is(ends(events)[0]?.lastSeenUs, 400_000);
  });

  test("flicker: scores around the threshold make one visit, not many", () => {
    const score = (i: number) => (i % 3 === 0 ? 0.55 : i % 3 === 1 ? 0.45 : 0.26);
    const looks: Looks = (i) => (between(i, 0, 60) ? [person(5 * i, { score: score(i) })] : []);
    const { events } = play(120, looks);
    is(starts(events).length, 1);
    is(ends(events).length, 1);
    is(ends(events)[0]?.lastSeenUs, 59 * lookUs);
    is(starts(play(60, (i) => [person(5 * i, { score: 0.35 })]).events).length, 0);
  });

  test("separate visits stay separate, a short absence does not split one", () => {
    const twice = (pause: number): Looks => {
      return (i) => (i < 20 || between(i, 20 + pause, 40 + pause) ? [person(10 * (i % 30))] : []);
    };
    const apart = play(140, twice(30)).events;
    is(starts(apart).length, 2);
    is(ends(apart).length, 2);
    ok(starts(apart)[0]?.id !== starts(apart)[1]?.id);
    const kinds = apart.map(({ kind }) => kind).filter((kind) => kind !== "update");
    equal(kinds, ["start", "end", "start", "end"]);
    is(starts(play(140, twice(20)).events).length, 1);
  });

  test("a second person extends the visit", () => {
    const { events } = play(120, (i) => {
      const first = between(i, 0, 30) ? [person(5 * i)] : [];
      const second = between(i, 20, 60) ? [person(600 - 5 * i, { y: 300 })] : [];
      return [...first, ...second];
    });
    is(starts(events).length, 1);
    is(ends(events)[0]?.mostPersons, 2);
    is(ends(events)[0]?.lastSeenUs, 59 * lookUs);
  });

  test("a second box round half of a body is nobody, two who walk side by side are two", () => {
    const bust = (x: number): Found => ({
      ...person(x, { score: 0.6 }),
      box: { x: x + 5, y: 95, width: 30, height: 50 },
    });
    const halved = play(60, (i) => (between(i, 5, 30) ? [person(8 * i), bust(8 * i)] : []));
    is(ends(halved.events)[0]?.mostPersons, 1);
    const beside = play(60, (i) => (between(i, 5, 30) ? [person(8 * i), person(8 * i + 20)] : []));
    is(ends(beside.events)[0]?.mostPersons, 2);
  });

  test("a cone that looks like a person starts nothing, ever", () => {
    is(play(2000, () => [cone()]).events.length, 0);
    const flickering: Looks = (i) => (i % 3 ? [cone(0.3 + (i % 5) / 10)] : []);
    is(play(2000, flickering).events.length, 0);
  });

  test("a cone does not lengthen a visit, nor when headlights light it afterwards", () => {
    const { events } = play(400, (i) => {
      const passer = between(i, 50, 90) ? [person(12 * (i - 50), { y: 290 })] : [];
      const lit = between(i, 200, 212);
      return [{ ...cone(), fresh: lit, stirred: lit }, ...passer];
    });
    is(starts(events).length, 1);
    is(ends(events)[0]?.lastSeenUs, 89 * lookUs);
    is(ends(events)[0]?.mostPersons, 1);
  });

  test("a passer-by's name that slips to a cone does not keep the visit open", () => {
    const small = (y: number, height: number, fresh: boolean): Found => {
      return { box: { x: 500, y, width: 18, height }, score: 0.45, fresh, stirred: fresh };
    };
    const { events } = play(150, (i) => {
      // Walks up to the cone, half hides behind it, and is gone: the cone is found instead.
      if (i < 40) return [person(500 - 10 * (40 - i), { y: 280 })];
      if (i < 43) return [small(330, 32, true)];
      return [small(340, 20, false)];
    });
    is(starts(events).length, 1);
    const lastSeenUs = ends(events)[0]?.lastSeenUs ?? 0;
    ok(lastSeenUs <= 51 * lookUs, `${lastSeenUs / lookUs}`);
  });

  test("a light switched over somebody who stands there does not end the visit", () => {
    const presence = createPresence({
      ...{ zones: [], threshold: 0.4, separateVisitMs: 5_000, newId: () => "a" },
    });
    const events: Incident[] = [];
    for (let i = 0; i < 200; i++) {
      const walks = i < 30;
      const found = [person(walks ? 10 * i : 300, { fresh: i < 60, stirred: walks })];
      const blind = i >= 60 && i < 70;
      events.push(...presence.look({ atUs: i * lookUs, found, frame, blind }));
    }
    is(starts(events).length, 1);
    is(ends(events).length, 0);
  });

  test("scenery that walks was a person after all", () => {
    const { events } = play(120, (i) => {
      if (i < 30) return [person(100, { fresh: false, stirred: false })];
      return i < 60 ? [person(100 + 10 * (i - 30), { fresh: i > 33 })] : [];
    });
    is(starts(events).length, 1);
    ok((starts(events)[0]?.atUs ?? 0) <= 37 * lookUs);
    ok((starts(events)[0]?.firstSeenUs ?? 0) >= 30 * lookUs, "not dated by the time it sat there");
  });

  test("who comes and stands for a minute is kept, and called still", () => {
    const { events } = play(500, (i) => {
      if (i < 20) return [person(10 * i)];
      // The motion gate takes a minute or so to learn what stands.
      if (i < 320) return [person(200, { fresh: i < 120, stirred: false })];
      return i < 340 ? [person(200 + 10 * (i - 320))] : [];
    });
    is(starts(events).length, 1);
    is(ends(events)[0]?.lastSeenUs, 339 * lookUs);
    const still = events.find((e) => e.kind === "update" && e.atUs === 200 * lookUs);
    is(still?.kind === "update" && still.persons[0]?.still, true);
  });

  test("looked at once a second, a visit goes on", () => {
    const { events } = play(
      60,
      (i) => {
        if (i < 5) return [person(40 * i)];
        return i < 40 ? [person(200, { fresh: i < 20, stirred: i % 9 === 0 })] : [];
      },
      { everyUs: 1_000_000 },
    );
    is(starts(events).length, 1);
    is(ends(events)[0]?.lastSeenUs, 39_000_000);
  });

  test("what was carried in and stands for good stops being an event, once", () => {
    const { events } = play(1500, (i) => {
      const dummy = i < 20 ? [person(10 * i)] : [person(200, { fresh: i < 300, stirred: false })];
      return i < 1400 ? dummy : [];
    });
    is(starts(events).length, 1);
    is(ends(events).length, 1);
    const lastSeenMs = (ends(events)[0]?.lastSeenUs ?? 0) / 1000;
    ok(lastSeenMs > 110_000 && lastSeenMs < 130_000, `${lastSeenMs}`);
  });

  test("a restart with somebody standing there starts nothing until it moves", () => {
    const { events } = play(100, (i) => {
      if (i < 50) return [person(100, { fresh: false, stirred: false }), cone()];
      return [person(100 + 8 * (i - 50)), cone()];
    });
    is(starts(events).length, 1);
    is(starts(events)[0]?.persons.length, 1);
    ok((starts(events)[0]?.atUs ?? 0) >= 50 * lookUs);
  });

  test("while the gate is blind nothing becomes scenery, and walking still counts", () => {
    const presence = createPresence({
      ...{ zones: [], threshold: 0.4, separateVisitMs: 5_000, newId: () => "a" },
    });
    let started = 0;
    for (let i = 0; i < 30; i++) {
      const found = [person(100 + 8 * i, { fresh: false, stirred: false }), cone()];
      const events = presence.look({ atUs: i * lookUs, found, frame, blind: true });
      started += starts(events).length;
    }
    is(started, 1);
    is(presence.places().length, 1);
  });

  test("two who cross are two persons and one visit", () => {
    const { events } = play(100, (i) => {
      if (i >= 50) return [];
      const [right, left] = [person(60 + 10 * i), person(560 - 10 * i, { y: 120 })];
      return Math.abs(right.box.x - left.box.x) < 25 ? [left] : [right, left];
    });
    is(starts(events).length, 1);
    is(ends(events)[0]?.mostPersons, 2);
    const names = new Set<number>();
    for (const event of events) {
      if (event.kind !== "end") for (const { track } of event.persons) names.add(track);
    }
    is(names.size, 2);
  });

  test("zones: feet decide; who walks in is dated by the step in, who walks out has left", () => {
    const zones = [
      {
        name: "path",
        polygon: [
          { x: 0.5, y: 0 },
          { x: 1, y: 0 },
          { x: 1, y: 1 },
          { x: 0.5, y: 1 },
        ],
      },
    ];
    const way = (i: number) => (i < 60 ? 8 * i : 8 * (120 - i)); // feet at x + 20
    const { events } = play(180, (i) => (i < 120 ? [person(way(i))] : []), { zones });
    const [start] = starts(events);
    is(start?.firstSeenUs, 38 * lookUs); // 8 * 38 + 20 > 320
    equal(start?.persons[0]?.zones, ["path"]);
    is(ends(events)[0]?.lastSeenUs, 82 * lookUs);
    // Polygons of one name are one zone, also where they overlap.
    const twice = play(180, (i) => [person(way(i))], { zones: [...zones, ...zones] });
    equal(starts(twice.events)[0]?.persons[0]?.zones, ["path"]);
    const outside = play(60, (i) => [person(2 * i)], { zones });
    is(outside.events.length, 0);
  });

  test("close ends what is open, once, and the time never goes back", () => {
    const { events, presence } = play(30, (i) => [person(8 * i)]);
    is(ends(events).length, 0);
    const [end] = presence.close(0);
    is(end?.kind, "end");
    is(end?.atUs, 29 * lookUs);
    equal(presence.close(1e9), []);
    is(presence.open, undefined);
    equal(presence.look({ atUs: 5, found: [person(0)], frame }), []);
  });

  test("without looks a visit ends by the clock", () => {
    const { events } = play(80, (i) => (i < 20 ? [person(8 * i)] : undefined));
    is(ends(events).length, 1);
    is(ends(events)[0]?.atUs, 19 * lookUs + 5_000_000);
  });

  test("whatever is found: starts and ends alternate, names are unique, times go forward", () => {
    let state = 11;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    let visits = 0;
    for (let round = 0; round < 300; round++) {
      let names = 0;
      const zones = random() < 0.3 ? [{ name: "z", polygon: triangle(random) }] : [];
      const presence = createPresence({
        ...{ zones, threshold: 0.4, separateVisitMs: random() * 8000, stillForGoodMs: 4000 },
        newId: () => `${++names}`,
      });
      const events: Incident[] = [];
      let atUs = 0;
      for (let i = 0; i < 60; i++) {
        atUs += Math.floor((random() < 0.1 ? 1e7 : 4e5) * random());
        const found = Array.from({ length: Math.floor(random() * 4) }, (_, k) => {
          const fresh = random() < 0.5;
          const at = { y: 200 * k * random(), score: random(), fresh, stirred: random() < 0.5 };
          return person(random() < 0.7 ? 100 * k + 5 * i : 600 * random(), at);
        });
        if (random() < 0.2) events.push(...presence.tick(atUs));
        else events.push(...presence.look({ atUs, found, frame, blind: random() < 0.1 }));
      }
      events.push(...presence.close(atUs));
      let open: string | undefined;
      let lastUs = 0;
      const seen = new Set<string>();
      for (const event of events) {
        ok(event.atUs >= lastUs, "times go forward");
        lastUs = event.atUs;
        if (event.kind === "start") {
          is(open, undefined);
          ok(!seen.has(event.id));
          seen.add(event.id);
          open = event.id;
          ok(event.persons.length > 0 && event.firstSeenUs <= event.atUs);
        } else {
          is(event.id, open);
          if (event.kind === "end") {
            open = undefined;
            ok(event.lastSeenUs <= event.atUs && event.mostPersons > 0);
          }
        }
      }
      is(open, undefined, "each start has its end");
      visits += seen.size;
    }
    ok(visits > 300, `${visits} visits were enough to prove something`);
  });

  test("what counts can be set while somebody is there: the visit goes on, the next look goes by it", () => {
    const { presence, events } = play(20, (i) => [person(8 * i)]);
    const seen = (i: number, score: number) =>
      presence
        .look({ atUs: i * lookUs, found: [person(8 * i, { score })], frame })
        .flatMap((event) => (event.kind === "update" ? event.persons : []));
    is(seen(20, 0.8)[0]?.zones.length, 0);
    const all = [
      { x: 0, y: 0 },
      { x: 1, y: 0 },
      { x: 1, y: 1 },
      { x: 0, y: 1 },
    ];
    presence.set({ zones: [{ name: "all", polygon: all }], threshold: 0.6 });
    equal(seen(21, 0.8)[0]?.zones, ["all"]);
    const elsewhere = all.map(({ x, y }) => ({ x: x / 100, y: y / 100 }));
    presence.set({ zones: [{ name: "corner", polygon: elsewhere }], threshold: 0.6 });
    equal(seen(22, 0.8), []);
    is(starts(events).length, 1);
    ok(presence.open !== undefined, "the visit ends in its own time");
    const other = play(0, () => []).presence;
    other.set({ zones: [], threshold: 0.9 });
    for (let i = 0; i < 10; i++)
      equal(other.look({ atUs: i * lookUs, found: [person(8 * i)], frame }), []);
  });
});

function triangle(random: () => number) {
  return [0, 1, 2].map(() => ({ x: random(), y: random() }));
}
