import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { createGuard } from "../../../src/device/mqtt/guard.ts";
import { suite } from "../../lib/suite.ts";

const openGuard = (more: Partial<Parameters<typeof createGuard>[0]> = {}) =>
  createGuard({ mostBytes: 1000, mostPackets: 50, nowUs: () => 0, ...more });

function refused(bytes: readonly number[], guard = openGuard()): string {
  try {
    guard(Uint8Array.from(bytes));
  } catch (error) {
    assert.ok(isFailure(error, "refused"));
    return (error as Error).message;
  }
  return "";
}

const connack = [0x20, 2, 0, 0];
const message = (length: number) => [0x30, length & 0x7f, ...Array(length & 0x7f).fill(7)];

suite("device/mqtt/guard", (test) => {
  test("what a broker may send passes, however it is cut", () => {
    const bytes = [...connack, ...message(100), 0xd0, 0, 0x40, 2, 0, 1, 0xe0, 0, ...message(0)];
    for (const step of [1, 2, 3, 7, bytes.length]) {
      const guard = openGuard();
      for (let i = 0; i < bytes.length; i += step) {
        assert.is(refused(bytes.slice(i, i + step), guard), "");
      }
    }
  });

  test("too large a packet is refused by its length, before it comes", () => {
    assert.match(refused([0x30, 0xe9, 0x07]), /too large/);
    assert.is(refused([0x30, 0xe8, 0x07]), "");
    assert.match(refused([0x30, 0xff, 0xff, 0xff, 0x7f]), /too large/);
    // A length that never ends, and one of zeros that does not either.
    assert.match(refused([0x30, 0xff, 0xff, 0xff, 0xff, 0xff]), /too large/);
    assert.match(refused([0x30, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]), /too large/);
  });

  test("a word that MQTT has not for one message is changed into one that it has, however it is cut", () => {
    const puback = (reason: number) => [0x40, 4, 0x95, 0x95, reason, 0];
    const others = [0x90, 4, 0x95, 0x95, 0x95, 0x95, 0x40, 2, 0x95, 0x95, 0xb0, 3, 0, 1, 0x95];
    const bytes = [...connack, ...puback(0x95), ...others, ...puback(0x87), ...puback(0x95)];
    const right = [...connack, ...puback(0x97), ...others, ...puback(0x87), ...puback(0x97)];
    for (const step of [1, 2, 3, 5, 7, bytes.length]) {
      const guard = openGuard();
      const seen: number[] = [];
      for (let i = 0; i < bytes.length; i += step) {
        const chunk = Uint8Array.from(bytes.slice(i, i + step));
        guard(chunk);
        seen.push(...chunk);
      }
      assert.equal(seen, right);
    }
  });

  test("what nobody asked for is refused: other packets, and messages that have to be kept", () => {
    for (const kind of [0x00, 0x10, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xf0]) {
      assert.match(refused([kind, 0]), /nobody asked/);
    }
    for (const kind of [0x32, 0x34, 0x3d, 0x36]) assert.match(refused([kind, 2, 0, 0]), /way/);
  });

  test("what comes without end is refused, and what comes slowly is not", () => {
    assert.match(refused(Array(51).fill([0xd0, 0]).flat()), /without end/);
    let nowUs = 0;
    const guard = openGuard({ nowUs: () => nowUs });
    for (let i = 0; i < 1000; i++) {
      nowUs += 250_000;
      assert.is(refused([0xd0, 0], guard), "");
    }
  });
});
