import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { drawChart } from "../../../src/device/alarm/chart.ts";
import { printSimulation } from "../../../src/device/alarm/print.ts";
import { parseRecording } from "../../../src/device/alarm/recording.ts";
import { simulate } from "../../../src/device/alarm/simulate.ts";
import { readConfig } from "../../../src/device/config.ts";
import { suite } from "../../lib/suite.ts";

const root = new URL("../../../../", import.meta.url).pathname;
const { alarm: house } = await readConfig(join(root, "test/vectors/alarm/house.yaml"));

/** Of events that stand as objects. */
function replay(events: object[], head: object = {}, settings = house) {
  const lines = [{ recording: 1, ...head }, ...events].map((one) => JSON.stringify(one));
  return simulate(parseRecording("f", lines.join("\n")), settings);
}
const door = (at: number) => ({
  ...{ at, topic: "zigbee2mqtt/front door", payload: { contact: false } },
});
/** What the table of a simulation says, by the time of each row. */
function rowsOf(simulation: ReturnType<typeof replay>) {
  const table = printSimulation(simulation, house, { file: "f" }).split("\n\n")[1] ?? "";
  const rows = table.split("\n").slice(1);
  return new Map(
    rows.map((row) => {
      const [time = "", score = "", state = "", asked = ""] = row.split(/ +/);
      return [
        time,
        { score: Number(score), state, asked: /^(warning|SIREN)$/.test(asked) && asked },
      ];
    }),
  );
}
const draw = (simulation: ReturnType<typeof replay>, settings = house, file = "f") =>
  drawChart([{ file, simulation }], settings);
/** Where a writing begins and ends, roughly, by its letters. */
function writingsOf(svg: string) {
  return [...svg.matchAll(/<text x="([\d.-]+)" y="[\d.-]+" ([^>]*)>([^<]*)</g)].map((one) => {
    const [, x, more = "", what = ""] = one;
    const wide = [...what].length * (more.includes("bold") ? 8.2 : 5.8);
    const from =
      Number(x) - (more.includes('"end"') ? wide : more.includes("middle") ? wide / 2 : 0);
    return { what, from, to: from + wide };
  });
}

suite("device/alarm/picture", (test) => {
  test("a warning is in the table however long the recording is, and so is a siren", () => {
    const late = { at: 4 * 3600, motion: true };
    const warned = rowsOf(replay([door(0), late]));
    assert.equal(warned.get("0:00"), { score: 50, state: "armed_away", asked: "warning" });
    const howled = rowsOf(replay([door(0), door(10), late]));
    assert.equal(howled.get("0:00"), { score: 100, state: "armed_away", asked: "SIREN" });
    assert.is([...howled.values()].filter(({ asked }) => asked).length, 1);
  });

  test("what counted at t is out of the score at t + windowS, in samples and in rows", () => {
    const simulation = replay([{ at: 0.25, motion: true }, door(1)]);
    const scores = simulation.samples.map(({ atUs, score }) => `${atUs / 1e6} ${score}`);
    assert.equal(scores, ["0 0", "0.25 2", "1 52", "11 52", "60.25 50", "61 0"]);
    // Of a stretch that begins in the very moment in which it goes.
    const rows = rowsOf(replay([{ at: 0, motion: true }, door(2)]));
    const told = ["0:58", "1:00", "1:02"].map((time) => rows.get(time)?.score);
    assert.equal(told, [52, 50, 0]);
  });

  test("the picture shows the exit delay of who arms in the first moment", () => {
    const svg = draw(replay([{ at: 0, command: "arm_away" }, door(80)], { as: "disarmed" }));
    const bands = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)];
    const ends = bands.map(([, x, width]) => Number(x) + Number(width));
    const [first] = bands;
    // From the left to the right without a hole.
    for (const [i, [, x]] of bands.entries()) {
      if (i > 0) assert.ok(Math.abs(Number(x) - (ends[i - 1] ?? 0)) < 1.5, `a hole before ${x}`);
    }
    assert.is(first?.[1], "150");
    assert.match(svg, />arming</);
  });

  test("axes have their names and units, and the thresholds and the highest score stand there", () => {
    const svg = draw(replay([door(0), door(10), door(20)]));
    for (const what of ["score, points", "time, min:s", "0", "warning 40", "siren 100"]) {
      assert.ok(svg.includes(`>${what}<`), what);
    }
    assert.ok(svg.includes(">highest 150<"));
    // Not over the threshold that it has just reached.
    assert.not(draw(replay([door(0), door(10)])).includes("highest"));
    assert.ok(draw(replay([door(0), { at: 7200, motion: true }])).includes(">time, h:min:s<"));
  });

  test("the axis counts as people do", () => {
    const timesOf = (lastS: number) => {
      const svg = draw(replay([{ at: lastS - 60, motion: true }]));
      return writingsOf(svg).flatMap(({ what }) => (/^\d+(:\d\d)+$/.test(what) ? [what] : []));
    };
    assert.equal(timesOf(61), ["0:00", "0:10", "0:20", "0:30", "0:40", "0:50", "1:00"]);
    assert.equal(timesOf(240), [
      "0:00",
      "0:30",
      "1:00",
      "1:30",
      "2:00",
      "2:30",
      "3:00",
      "3:30",
      "4:00",
    ]);
    assert.equal(timesOf(3 * 86_400), [
      "0:00",
      "12:00:00",
      "24:00:00",
      "36:00:00",
      "48:00:00",
      "60:00:00",
      "72:00:00",
    ]);
  });

  test("the picture in the papers is what is drawn of the break-in", async () => {
    const name = "break-in.jsonl";
    const text = await readFile(join(root, "test/vectors/alarm", name), "utf8");
    const svg = draw(simulate(parseRecording(name, text), house), house, name);
    assert.is(await readFile(join(root, ".pictures/alarm.svg"), "utf8"), svg);
  });

  test("long names of files, recordings and sensors end within the picture, and none is left out unsaid", () => {
    const names = Array.from({ length: 30 }, (_, i) => `the window of the last cellar ${i}`);
    const sensors = names.map((name, i) => ({
      ...{ name, topic: `t/${i}`, field: [], counts: [], isInstant: false },
      weight: { away: 100, home: 100 },
    }));
    const settings = { ...house, sensors };
    const events = names.map((_, i) => ({ at: i, topic: `t/${i}`, payload: "x" }));
    const simulation = replay(events, { about: "m".repeat(200) }, settings);
    const svg = draw(simulation, settings, `/somewhere/${"deep/".repeat(60)}f.jsonl`);
    const days = draw(replay([{ at: 600_000, motion: true }]));
    for (const { what, from, to } of [...writingsOf(svg), ...writingsOf(days)]) {
      assert.ok(from >= 0 && to <= 960, `${what}: ${from} to ${to}`);
    }
    assert.ok(svg.includes(">and 6 more<"));
  });
});
