import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { equal, fromHex, toHex } from "../../src/base/pure/bytes.ts";
import { canStillOpen } from "../../src/phone/deletions.ts";
import type { Statement } from "../../src/protocol/sealed/body.ts";
import { kitKeys } from "../../src/protocol/sealed/kit.ts";
import { parseLink } from "../../src/protocol/sealed/link.ts";
import { decodeTombstone } from "../../src/protocol/sealed/tombstone.ts";
import { testFilm } from "../fakes/film.ts";
import { pattern } from "../lib/sealed.ts";
import type { How } from "../lib/steps.ts";
import { suite } from "../lib/suite.ts";
import { circleWorld, type House, join as joinCircle, remove } from "./circle.ts";
import { type Desk, openDesk } from "./desk.ts";
import type { Said } from "./world.ts";

/**
 * Of Ada's clips two lie opened in her vault, a third, sealed to a day's key, too; one came since, and
 * one was deleted by Ben, who is an owner as well.
 */
async function house() {
  // So many that she makes no others: that takes a second.
  const { objects, camera, ada, together } = await circleWorld({ oneTime: 12, days: 4 });
  const ben = await joinCircle(ada, camera, "Ben");
  const seen = toHex(await camera.record());
  const kept = toHex(await camera.record());
  const gone = await camera.record();
  const day = toHex(await camera.record({ day: true }));
  await together(ada, ben);
  const late = toHex(await camera.record());
  await remove(ben, gone);
  await camera.work();
  const start: House = { objects, camera, phones: [ada, ben] };
  return { ...{ start, seen, kept, day, late }, gone: toHex(gone) };
}
const { start, ...clips } = await house();
const { seen, kept, day, late, gone } = clips;

type Case = {
  readonly start?: House;
  readonly args: (desk: Desk) => readonly string[];
  readonly prepare?: (desk: Desk) => Promise<unknown>;
  /** What has to be right at once, behind the break. */
  readonly broken?: (desk: Desk, said: Said, where: string) => Promise<unknown>;
  /** What has to be right when the same command was run again. */
  readonly again: (desk: Desk, said: Said, where: string, first: Said) => Promise<unknown>;
  /** What the second may say where the first had done it all but for its last word. */
  readonly mayBeOver?: RegExp;
};

/** Runs it broken off at each step in turn, and again to its end; returns how many steps there are. */
async function everyStep(how: How, one: Case): Promise<number> {
  for (let nth = 1; ; nth++) {
    await using desk = await openDesk(one.start ?? start);
    await one.prepare?.(desk);
    const args = one.args(desk);
    const first = await desk.broken(nth, how, args);
    const where = `${args[0]} ${how} at step ${nth}: ${first.at}`;
    if (!first.at) {
      assert.is(first.code, 0, `${where}: ${first.err}`);
      await one.again(desk, first, where, first);
      return nth - 1;
    }
    const isFull = how.startsWith("full");
    if (isFull) {
      assert.match(first.err, /no room for .*\. Free some space/, where);
      assert.not.match(first.err, /\n +at /, where);
    }
    // What was looked at is told, and what could not be kept or sent is done at the next look.
    const isPutOff = isFull && /what waits for the camera is sent later/.test(first.err);
    assert.ok(first.code === 1 || (first.code === 0 && isPutOff), `${where}: ${first.code}`);
    await one.broken?.(desk, first, where);
    const second = await desk.run(...args);
    const isOver = one.mayBeOver?.test(second.err) === true;
    assert.ok(second.code === 0 || isOver, `${where}, then ${second.code}: ${second.err}`);
    await one.again(desk, second, where, first);
    const left = (await readdir(desk.home)).filter((name) => !name.startsWith("log."));
    assert.is(left.length, 2, `${where}: ${left}`);
  }
}

async function keysOf(desk: Desk) {
  const [keys] = (await desk.openVault()).content.cameras;
  assert.ok(keys);
  return keys;
}

const said = <K extends Statement["kind"]>({ camera }: Pick<Desk, "camera">, kind: K) =>
  camera.said.filter((one): one is Extract<Statement, { kind: K }> => one.kind === kind);

/** Whether anything in the home opens the clip yet. */
async function opens(desk: Desk, clip: string): Promise<boolean> {
  const id = fromHex(clip);
  const begun = said(start, "clip-started").find((one) => equal(one.clip, id));
  assert.ok(begun);
  return canStillOpen(await keysOf(desk), id, begun.keyIds);
}

