import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { openLight } from "../../src/device/light.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const silent = () => {};

/** A folder like /sys/class/leds with one LED; the virtual board has real ones (test/system). */
async function world() {
  const folder = await quickFolder();
  const led = join(folder.path, "ACT");
  await mkdir(led);
  await writeFile(join(led, "trigger"), "mmc0 ");
  await writeFile(join(led, "brightness"), "1");
  await writeFile(join(led, "max_brightness"), "1\n");
  const clock = new ManualClock();
  const sleep = clock.sleep.bind(clock);
  /** How long it waits now, before the next change: an advance before that would be lost. */
  let waitsMs = 0;
  clock.sleep = async (ms, signal) => {
    waitsMs = ms;
    await sleep(ms, signal).finally(() => {
      waitsMs = 0;
    });
  };
  const warnings: string[] = [];
  const log = {
    debug: silent,
    info: silent,
    warn: (text: string) => warnings.push(text),
    error: silent,
  };
  const read = async (file: string) => (await readFile(join(led, file), "utf8")).trim();
  return {
    ...{ clock, warnings, read },
    open: (name: string) => openLight(name, { clock, log, folder: folder.path }),
    /** Waits until the LED was written, which takes turns of the event loop and a file system, for so long. */
    async until(brightness: string, ms: number) {
      while (waitsMs !== ms || (await read("brightness")) !== brightness)
        await new Promise((r) => setTimeout(r, 1));
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite("device/light", (test) => {
  test("is steady while recording, blinks without an owner, and ends dark", async () => {
    await using world_ = await world();
    const { clock, read, until, warnings } = world_;
    const light = await world_.open("ACT");
    assert.is(await read("trigger"), "none");
    light.show("recording");
    await until("1", 60_000);
    clock.advance(59_000);
    assert.is(await read("brightness"), "1");
    light.show("unpaired");
    await until("1", 1000);
    clock.advance(1000);
    await until("0", 1000);
    clock.advance(1000);
    await until("1", 1000);
    await light.close();
    assert.is(await read("brightness"), "0");
    assert.equal(warnings, []);
  });

  test("one that is not there is said with what there is, and asked nothing more", async () => {
    await using world_ = await world();
    const light = await world_.open("PWR");
    light.show("problem");
    await light.close();
    assert.is(world_.warnings.length, 1);
    assert.match(world_.warnings[0] ?? "", "there are ACT");
    assert.is(await world_.read("brightness"), "1");
  });

  test("none is wished for unless the settings name one", async () => {
    await using world_ = await world();
    const light = await world_.open("");
    light.show("recording");
    await light.close();
    assert.is(await world_.read("trigger"), "mmc0");
    assert.equal(world_.warnings, []);
  });
});
