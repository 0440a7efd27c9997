import * as assert from "uvu/assert";
import { alarmEvent } from "../../src/device/mqtt/alarms.ts";
import {
  base,
  changed,
  first,
  type Good,
  goodHour,
  inserted,
  isOf,
  later,
  lying,
  nth,
  rewritten,
  without,
} from "./doctored.ts";
import { suite } from "./suite.ts";
import { checks, faultsOf, type Hour, presentMs, readBrokerLog } from "./witness.ts";

// The witness of an hour can fail.

const jpeg = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(64, 9)]);
const webp = Buffer.concat([Buffer.from("RIFF\x10\0\0\0WEBPVP8 "), Buffer.alloc(64, 9)]);

const doctored: [what: string, check: keyof typeof checks, says: RegExp, (hour: Good) => Hour][] = [
  [
    "a topic of nobody's",
    "singly",
    /not in the map/,
    (hour) => inserted(hour, first(hour, "person"), { topic: `${base}/mood` }),
  ],
  [
    "a topic elsewhere",
    "singly",
    /of nobody/,
    (hour) => inserted(hour, first(hour, "person"), { topic: "elsewhere" }),
  ],
  [
    "a payload of another topic",
    "singly",
    /maybe/,
    (hour) => changed(hour, first(hour, "person"), { payload: Buffer.from("maybe") }),
  ],
  [
    "a state that is not retained",
    "singly",
    /not retained/,
    (hour) => changed(hour, first(hour, "person"), { isRetained: false }),
  ],
  [
    "an event that is retained",
    "singly",
    /retained/,
    (hour) => changed(hour, nth(hour, 0), { isRetained: true }),
  ],
  ["QoS 0", "singly", /QoS 0/, (hour) => changed(hour, first(hour, "person"), { qos: 0 })],
  [
    "a long payload",
    "singly",
    /bytes/,
    (hour) => changed(hour, first(hour, "problem_text"), { payload: Buffer.alloc(20_000, 65) }),
  ],
  [
    "a picture",
    "singly",
    /picture/,
    (hour) => changed(hour, first(hour, "problem_text"), { payload: jpeg }),
  ],
  [
    "one in base64",
    "singly",
    /picture/,
    (hour) =>
      changed(hour, first(hour, "problem_text"), { payload: Buffer.from(webp.toString("base64")) }),
  ],
  [
    "one in hexadecimal",
    "singly",
    /picture/,
    (hour) =>
      changed(hour, first(hour, "problem_text"), { payload: Buffer.from(jpeg.toString("hex")) }),
  ],
  [
    "sent with QoS 0",
    "sent",
    /QoS 0/,
    (hour) => ({ ...hour, published: hour.published.map((one) => ({ ...one, qos: 0 })) }),
  ],
  [
    "sent without retaining",
    "sent",
    /not retained/,
    (hour) => ({
      ...hour,
      published: hour.published.map((one) => ({ ...one, isRetained: false })),
    }),
  ],
  [
    "what the broker refuses",
    "sent",
    /does not let/,
    (hour) => ({ ...hour, published: hour.published.map((one) => ({ ...one, isDenied: true })) }),
  ],
  [
    "what the house was not told",
    "sent",
    /never heard/,
    (hour) => ({ ...hour, published: [{ topic: "x", qos: 1, isRetained: true, isDenied: false }] }),
  ],
  ["a topic that never comes", "seen", /version: never/, (hour) => without(hour, isOf("version"))],
  [
    "a value that never comes",
    "seen",
    /privacy ON: never/,
    (hour) => without(hour, (one) => isOf("privacy")(one) && one.payload.toString() === "ON"),
  ],
  [
    "a kind of event that never comes",
    "seen",
    /event clip: never/,
    (hour) => without(hour, (one) => one === nth(hour, 3)),
  ],
  [
    "nobody counted",
    "seen",
    /^count more: never/,
    (hour) => without(hour, (one) => isOf("count")(one) && one.payload.toString() === "1"),
  ],
  [
    "what could not come, and did",
    "seen",
    /privacy ON: came/,
    (hour) => ({ ...hour, absent: { "privacy ON": "nobody asks" } }),
  ],
  ["a gap", "streams", /missing/, (hour) => without(hour, (one) => one === nth(hour, 1))],
  [
    "a gap at the beginning",
    "streams",
    /missing/,
    (hour) => without(hour, (one) => one === nth(hour, 0)),
  ],
  [
    "a gap in the alarm's",
    "streams",
    /missing/,
    (hour) => without(hour, (one) => one === first(hour, alarmEvent)),
  ],
  ["a double", "streams", /double/, (hour) => inserted(hour, nth(hour, 1), {})],
  ["two of one number", "streams", /two messages/, (hour) => rewritten(hour, 1, { number: 1 })],
  [
    "disorder",
    "streams",
    /comes after/,
    (hour) => ({
      ...hour,
      messages: [...hour.messages.filter((one) => one !== nth(hour, 2)), nth(hour, 2)],
    }),
  ],
  [
    "a run that is over",
    "streams",
    /over/,
    (hour) => rewritten(hour, 1, { run: "0000000b", number: 1 }),
  ],
  [
    "no beginning",
    "streams",
    /without a beginning/,
    (hour) => rewritten(hour, 0, { event_type: "update" }),
  ],
  ["two beginnings", "streams", /comes twice/, (hour) => rewritten(hour, 1, { event_type: "new" })],
  [
    "no end",
    "streams",
    /never ended/,
    (hour) => ({
      ...hour,
      messages: hour.messages.filter((one) => one !== nth(hour, 2) && one !== nth(hour, 3)),
    }),
  ],
  [
    "something after the end",
    "streams",
    /after the end/,
    (hour) => rewritten(hour, 3, { event_type: "update" }),
  ],
  [
    "a clip before the end",
    "streams",
    /has no end/,
    (hour) => rewritten(hour, 1, { event_type: "clip" }),
  ],
  [
    "a visit that gets shorter",
    "streams",
    /less seconds/,
    (hour) => rewritten(hour, 3, { seconds: 2 }),
  ],
  [
    "delivered and not sealed",
    "streams",
    /not sealed/,
    (hour) => rewritten(hour, 3, { sealed: false }),
  ],
  [
    "a clip without a name",
    "streams",
    /without a name/,
    (hour) => rewritten(hour, 3, { clip: null }),
  ],
  [
    "a field of another type",
    "streams",
    /not number/,
    (hour) => rewritten(hour, 1, { seconds: "1" as unknown as number }),
  ],
  [
    "a clip that is never delivered",
    "streams",
    /never delivered/,
    (hour) =>
      later(
        { ...hour, messages: hour.messages.filter((one) => one !== nth(hour, 3)) },
        "motion",
        "ON",
        500,
      ),
  ],
  [
    "somebody there, and no visit",
    "together",
    /no visit/,
    (hour) =>
      later(
        {
          ...hour,
          messages: hour.messages.map((one, i, all) =>
            i === all.length - 1 ? { ...one, atMs: one.atMs + 60_000 } : one,
          ),
        },
        "person",
        "ON",
        1,
      ),
  ],
  ["a visit, and nobody there", "together", /never ON/, (hour) => without(hour, isOf("person"))],
  ...(["person", "motion", "recording", "zone/door/person", "alarm_siren", "problem"] as const).map(
    (name): (typeof doctored)[number] => [
      `${name} for ever`,
      "stuck",
      new RegExp(`${name}: stuck`),
      (hour) => later(hour, name, "ON", 600),
    ],
  ),
  ["somebody counted for ever", "stuck", /^count: stuck/, (hour) => later(hour, "count", "2", 600)],
  ["armed for ever", "stuck", /alarm: stuck/, (hour) => later(hour, "alarm", "armed_away", 600)],
  ["a state that lies there", "rest", /motion: rests at ON/, (hour) => lying(hour, "motion", "ON")],
  [
    "a camera that is said to be there",
    "rest",
    /availability: rests/,
    (hour) => lying(hour, "availability", "online"),
  ],
  [
    "a state that is gone",
    "rest",
    /person: does not lie/,
    (hour) => ({ ...hour, retained: hour.retained.filter((one) => !isOf("person")(one)) }),
  ],
  [
    "an event that stays",
    "rest",
    /event: lies/,
    (hour) => ({ ...hour, retained: [...hour.retained, nth(hour, 0)] }),
  ],
  [
    "an old last event",
    "newest",
    /not 0000000a\.4/,
    (hour) => lying(hour, "last_event", nth(hour, 1).payload.toString()),
  ],
  [
    "a last event of another text",
    "newest",
    /another text/,
    (hour) => rewritten(hour, 1, { score: 0.6 }),
  ],
];

