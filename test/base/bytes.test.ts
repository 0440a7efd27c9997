import * as assert from "uvu/assert";
import {
  concat,
  equal,
  fromHex,
  fromText,
  Reader,
  toHex,
  toText,
  Writer,
} from "../../src/base/pure/bytes.ts";
import { Failure } from "../../src/base/pure/failure.ts";
import { suite } from "../lib/suite.ts";

const refusedAt = (stage: string) => (error: unknown) =>
  error instanceof Failure && error.kind === "corrupt" && error.stage === stage;

suite("base/bytes", (test) => {
  test("what is written is read, big-endian", () => {
    const bytes = new Writer()
      .u8(1)
      .u16(0x0203)
      .u32(0x04050607)
      .u64(2 ** 53 - 1)
      .bytes16(fromText("ab"))
      .bytes32(fromText("cde"))
      .raw(Uint8Array.of(9))
      .done();
    assert.is(
      toHex(bytes),
      "0102030405060700" + "1fffffffffffff" + "00026162" + "00000003636465" + "09",
    );
    const reader = new Reader(bytes, "thing");
    assert.equal(
      [reader.u8(), reader.u16(), reader.u32(), reader.u64()],
      [1, 0x0203, 0x04050607, 2 ** 53 - 1],
    );
    assert.is(toText(reader.bytes16(2)), "ab");
    assert.is(toText(reader.bytes32(3)), "cde");
    assert.is(reader.remaining, 1);
    assert.throws(() => reader.end(), refusedAt("length"));
    assert.is(reader.u8(), 9);
    reader.end();
  });

  test("every read checks its length", () => {
    for (const read of ["u8", "u16", "u32", "u64"] as const) {
      assert.throws(() => new Reader(new Uint8Array(0), "x")[read](), refusedAt("length"));
    }
    const long = new Writer().bytes16(new Uint8Array(5)).done();
    assert.throws(() => new Reader(long, "x").bytes16(4), refusedAt("length"));
    assert.throws(() => new Reader(long.subarray(0, 6), "x").bytes16(5), refusedAt("length"));
    const huge = new Writer().u32(0xffffffff).done();
    assert.throws(() => new Reader(huge, "x").bytes32(2 ** 32), refusedAt("length"));
  });

  test("a number above 2^53 - 1 is refused", () => {
    assert.throws(() => new Reader(fromHex("0020000000000000"), "x").u64(), refusedAt("range"));
  });

  test("hexadecimal and text have one form", () => {
    for (const bad of ["0", "0A", "zz", " 00"]) {
      assert.throws(() => fromHex(bad), refusedAt("hex"));
    }
    assert.throws(() => toText(Uint8Array.of(0xff)), refusedAt("text"));
    assert.is(toText(fromText("Grüße 📷")), "Grüße 📷");
  });

  test("joining and comparing", () => {
    const whole = concat([Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)]);
    assert.ok(equal(whole, Uint8Array.of(1, 2, 3)));
    assert.not(equal(whole, Uint8Array.of(1, 2)));
    assert.not(equal(whole, Uint8Array.of(1, 2, 4)));
  });
});