/** What `clips` and `verify` say, once everybody has had a turn; nothing is a lie or a loss. */
async function verified(desk: Desk, where: string): Promise<Map<string, string>> {
  await desk.turn();
  for (const phone of desk.others) await phone.tend();
  await desk.turn();
  const { code, out, err } = await desk.run("verify", "--json");
  assert.is(code, 0, `${where}: ${out}${err}`);
  const { clips } = JSON.parse(out);
  return new Map(
    clips.map(({ id, state, final }: { id: string; state: string; final?: boolean }) => [
      ...[id, state === "deleted" ? `deleted${final ? ", final" : ""}` : state],
    ]),
  );
}

const deleting: Case = {
  args: () => ["delete", seen, late],
  async broken(desk, _, where) {
    // What a key has gone for is asked of the others too.
    const { outgoing } = await keysOf(desk);
    const asked = outgoing.filter(({ what }) => what === "tombstone").length;
    for (const clip of [seen, late]) assert.ok(asked === 2 || (await opens(desk, clip)), where);
    assert.ok(await opens(desk, kept), where);
  },
  async again(desk, _, where) {
    for (const clip of [seen, late]) assert.not(await opens(desk, clip), where);
    const states = await verified(desk, where);
    assert.equal(
      [seen, late, kept, day].map((clip) => states.get(clip)),
      ["deleted, final", "deleted, final", "whole", "whole"],
      where,
    );
    const done = said(desk, "tombstone-done").map(({ tombstone }) => decodeTombstone(tombstone));
    const ids = done.map(({ clip }) => toHex(clip)).sort();
    assert.equal(ids, [seen, late].sort(), `${where}: once each`);
  },
};

const settling: Case = {
  args: () => ["clips"],
  prepare: (desk) => desk.camera.say({ kind: "day-closed", day: 0 }).then(desk.turn),
  async broken(desk, _, where) {
    for (const clip of [seen, kept, day, late]) assert.ok(await opens(desk, clip), where);
  },
  async again(desk, { out }, where) {
    for (const clip of [seen, kept, day, late]) {
      assert.match(out, new RegExp(`${clip.slice(0, 12)} .*whole`), where);
    }
    assert.not(await opens(desk, gone), where);
    const { days, clips, oneTime } = await keysOf(desk);
    assert.not(
      days.some((one) => one.day === 0),
      where,
    );
    const used = new Set(clips.flatMap((one) => (one.oneTime ? [toHex(one.oneTime)] : [])));
    assert.not(
      oneTime.some(({ id }) => used.has(toHex(id))),
      where,
    );
    await desk.turn();
    assert.is(said(desk, "tombstone-confirmed").length, 1, where);
    assert.ok(
      (await readdir(desk.home)).some((name) => name.startsWith("log.")),
      where,
    );
  },
};

const removing: Case = {
  args: () => ["remove-phone", "Ben"],
  mayBeOver: /"Ben" names 0 phones/,
  async again(desk, _, where) {
    const members = desk.camera.members?.head.members.map(({ name }) => name);
    assert.equal(members, ["Ada"], where);
    assert.is(said(desk, "membership").length, 1, where);
    assert.equal((await keysOf(desk)).removing, [], where);
  },
};

const setting: Case = {
  args: () => ["settings", "detect.threshold", "0.6"],
  async again(desk, { out }, where) {
    assert.match(out, /detect\.threshold is 0\.6/, where);
    assert.is(said(desk, "setting").at(-1)?.value, "0.6", where);
    assert.equal((await keysOf(desk)).outgoing, [], where);
  },
};

const papersIn = ({ out }: Said) => {
  const link = /obscura-kit:[\w-]+/.exec(out)?.[0];
  return link ? [kitKeys(parseLink("kit", link).secret).phone.publicKey] : [];
};

const makingKit: Case = {
  args: () => ["recovery-kit", "make", "--json"],
  async again(desk, second, where, first) {
    const papers = [...papersIn(first), ...papersIn(second)].map(toHex);
    const members = desk.camera.members?.head.members ?? [];
    const kits = members.filter(({ role }) => role === "kit").map(({ phone }) => toHex(phone));
    assert.ok(
      papersIn(second).every((paper) => kits.includes(toHex(paper))),
      where,
    );
    assert.ok(
      kits.every((kit) => papers.includes(kit)),
      `${where}: a kit that nobody has seen`,
    );
    assert.equal((await keysOf(desk)).adding, [], where);
  },
};

const shooting: Case = {
  args: ({ out }) => ["snapshot", "-o", join(out, "now.jpg")],
  broken: (desk, _, where) => isWholeOrAbsent(desk, { "now.jpg": pattern(3000) }, where),
  again: (desk, _, where) => isAll(desk, { "now.jpg": pattern(3000) }, where),
};