suite("lib/witness", (test) => {
  test("an hour that is as it should be", () => {
    assert.equal(faultsOf(goodHour()), []);
  });

  for (const [what, check, says, doctor] of doctored) {
    test(`${check}: ${what}`, () => {
      const hour = doctor(goodHour());
      const found = checks[check](hour);
      assert.ok(
        found.some((fault) => says.test(fault)),
        found.join("\n"),
      );
      assert.ok(faultsOf(hour).some((fault) => fault.startsWith(`${check}: `)));
    });
  }

  test("each check is doctored", () => {
    assert.equal([...new Set(doctored.map(([, check]) => check))], Object.keys(checks));
  });

  test("what was away excuses what topics.md says, and nothing else", () => {
    const hour = goodHour();
    const [from, to] = [nth(hour, 1).atMs - 200, nth(hour, 1).atMs + 200];
    const away = { what: "broker", fromMs: from, toMs: to };
    assert.equal(checks.streams({ ...inserted(hour, nth(hour, 1), {}), aways: [away] }), []);
    const gap = without(hour, (one) => one === nth(hour, 1));
    assert.ok(checks.streams({ ...gap, aways: [away] }).length > 0);
    assert.equal(checks.streams({ ...gap, aways: [{ ...away, isLong: true }] }), []);
    const endless = { ...hour, messages: hour.messages.filter((one) => one.atMs <= to) };
    const end = { what: "camera", fromMs: to, toMs: to + 1 };
    assert.ok(checks.streams({ ...endless, aways: [{ ...end, ends: "softly" }] }).length > 0);
    assert.equal(checks.streams({ ...endless, aways: [{ ...end, ends: "hard" }] }), []);
    const stuck = later(without(hour, isOf("availability")) as Good, "motion", "ON", 600);
    const fromMs = stuck.messages.at(-2)?.atMs ?? 0;
    const aways = [{ what: "broker", fromMs, toMs: fromMs + 550_000 }];
    assert.equal(checks.stuck({ ...stuck, aways }), []);
    const twice = [
      { fromMs: 10, toMs: 30 },
      { fromMs: 20, toMs: 40 },
      { fromMs: 90, toMs: 200 },
    ];
    const named = twice.map((one) => ({ what: "", ...one }));
    assert.is(presentMs({ aways: named }, 0, 100), 60);
  });

  test("the broker's log is read", () => {
    const log = `1700000000: Received PUBLISH from obscura_0a (d0, q1, r1, m12, 'obscura/abc/person', ... (2 bytes))
1700000000: Received PUBLISH from house (d0, q1, r0, m12, 'obscura/abc/privacy/set', ... (2 bytes))
1700000000: Denied PUBLISH from obscura_0a (d0, q0, r0, m12, 'obscura/abc/mood', ... (2 bytes))
1700000000: Sending PUBLISH to house (d0, q1, r1, m12, 'obscura/abc/person', ... (2 bytes))`;
    assert.equal(readBrokerLog(log, "obscura_0a"), [
      { topic: "obscura/abc/person", qos: 1, isRetained: true, isDenied: false },
      { topic: "obscura/abc/mood", qos: 0, isRetained: false, isDenied: true },
    ]);
  });
});
