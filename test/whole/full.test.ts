import { join } from "node:path";
import { equal, is, ok } from "uvu/assert";
import { fillUp, openDisk, whyNoDisk } from "../lib/disk.ts";
import { missingOf, openLedger, printStates, settle } from "../lib/ledger.ts";
import { suite } from "../lib/suite.ts";
import { eventually, isUp, openTrio, type Running, type Verified } from "../lib/trio.ts";

const noDisk = await whyNoDisk();
const mebibytes = 12;
const limits = { deadlineMs: 1_200_000 };

/** How often it has said so. */
const count = ({ lines }: Running, what: "part" | "relayed" | "problem") =>
  lines.filter((line) => line.startsWith(`${what} `)).length;
const secondsSince = (ms: number) => ((performance.now() - ms) / 1000).toFixed(0);

/** More than so many of them; throws when it ends before. */
async function moreThan(least: number, running: Running, what: "part" | "relayed" | "problem") {
  await eventually(`${what}, ${least} times`, () => {
    is(running.isOver, false, "it ended");
    return count(running, what) > least ? true : undefined;
  });
}

/** Whatever is not there whole is named as lost or withheld, and nothing is called a lie. */
function isTruthful({ clips, faults, code }: Verified): void {
  // Parts of a clip that is recorded wait for no log.
  const lies = faults.filter(({ severity, kind }) => severity === "lie" && kind !== "unlogged");
  equal(lies, []);
  for (const { id, state } of clips) {
    if (["whole", "cut off", "deleted"].includes(state)) continue;
    const isNamed = faults.some(({ text }) => text.includes(id.slice(0, 12)));
    ok(isNamed, `${id} is ${state}, and no word of that`);
  }
  const isWell = faults.every(({ severity }) => severity === "note");
  is(code, isWell ? 0 : 3);
}

