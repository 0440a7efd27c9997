import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { type Heat, readHeat, readThrottled, watchHeat } from "../../src/device/heat.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

async function board(temperatures: readonly string[], throttled?: string) {
  const folder = await temporaryFolder();
  for (const [i, text] of temperatures.entries()) {
    await mkdir(join(folder.path, `class/thermal/thermal_zone${i}`), { recursive: true });
    await writeFile(join(folder.path, `class/thermal/thermal_zone${i}/temp`), text);
  }
  const firmware = join(folder.path, "devices/platform/soc/soc:firmware");
  await mkdir(firmware, { recursive: true });
  if (throttled !== undefined) await writeFile(join(firmware, "get_throttled"), throttled);
  return folder;
}

suite("device/heat", (test) => {
  test("the hottest sensor and the firmware's present bits, of what a board has", async () => {
    const cases: [readonly string[], string | undefined, Heat][] = [
      [[], undefined, { temperature: undefined, throttled: undefined }],
      [["41200\n", "66900\n", "12\n"], "0\n", { temperature: 67, throttled: false }],
      [["-4000\n"], "50005\n", { temperature: -4, throttled: true }],
      // It was throttled once, and is not now.
      [["", "nonsense"], "50000\n", { temperature: undefined, throttled: false }],
      [["50000"], "", { temperature: 50, throttled: undefined }],
    ];
    for (const [temperatures, throttled, heat] of cases) {
      await using folder = await board(temperatures, throttled);
      assert.equal(await readHeat(folder.path), heat);
    }
    await using weak = await board([], "0x50001\n");
    assert.is(await readThrottled(weak.path), 0x50001);
  });

  test("it is looked at again until the end", async () => {
    const end = new AbortController();
    let temperature = 40;
    const wakes: (() => void)[] = [];
    const heat = await watchHeat({
      clock: { sleep: () => new Promise<void>((resolve) => wakes.push(resolve)) },
      signal: end.signal,
      look: async () => ({ temperature, throttled: temperature > 80 }),
    });
    assert.equal(heat.now(), { temperature: 40, throttled: false });
    temperature = 85;
    wakes.pop()?.();
    await wait(0);
    assert.equal(heat.now(), { temperature: 85, throttled: true });
    end.abort();
    temperature = 20;
    wakes.pop()?.();
    await wait(0);
    assert.is(heat.now().temperature, 85);
  });
});
