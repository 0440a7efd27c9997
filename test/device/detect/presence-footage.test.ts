import { access } from "node:fs/promises";
import { is, ok } from "uvu/assert";
import { composeFootage, type Footage } from "../../../scripts/footage.ts";
import { describe, measurePresence, percentile } from "../../../scripts/presence.ts";
import { explain } from "../../../src/base/pure/failure.ts";
import { loadAddon } from "../../../src/device/camera/camera.ts";
import { openModel, type PersonModel } from "../../../src/device/detect/detect.ts";
import { suite } from "../../lib/suite.ts";

const models = new URL("../../../../models", import.meta.url).pathname;

/** What the measurement needs, or why it cannot be had here. */
async function prepare(): Promise<{ footage: Footage; model: PersonModel } | { why: string }> {
  try {
    loadAddon();
    await access(`${models}/nanodet-g-fp32.onnx`);
    const footage = await composeFootage();
    const aspect = footage.width / footage.height;
    return { footage, model: await openModel({ folder: models, precision: "fp32", aspect }) };
  } catch (error) {
    return { why: explain(error) };
  }
}

const ready = await prepare();

suite("presence on footage", (test) => {
  const title = "every visit is found once, nothing else is, and the event comes soon";
  if ("why" in ready) {
    test.skip(title, ready.why);
    return;
  }
  test(
    title,
    async () => {
      await using model = { ...ready.model, [Symbol.asyncDispose]: () => ready.model.close() };
      // In the footage's own time, and looking as often as a board that is fast enough, so that a busy machine
      // does not decide.
      const finder = { ...model, inferenceMs: () => 50 };
      const result = await measurePresence(ready.footage, { model: finder, crops: true });
      console.log(`\nmeasured: presence: ${describe(result)}`);
      is(result.found, result.visits);
      is(result.missed + result.false + result.split + result.joined, 0);
      is(result.intervalMs, 200);
      const three = 3 * result.intervalMs;
      ok(percentile(result.footageDelayMs, 0.95) <= three, `${result.footageDelayMs}`);
      const least = Math.min(...result.mostPersons);
      ok(least >= 5 && Math.max(...result.mostPersons) <= 9, `${result.mostPersons}`);
    },
    { deadlineMs: 500_000 },
  );
});
