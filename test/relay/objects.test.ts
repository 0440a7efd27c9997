import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { type FailureKind, isFailure } from "../../src/base/pure/failure.ts";
import type { Listed } from "../../src/protocol/wire/mailbox.ts";
import { longest, printClip } from "../../src/protocol/wire/mailbox.ts";
import { type Name, printName } from "../../src/protocol/wire/name.ts";
import {
  beacon,
  box,
  clip,
  doorList,
  entry,
  heardBy,
  mailbox,
  part,
  type RelayWorld,
  relayWorld,
  signed,
  who,
} from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";

const beaconName: Name = { kind: "beacon" };
const doorName: Name = { kind: "door" };
const text = (listed: readonly Listed[]) => listed.map(({ name }) => printName(name));

async function refused(act: Promise<unknown>, stage: string, kind: FailureKind = "refused") {
  const error = await act.then(
    () => undefined,
    (e) => e,
  );
  assert.ok(isFailure(error, kind) && error.stage === stage, `${error} (${error?.stage})`);
}

/** Everything below the relay's folder but its clock, as paths. */
async function filesOf({ folder }: RelayWorld): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  return all
    .filter((one) => one.isFile() && one.name !== "elapsed")
    .map((one) => join(one.parentPath, one.name).slice(folder.length + 1))
    .sort();
}

const random = (bytes: number) => new Uint8Array(bytes).map((_, i) => (i * 7 + (i >> 8)) & 255);

