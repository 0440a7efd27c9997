import { runOnBoard } from "../lib/board.ts";
import type { Machine } from "../lib/machine.ts";
import type { Observation, Order } from "./guest/observe.ts";

export const vivid = "vivid node_types=0x1 input_types=0x0 num_inputs=1";
/** With its usual two buffers the writer overtakes a reader that is a moment late. */
export const loopback = "v4l2loopback devices=1 video_nr=10 exclusive_caps=1 max_buffers=8";

/** Lets the guest drive a camera through the project's own stage, and says what came of it. */
export async function observe(
  machine: Machine,
  modules: string[],
  order: Order,
  more: { prepare?: string; asUser?: number } = {},
): Promise<Observation> {
  const program = ["node", "dist/test/system/guest/observe.js"] as const;
  const user = String(more.asUser);
  await using run = await runOnBoard(machine, {
    command:
      more.asUser === undefined
        ? [...program]
        : [
            "setpriv",
            `--reuid=${user}`,
            `--regid=${user}`,
            "--clear-groups",
            process.execPath,
            program[1],
          ],
    modules,
    ...(more.prepare ? { prepare: more.prepare } : {}),
    memoryMiB: 512,
    files: { "order.json": JSON.stringify(order) },
    timeoutMs: order.forMs + 200_000,
  });
  return JSON.parse((await run.read("observation.json")).toString()) as Observation;
}
