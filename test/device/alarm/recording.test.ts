import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { parseRecording } from "../../../src/device/alarm/recording.ts";
import { generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

const head = '{"recording":1}';
const parse = (...lines: string[]) => parseRecording("night.jsonl", lines.join("\n"));
const refusal = (...lines: string[]) => {
  try {
    parse(...lines);
  } catch (error) {
    assert.ok(isFailure(error, "misuse"), String(error));
    return error.message;
  }
  return "it was read";
};

const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;

suite("device/alarm/recording", (test) => {
  test("each kind of line, with and without an end of the last", () => {
    const lines = [
      '{"recording":1,"about":"a night","as":"home","expect":"siren"}',
      '{"at":0,"motion":true}',
      '{"at":0.5,"persons":[["door","path"],[]]}',
      '{"at":0.5,"topic":"a/b","payload":"ON"}',
      '{"at":1,"topic":"a/b","payload":{"contact":false},"retained":true}',
      '{"at":2,"command":"disarm"}',
    ];
    for (const end of [[], [""]]) {
      const { about, as, expect, events } = parse(...lines, ...end);
      assert.equal([about, as, expect], ["a night", "home", "siren"]);
      assert.equal(
        events.map(({ kind, atUs }) => `${kind} ${atUs}`),
        ["motion 0", "persons 500000", "message 500000", "message 1000000", "command 2000000"],
      );
      const last = events[3];
      assert.ok(last?.kind === "message" && last.isRetained);
      assert.is(Buffer.from(last.payload).toString(), '{"contact":false}');
    }
    assert.equal(parse(head), { about: "", as: "away", expect: undefined, events: [] });
    // As Windows writes it.
    const marked = parse(`\uFEFF${head}\r`, '{"at":1,"motion":true}\r', "");
    assert.is(marked.events.length, 1);
  });

  test("what is wrong is told with file and line", () => {
    const cases: [string[], RegExp][] = [
      [["", head], /:1: an empty line/],
      [["{}"], /:1: the first line is to be \{"recording":1\}/],
      [['{"at":1,"motion":true}'], /:1: the first line is to be/],
      [['{"recording":2}'], /:1: a recording of format 2; this program reads format 1/],
      [['{"recording":1,"as":"armed"}'], /:1: as is "armed"; expected one of away, home, disarmed/],
      [['{"recording":1,"expect":7}'], /:1: expect is 7; expected one of nothing, warning, siren/],
      [['{"recording":1,"title":"x"}'], /:1: .*title/],
      [[head, "", '{"at":1,"motion":true}'], /:2: an empty line/],
      [[head, "motion"], /:2: not JSON/],
      [[head, '{"at":1,"motion":true'], /:2: not JSON/],
      [[head, "[1]"], /:2: no JSON object/],
      [[head, "null"], /:2: no JSON object/],
      [[head, '{"motion":true}'], /:2: at is not there; expected seconds/],
      [[head, '{"at":"1","motion":true}'], /:2: at is "1"/],
      [[head, '{"at":-1,"motion":true}'], /:2: at is -1/],
      // Read, and too deep to be written.
      [[head, `{"at":${deep},"motion":true}`], /:2: at is too deep to be shown/],
      [[head, `{"at":1,"topic":"a","payload":${deep}}`], /:2: a payload of more than 4096/],
      [
        [head, '{"at":1e9,"motion":true}'],
        /:2: at is 1000000000; expected seconds from 0 to 604800/,
      ],
      [[head, '{"at":1,"motion":false}'], /:2: motion is true or not there/],
      [[head, '{"at":1,"persons":"door"}'], /:2: persons is a list/],
      [[head, '{"at":1,"persons":["door"]}'], /:2: persons is a list/],
      [[head, '{"at":1,"topic":"a/#","payload":""}'], /:2: the topic "a\/#" holds a wildcard/],
      [[head, '{"at":1,"topic":"a","payload":"","retained":1}'], /:2: retained is true or false/],
      [[head, '{"at":1,"topic":"a"}'], /:2: \["at","topic"\] is no event; there are/],
      [
        [head, '{"at":1,"command":"ARM_AWAY"}'],
        /:2: command is "ARM_AWAY"; expected one of arm_home/,
      ],
      [[head, '{"at":1,"motion":true,"topic":"a"}'], /:2: .* is no event/],
      [[head, '{"at":2,"motion":true}', '{"at":1,"motion":true}'], /:3: before the line above/],
    ];
    for (const [lines, expected] of cases) {
      const told = refusal(...lines);
      assert.match(told, /^night\.jsonl:/, lines.join(" "));
      assert.match(told, expected);
    }
    assert.throws(() => parseRecording("night.jsonl", ""), /night\.jsonl is empty/);
  });

  test("20,000 spoilt recordings: read or refused with a line, never anything else", () => {
    const random = generator(5);
    const good = [
      head,
      '{"at":0.5,"persons":[["door","path"],[]]}',
      '{"at":1,"topic":"a/b","payload":{"contact":false},"retained":true}',
      '{"at":2,"command":"disarm"}',
    ].join("\n");
    const bits = ['"', "{", "}", "[", "]", "\n", "0", "-", "null", "\\u0000", ",", "1e999", "é"];
    let [taken, refused] = [0, 0];
    for (let i = 0; i < 20_000; i++) {
      let text = good;
      for (let n = random(4); n >= 0; n--) {
        const at = random(text.length);
        text = text.slice(0, at) + (bits[random(bits.length)] ?? "") + text.slice(at + random(3));
      }
      try {
        parseRecording("f", text);
        taken++;
      } catch (error) {
        assert.ok(
          isFailure(error, "misuse") && /^f:\d+: /.test(error.message),
          `${text}\n${error}`,
        );
        refused++;
      }
    }
    assert.ok(taken > 100 && refused > 10_000, `${taken} taken, ${refused} refused`);
  });
});
