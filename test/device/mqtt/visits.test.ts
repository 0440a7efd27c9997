import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import type { Incident, Sighting } from "../../../src/device/detect/detect.ts";
import { isEvent } from "../../../src/device/mqtt/topics.ts";
import { createVisits, type VisitEvent } from "../../../src/device/mqtt/visits.ts";
import { suite } from "../../lib/suite.ts";

const frame = { width: 200, height: 100 };
const person = (track: number, more: Partial<Sighting> = {}): Sighting => ({
  ...{ track, box: { x: 20, y: 10, width: 40, height: 50 }, score: 0.5, zones: [], still: false },
  ...more,
});

function openVisits(isDelivered: ((clip: string) => boolean) | null = () => true) {
  const clock = new ManualClock();
  const visits = createVisits({
    run: "0a0b0c0d",
    nowUs: () => clock.monotonicUs(),
    wallMs: () => clock.wallMs(),
    clockTrusted: () => true,
    isDelivered: isDelivered ?? undefined,
  });
  const start = (id: string, persons = [person(1)]): VisitEvent[] => {
    const atUs = clock.monotonicUs();
    const firstSeenUs = atUs - 400_000;
    return visits.incident({
      ...{ kind: "start", id, firstSeenUs, atUs, persons, count: persons.length, frame },
    });
  };
  const update = (id: string, persons: Sighting[]) => {
    const incident: Incident = {
      ...{ kind: "update", id, atUs: clock.monotonicUs(), persons, count: persons.length },
    };
    return visits.incident(incident);
  };
  const end = (id: string) => {
    const atUs = clock.monotonicUs();
    return visits.incident({ kind: "end", id, atUs, lastSeenUs: atUs, mostPersons: 3 });
  };
  return { clock, visits, start, update, end };
}
const types = (events: VisitEvent[]) => events.map(({ event_type }) => event_type).join();