suite("relay objects", (test) => {
  test("what is put is there: after the answer, after a restart, byte by byte, once", async () => {
    await using world = await relayWorld();
    const objects = [
      ...[part(0, random(1)), part(1, random(longest.part)), part(2, random(300_001))],
      ...[entry(0), entry(7), entry(1000)],
    ];
    for (const object of objects) assert.is(await world.as("camera").put(object), "stored");
    for (const object of objects) assert.is(await world.as("camera").put(object), "there");
    await world.restart();
    for (const object of objects) assert.is(await world.as("camera").put(object), "there");
    for (const { name, bytes } of objects) {
      assert.equal(await world.as("owner").get(name), bytes, printName(name));
    }
    assert.is(await world.as("owner").get(entry(5).name), undefined);
    assert.is((await world.as("owner").list()).length, 1 + objects.length);
    assert.is((await filesOf(world)).length, 1 + objects.length);
  });

  test("both branches of a fork keep their places", async () => {
    await using world = await relayWorld();
    const branches = [entry(3, Buffer.from("one")), entry(3, Buffer.from("other"))];
    for (const branch of branches) await world.as("camera").put(branch);
    const under = "entry/0000000001/0000000000000003/";
    assert.is((await world.as("owner").list({ under })).length, 2);
    for (const { name, bytes } of branches) {
      assert.equal(await world.as("owner").get(name), bytes);
    }
  });

  test("the same object from many at once is one object", async () => {
    await using world = await relayWorld();
    const object = part(0, random(200_000));
    const puts = Array.from({ length: 12 }, () => world.as("camera").put(object));
    const outcomes = await Promise.all(puts);
    assert.is(outcomes.filter((outcome) => outcome === "stored").length, 1, outcomes.join());
    assert.is((await filesOf(world)).length, 2);
    await world.as("owner").remove(object.name);
    assert.equal(await filesOf(world), [
      `mailboxes/${toHex(mailbox).slice(0, 2)}/${toHex(mailbox)}/door`,
    ]);
  });

  test("a beacon rises, over restarts too; an older one, a rival and another camera's do not", async () => {
    await using world = await relayWorld();
    const put = (bytes: Uint8Array) => world.as("camera").put({ name: beaconName, bytes });
    assert.is(await put(beacon(5)), "stored");
    assert.is(await put(beacon(5)), "there");
    await refused(put(beacon(4)), "rises");
    await world.restart();
    await refused(put(beacon(4)), "rises");
    await refused(put(beacon(9, who.stranger)), "camera");
    assert.is(await put(beacon(6)), "stored");
    assert.is(await put(beacon(1, who.camera, 2)), "stored");
    await refused(put(beacon(7)), "rises");
    assert.equal(await world.as("viewer").get(beaconName), beacon(1, who.camera, 2));
    // An owner that replaces the camera clears the way with the root key.
    await world.as("root").remove(beaconName);
    assert.is(await put(beacon(1, who.stranger)), "stored");
    const broken = beacon(2, who.stranger);
    broken[150] = (broken[150] ?? 0) ^ 1;
    await refused(put(broken), "signature");
    await refused(put(broken.subarray(1)), "suite");
    assert.equal(await world.as("owner").get(beaconName), beacon(1, who.stranger));
    assert.is((await readdir(join(world.folder, "drafts"))).length, 0);
  });

  test("a door list rises, over restarts too, and only the root key's own opens a mailbox", async () => {
    await using world = await relayWorld({ isEmpty: true });
    const put = (bytes: Uint8Array) => world.as("root").put({ name: doorName, bytes });
    await refused(put(doorList({ root: who.stranger })), "mailbox");
    await refused(put(new Uint8Array(100)), "version");
    assert.equal(await filesOf(world), []);
    assert.is(await put(doorList({ version: 3 })), "stored");
    const kept = (await world.as("root").get(doorName)) as Uint8Array;
    assert.is(await put(kept), "there");
    await refused(put(doorList({ version: 3, minimumAgeMs: 7 })), "rises");
    await world.restart();
    await refused(put(doorList({ version: 2 })), "rises");
    assert.is(await put(doorList({ version: 4, without: ["viewer"] })), "stored");
    await refused(world.as("viewer").list(), "right");
    await world.restart();
    await refused(world.as("viewer").list(), "right");
  });

  test("listings: in order, after any bound, under any prefix, page by page", async () => {
    await using world = await relayWorld();
    const other = new Uint8Array(16).fill(0xc9);
    const objects = [
      ...Array.from({ length: 25 }, (_, i) => entry(i * 97)),
      ...Array.from({ length: 5 }, (_, i) => part(i, random(10 + i))),
      ...Array.from({ length: 5 }, (_, i) => part(i, random(20 + i), other)),
    ];
    for (const object of [...objects].reverse()) await world.as("camera").put(object);
    await world.as("camera").put({ name: beaconName, bytes: beacon(1) });
    await world.as("viewer").put(box("viewer", 3));
    const every = [
      ...objects.map(({ name }) => printName(name)),
      ...["beacon", "door", printName(box("viewer", 3).name)],
    ].sort();
    const list = world.as("owner").list;
    assert.equal(text(await list()), every);
    const prefixes = [
      ...["beacon", "door", "part/", "entry/", "box/", "entry/0000000001/", "part/0000000002/"],
      ...[printClip({ incarnation: 1, clip }), `${printClip({ incarnation: 1, clip })}0000000003/`],
      `entry/0000000001/${"97".padStart(16, "0")}/`,
    ];
    const bounds = ["", "a", "beacon", "e", "entry/", "p", "part/0000000001/c5", "z", ...every];
    bounds.push(
      "entry/0000000001/0000000000000970",
      `${printClip({ incarnation: 1, clip }).slice(0, -1)}0`,
    );
    for (const under of ["", ...prefixes]) {
      for (const after of bounds) {
        const expected = every.filter((name) => name.startsWith(under) && name > after);
        assert.equal(text(await list({ under, after })), expected, `${under} after ${after}`);
      }
    }
    const pages: string[] = [];
    for (let after = ""; ; ) {
      const page = text(await list({ after, limit: 7 }));
      pages.push(...page);
      if (page.length < 7) break;
      after = page.at(-1) ?? "";
    }
    assert.equal(pages, every);
    const sizes = (await list({ under: "part/" })).map(({ bytes }) => bytes);
    assert.equal(sizes, [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
  });

  test("foreign files in the folder are neither listed nor in the way", async () => {
    await using world = await relayWorld();
    await world.as("camera").put(entry(1));
    const root = join(world.folder, "mailboxes", toHex(mailbox).slice(0, 2), toHex(mailbox));
    const hash = "9f".repeat(32);
    await writeFile(join(root, "lost+found"), "");
    await writeFile(join(root, "entry/x"), "");
    // Names of the right form that lie where they do not belong, or are out of range.
    await writeFile(
      join(root, `entry/0000000001/000000000000/00000000000000/0000000000009999.${hash}`),
      "x",
    );
    await writeFile(
      join(root, `entry/0000000001/000000000000/00000000000000/9999999999999999.${hash}`),
      "x",
    );
    assert.equal(text(await world.as("owner").list()), ["door", printName(entry(1).name)]);
    assert.is(await world.as("camera").put(entry(2)), "stored");
    assert.is((await world.as("owner").list()).length, 3);
  });

  test("deleting: an object, a clip, twice; empty folders go with it, and come again", async () => {
    await using world = await relayWorld();
    const parts = [part(0, random(1)), part(1, random(2))];
    const owner = world.as("owner");
    for (let round = 0; round < 2; round++) {
      for (const one of [...parts, entry(1)]) {
        assert.is(await world.as("camera").put(one), "stored");
      }
      await owner.remove(entry(1).name);
      await owner.remove(entry(1).name);
      await owner.remove({ incarnation: 1, clip });
      await owner.remove({ incarnation: 1, clip });
      assert.equal(text(await owner.list()), ["door"]);
      const left = await readdir(world.folder, { recursive: true });
      assert.not.ok(
        left.some((path) => /(entry|part)$/.test(path)),
        left.join(),
      );
    }
  });

  test("a minimum age holds a camera back, from one part and from a whole clip; an owner not", async () => {
    await using world = await relayWorld({ minimumAgeMs: 3_600_000 });
    const camera = world.as("camera");
    await camera.put(part(0, random(1)));
    await refused(camera.remove(part(0, random(1)).name), "age");
    await refused(camera.remove({ incarnation: 1, clip }), "age");
    assert.is((await world.as("owner").list({ under: "part/" })).length, 1);
    await world.as("owner").remove({ incarnation: 1, clip });
    assert.is((await world.as("owner").list({ under: "part/" })).length, 0);
    // What is not there is no age's business.
    await camera.remove({ incarnation: 1, clip });
    const bytes = doorList({ version: 2, minimumAgeMs: 0 });
    await world.as("root").put({ name: doorName, bytes });
    await camera.put(part(0, random(1)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await camera.remove({ incarnation: 1, clip });
    assert.is((await world.as("owner").list({ under: "part/" })).length, 0);
  });

  test("a clock is set by the relay's answer, far off in both directions", async () => {
    await using world = await relayWorld();
    for (const years of [-50, 30]) {
      const camera = world.as("camera", () => Date.now() + years * 31_557_600_000);
      await camera.put(entry(years + 100));
      assert.ok(Math.abs((camera.relayMs() ?? 0) - Date.now()) < 60_000);
    }
  });

  test("long polls: woken by each way of putting, by an overwritten beacon, else empty at the end", async () => {
    await using world = await relayWorld();
    const owner = world.as("owner");
    await world.as("camera").put({ name: beaconName, bytes: beacon(1) });
    const waits: [
      ask: { under: string; after?: string },
      put: () => Promise<unknown>,
      is: string,
    ][] = [
      [{ under: "entry/" }, () => world.as("camera").put(entry(1)), printName(entry(1).name)],
      [
        { under: "part/", after: "part/0" },
        () => world.as("camera").put(part(0, random(9))),
        printName(part(0, random(9)).name),
      ],
      [
        { under: `box/${toHex(who.viewer.publicKey)}/` },
        () => world.as("viewer").put(box("viewer", 1)),
        printName(box("viewer", 1).name),
      ],
      [
        { under: "beacon", after: "beacon" },
        () => world.as("camera").put({ name: beaconName, bytes: beacon(2) }),
        "beacon",
      ],
      [
        { under: "door", after: "door" },
        () => world.as("root").put({ name: doorName, bytes: doorList({ version: 2 }) }),
        "door",
      ],
      [
        { under: "", after: "part/9" },
        () => world.as("camera").put({ name: beaconName, bytes: beacon(3) }),
        "beacon",
      ],
    ];
    for (const [ask, put, is] of waits) {
      const waiting = owner.list({ ...ask, waitMs: 20_000 });
      await heardBy(owner);
      await put();
      assert.equal(text(await waiting), [is], JSON.stringify(ask));
    }
    // What is there already is not waited for; what does not belong does not wake.
    assert.is((await owner.list({ under: "entry/", waitMs: 20_000 })).length, 1);
    const empty = owner.list({ under: "entry/", after: "entry/1", waitMs: 1000 });
    await world.as("camera").put(entry(2));
    assert.equal(await empty, []);
    // A stop ends every wait at once.
    const stopped = owner.list({ under: "entry/", after: "entry/1", waitMs: 60_000 });
    await heardBy(owner);
    await world.restart();
    assert.equal(await stopped, []);
  });

  test("many wait for one, and each is woken", async () => {
    await using world = await relayWorld({ settings: "limits: {waitingPerKey: 50}" });
    const waiting = Array.from({ length: 40 }, () =>
      world.as("owner").list({ under: "entry/", waitMs: 20_000 }),
    );
    await heardBy(world.as("owner"));
    await world.as("camera").put(entry(1));
    for (const page of await Promise.all(waiting)) assert.is(page.length, 1);
  });

  test("a damaged door list shuts the mailbox, and the root key opens it again", async () => {
    await using world = await relayWorld();
    await world.as("camera").put(entry(1));
    const file = join(
      world.folder,
      "mailboxes",
      toHex(mailbox).slice(0, 2),
      toHex(mailbox),
      "door",
    );
    const bytes = await readFile(file);
    bytes[60] = (bytes[60] ?? 0) ^ 1;
    await writeFile(file, bytes);
    await world.restart();
    assert.is((await world.ask("owner", "GET", { act: "get", name: entry(1).name })).status, 503);
    await world.as("root").put({ name: doorName, bytes: doorList({ version: 2 }) });
    assert.equal(await world.as("owner").get(entry(1).name), entry(1).bytes);
    await rm(file);
  });

  test("the settings' names are the only ones it answers to, the prefix is part of the path", async () => {
    const settings = "authority: [relay.example]\nprefix: /obscura\n";
    await using world = await relayWorld({ settings, isEmpty: true });
    const { exchange } = await import("../lib/relay.ts");
    const body = doorList();
    const ask = (authority: string, prefix: string) =>
      exchange(world.relay.port, {
        ...signed("root", "PUT", { act: "put", name: doorName }, authority, { body, prefix }),
        ...{ method: "PUT", body },
      });
    assert.equal((await ask(world.authority, "/obscura")).stage, "authority");
    assert.equal((await ask("relay.example:80", "/obscura")).stage, "authority");
    assert.is((await ask("relay.example", "")).status, 404);
    assert.is((await ask("relay.example", "/obscura")).status, 201);
  });
});
