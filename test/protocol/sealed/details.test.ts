import * as assert from "uvu/assert";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type ClosingDetails,
  decodeClosing,
  decodeOpening,
  decodeThumbnail,
  encodeClosing,
  encodeOpening,
  encodeThumbnail,
  limits,
} from "../../../src/protocol/sealed/details.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { opening } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

const sample = { atUs: 1, x: 0.5, y: -1, width: 2, height: 3, score: 0.5, zones: ["door"] };
const closing: ClosingDetails = {
  ...{ endUs: 9, durationMs: 8, frames: 7, mostPersons: 2, bestScore: 1, reason: "longest" },
  thinned: [{ fromUs: 1, toUs: 2, how: "half-rate" }],
  tracks: [{ track: 4, firstUs: 1, lastUs: 9, samples: [sample] }],
  sound: [{ codec: "opus", channels: 1, sampleRate: 48_000 }],
};

suite("details", (test) => {
  test("what is written is what is read", () => {
    assert.equal(decodeOpening(encodeOpening(opening)), opening);
    assert.equal(decodeClosing(encodeClosing(closing)), closing);
    const thumbnail = { what: "frame", width: 10, height: 20, capturedUs: 3 } as const;
    assert.equal(decodeThumbnail(encodeThumbnail(thumbnail)), thumbnail);
  });

  test("unknown keys are ignored, at every depth, and none reaches a prototype", () => {
    const more = {
      ...opening,
      later: { a: 1 },
      model: { ...opening.model, later: [1] },
    };
    const text = JSON.stringify(more).replace('"later"', '"__proto__":{"width":1},"later"');
    const read = decodeOpening(fromText(text));
    assert.equal(read, opening);
    assert.is(Object.getPrototypeOf(read), Object.prototype);
  });

  test("each field is held to its type and bounds", () => {
    const wrong: [string, unknown][] = [
      ["startUs", -1],
      ["startUs", 1.5],
      ["startUs", 2 ** 53],
      ["wallMs", "1"],
      ["clockTrusted", 1],
      ["incident", "00"],
      ["incident", "G".repeat(32)],
      ["incident", "AA".repeat(16)],
      ["width", 0],
      ["width", 16_385],
      ["height", null],
      ["fps", 0],
      ["fps", null],
      ["codec", "x".repeat(65)],
      ["codec", "a\u001b[2J"],
      ["codec", null],
      ["model", []],
      ["model", { id: "x", precision: "fp16" }],
      ["zones", "door"],
      ["zones", Array(33).fill("a")],
      ["zones", [1]],
    ];
    for (const [name, value] of wrong) {
      const bytes = fromText(JSON.stringify({ ...opening, [name]: value }));
      assert.throws(() => decodeOpening(bytes), stage("json"), `${name} ${String(value)}`);
    }
    for (const name of Object.keys(opening).filter((one) => one !== "codec")) {
      const { [name as "width"]: _, ...rest } = opening;
      assert.throws(() => decodeOpening(fromText(JSON.stringify(rest))), stage("json"), name);
    }
  });

  test("what is not JSON, not UTF-8, too long or deep is refused", () => {
    assert.throws(() => decodeOpening(fromText("{")), stage("json"));
    assert.throws(() => decodeOpening(new Uint8Array()), stage("json"));
    assert.throws(() => decodeOpening(fromText("null")), stage("json"));
    assert.throws(() => decodeOpening(new Uint8Array([0x22, 0xff, 0x22])), stage("text"));
    assert.throws(() => decodeOpening(new Uint8Array(limits.openingBytes + 1)), stage("length"));
    const deep = "[".repeat(limits.closingBytes);
    assert.throws(() => decodeClosing(fromText(deep)), stage("json"));
  });

  test("nothing is sealed that the other side would refuse", () => {
    assert.throws(() => encodeOpening({ ...opening, width: 0 }), stage("json"));
    assert.throws(() => encodeOpening({ ...opening, fps: Number.NaN }), stage("json"));
  });

  test("a closing that is too long keeps first and last of each track and fits", () => {
    const samples = Array.from({ length: 5000 }, (_, i) => ({ ...sample, atUs: i }));
    const tracks = Array.from({ length: 70 }, (_, track) => ({
      ...{ track, firstUs: 0, lastUs: 4999, samples },
    }));
    const encoded = encodeClosing({ ...closing, tracks });
    assert.ok(encoded.length <= limits.closingBytes);
    const read = decodeClosing(encoded);
    assert.is(read.tracks.length, limits.tracks);
    for (const track of read.tracks) {
      assert.is(track.samples[0]?.atUs, 0);
      assert.is(track.samples.at(-1)?.atUs, 4999);
      assert.ok(track.samples.length > 20);
    }
  });

  test("fuzz", () => {
    const seeds = [encodeOpening(opening), encodeClosing(closing)];
    const decode = (bytes: Uint8Array) =>
      toText(bytes).startsWith('{"s') ? decodeOpening(bytes) : decodeClosing(bytes);
    // Well-formed JSON with one value put wrong (or not), so that the checks of fields are met.
    const reseal = (bytes: Uint8Array) => {
      const [which = 0, at = 0, how = 0] = bytes;
      const value = JSON.parse(toText(seeds[which % 2] ?? new Uint8Array()));
      spoil(value, at, odd[how % odd.length]);
      return fromText(JSON.stringify(value));
    };
    fuzz({ name: "details", seeds, decode, reseal, reaches: ["taken", "json", "text"] });
  });
});

const odd = [null, -1, 0, 1, 0.5, 2 ** 53, 1e308, "", "x", "\u0000", "x".repeat(600), true, [], {}];

/** Puts `value` at the place that `at` picks, counting through the whole tree. */
function spoil(tree: object, at: number, value: unknown): void {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    for (const [name, inner] of Object.entries(node)) {
      places.push([node as Record<string, unknown>, name]);
      walk(inner);
    }
  };
  walk(tree);
  const [node, name] = places[at % places.length] ?? [];
  if (node && name) node[name] = value;
}

function stage(name: string): (error: unknown) => boolean {
  return (error) => isFailure(error) && error.stage === name;
}
