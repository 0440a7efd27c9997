import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as assert from "uvu/assert";
import { openDurable, type Step } from "../../src/base/node/durable.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { fromText, toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { openAge } from "../../src/relay/age.ts";
import { pathOf, walk } from "../../src/relay/walk.ts";
import { openDisk, whyNoDisk } from "../lib/disk.ts";
import { clip, doorList, entry, mailbox, part, relayWorld } from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const bytes = (n: number, length = 1000) => new Uint8Array(length).fill(n);
const dayMs = 86_400_000;

async function failureOf(act: Promise<unknown>) {
  const error = await act.then(
    () => undefined,
    (e) => e,
  );
  if (!isFailure(error)) throw new Error(`not a Failure: ${error}`);
  return error;
}

/** A clock whose two times the test moves; it stands still otherwise. */
function movable() {
  const at = { wallMs: Date.now(), monotonicUs: 5e9 };
  const clock = {
    ...systemClock,
    wallMs: () => at.wallMs,
    monotonicUs: () => at.monotonicUs,
  };
  const pass = (ms: number) => {
    at.wallMs += ms;
    at.monotonicUs += ms * 1000;
  };
  return { at, clock, pass };
}

const partsOf = async (world: Awaited<ReturnType<typeof relayWorld>>) =>
  (await world.as("owner").list({ under: "part/" })).length;

const noDisk = await whyNoDisk();