const erasing: Case = {
  args: () => ["erase", "Front door"],
  async again(desk, { out }, where) {
    assert.match(out, /is erased/, where);
    assert.ok(
      said(desk, "command-done").some(({ action }) => action === "erase"),
      where,
    );
  },
};

type Files = Readonly<Record<string, Uint8Array>>;
const isPart = (name: string) => name.startsWith(".unfinished-");

/** A film says in its index when it was made. */
const timeless = (bytes: Uint8Array) =>
  bytes.subarray(Math.max(0, Buffer.from(bytes).indexOf("mdat")));

/** Each of them is there as it should be, or is not; what is half says so. */
async function isWholeOrAbsent({ out }: Desk, files: Files, where: string): Promise<void> {
  for (const name of (await readdir(out)).filter((one) => !isPart(one))) {
    const [found, whole] = [await readFile(join(out, name)), files[name]];
    assert.is(found.length, whole?.length, `${where}: ${name}`);
    assert.ok(whole && Buffer.compare(timeless(found), timeless(whole)) === 0, `${where}: ${name}`);
  }
}

async function isAll(desk: Desk, files: Files, where: string): Promise<void> {
  assert.equal((await readdir(desk.out)).sort(), Object.keys(files).sort(), where);
  await isWholeOrAbsent(desk, files, where);
}

/** Two clips that any player plays, and what comes of them. */
async function exporting(): Promise<Case> {
  const { objects, camera, ada } = await circleWorld();
  await camera.record({ film: await testFilm({ seconds: 1 }) });
  await camera.record({ short: true, picture: pattern(3000) });
  const args = ({ out }: Desk) => ["export", "--all", "-o", out];
  const start: House = { objects, camera, phones: [ada] };
  await using desk = await openDesk(start);
  assert.is((await desk.run(...args(desk))).code, 0);
  const files: Record<string, Uint8Array> = {};
  for (const name of await readdir(desk.out)) files[name] = await readFile(join(desk.out, name));
  assert.is(Object.keys(files).length, 2);
  return {
    ...{ start, args },
    broken: (one, _, where) => isWholeOrAbsent(one, files, where),
    again: (one, _, where) => isAll(one, files, where),
  };
}

const backingUp: Case = {
  args: ({ out }) => ["backup", join(out, "keys")],
  async again(desk, _, where) {
    assert.equal(await readdir(desk.out), ["keys"], where);
    const { code, err } = await desk.run("restore", join(desk.out, "keys"), "--force");
    assert.is(code, 0, `${where}: ${err}`);
    assert.ok(await opens(desk, kept), where);
  },
};

const restoring: Case = {
  args: ({ out }) => ["restore", join(out, "keys"), "--force"],
  async prepare(desk) {
    assert.is((await desk.run("backup", join(desk.out, "keys"))).code, 0);
    assert.is((await desk.run("delete", kept)).code, 0);
  },
  // The old or the new, and no other.
  broken: (desk) => keysOf(desk),
  async again(desk, _, where) {
    assert.ok(await opens(desk, kept), where);
  },
};

const verifying: Case = {
  args: () => ["verify"],
  async again(_, { out }, where) {
    assert.match(out, /no lie and no loss found/, where);
    assert.match(out, /1 deleted/, where);
  },
};

suite("phone broken off", (test) => {
  const limits = { deadlineMs: 600_000 };
  const exact: How[] = ["killed", "full"];
  const rough: How[] = ["killed in effect", "full in a write"];
  const killed: How[] = ["killed in effect"];
  const all: [string, Case | (() => Promise<Case>), ways?: How[]][] = [
    [
      "delete: what is destroyed is asked for, of each clip once, and the others open",
      deleting,
      rough,
    ],
    ["clips: no key is gone early, and none is left that has done its work", settling, rough],
    ["export: each file is whole or not there, and nothing is left of what was half", exporting],
    ["remove-phone: he is out, once", removing, killed],
    ["settings: the value is in force", setting, killed],
    ["recovery-kit make: no kit that nobody has seen", makingKit, killed],
    ["snapshot: the picture is whole or not there", shooting, killed],
    ["verify: finds nothing wrong", verifying, ["full in a write"]],
    ["erase: the camera is told", erasing, killed],
    ["backup: the file is whole or not there", backingUp],
    ["restore: the old keys or those that were put back", restoring],
  ];
  for (const [what, one, ways = exact] of all) {
    test(
      what,
      async () => {
        const meant = typeof one === "function" ? await one() : one;
        const counts: string[] = [];
        for (const how of ways) counts.push(`${how} at ${await everyStep(how, meant)} steps`);
        console.log(`\nmeasured: ${what}: ${counts.join(", ")}`);
      },
      limits,
    );
  }
});
