import * as assert from "uvu/assert";
import { choice, number, printSettings, readSettings, text } from "../../src/base/node/settings.ts";
import { Failure } from "../../src/base/pure/failure.ts";
import { suite } from "../lib/suite.ts";

const schema = {
  name: text({ default: "x", limit: 8, about: "a name" }),
  detect: {
    threshold: number({
      default: 0.4,
      min: 0,
      max: 1,
      about: "least score",
      formerly: ["detect.score", "sensitivity"],
    }),
    precision: choice({ default: "auto", of: ["auto", "int8"], about: "how" }),
  },
};
const read = (text: string, onNotice?: (line: string) => void) =>
  readSettings({ file: "c.yaml", text }, schema, {
    version: 2,
    ...(onNotice ? { onNotice } : {}),
  });
const defaults = { name: "x", detect: { threshold: 0.4, precision: "auto" } };

/** What is wrong in the file → what the user reads. */
const refusals: [text: string, message: string | RegExp][] = [
  [
    "name: a\ndetect:\n  treshold: 0.5\n",
    "c.yaml:3: detect.treshold is not a setting. Did you mean detect.threshold?",
  ],
  ["detekt:\n  threshold: 0.5\n", "c.yaml:1: detekt is not a setting. Did you mean detect?"],
  ["threshold: 0.5\n", "c.yaml:1: threshold is not a setting. Did you mean detect.threshold?"],
  ["volume: 11\n", "c.yaml:1: volume is not a setting; there are version, name, detect"],
  [
    "detect:\n  threshold: high\n",
    'c.yaml:2: detect.threshold is "high"; expected a number from 0 to 1',
  ],
  [
    "detect:\n  threshold: 1.5\n",
    "c.yaml:2: detect.threshold is 1.5; expected a number from 0 to 1",
  ],
  ["detect:\n  threshold:\n", "c.yaml:2: detect.threshold is null; expected a number from 0 to 1"],
  [
    "detect:\n  precision: int4\n",
    /precision is "int4"; expected one of auto, int8\. Did you mean int8\?$/,
  ],
  ["name: 123456789\n", "c.yaml:1: name is 123456789; expected a line of at most 8 characters"],
  ['name: "a\\tb"\n', 'c.yaml:1: name is "a\\tb"; expected a line of at most 8 characters'],
  ["detect: 5\n", "c.yaml:1: detect should hold settings by name"],
  ["- a\n", "c.yaml:1: the file should hold settings by name"],
  ["name: a\nname: b\n", "c.yaml:2: name stands there a second time"],
  [
    "detect:\n  precision: int8\n  precision: auto\n",
    "c.yaml:3: precision stands there a second time",
  ],
  ["name: a\n---\nname: b\n", "c.yaml:2: more than one document"],
  ["name: *x\n", "c.yaml:1: *x is an alias; write the value itself"],
  ["name: &x [*x]\n", "c.yaml:1: *x is an alias; write the value itself"],
  ["name: b\ndetect:\n\tthreshold: 1\n", "c.yaml:3: Tabs are not allowed as indentation"],
  ['name: "a\\nb"\n', 'c.yaml:1: name is "a\\nb"; expected a line of at most 8 characters'],
  [`name: ${"x".repeat(5000)}\n`, /^.{100,200}; expected a line of at most 8 characters$/],
  ["? version\n", "c.yaml:1: version is null; expected 1 to 2, which this program reads"],
  ['version: "1"\n', 'c.yaml:1: version is "1"; expected 1 to 2, which this program reads'],
  ['"\\u001b[2J": 1\n', /^c\.yaml:1: \\u001b\[2J is not a setting; there are /],
  ["verson: 1\n", "c.yaml:1: verson is not a setting. Did you mean version?"],
  ["name: [a\n", /^c\.yaml:\d: /],
  ["version: 3\n", "c.yaml:1: version is 3; expected 1 to 2, which this program reads"],
  ["version: 0\n", /version is 0/],
  [
    "detect:\n  score: 0.5\n  threshold: 0.6\n",
    "c.yaml:3: detect.threshold sets detect.threshold a second time",
  ],
  [
    "a: 1\nb: 2\n",
    "c.yaml:1: a is not a setting; there are version, name, detect\nc.yaml:2: b is not a setting; there are version, name, detect",
  ],
];

suite("base/settings", (test) => {
  test("nothing written means the defaults", () => {
    for (const empty of ["", "# only a comment\n", "detect:\n", "version: 1\n"]) {
      assert.equal(read(empty), defaults);
    }
  });

  for (const [written, message] of refusals) {
    test(`refuses ${JSON.stringify(written)}`, () => {
      try {
        read(written);
      } catch (error) {
        assert.instance(error, Failure);
        assert.is((error as Failure).kind, "misuse");
        if (typeof message === "string") assert.is((error as Failure).message, message);
        else assert.match((error as Failure).message, message);
        return;
      }
      assert.unreachable("it was read");
    });
  }

  test("a renamed setting is read under its old names, with a notice", () => {
    for (const old of ["detect:\n  score: 0.7\n", "sensitivity: 0.7\n"]) {
      const notices: string[] = [];
      assert.is(read(old, (line) => notices.push(line)).detect.threshold, 0.7);
      assert.match(notices.join(), /is called detect\.threshold now/);
    }
  });

  test("of very many mistakes the first are named, and how many more there are", () => {
    const many = Array.from({ length: 500 }, (_, i) => `k${i}: 1\n`).join("");
    assert.throws(
      () => read(many),
      (error: Failure) => {
        const lines = error.message.split("\n");
        return lines.length === 21 && lines[20] === "and 480 more mistakes";
      },
    );
  });

  test("a file of aliases cannot grow", () => {
    let text = "a0: &a0 [x]\n";
    for (let i = 1; i < 30; i++) text += `a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}]\n`;
    assert.throws(
      () => read(text),
      (error: unknown) => error instanceof Failure,
    );
  });

  test("the printed file reads back to the defaults", () => {
    assert.equal(read(printSettings(schema)), defaults);
  });
});