suite("device/mqtt/visits", (test) => {
  test("when it began is one time in all its messages, and another only when the clock was set", () => {
    const { clock, visits, start, update } = openVisits();
    // Read by two clocks one after the other, which is never the same moment.
    const first = start("v")[0]?.since;
    const read = clock.wallMs.bind(clock);
    clock.wallMs = () => read() + 3;
    clock.advance(1_000);
    assert.is(update("v", [person(1), person(2)])[0]?.since, first);
    clock.wallMs = () => read() + 3_600_000;
    clock.advance(1_000);
    const later = update("v", [person(1)])[0]?.since ?? "";
    assert.is(Date.parse(later) - Date.parse(first ?? ""), 3_600_000);
    clock.advance(15_000);
    assert.is(update("v", [person(1)])[0]?.since, later);
    assert.equal(visits.tick(), []);
  });

  test("a visit from its first message to its last", () => {
    const { clock, visits, start, update, end } = openVisits();
    const [first] = start("v");
    assert.ok(first && isEvent(JSON.stringify(first)));
    assert.equal([first.event_type, first.number, first.count], ["new", 1, 1]);
    assert.equal(first.persons[0]?.box, [0.1, 0.1, 0.2, 0.5]);
    assert.is(Date.parse(first.at) - Date.parse(first.since), 400);
    visits.part({ clip: "c", incident: "v" });
    clock.advance(1_000);
    assert.equal(
      visits.tick().map(({ clip, clips, sealed }) => [clip, clips, sealed]),
      [["c", 1, false]],
    );
    clock.advance(1_000);
    const [second] = update("v", [person(1, { score: 0.9, zones: ["door"] }), person(2)]);
    assert.equal([second?.count, second?.score, second?.zones.join()], [2, 0.9, "door"]);
    clock.advance(1_000);
    const [last] = end("v");
    assert.equal([last?.event_type, last?.count, last?.most, last?.seconds], ["end", 0, 3, 3.4]);
    assert.equal([last?.zones, last?.entered, last?.persons], [[], ["door"], []]);
    visits.sealed({ clip: "c", incident: "v" });
    clock.advance(1_000);
    const [clip] = visits.tick();
    assert.equal([clip?.event_type, clip?.sealed, clip?.delivered], ["clip", true, true]);
    assert.is(clip?.seconds, 3.4);
    clock.advance(60_000);
    assert.equal(visits.tick(), []);
    assert.equal(update("v", [person(9)]), [], "it is forgotten");
  });

  test("on a board that lags a visit is no shorter at its end than it was said to be", () => {
    const { clock, visits, start } = openVisits();
    start("v");
    clock.advance(3_000);
    visits.part({ clip: "c", incident: "v" });
    const [update] = visits.tick();
    // The picture without anybody was taken before that was said.
    const atUs = clock.monotonicUs() - 1_500_000;
    clock.advance(1_000);
    const [end] = visits.incident({ kind: "end", id: "v", atUs, lastSeenUs: atUs, mostPersons: 3 });
    assert.equal([update?.seconds, end?.seconds], [3.4, 3.4]);
    visits.sealed({ clip: "c", incident: "v" });
    clock.advance(1_000);
    assert.is(visits.tick()[0]?.seconds, 3.4);
  });

  test("updates are a second apart, and what was held back follows", () => {
    const { clock, visits, start, update } = openVisits();
    start("v");
    clock.advance(500);
    assert.equal(update("v", [person(2)]), []);
    assert.equal(visits.tick(), []);
    clock.advance(500);
    assert.is(types(visits.tick()), "update");
    // A box that moves is no news, but for one message every fifteen seconds.
    let count = 0;
    for (let i = 0; i < 60; i++) {
      clock.advance(1_000);
      count += update("v", [person(2, { box: { x: i, y: 0, width: 9, height: 9 } })]).length;
    }
    assert.is(count, 4);
  });

  test("sealed and delivered speak of all clips of a visit, and of a relay's own word", () => {
    const there = new Set<string>();
    const { clock, visits, start, end } = openVisits((clip) => there.has(clip));
    start("v");
    visits.part({ clip: "a", incident: "v" });
    visits.sealed({ clip: "a", incident: "v" });
    visits.part({ clip: "b", incident: "v" });
    clock.advance(1_000);
    assert.equal(
      visits.tick().map(({ clip, clips, sealed }) => [clip, clips, sealed]),
      [["b", 2, false]],
    );
    end("v");
    clock.advance(1_000);
    visits.sealed({ clip: "b", incident: "v" });
    there.add("a");
    assert.equal(
      visits.tick().map(({ sealed, delivered }) => [sealed, delivered]),
      [[true, false]],
    );
    there.add("b");
    clock.advance(1_000);
    assert.equal(
      visits.tick().map(({ sealed, delivered }) => [sealed, delivered]),
      [[true, true]],
    );
  });

  test("without relays nothing is delivered; a visit without a clip claims none", () => {
    const { clock, visits, start, end } = openVisits(null);
    start("v");
    assert.equal(
      end("v").map(({ clips, sealed }) => [clips, sealed]),
      [[0, false]],
    );
    visits.part({ clip: "a", incident: "v" });
    visits.sealed({ clip: "a", incident: "v" });
    clock.advance(1_000);
    const said = visits.tick();
    assert.equal(
      said.map(({ sealed, delivered }) => [sealed, delivered]),
      [[true, false]],
    );
    assert.is(types(said), "clip");
    // A picture that a phone asked for is of no visit.
    visits.part({ clip: "x", incident: "snapshot" });
    assert.equal(visits.tick(), []);
  });

  test("bounded, whatever is asked of it", () => {
    const { clock, visits, start, end } = openVisits(() => false);
    const zones = Array.from({ length: 16 }, (_, i) => `${i}`.padEnd(32, "z"));
    const crowd = Array.from({ length: 100 }, (_, i) => person(i, { zones }));
    const [first] = start("v", crowd);
    assert.is(first?.persons.length, 16);
    assert.ok(JSON.stringify(first).length < 16 * 1024);
    for (let i = 0; i < 500; i++) {
      visits.part({ clip: `c${i}`, incident: "v" });
      visits.sealed({ clip: `c${i}`, incident: "v" });
    }
    const [said] = end("v");
    assert.equal([said?.clips, said?.sealed, said?.delivered], [500, true, false]);
    for (let i = 0; i < 100; i++) {
      start(`w${i}`);
      end(`w${i}`);
    }
    clock.advance(1_000);
    assert.ok(visits.tick().length <= 32);
  });
});
