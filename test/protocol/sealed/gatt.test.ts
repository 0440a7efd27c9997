import * as assert from "uvu/assert";
import { after } from "../../../src/base/node/socket.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { openFrames } from "../../../src/protocol/sealed/frames.ts";
import { heldBytes, openLink, roomOf } from "../../../src/protocol/sealed/gatt.ts";
import { generator } from "../../lib/fuzz.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

function link() {
  const ends = { count: 0 };
  const one = openLink({ after, onEnd: () => ends.count++ });
  return { one, ends, pipe: openFrames(one) };
}

const wanted = { mostBytes: 65_535, withinMs: 20_000 };
const framed = (message: Uint8Array) =>
  Uint8Array.of(message.length >> 8, message.length & 255, ...message);

suite("gatt", (test) => {
  test("messages are put together from pieces of any size, and given in pieces that fit", async () => {
    for (const mtu of [23, 185, 517]) {
      const { one, pipe } = link();
      const message = pattern(4000, 7);
      const bytes = framed(message);
      const room = roomOf(mtu);
      assert.ok(room <= mtu - 3);
      for (let at = 0; at < bytes.length; at += room) {
        await one.take(bytes.slice(at, at + room));
      }
      assert.equal(await pipe.receive(wanted), message);
      let isSent = false;
      const sending = pipe.send(message).then(() => {
        isSent = true;
      });
      const given: number[] = [];
      while (given.length < bytes.length) {
        assert.not(isSent);
        const piece = await one.give(room);
        assert.ok(piece.length > 0 && piece.length <= room);
        given.push(...piece);
      }
      assert.equal(Uint8Array.from(given), bytes);
      await sending;
    }
  });

  test("a phone that says an odd MTU, or none, is given what every phone can take", () => {
    const odd = [0, 22, Number.NaN, undefined, "100", -7, 100.5, 65_535];
    assert.equal(odd.map(roomOf), [20, 20, 20, 20, 20, 20, 97, 510]);
  });

  test("who reads before anything was said is told so, or what is said meanwhile", async () => {
    const { one, pipe } = link();
    assert.is((await one.give(20)).length, 0);
    const reading = one.give(20);
    const sending = pipe.send(Uint8Array.of(7));
    assert.equal(await reading, Uint8Array.of(0, 1, 7));
    await sending;
    const last = one.give(20);
    one.close();
    await last.then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone")),
    );
  });

  test("who writes faster than is read is held up; who does not care is cut off", async () => {
    const { one, ends, pipe } = link();
    const piece = new Uint8Array(512);
    let taken = 0;
    const writing = (async () => {
      for (let i = 0; i < 400; i++) {
        await one.take(i === 0 ? framed(new Uint8Array(510).fill(1)) : piece);
        taken += 512;
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.is(taken, heldBytes);
    assert.is((await pipe.receive(wanted))?.length, 510);
    // As write commands do, that nobody answers.
    const careless: unknown[] = [];
    for (let i = 0; i < 200; i++) one.take(piece).catch((error) => careless.push(error));
    await writing.catch((error) => careless.push(error));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(careless.every((error) => isFailure(error, "full", "gone")));
    assert.ok(careless.length > 0);
    assert.is(ends.count, 1);
  });

  test("an end from either side ends what waits, once", async () => {
    const { one, ends, pipe } = link();
    const waiting = pipe.receive(wanted);
    one.close();
    pipe.close();
    assert.is(await waiting, undefined);
    assert.is(ends.count, 1);
    await one.take(Uint8Array.of(1)).then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone")),
    );
    await one.write(Uint8Array.of(1)).then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone")),
    );
  });

  test(
    "hostile: 10,000 links with mutated frames end in a refusal or a whole message",
    async () => {
      const random = generator(1);
      const outcomes = new Map<string, number>();
      const count = Number(process.env.OBSCURA_FUZZ_COUNT ?? 10_000);
      for (let i = 0; i < count; i++) {
        const { one, pipe } = link();
        const bytes = framed(pattern(48, i & 255));
        for (let edits = random(3); edits >= 0; edits--) bytes[random(50)] = random(256);
        const cut = random(4) === 0 ? random(50) : bytes.length;
        const hearing = pipe.receive({ mostBytes: 48, withinMs: 20_000 }).then(
          (message) => (message ? "whole" : "end"),
          (error) => (isFailure(error, "corrupt", "gone") ? error.kind : "untyped"),
        );
        for (let at = 0; at < cut; ) {
          const step = 1 + random(24);
          await one.take(bytes.slice(at, Math.min(cut, at + step))).catch(() => {});
          at += step;
        }
        one.close();
        const outcome = await hearing;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      console.log(`\nmeasured: gatt framing: ${count} cases: ${JSON.stringify([...outcomes])}`);
      assert.is(outcomes.get("untyped"), undefined);
      assert.ok((outcomes.get("whole") ?? 0) > 0 && (outcomes.get("corrupt") ?? 0) > 0);
    },
    { deadlineMs: 120_000 },
  );
});
