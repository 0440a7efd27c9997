import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { Backoff, delayMs } from "../../../src/device/uplink/backoff.ts";
import { readRoutes } from "../../../src/device/uplink/network.ts";
import { openPace } from "../../../src/device/uplink/pace.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const gone = new Failure("gone", "no answer");

suite("pace", (test) => {
  test("no more goes out than the cap, and what is urgent goes first", async () => {
    const clock = new ManualClock();
    const { urgent, patient } = openPace({ kbitPerS: 800, clock }); // 100,000 bytes a second
    const sent: [who: string, atUs: number][] = [];
    const startUs = clock.monotonicUs();
    const send = async (who: string, pace: typeof urgent, slices: number) => {
      for (let i = 0; i < slices; i++) {
        await pace(16_384);
        sent.push([who, clock.monotonicUs() - startUs]);
      }
    };
    const all = Promise.all([send("old", patient, 40), send("new", urgent, 20)]);
    for (let ms = 0; ms < 12_000; ms += 20) {
      clock.advance(20);
      for (let i = 0; i < 6; i++) await turn();
    }
    await all;
    const lastUs = sent.at(-1)?.[1] ?? 0;
    // 60 slices less a second's worth in the bucket.
    const leastUs = ((60 * 16_384 - 16_384) / 100_000 - 1) * 1e6;
    assert.ok(lastUs >= leastUs - 50_000 && lastUs < leastUs * 1.2, `${lastUs}, not ${leastUs}`);
    const firsts = sent.slice(0, 24).filter(([who]) => who === "new").length;
    assert.is(firsts, 20, "the patient one gets what is left");
  });

  test("another cap is in force at once, also for what waits; 0 is none", async () => {
    const clock = new ManualClock();
    const { urgent, cap } = openPace({ kbitPerS: 8, clock }); // 1,000 bytes a second
    let sent = 0;
    const send = async (slices: number) => {
      for (let i = 0; i < slices; i++) {
        await urgent(16_384);
        sent += 1;
      }
    };
    const pass = async (ms: number) => {
      for (let at = 0; at < ms; at += 20) {
        clock.advance(20);
        for (let i = 0; i < 6; i++) await turn();
      }
    };
    const waiting = send(8);
    await pass(5_000);
    assert.is(sent, 1, "the rest waits for its sixteen seconds");
    cap(0);
    await pass(600);
    assert.is(sent, 8);
    await waiting;
    await send(100);
    cap(8);
    const held = send(3);
    await pass(5_000);
    assert.is(sent, 8 + 100 + 1);
    cap(0);
    await pass(600);
    await held;
  });
});

suite("backoff", (test) => {
  test("full jitter under a bound that doubles, capped; a relay cannot ask for silence", () => {
    const bounds = [0, 1, 2, 8, 9, 50].map((failures) => delayMs(failures, gone, 1));
    assert.equal(bounds, [1000, 2000, 4000, 256_000, 300_000, 300_000]);
    assert.is(delayMs(9, gone, 0), 0);
    const later = new Failure("gone", "429", { retryAfterMs: 20_000 });
    assert.is(delayMs(0, later, 0.1), 20_000);
    const never = new Failure("gone", "503", { retryAfterMs: 1e9 });
    assert.is(delayMs(0, never, 0.1), 300_000);
    assert.ok(delayMs(0, new Failure("refused", "403"), 0) >= 15_000);
  });

  test("those that fail together count once; a success or a network ends the wait", async () => {
    const clock = new ManualClock();
    const backoff = new Backoff({ clock, random: () => 1 });
    const { signal } = new AbortController();
    for (let i = 0; i < 4; i++) backoff.failed(gone);
    let isReady = false;
    void backoff.ready(signal).then(() => {
      isReady = true;
    });
    clock.advance(999);
    await turn();
    assert.is(isReady, false);
    clock.advance(2);
    await turn();
    await turn();
    assert.ok(isReady, "after one second: one failure");
    backoff.failed(gone);
    assert.is(backoff.failure, gone);
    isReady = false;
    void backoff.ready(signal).then(() => {
      isReady = true;
    });
    await turn();
    backoff.kick();
    await turn();
    await turn();
    assert.ok(isReady);
    backoff.worked();
    assert.is(backoff.failure, undefined);
  });
});

suite("network", (test) => {
  test("routes of both protocols, without counters, loopback left out", async () => {
    await using folder = await quickFolder();
    const v4 = (used: number) =>
      `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\nwlan0\t00000000\t0101A8C0\t0003\t0\t${used}\n`;
    const v6 = (used: string) =>
      `${"0".repeat(32)} 00 ${"0".repeat(32)} 00 fe80${"0".repeat(28)} 00000400 00000002 ${used} 00450003    wlan0\n${"0".repeat(31)}1 80 ${"0".repeat(32)} 00 ${"0".repeat(32)} 00000000 00000003 00000000 80200001       lo\n`;
    await writeFile(join(folder.path, "route"), v4(1));
    await writeFile(join(folder.path, "ipv6_route"), v6("00000001"));
    const before = await readRoutes(folder.path);
    assert.is(before.split("\n").length, 2);
    assert.not(before.includes("lo"));
    await writeFile(join(folder.path, "route"), v4(99));
    await writeFile(join(folder.path, "ipv6_route"), v6("000000ff"));
    assert.is(await readRoutes(folder.path), before);
    await writeFile(join(folder.path, "route"), `${v4(99)}eth0\t0001A8C0\t00000000\t0001\t0\t0\n`);
    assert.is.not(await readRoutes(folder.path), before);
    assert.is(await readRoutes(join(folder.path, "nowhere")), "");
  });
});
