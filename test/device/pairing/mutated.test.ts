import { connect } from "node:net";
import * as assert from "uvu/assert";
import type { Pairing } from "../../../src/device/pairing/host.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { generator } from "../../lib/fuzz.ts";
import { board, firstMessage } from "../../lib/pairing.ts";
import { suite } from "../../lib/suite.ts";

await ready();
const count = Number(process.env.OBSCURA_FUZZ_COUNT ?? 10_000);
const atOnce = 8;

/** Says all of it, and hears until the camera closes. */
async function say(port: number, bytes: Uint8Array): Promise<Buffer> {
  const socket = connect({ host: "127.0.0.1", port });
  const heard: Buffer[] = [];
  socket.on("data", (piece) => heard.push(piece)).on("error", () => {});
  socket.end(bytes);
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(heard);
}

suite("pairing, mutated", (test) => {
  test(
    "10,000 mutated frames into a window: a refusal of one byte or nothing, and no growth",
    async () => {
      await using at = await board();
      const random = generator(1);
      const heard = new Map<string, number>();
      let windows = 0;
      let pairing: Pairing | undefined;
      let heldMiB = 0;
      for (let done = 0; done < count; done += atOnce) {
        if (done >= count / 4 && heldMiB === 0) heldMiB = process.memoryUsage().rss / 2 ** 20;
        const isOver = await Promise.race([pairing?.outcome ?? true, Promise.resolve(undefined)]);
        if (isOver) {
          pairing = await at.start();
          windows++;
        }
        const { link = "", port = 0 } = pairing ?? {};
        const answers = Array.from({ length: atOnce }, async () => {
          const { first } = firstMessage(link);
          const bytes = Buffer.concat([Uint8Array.of(0, first.length), first]);
          // Its length most often: what is whole and wrong is a guess, and five close the window.
          const where = random(10) === 0 ? 2 + random(first.length) : random(2);
          bytes.writeUInt8(bytes.readUInt8(where) ^ (1 + random(255)), where);
          const more = random(3) === 0 ? Buffer.alloc(random(4000), random(256)) : bytes;
          const cut = random(4) === 0 ? random(bytes.length) : bytes.length;
          return await say(port, Buffer.concat([bytes.subarray(0, cut), more]));
        });
        for (const answer of await Promise.all(answers)) {
          const told = answer.toString("hex");
          heard.set(told, (heard.get(told) ?? 0) + 1);
        }
      }
      await pairing?.close();
      const grownMiB = process.memoryUsage().rss / 2 ** 20 - heldMiB;
      console.log(
        `\nmeasured: ${count} mutated frames into ${windows} windows: ${JSON.stringify([...heard])}, ${grownMiB.toFixed(0)} MiB more`,
      );
      // Nothing, "no", or a closed window's notice; never a second message.
      for (const told of heard.keys()) assert.match(told, /^(?:0001(?:01|02))?$/);
      assert.ok(windows > 10);
      assert.ok(grownMiB < 64, `${grownMiB} MiB more`);
    },
    { deadlineMs: 300_000 },
  );
});
