import * as assert from "uvu/assert";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  bytes,
  integer,
  list,
  object,
  optional,
  parse,
  print,
} from "../../../src/protocol/sealed/json.ts";
import { suite } from "../../lib/suite.ts";

const check = object({
  id: bytes(2),
  pieces: list(bytes(0, 3), 2),
  count: integer(0, 9),
  more: optional(bytes(1)),
});
const write = (value: Parameters<typeof print<ReturnType<typeof check>>>[0]) =>
  print(value, 100, "it", check);

suite("sealed JSON", (test) => {
  test("what is written reads back, bytes of every kind as hexadecimal", () => {
    const whole = new Uint8Array([9, 0, 255, 9]);
    const value = {
      id: whole.subarray(1, 3),
      pieces: [Buffer.from([1]), new Uint8Array()],
      count: 3,
    };
    const written = write({ ...value, ...{ unknown: 1, more: undefined } } as typeof value);
    assert.is(toText(written), '{"id":"00ff","pieces":["01",""],"count":3}');
    const read = parse(written, 100, "it", check);
    assert.equal(read, {
      id: new Uint8Array([0, 255]),
      pieces: [new Uint8Array([1]), new Uint8Array()],
      count: 3,
    });
    assert.equal([...whole], [9, 0, 255, 9]);
  });

  test("nothing is written that would not be read", () => {
    const good = { id: new Uint8Array(2), pieces: [], count: 0 };
    assert.ok(write(good));
    const bad = [
      { ...good, id: new Uint8Array(3) },
      { ...good, id: new Uint8Array(1) },
      { ...good, pieces: [new Uint8Array(4)] },
      { ...good, count: Number.NaN },
      { ...good, count: 10 },
      { ...good, more: new Uint8Array() },
      { ...good, id: new Uint16Array(2) as unknown as Uint8Array },
    ];
    for (const value of bad) assert.throws(() => write(value), isRefused);
    assert.throws(() => print(good, 10, "it", check), /at most 10/);
  });

  test("bytes are read from hexadecimal alone", () => {
    for (const id of ["00f", "00FF", "00fg", [0, 255], { 0: 0, 1: 255, length: 2 }]) {
      const text = JSON.stringify({ id, pieces: [], count: 0 });
      assert.throws(() => parse(fromText(text), 100, "it", check), isRefused);
    }
  });
});

function isRefused(error: unknown): boolean {
  return isFailure(error, "corrupt") && error.stage === "json";
}