suite("relay store", (test) => {
  test("quota: clips leave room for the log, both for the owner; nothing is evicted", async () => {
    const settings = "quota: {mailboxObjects: 1000, mailboxMiB: 16}";
    await using world = await relayWorld({ settings });
    const camera = world.as("camera");
    const mib = 2 ** 20;
    for (let i = 0; i < 14; i++) await camera.put(part(i, bytes(i, mib)));
    const full = await failureOf(camera.put(part(14, bytes(14, mib))));
    assert.equal([full.kind, full.stage], ["full", "quota"]);
    const log = Array.from({ length: 7 }, (_, i) => entry(i, Buffer.alloc(190_000, i)));
    const outcomes = [];
    for (const one of log) {
      outcomes.push(await camera.put(one).catch((e) => (isFailure(e, "full") ? "full" : e)));
    }
    assert.equal(outcomes, [...Array(6).fill("stored"), "full"]);
    const { box } = await import("../lib/relay.ts");
    assert.is(await world.as("owner").put(box("owner", 1)), "stored");
    await world.as("root").put({ name: { kind: "door" }, bytes: doorList({ version: 2 }) });
    assert.is(await partsOf(world), 14);
    // Counted again after a restart, and given back by a deletion.
    await world.restart();
    assert.is((await failureOf(world.as("camera").put(part(14, bytes(14, mib))))).kind, "full");
    for (const n of [0, 1]) await world.as("owner").remove(part(n, bytes(n, mib)).name);
    assert.is(await world.as("camera").put(part(14, bytes(14, mib))), "stored");
    assert.is(await world.as("camera").put(part(14, bytes(14, mib))), "there");
  });

  test("retention: what the owner's minimum age keeps stays, but for the operator's last word", async () => {
    const { clock, pass } = movable();
    const days = (usual: number, longest: number) =>
      `quota: {retentionDays: ${usual}, longestDays: ${longest}}`;
    const options = { clock, minimumAgeMs: 10 * dayMs, periods: { retireMs: 20 } };
    for (const [settings, kept] of [
      [days(2, 0), [1, 1, 0]],
      [days(2, 5), [1, 0, 0]],
      [days(0, 20), [1, 1, 1]],
    ] as const) {
      await using world = await relayWorld({ settings, ...options });
      await world.as("camera").put(part(0, bytes(1)));
      const pause = () => new Promise((resolve) => setTimeout(resolve, 300));
      for (const [i, more] of [3, 3, 5].entries()) {
        pass(more * dayMs);
        await pause();
        while (kept[i] === 0 && (await partsOf(world)) > 0) await pause();
        assert.is(await partsOf(world), kept[i], `${settings}, step ${i}`);
      }
      const isEarly = settings.includes("longestDays: 5");
      assert.is(
        world.lines.some((line) => line.includes("keeps for longer")),
        isEarly,
      );
    }
  });

  test("strange files and a damaged mailbox are in nobody's way: the relay starts, old parts go", async () => {
    const { clock, pass } = movable();
    const settings = "quota: {retentionDays: 2}";
    await using world = await relayWorld({ settings, clock, periods: { retireMs: 30 } });
    await world.as("camera").put(part(0, bytes(1)));
    const boxes = join(world.folder, "mailboxes");
    await writeFile(join(boxes, ".DS_Store"), "");
    await mkdir(join(boxes, "00", "lost"), { recursive: true });
    const damaged = join(boxes, "00", "0".repeat(64));
    await mkdir(damaged);
    await writeFile(join(damaged, "door"), "no door list");
    await mkdir(join(world.folder, "drafts", "folder"));
    await world.restart();
    pass(3 * dayMs);
    for (let tries = 0; (await partsOf(world)) > 0 && tries < 1000; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.is(await partsOf(world), 0);
  });

  test("retention: parts go after their days, entries stay, and a set clock makes nothing old", async () => {
    const { at, clock, pass } = movable();
    const settings = "quota: {retentionDays: 2}";
    await using world = await relayWorld({ settings, clock, periods: { retireMs: 30 } });
    const camera = world.as("camera");
    const retired = () => new Promise((resolve) => setTimeout(resolve, 250));
    await camera.put(part(0, bytes(1)));
    await camera.put(entry(1));
    // The wall clock by ten years to and fro, as a board without a battery sees it.
    for (const years of [10, -20, 10]) {
      at.wallMs += years * 365 * dayMs;
      await retired();
    }
    assert.is(await partsOf(world), 1);
    pass(1.5 * dayMs);
    await world.as("camera").put(part(1, bytes(2)));
    // Time that the relay is off does not count.
    at.wallMs += 100 * dayMs;
    await world.restart();
    await retired();
    assert.is(await partsOf(world), 2);
    pass(0.6 * dayMs);
    for (let tries = 0; (await partsOf(world)) > 1 && tries < 100; tries++) await retired();
    assert.equal(
      (await world.as("owner").list({ under: "part/" })).map(({ bytes: size }) => size),
      [1000],
    );
    assert.is((await world.as("owner").list({ under: "entry/" })).length, 1);
    assert.ok(await world.as("owner").get(part(1, bytes(2)).name));
  });

  test("a minimum age counts only time that passes, over restarts and set clocks", async () => {
    const { at, clock, pass } = movable();
    await using world = await relayWorld({ clock, minimumAgeMs: dayMs });
    await world.as("camera").put(part(0, bytes(1)));
    const remove = () => world.as("camera").remove({ incarnation: 1, clip });
    at.wallMs += 3650 * dayMs;
    assert.is((await failureOf(remove())).stage, "age");
    pass(0.6 * dayMs);
    await world.restart();
    assert.is((await failureOf(remove())).stage, "age");
    pass(0.5 * dayMs);
    await remove();
    assert.is(await partsOf(world), 0);
  });

  test("elapsed time: kept, never behind what it was saved at, and a damaged file is time zero", async () => {
    await using home = await quickFolder();
    const { clock, pass } = movable();
    const folder = await openDurable(home.path);
    const first = await openAge(folder, clock);
    assert.is(first.nowMs(), 0);
    pass(5000);
    await first.save();
    pass(700);
    assert.is((await openAge(folder, clock)).nowMs(), 5000);
    await folder.write("elapsed", fromText("9e9\n"));
    assert.is((await openAge(folder, clock)).nowMs(), 0);
    await folder.close();
  });

  test("a late request is told the time that it was held against, also in the second in which it was set", async () => {
    const { at, clock } = movable();
    await using world = await relayWorld({ clock });
    const ask = { act: "list", page: { under: "", after: "" } } as const;
    assert.is((await world.ask("owner", "GET", ask)).status, 200);
    at.wallMs += 3650 * dayMs;
    const { status, stage, headers } = await world.ask("owner", "GET", ask);
    assert.equal([status, stage], [401, "created"]);
    assert.ok(Math.abs(Date.parse(headers.date ?? "") - at.wallMs) <= 1000, headers.date);
    assert.equal(await world.as("owner").list({ under: "part/" }), []);
  });

  test("files with times of another clock (a copied folder) are young, not old", async () => {
    const { clock } = movable();
    await using world = await relayWorld({ clock, minimumAgeMs: 1000 });
    await world.as("camera").put(part(0, bytes(1)));
    const root = join(world.folder, "mailboxes", toHex(mailbox).slice(0, 2), toHex(mailbox));
    await utimes(join(root, pathOf(part(0, bytes(1)).name)), Date.now() / 1000, Date.now() / 1000);
    assert.is((await failureOf(world.as("camera").remove({ incarnation: 1, clip }))).stage, "age");
  });

  const steps: [step: Step, error: string, status: number][] = [
    ["create", "ENOSPC", 507],
    ["write", "ENOSPC", 507],
    ["write", "EDQUOT", 507],
    ["rename", "ENOSPC", 507],
    ["create", "EMFILE", 503],
  ];
  for (const [step, code, status] of steps) {
    test(`${code} at ${step}: the answer says so, nothing is left, and the next put works`, async () => {
      let isOn = false;
      await using world = await relayWorld({
        fault: (at, name) => {
          if (!isOn || at !== step || !name.startsWith("part/")) return undefined;
          isOn = false;
          return { applied: false, error: Object.assign(new Error(code), { code }) };
        },
      });
      isOn = true;
      const put = { act: "put", name: part(0, bytes(1)).name } as const;
      const answer = await world.ask("camera", "PUT", put, { body: bytes(1) });
      assert.equal([answer.status, answer.stage], [status, status === 507 ? "disk" : undefined]);
      assert.equal(await readdir(join(world.folder, "drafts")), []);
      assert.is(await partsOf(world), 0);
      assert.is(await world.as("camera").put(part(0, bytes(1))), "stored");
    });
  }

  for (const step of ["fsync", "fsync-folder"] as const) {
    test(`a failed ${step} is never tried again: all is refused until the relay starts anew`, async () => {
      let isOn = false;
      await using world = await relayWorld({
        fault: (at, name) => {
          if (!isOn || at !== step || !name.startsWith("part/")) return undefined;
          isOn = false;
          return { applied: true, error: Object.assign(new Error("EIO"), { code: "EIO" }) };
        },
      });
      isOn = true;
      const failed = world.relay.failed.catch((error) => error);
      const first = await failureOf(world.as("camera").put(part(0, bytes(1))));
      assert.is(first.kind, "gone");
      assert.ok(isFailure(await failed, "gone"));
      assert.is((await failureOf(world.as("camera").put(part(1, bytes(2))))).kind, "gone");
      await world.restart();
      assert.is(await world.as("camera").put(part(1, bytes(2))), "stored");
      assert.match(world.lines.join(""), /error relay: the storage failed/);
    });
  }

  const full = "the disk itself is full: 507, nothing half, and room that comes back is used";
  if (noDisk) test.skip(full, noDisk);
  else
    test(full, async () => {
      await using disk = await openDisk(6);
      await using world = await relayWorld({ folder: join(disk.path, "relay") });
      const camera = world.as("camera");
      let stored = 0;
      let failure: unknown;
      for (; stored < 20 && !failure; ) {
        await camera.put(part(stored, bytes(stored, 2 ** 20))).then(
          () => stored++,
          (error) => {
            failure = error;
          },
        );
      }
      assert.ok(isFailure(failure, "full") && failure.stage === "disk", String(failure));
      assert.ok(stored >= 2 && stored < 8, `${stored} stored`);
      assert.equal(await readdir(join(world.folder, "drafts")), []);
      assert.is(await partsOf(world), stored);
      for (let i = 0; i < stored; i++) {
        const { name, bytes: content } = part(i, bytes(i, 2 ** 20));
        assert.equal(await world.as("owner").get(name), content);
      }
      await world.as("owner").remove(part(0, bytes(0, 2 ** 20)).name);
      assert.is(await camera.put(part(stored, bytes(stored, 2 ** 20))), "stored");
    });

  test("headroom: the relay leaves to others what it was told to", async () => {
    await using world = await relayWorld({
      isEmpty: true,
      settings: "quota: {headroomMiB: 1000000}",
    });
    const door = { name: { kind: "door" } as const, bytes: doorList() };
    const failure = await failureOf(world.as("root").put(door));
    assert.equal([failure.kind, failure.stage], ["full", "disk"]);
  });

  test("two relays do not share a folder", async () => {
    await using world = await relayWorld();
    const second = await failureOf(relayWorld({ folder: world.folder }));
    assert.is(second.kind, "busy");
  });

  test(
    "a folder of ten thousand names by a hostile writer is walked in order, in bounded memory",
    async () => {
      await using home = await quickFolder();
      const count = 10_000;
      for (let i = 0; i < count; i++) {
        const hash = toHex(
          new Uint8Array(new Uint32Array([i * 2_654_435_761, i, 0, 0, 0, 0, 0, 0]).buffer),
        );
        const name = `entry/0000000001/000000000000/00000000000000/0000000000000007.${hash}`;
        const path = join(home.path, name);
        if (i === 0) await mkdir(dirname(path), { recursive: true });
        await writeFile(path, "x");
      }
      let before = "";
      let seen = 0;
      for await (const { text } of walk(home.path, { under: "entry/", after: "" })) {
        assert.ok(text > before);
        before = text;
        seen++;
      }
      assert.is(seen, count);
    },
    { deadlineMs: 120_000 },
  );

  test("a mailbox is asked for in one folder only, whatever its name looks like", async () => {
    await using world = await relayWorld();
    await world.as("camera").put(entry(1));
    const shards = await readdir(join(world.folder, "mailboxes"));
    assert.equal(shards, [toHex(mailbox).slice(0, 2)]);
  });
});
