import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import type { Fault } from "../../../src/base/node/durable.ts";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import { encodeCheckpoint } from "../../../src/protocol/sealed/checkpoint.ts";
import { encodeMembership, follow } from "../../../src/protocol/sealed/membership.ts";
import { encodeTombstone } from "../../../src/protocol/sealed/tombstone.ts";
import type { EntryName } from "../../../src/protocol/wire/name.ts";
import { phoneOf, startCamera } from "../../lib/commands.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { faultsOf, makeCamera, recording } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { settle } from "../../lib/uplink.ts";
import { quickFolder } from "../../lib/world.ts";

const owner = phoneOf();
const by = { sign: owner.sign, suite: nodeSuite };

/** Fails at the nth step from when it is armed, before it takes effect or after; then for good. */
function failAt(nth: number, applied: boolean): { fault: Fault; arm(): void; reached: boolean } {
  let count = Number.NEGATIVE_INFINITY;
  const state = {
    fault: (() => {
      count += 1;
      if (count < nth) return undefined;
      state.reached = true;
      return {
        applied: applied && count === nth,
        error: Object.assign(new Error("EIO"), { code: "EIO" }),
      };
    }) as Fault,
    arm: () => {
      count = 0;
    },
    reached: false,
  };
  return state;
}

/**
 * Begins a command, breaks off at every step of the storage in turn, starts again as after a power cut
 * and hands the same box in once more.
 */
async function everyStep(
  make: (
    camera: Awaited<ReturnType<typeof makeCamera>>,
    clip: Uint8Array,
    /** Its log goes on from that of an earlier start, at `second`. */
    first: Awaited<ReturnType<typeof startCamera>> & { second: number },
  ) => Action,
  check: (world: {
    camera: Awaited<ReturnType<typeof makeCamera>>;
    again: Awaited<ReturnType<typeof startCamera>>;
    relay: FakeRelay;
    clip: string;
  }) => Promise<void>,
  { hasEarlier = false, takesAway = false } = {},
): Promise<number> {
  let points = 0;
  for (const applied of [false, true]) {
    for (let nth = 1; ; nth++) {
      await using home = await quickFolder();
      const camera = await makeCamera(home.path, { oneTime: 2 });
      const relay = new FakeRelay();
      const breaking = failAt(nth, applied);
      const { fault } = breaking;
      let second = 0;
      if (hasEarlier) {
        const before = await startCamera(camera);
        await before.stop();
        second = before.outbox.entries().length;
      }
      const first = await startCamera(camera, { relays: [relay], fault, outboxFault: fault });
      const { clip } = await first.sealer.clip(recording(2));
      while (relay.names("part/").length < 3) await settle([relay]);
      const box = first.seal(
        make(camera, new Uint8Array(Buffer.from(clip, "hex")), { ...first, second }),
      );
      breaking.arm();
      await first.commands.take(box.bytes).catch(() => {});
      const { reached } = breaking;
      await first.commands.close().catch(() => {});
      await first.uplink.close();
      await first.sealer.close().catch(() => {});
      await first.outbox.close().catch(() => {});
      const again = await startCamera(camera, { relays: [relay] });
      await again.commands.take(box.bytes);
      // What is left of an act that broke off is done beside all else.
      while (takesAway && relay.names("part/").length > 0) {
        await settle([relay]);
        await wait(1);
      }
      await check({ camera, again, relay, clip });
      await again.stop();
      assert.equal(again.problems, []);
      assert.equal(await faultsOf(home.path), [], `step ${nth}, ${applied}`);
      if (!reached) break;
      points += 1;
    }
  }
  return points;
}

suite("command: broken off at any step", (test) => {
  test(
    "a tombstone is carried out to its end after a start, once or not at all before",
    async () => {
      const points = await everyStep(
        (camera, clip) => {
          const { camera: id } = camera.keyring.identity;
          const about = { camera: id, clip, phone: owner.publicKey, atMs: 1, keyIds: [] };
          const { bytes } = encodeTombstone(about, by);
          return { kind: "tombstone", replaces: 0, tombstone: bytes };
        },
        async ({ camera, again, relay }) => {
          assert.equal(again.outbox.clips(), []);
          assert.equal(relay.names("part/"), []);
          const kinds = (await camera.owner.readLog(camera.outbox)).map(
            ({ body }) => body.statement.kind,
          );
          const count = (kind: string) => kinds.filter((one) => one === kind).length;
          assert.ok(count("tombstone-done") >= 1 && count("tombstone-done") <= 2);
          assert.ok(count("command-done") >= 1 && count("command-done") <= 2);
        },
        { takesAway: true },
      );
      assert.ok(points > 40, `${points} points`);
      console.log(`measured: a tombstone broken off at ${points} points`);
    },
    { deadlineMs: 300_000 },
  );

  test(
    "so is a checkpoint, and no step shows a hole",
    async () => {
      let place: EntryName | undefined;
      const points = await everyStep(
        (camera, _clip, first) => {
          const adopted = camera.keyring.adopted;
          assert.ok(adopted);
          const entry = first.outbox.entries()[first.second];
          assert.ok(entry);
          place = entry;
          const { incarnation, sequence, hash } = entry;
          const about = { camera: camera.keyring.identity.camera, phone: owner.publicKey, atMs: 1 };
          const fields = { ...about, incarnation, sequence, hash, list: adopted.membership.hash };
          const { bytes } = encodeCheckpoint(fields, by);
          return { kind: "checkpoint", replaces: 0, checkpoint: bytes };
        },
        async ({ camera, again, relay }) => {
          relay.objects.clear();
          assert.equal(again.outbox.entries()[0], place);
          const lines = await camera.owner.readLog(camera.outbox);
          const kinds = lines.map(({ body }) => body.statement.kind);
          const count = (kind: string) => kinds.filter((one) => one === kind).length;
          assert.ok(count("checkpointed") >= 1 && count("checkpointed") <= 2);
          assert.is(again.sealer.life.incarnation, 1);
        },
        { hasEarlier: true },
      );
      assert.ok(points > 20, `${points} points`);
      console.log(`measured: a checkpoint broken off at ${points} points`);
    },
    { deadlineMs: 300_000 },
  );

  test(
    "so is a member list",
    async () => {
      const points = await everyStep(
        (camera) => {
          const first = camera.keyring.adopted?.membership;
          assert.ok(first);
          const guest = { phone: phoneOf(0x51).publicKey, role: "viewer" as const, name: "guest" };
          const list = follow(first, owner.publicKey, [...first.members, guest]);
          const { bytes } = encodeMembership(list, by);
          return { kind: "membership", replaces: 1, list: bytes };
        },
        async ({ camera, again, relay }) => {
          relay.objects.clear();
          const { clip } = await again.sealer.clip(recording(1));
          const lines = await camera.owner.readLog(camera.outbox);
          const lists = lines.filter(({ body }) => body.statement.kind === "membership");
          // Broken off behind the entry and before it was noted, it is said again.
          assert.ok(lists.length >= 2 && lists.length <= 3);
          assert.ok((await camera.owner.openClip(camera.outbox, clip)).whole);
        },
      );
      assert.ok(points > 20, `${points} points`);
      console.log(`measured: a member list broken off at ${points} points`);
    },
    { deadlineMs: 300_000 },
  );
});
