import { execFile } from "node:child_process";
import { readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { parseRecording } from "../../../src/device/alarm/recording.ts";
import { simulate } from "../../../src/device/alarm/simulate.ts";
import { readConfig } from "../../../src/device/config.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const root = new URL("../../../../", import.meta.url).pathname;
const vectors = join(root, "test/vectors/alarm");
const house = join(vectors, "house.yaml");
const at = (name: string) => join(vectors, `${name}.jsonl`);

type Ended = { code: number; out: string; err: string };
function run(...args: string[]): Promise<Ended> {
  const main = join(root, "dist/src/device/main.js");
  return new Promise((resolve) => {
    execFile(process.execPath, [main, "alarm", ...args], (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err });
    });
  });
}

/** The highest score, what came of it, and each deed at its second. */
const expected: Record<string, [score: number, outcome: string, deeds: string]> = {
  "cat-and-bird": [17, "nothing", ""],
  "passer-by": [12, "nothing", ""],
  delivery: [84, "warning", "warning 20"],
  "break-in": [222, "siren", "warning 19, pending 31, siren 61, quiet 241"],
  "coming-home": [153, "warning", "warning 16, pending 20, disarmed 31"],
  "at-night": [100, "siren", "siren 140, quiet 320"],
};

suite("device/alarm/simulate", (test) => {
  for (const [name, [score, outcome, deeds]] of Object.entries(expected)) {
    test(`${name}: ${outcome}`, async () => {
      const { alarm } = await readConfig(house);
      const recording = parseRecording(name, await readFile(at(name), "utf8"));
      const result = simulate(recording, alarm);
      assert.is(result.outcome, outcome);
      assert.is(result.isRight, true);
      assert.is(Math.max(...result.samples.map((sample) => sample.score)), score);
      const told = result.deeds.map(({ what, atUs }) => `${what} ${Math.floor(atUs / 1e6)}`);
      assert.is(told.join(", "), deeds);
      // It goes on until all that began has ended.
      assert.is(result.samples.at(-1)?.score, 0);
      assert.not(result.samples.at(-1)?.siren);
    });
  }

  test("every recording that lies there is in the table", async () => {
    const files = (await readdir(vectors)).filter((name) => name.endsWith(".jsonl"));
    assert.equal(
      files.sort(),
      Object.keys(expected)
        .map((name) => `${name}.jsonl`)
        .sort(),
    );
  });

  test("in the break-in both cameras and the door are named, each with its points", async () => {
    const { alarm } = await readConfig(house);
    const recording = parseRecording("f", await readFile(at("break-in"), "utf8"));
    const siren = simulate(recording, alarm).deeds.find(({ what }) => what === "siren");
    const sums = new Map<string, number>();
    for (const { source, points } of siren?.parts ?? []) {
      sums.set(source, (sums.get(source) ?? 0) + points);
    }
    assert.equal(Object.fromEntries(sums), {
      ...{ motion: 10, "person in street": 2, "person in path": 5, "person in door": 45 },
      ...{ "front door": 100, "hall camera": 60 },
    });
  });

  test("what lay at the broker before is no evidence: counted, the cat would have been a thief", async () => {
    const { alarm } = await readConfig(house);
    const text = await readFile(at("cat-and-bird"), "utf8");
    assert.match(text, /"retained":true/);
    const fresh = parseRecording("f", text.replaceAll(',"retained":true', ""));
    assert.is(simulate(fresh, alarm).outcome, "siren");
  });

  test("commands replayed: nothing is done before it is armed, nor in the exit delay", async () => {
    const { alarm } = await readConfig(house);
    const lines = [
      '{"recording":1,"as":"disarmed"}',
      '{"at":1,"topic":"zigbee2mqtt/front door","payload":{"contact":false}}',
      '{"at":2,"command":"arm_away"}',
      '{"at":30,"topic":"zigbee2mqtt/hall window","payload":{"contact":false}}',
      '{"at":62,"topic":"zigbee2mqtt/hall window","payload":{"contact":false}}',
    ];
    const { deeds } = simulate(parseRecording("f", lines.join("\n")), alarm);
    assert.equal(
      deeds.map(({ what, atUs }) => `${what} ${atUs / 1e6}`),
      ["arming 2", "armed 62", "siren 62", "quiet 242"],
    );
  });

  test("names that the settings do not have are told, and nothing more is made of them", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "odd.jsonl");
    const topics = Array.from({ length: 10 }, (_, i) => `{"at":2,"topic":"t/${i}","payload":"1"}`);
    const lines = ['{"recording":1}', '{"at":1,"persons":[["dor","door"],["dor"]]}', ...topics];
    await writeFile(file, lines.join("\n"));
    const { code, out, err } = await run("--config", house, "--simulate", file, "--json");
    assert.is(code, 0);
    assert.is(JSON.parse(out).outcome, "nothing");
    assert.equal(err.trimEnd().split("\n"), [
      `note: ${file}: zones that detect.zones does not have: "dor"`,
      `note: ${file}: topics of none of alarm.sensors: "t/0", "t/1", "t/2", "t/3", "t/4", "t/5", "t/6", "t/7" and 2 more`,
    ]);
  });

  test("the command: a table, a picture that is whole XML, and exit code 0 when all are right", async () => {
    await using folder = await temporaryFolder();
    const picture = join(folder.path, "chart.svg");
    const names = Object.keys(expected);
    const files = names.map(at);
    const ended = await run("--config", house, "--simulate", ...files, "-o", picture);
    const bell = `note: ${at("delivery")}: topics of none of alarm.sensors: "zigbee2mqtt/bell"\n`;
    assert.equal([ended.code, ended.err], [0, bell]);
    for (const [name, [score, outcome]] of Object.entries(expected)) {
      const row = new RegExp(`${name}\\.jsonl +${score} +${outcome} +${outcome} +right\\n`);
      assert.match(ended.out, row);
    }
    assert.match(ended.out, /0:31\.2 +pending +pending +108 .*100 ask for the siren/);
    assert.match(ended.out, /\+50 +front door, 0:31\.2\n/);
    const svg = await readFile(picture, "utf8");
    checkXml(svg);
    assert.is(svg.match(/<path /g)?.length, names.length);
    for (const word of ["siren 100", "warning 40", "hall camera", "armed_away", "as expected"]) {
      assert.ok(svg.includes(word), word);
    }
  });

  test("as JSON, a line for each; another beginning; an outcome that was not expected is exit code 1", async () => {
    await using folder = await temporaryFolder();
    const json = await run("--config", house, "--simulate", at("break-in"), "--json");
    const result = JSON.parse(json.out);
    assert.equal([json.code, result.outcome, result.right], [0, "siren", true]);
    assert.equal(result.deeds[0].contributions[0], { at: 2, source: "motion", points: 2 });
    assert.ok(result.samples.length > 10);
    const calm = await run("--config", house, "--simulate", at("break-in"), "--as", "disarmed");
    assert.is(calm.code, 1);
    assert.match(calm.out, /nothing was done/);

    // Names from a file are text in the picture, whatever they hold.
    const odd = join(folder.path, "odd.jsonl");
    const about = "<script>alert(1)</script> & \u0001 \ud800";
    await writeFile(odd, `${JSON.stringify({ recording: 1, about })}\n`);
    const picture = join(folder.path, "odd.svg");
    assert.is((await run("--simulate", odd, "-o", picture)).code, 0);
    const svg = await readFile(picture, "utf8");
    checkXml(svg);
    assert.not(svg.includes("<script"));
  });

  test("what a recording says of itself is no command to the terminal", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "loud.jsonl");
    const about = "\\u001b]0;x\\u0007 \\u009b31m loud \\u202e";
    const head = `{"recording":1,"about":"${about}"}\n`;
    await writeFile(file, `${head}{"at":1,"persons":[["${about}"]]}\n`);
    const { out, err, code } = await run("--simulate", file);
    assert.is(code, 0);
    for (const said of [out, err]) {
      assert.match(said, /loud/);
      assert.not(/[^\P{C}\n]/u.test(said));
    }
    await writeFile(file, `${head}{"at":1,"${about}":true}\n`);
    const refused = await run("--simulate", file);
    assert.is(refused.code, 2);
    assert.match(refused.err, /loud/);
    assert.not(/[^\P{C}\n]/u.test(refused.err));
  });

  test("what is misused is said in one line, with exit code 2", async () => {
    await using folder = await temporaryFolder();
    const bad = join(folder.path, "bad.jsonl");
    await writeFile(bad, '{"recording":1}\n{"at":1,"motion":1}\n');
    const binary = join(folder.path, "binary.jsonl");
    await writeFile(binary, Buffer.from([0xff, 0xfe, 0x00]));
    const other = join(folder.path, "other.svg");
    await symlink(bad, other);
    const cases: [string[], number, RegExp][] = [
      [[], 2, /--simulate FILE is missing/],
      [["--simulate", bad], 2, /bad\.jsonl:2: motion is true or not there/],
      [["--simulate", binary], 2, /binary\.jsonl is not UTF-8 text/],
      [["--simulate", at("delivery"), "--as", "asleep"], 2, /--as is one of away, home, disarmed/],
      [["--simulate", join(folder.path, "none")], 1, /cannot read .*none \(ENOENT\)/],
      [
        ["--simulate", at("delivery"), "-o", join(folder.path, "no/x.svg")],
        1,
        /cannot write .*ENOENT/,
      ],
      [["--simulate", at("delivery"), "--colour"], 2, /--colour/],
      [
        ["--simulate", at("delivery"), "-o", join(folder.path, "x.PNG")],
        2,
        /is SVG; name it \.svg/,
      ],
      [["--simulate", bad, binary, "-o", bad], 2, /-o .*bad\.jsonl would be written over/],
      [["--simulate", bad, "-o", other], 2, /-o .*other\.svg would be written over/],
    ];
    for (const [args, code, expected] of cases) {
      const ended = await run(...args);
      assert.is(ended.code, code, args.join(" "));
      assert.match(ended.err, expected);
      assert.is(ended.err.trim().split("\n").length, 1, ended.err);
    }
    assert.match((await run("--help")).out, /usage: obscura-camera alarm --simulate/);
  });

  test("a day of motion, five times a second, is replayed in bounded time and room", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "day.jsonl");
    const lines = Array.from({ length: 400_000 }, (_, i) => `{"at":${i / 5},"motion":true}`);
    await writeFile(file, `{"recording":1}\n${lines.join("\n")}\n`);
    const picture = join(folder.path, "day.svg");
    const { code, out } = await run("--simulate", file, "-o", picture);
    assert.is(code, 0);
    assert.ok(out.split("\n").length < 100, "a screen or two");
    assert.ok((await readFile(picture)).length < 512 * 1024);
  });

  test(
    "a recording as full as one may be, of a house that speaks without a break, too",
    async () => {
      await using folder = await temporaryFolder();
      const at = (name: string) => join(folder.path, name);
      const sensors = Array.from(
        { length: 32 },
        (_, i) => `    - {name: s${i}, topic: t${i}, weight: 1}`,
      );
      const settings = ["windowS: 600", "sliceS: 1", "warnAt: 9000", "sirenAt: 10000", "sensors:"];
      await writeFile(at("c.yaml"), `alarm:\n  ${settings.join("\n  ")}\n${sensors.join("\n")}\n`);
      const lines: string[] = [];
      for (let second = 0; second < 11_000; second++) {
        for (let i = 0; i < 32; i++) lines.push(`{"at":${second},"topic":"t${i}","payload":1}`);
      }
      await writeFile(at("full.jsonl"), `{"recording":1}\n${lines.join("\n")}\n`);
      const all = ["--config", at("c.yaml"), "--simulate", at("full.jsonl")];
      const { code, out, err } = await run(...all, "-o", at("full.svg"));
      assert.is(code, 0, err);
      // A score of ten thousand is as many contributions, of which the newest are shown.
      assert.match(
        out,
        /siren +triggered +1\d{4} .*\n +\+1\d{4} +older ones\n(?: +\+1 +s\d+, .*\n){48}\S/,
      );
      assert.ok(out.split("\n").length < 10_000);
      checkXml(await readFile(at("full.svg"), "utf8"));
    },
    { deadlineMs: 500_000 },
  );
});

/** Every tag is closed by its like, and what stands between is text. */
function checkXml(svg: string): void {
  const open: string[] = [];
  const rest = svg.replace(
    /<(\/?)([a-z]+)((?: [a-z0-9:A-Z-]+="[^"<]*")*)\s*(\/?)>/g,
    (...parts) => {
      const [, end, name, , alone] = parts as string[];
      if (end) assert.is(open.pop(), name);
      else if (!alone) open.push(name ?? "");
      return "";
    },
  );
  assert.equal(open, []);
  assert.not(/[<>]/.test(rest), rest);
  assert.not(/&(?!(amp|lt|gt|quot);)/.test(rest));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML takes none
  assert.not(/[\u0000-\u0008\u000b-\u001f]/.test(svg));
}
