import { toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { canStillOpen, finalityOf } from "../../src/phone/deletions.ts";
import { survey } from "../../src/phone/survey.ts";
import { readTold } from "../../src/phone/told.ts";
import { Vault } from "../../src/phone/vault.ts";
import type { Suite } from "../../src/protocol/wire/signature.ts";
import { type Kept, Objects } from "../fakes/camera.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { tick } from "./circle.ts";
import { type All, type Deed, linkTo, viewOf } from "./deeds.ts";
import { type History, live } from "./history.ts";
import { MemoryStore } from "./memory.ts";
import { generator } from "./schedule.ts";

// Random schedules of phones that look at a mailbox whose keeper does what it likes, judged by a model
// that knows what was put there. The life of the camera and of its phones is lived once; a schedule
// picks a phone as it was at some time, and lets it look at the mailbox as it was at others.

const schedules = Number(process.env.OBSCURA_SCHEDULES ?? 1000);
const firstSeed = Number(process.env.OBSCURA_SCHEDULE_SEED ?? 1);

type Op = Deed & { depth: "all" | "new" };
type Schedule = { phone: string; born: number; now: number; ops: readonly Op[] };

function draw(seed: number, { moments }: History): Schedule {
  const random = generator(seed);
  const now = 4 + random(moments.length - 4);
  const phone = random(3) === 0 ? "Ben" : "Ada";
  const known = moments.slice(0, now + 1).flatMap(({ homes }, i) => (homes.has(phone) ? [i] : []));
  const born = known[random(known.length)];
  if (born === undefined) return draw(seed + 1_000_003, { moments, clips: [], other: new Map() });
  const picks = () => Array.from({ length: 1 + random(3) }, () => random(1 << 20));
  const deed = (): Deed => {
    switch (random(8)) {
      case 0:
        return { deed: "honest" };
      case 1:
        return { deed: "old", moment: random(now + 1) };
      case 2:
        return { deed: "unlisted", picks: picks() };
      case 3:
        return { deed: "replayed", picks: [random(1 << 20), random(1 << 20)] };
      case 4:
        return { deed: "flipped", picks: picks() };
      case 5:
        return random(4) === 0 ? { deed: "swapped" } : { deed: "broken off", after: random(20) };
      default:
        return { deed: "withheld", picks: picks() };
    }
  };
  const ops = Array.from(
    { length: 1 + random(2) },
    (): Op => ({
      ...deed(),
      depth: random(3) === 0 ? "all" : "new",
    }),
  );
  return { phone, born, now, ops };
}

/** Signatures are the same in every schedule: each is checked once. */
function remembering(): Suite {
  const known = new Map<string, boolean>();
  return {
    sha512: () => nodeSuite.sha512(),
    verify(key, message, signature) {
      const id = `${toHex(key)}${toHex(message)}${toHex(signature)}`;
      const before = known.get(id);
      if (before !== undefined) return before;
      const isGood = nodeSuite.verify(key, message, signature);
      known.set(id, isGood);
      return isGood;
    },
  };
}

const sequenceOf = (name: string) => (name.startsWith("entry/") ? Number(name.split("/")[2]) : -1);
const newest = (objects: All) => Math.max(-1, ...[...objects.keys()].map(sequenceOf));

/** Runs it; what does not hold is thrown. Returns how many looks it took. */
async function check(schedule: Schedule, history: History, suite_: Suite): Promise<number> {
  const { phone, born, now, ops } = schedule;
  const home = history.moments[born]?.homes.get(phone);
  if (!home) throw new Error("no such home");
  const store = new MemoryStore();
  store.all.push({ key: home.key.slice(), sealed: home.sealed.slice() });
  const truth = history.moments[now]?.objects ?? new Map<string, Kept>();
  const moments = history.moments.map(({ objects }) => objects);
  let seen = -1;

  const look = async (op: Op) => {
    const view = viewOf(op, truth, moments, history.other);
    const link = linkTo(op, view, new Objects());
    const vault = await Vault.open(store);
    const camera = vault.content.cameras[0];
    if (!camera) throw new Error("no camera");
    seen = Math.max(seen, camera.head?.sequence ?? -1);
    const options = { link, vault, camera, suite: suite_, nowMs: tick(), depth: op.depth };
    const found = await survey(options).catch((error) => {
      if (isFailure(error)) return undefined;
      throw error;
    });
    return { found, served: view.served, camera };
  };

  for (const op of ops) {
    const { found, served, camera } = await look(op);
    if (!found) {
      if (op.deed !== "broken off") throw new Error(`${op.deed}: it could not be read at all`);
      continue;
    }
    const head = camera.head?.sequence ?? -1;
    if (head < seen) throw new Error(`the head went back from ${seen} to ${head}`);
    // Nothing is shown as whole that is not there as it was made (or was read before).
    const before = new Set(camera.clips.map(({ clip }) => toHex(clip)));
    for (const { id, state } of found.clips) {
      const clip = toHex(id);
      if (state !== "whole") continue;
      if (!history.clips.some((one) => one.id === clip)) throw new Error("a clip that never was");
      const parts = [...truth].filter(([name]) => name.startsWith("part/") && name.includes(clip));
      const isThere = parts.every(([name, { bytes }]) => {
        const given = served.get(name)?.bytes;
        return given !== undefined && Buffer.compare(given, bytes) === 0;
      });
      const isOld = op.depth === "new" && before.has(clip);
      if (!isThere && !isOld && op.deed !== "old") throw new Error(`${clip} is called whole`);
    }
    // What is missing of the log up to the newest entry that was served or seen is named.
    const last = Math.max(newest(served), seen);
    const needed = [...truth].filter(([name]) => {
      const sequence = sequenceOf(name);
      return sequence >= 0 && sequence <= last;
    });
    const isHoled = needed.some(([name, { bytes }]) => {
      const given = served.get(name)?.bytes;
      return given === undefined || Buffer.compare(given, bytes) !== 0;
    });
    if (isHoled && found.well) throw new Error(`${op.deed}: the log has a hole, and all is well`);
    if (!isHoled && op.deed === "unlisted" && newest(served) === newest(truth)) {
      // A listing decides nothing but where the log ends.
      const bad = found.faults.filter(({ severity }) => severity === "lie");
      if (bad.length > 0) throw new Error(`a lie where none is: ${bad[0]?.text}`);
    }
    if (op.deed === "honest") mustBeWell(found, "honest");
  }

  // Whatever was done to it: served honestly, it finds what there is, no more and no less.
  const { found } = await look({ deed: "honest", depth: ops[0]?.depth ?? "all" });
  if (!found) throw new Error("an honest mailbox could not be read");
  mustBeWell(found, "in the end");
  const removed = history.moments.findIndex(({ what }) => what === "Ben is removed");
  const made = history.clips.filter(({ madeAt }) => madeAt <= now);
  const told = readTold(found.journal);
  for (const { id, recipients, deletedAt } of made) {
    const shown = found.clips.find((clip) => toHex(clip.id) === id);
    const isMine = recipients.includes(phone);
    if (deletedAt !== undefined && deletedAt <= now) continue;
    // Who was removed cannot read what the log says of later clips.
    if (phone === "Ben" && removed >= 0 && now >= removed) {
      if (!isMine && shown?.state === "whole") throw new Error(`${id}: opened by who was removed`);
      continue;
    }
    // A home that was put back has not the keys that were handed out since: it says so, and no more.
    const batchOf = (at: number) => history.moments[at]?.batches.get(phone);
    const lacks = shown?.state === "not for this phone" && batchOf(born) !== batchOf(now);
    if (isMine && shown?.state !== "whole" && !lacks)
      throw new Error(`${id}: ${shown?.state}, not whole`);
    if (!isMine && shown?.state === "whole")
      throw new Error(`${id}: opened by who was no recipient`);
  }
  // Final is said only when this phone, where it is a recipient, can open it no more.
  const vault = await Vault.open(store);
  const camera = vault.content.cameras[0];
  for (const { clip, ...rest } of found.deletions.values()) {
    const { final } = finalityOf({ clip, ...rest }, told.get(toHex(clip)), found.journal);
    const keyIds = told.get(toHex(clip))?.started?.keyIds ?? [];
    if (final && camera && canStillOpen(camera, clip, keyIds)) {
      throw new Error(`${toHex(clip)}: final, and ${phone} can open it yet`);
    }
  }
  return ops.length + 1;
}

function mustBeWell(found: Awaited<ReturnType<typeof survey>>, when: string): void {
  const bad = found.faults.find(({ severity }) => severity !== "note");
  if (bad) throw new Error(`${when}: ${bad.severity} ${bad.kind}: ${bad.text}`);
}

/** Takes away what does not matter for the failure. */
async function shrink(
  schedule: Schedule,
  fails: (one: Schedule) => Promise<boolean>,
): Promise<Schedule> {
  let least = schedule;
  for (let i = 0; i < least.ops.length; ) {
    const fewer = { ...least, ops: least.ops.filter((_, at) => at !== i) };
    if (await fails(fewer)) least = fewer;
    else i += 1;
  }
  for (const [i, op] of least.ops.entries()) {
    if (!("picks" in op) || op.deed === "replayed") continue;
    for (const pick of op.picks) {
      const ops = least.ops.map((one, at) => (at === i ? { ...op, picks: [pick] } : one));
      if (await fails({ ...least, ops })) least = { ...least, ops };
    }
  }
  return least;
}

suite("schedules", (test) => {
  test(
    "phones that look at a mailbox whose keeper does what it likes, against a model",
    async () => {
      const history = await live();
      const remembered = remembering();
      const startMs = performance.now();
      const deeds = new Map<string, number>();
      let looks = 0;
      let done = 0;
      for (let seed = firstSeed; done < schedules; seed++, done++) {
        const schedule = draw(seed, history);
        try {
          looks += await check(schedule, history, remembered);
        } catch (error) {
          const fails = (one: Schedule) =>
            check(one, history, remembered).then(
              () => false,
              () => true,
            );
          const least = await shrink(schedule, fails);
          const what = history.moments.map(({ what: text }, i) => `${i} ${text}`).join(", ");
          const text = `${(error as Error).message}: seed ${seed} (OBSCURA_SCHEDULE_SEED=${seed} OBSCURA_SCHEDULES=1): ${JSON.stringify(least)}; ${what}`;
          throw new Error(text, { cause: error });
        }
        for (const { deed } of schedule.ops) deeds.set(deed, (deeds.get(deed) ?? 0) + 1);
      }
      const seconds = (performance.now() - startMs) / 1000;
      const list = [...deeds].sort().map(([deed, count]) => `${deed} ${count}`);
      console.log(
        `\nmeasured: ${done} schedules from seed ${firstSeed}, ${looks} looks, ${seconds.toFixed(0)} s: ${list.join(", ")}`,
      );
    },
    { deadlineMs: 900_000 },
  );
});