suite("full disks", (test) => {
  test(
    "the relay's disk is full while the camera sends: it gives up its oldest there and names them, and all is there again when there is room",
    async () => {
      await using disk = await openDisk(mebibytes);
      const folders = { relay: join(disk.path, "relay") };
      const { trio, relay } = await openTrio({ keys: 60, folders });
      await using _ = trio;
      const ledger = openLedger();
      let camera = trio.courier({ clips: 16, fragments: 4, paceMs: 60 });
      await moreThan(12, camera, "relayed");
      const [oldest = "", second = ""] = new Set(
        camera.lines.flatMap((line) => /^part (\w+) /.exec(line)?.[1] ?? []),
      );
      const fullMs = performance.now();
      const free = fillUp(disk);
      await moreThan(count(camera, "part") + 12, camera, "part");
      const { code } = await trio.phone("delete", second);
      ledger.deleted.set(second, code === 0);
      isTruthful(await trio.verify());
      free();
      const roomMs = performance.now();
      const seconds = ((roomMs - fullMs) / 1000).toFixed(0);
      // By itself, when it is time to try again: it waits about as long again as the disk was full.
      const isSent = () => (camera.lines.includes("sent") ? true : undefined);
      await eventually("all is sent", isSent, 3 * (roomMs - fullMs));
      const again = secondsSince(roomMs);
      const found = await trio.verify();
      isTruthful(found);
      const lost = found.clips.filter(({ state }) => state === "lost").map(({ id }) => id);
      ok(lost.includes(oldest), `given up: ${lost}`);
      const others = found.clips.filter(({ state }) => state !== "lost");
      ok(
        others.every(({ id, state }) => state === "whole" || id === second),
        JSON.stringify(others),
      );
      ledger.take(camera.lines);
      is((await camera.end("SIGTERM")).code, 0);
      // What it gave up there lies on its card yet, and goes there again.
      camera = trio.courier({ clips: 1 });
      let last: Verified | undefined;
      await eventually("all is at the relay again", async () => {
        last = await trio.verify();
        const { code: now, clips } = last;
        return now === 0 && clips.every(({ state }) => ["whole", "deleted"].includes(state))
          ? true
          : undefined;
      }).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify(last?.faults)}`);
      });
      const states = await settle(trio, ledger);
      is((await camera.end("SIGTERM")).code, 0);
      is((await relay.end("SIGTERM")).code, 0);
      is((await trio.check()).code, 0);
      console.log(
        `\nmeasured: a relay's disk of ${mebibytes} MiB full for ${seconds} s: ${lost.length} clips given up there and named, ` +
          `all sent ${again} s after there was room; after the next start of ${ledger.durable.size} parts 0 lost, 0 doubled; clips: ${printStates(states)}`,
      );
    },
    { ...limits, skip: noDisk },
  );

  test(
    "the camera's card is full, down to the last byte, while it seals: the oldest are lost and named, and it goes on when there is room",
    async () => {
      await using disk = await openDisk(mebibytes);
      const { trio, relay: first } = await openTrio({
        ...{ keys: 120, folders: { camera: join(disk.path, "camera") } },
        camera: { settings: "outbox: { headroomMiB: 0 }\n" },
      });
      await using _ = trio;
      const ledger = openLedger();
      const endless = { clips: 1e9, fragments: 4, paceMs: 30 };
      let camera = trio.courier(endless);
      await moreThan(12, camera, "relayed");
      // What is lost from here on is nowhere else.
      is((await first.end("SIGTERM")).code, 0);
      await moreThan(count(camera, "part") + 24, camera, "part");
      const fullMs = performance.now();
      const free = fillUp(disk);
      // Not one clip is left to give.
      await moreThan(2, camera, "problem");
      free();
      const seconds = secondsSince(fullMs);
      await moreThan(count(camera, "part") + 12, camera, "part");
      const relay = trio.relay();
      const relayed = count(camera, "relayed");
      await moreThan(relayed + 12, camera, "relayed");
      isTruthful(await trio.verify());
      ledger.take(camera.lines);
      const ended = await camera.end("SIGTERM");
      is(ended.code, 0, ended.err);
      camera = trio.courier({ clips: 1 });
      await camera.until(isUp);
      const isOver = ({ clips }: Verified) =>
        clips.every(({ state }) => ["whole", "cut off", "lost"].includes(state));
      let last: Verified | undefined;
      const found = await eventually("all that is left is at the relay", async () => {
        const now = await trio.verify();
        last = now;
        return isOver(now) && now.faults.every(({ kind }) => kind === "lost") ? now : undefined;
      }).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify(last?.faults)}`);
      });
      is((await camera.end("SIGTERM")).code, 0);
      is((await relay.end("SIGTERM")).code, 0);
      isTruthful(found);
      const { clips } = found;
      const there = new Map(clips.map(({ id, parts }) => [id, parts]));
      is(there.size, clips.length, "a clip stands twice");
      const lost = new Set(clips.flatMap(({ id, state }) => (state === "lost" ? id : [])));
      ok(lost.size > 0, "nothing had to go");
      equal(missingOf(ledger.relayed, there), [], "said to be durable at the relay");
      const unnamed = missingOf(ledger.durable, there).filter(
        (one) => !lost.has(one.split(" ")[0] ?? ""),
      );
      equal(unnamed, [], "said to be durable on the card");
      // Of those that were on the card alone the oldest, without exception.
      const order = [...new Set([...ledger.durable].map((one) => one.split(" ")[0] ?? ""))];
      const newest = order.findLastIndex((id) => lost.has(id));
      const sent = new Set([...ledger.relayed].map((one) => one.split(" ")[0] ?? ""));
      const spared = order.slice(0, newest).filter((id) => !lost.has(id) && !sent.has(id));
      equal(spared, [], "younger ones went before");
      is((await trio.check()).code, 0);
      console.log(
        `\nmeasured: a card of ${mebibytes} MiB full for ${seconds} s, to the last byte: ${lost.size} of ${clips.length} clips lost, the oldest, ` +
          `each named; of ${ledger.relayed.size} parts said to be relayed 0 lost, of ${ledger.durable.size} said to be durable 0 lost unnamed, 0 doubled`,
      );
    },
    { ...limits, skip: noDisk },
  );
});
