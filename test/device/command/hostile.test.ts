import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { doorKeyOf } from "../../../src/phone/doors.ts";
import { readJournal, statements } from "../../../src/phone/journal.ts";
import { makeBatch, signBatch } from "../../../src/phone/keys.ts";
import { addOutgoing, sendOutgoing } from "../../../src/phone/outgoing.ts";
import { openRelay } from "../../../src/phone/relay.ts";
import { removePhone } from "../../../src/phone/remove.ts";
import { roleOf } from "../../../src/protocol/sealed/membership.ts";
import { kemPair, sign, signPair } from "../../../src/protocol/sealed/sodium.ts";
import { encodeSupply } from "../../../src/protocol/sealed/supply.ts";
import { printName } from "../../../src/protocol/wire/name.ts";
import { type Deceived, deceivedWorld, type House } from "../../lib/deceived.ts";
import type { Lie } from "../../lib/hostile.ts";
import * as lies from "../../lib/lies.ts";
import { type Obeyed, openObeyed, type Sent } from "../../lib/obeyed.ts";
import { suite } from "../../lib/suite.ts";
import { type Row, tell } from "../../lib/told.ts";

type Case = {
  does: string;
  lie(sent: Sent): Lie;
  /** Whether the commands are carried out while it lies, one of them first, or the phone waits. */
  meanwhile: "done" | "waits" | "half";
  /** Every poll is answered at once: how much is asked in an hour is counted. */
  spins?: true;
  /** The camera is started anew when they are carried out: which boxes it saw it has forgotten. */
  forgets?: true;
};

const isBox = (name: string) => name.startsWith("box/");

/** Every box that was ever put into a mailbox, whether it is there yet or not. */
function boxesOf({ hostile }: Deceived, { mailbox }: House, of = isBox) {
  return [...(hostile.kept.get(mailbox) ?? [])]
    .filter(([name]) => isBox(name) && of(name))
    .map(([name, all]) => ({ hash: lies.hashOf(name), bytes: all.at(-1) ?? Buffer.alloc(0) }));
}

function casesOf(world: Deceived, supplies: readonly string[]): Case[] {
  const [door, garden] = world.houses as [House, House];
  const [done, waits] = ["done", "waits"] as const;
  return [
    { does: "is honest", lie: () => ({}), meanwhile: done },
    {
      does: "replays every command that it ever saw, under later names",
      ...{ lie: () => lies.again(boxesOf(world, door)), meanwhile: done },
    },
    {
      does: "replays every command that it ever saw, to a camera that was started anew",
      lie: () => lies.again(boxesOf(world, door)),
      ...{ meanwhile: done, forgets: true },
    },
    {
      does: "replays every supply that it ever saw",
      lie: () => lies.again(boxesOf(world, door, (name) => supplies.includes(name))),
      meanwhile: done,
    },
    {
      does: "gives another camera's commands and its supply",
      ...{ lie: () => lies.again(boxesOf(world, garden)), meanwhile: done },
    },
    {
      does: "keeps the older of two commands back",
      ...{ lie: ({ names }) => lies.withhold((name) => name === names[0]), meanwhile: "half" },
    },
    {
      does: "gives the one command in the place of the other",
      lie: ({ names: [first = "", second = ""] }) =>
        lies.give(isBox, (bytes) => {
          const kept = world.hostile.kept.get(door.mailbox);
          const [one, other] = [kept?.get(first)?.at(-1), kept?.get(second)?.at(-1)];
          return (other && bytes.equals(other) ? one : other) ?? bytes;
        }),
      meanwhile: waits,
    },
    { does: "keeps all commands back", lie: () => lies.withhold(isBox), meanwhile: waits },
    {
      does: "flips a bit of each command",
      lie: () =>
        lies.give(isBox, (bytes) => {
          const copy = Buffer.from(bytes);
          copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
          return copy;
        }),
      meanwhile: waits,
    },
    {
      does: "cuts each command short",
      ...{ lie: () => lies.give(isBox, (bytes) => bytes.subarray(0, -9)), meanwhile: waits },
    },
    {
      does: "invents a name behind which no other comes",
      lie: ({ writer }) => ({
        after: (asked, reply) =>
          lies.ofListings(asked) && asked.query.get("under") === `box/${writer}/`
            ? lies.object(
                Buffer.from(
                  `${lies.boxName(writer, Number.MAX_SAFE_INTEGER, "e".repeat(64))} 300\n`,
                ),
              )
            : reply,
      }),
      meanwhile: waits,
    },
    {
      does: "says to each long poll at once that nothing came",
      ...{ lie: () => lies.together(lies.withhold(isBox), lies.atOnce), meanwhile: waits },
      spins: true,
    },
    {
      does: "says to each long poll at once that something came, and there is nothing",
      // What there is it finds all the same, at its next look from the first box on.
      ...{ lie: () => lies.inventWhenAsked, meanwhile: done, spins: true },
    },
    {
      does: "invents commands without end",
      ...{ lie: () => lies.together(lies.invent("box"), lies.atOnce), meanwhile: waits },
      spins: true,
    },
    {
      does: "gives an old command under later names without end",
      lie: () => {
        const [first] = boxesOf(world, door);
        return lies.together(lies.again(first ? [first] : []), lies.atOnce);
      },
      ...{ meanwhile: done, spins: true },
    },
  ];
}

/**
 * What the camera's own log says against this: each command is carried out, and no more often than it was
 * sealed. A phone whose quarters of an hour pass faster than this machine works seals it once more.
 */
async function wrongIn({ about }: Obeyed, { asked, sealed }: Sent): Promise<string[]> {
  const { link, camera } = about();
  const journal = await readJournal({ link, camera, suite: nodeSuite });
  const said = statements(journal, "tombstone-confirmed").map(({ statement }) =>
    toHex(statement.confirmation),
  );
  const counts = asked.map((one) => said.filter((other) => other === toHex(one)).length);
  const times = sealed();
  const isWrong = counts.some((often, i) => often < 1 || often > (times[i] ?? 0));
  const numbers = statements(journal, "command-done").map(
    ({ statement: { phone, number } }) => `${toHex(phone)} ${number}`,
  );
  return [
    ...(isWrong ? [`carried out ${counts} times, sealed ${times} times`] : []),
    ...(new Set(numbers).size < numbers.length ? ["a number was carried out twice"] : []),
  ];
}

suite("commands over a hostile relay", (test) => {
  test(
    "what camera and phone say to each lie, and that each command is carried out once",
    async () => {
      await using world = await deceivedWorld(["door", "garden"]);
      await using all = await openObeyed(world);
      const { camera, hostile, until } = all;
      const supplies: string[] = [];
      const supply = async (of: typeof camera) => {
        const batch = makeBatch(of, { oneTime: 3, days: 2 }, 0);
        const bytes = signBatch(batch, { vault: world.vault, camera: of, suite: nodeSuite });
        addOutgoing(of, { kind: "supply", replaces: batch.batch - 1, supply: bytes }, Date.now());
        await world.vault.save();
      };
      // Two supplies that the camera takes, and what another camera is sent.
      for (let i = 0; i < 2; i++) {
        await supply(camera);
        await all.tend();
        supplies.push(...camera.outgoing.flatMap(({ sent }) => (sent ? printName(sent.name) : [])));
        const before = all.done.length;
        await until(() => all.done.length > before);
        await until(async () => (await all.tend()) && camera.outgoing.length === 0, 20);
      }
      const garden = world.vault.content.cameras.find(({ name }) => name === "garden");
      if (!garden) throw new Error("no garden");
      await supply(garden);
      const gardens = await openRelay(hostile.url, garden, world.line);
      const journal = await readJournal({ link: gardens, camera: garden, suite: nodeSuite });
      await sendOutgoing({ ...all.about(), link: gardens, camera: garden, journal });

      const rows: Row[] = [];
      const wrong: string[] = [];
      let most = 0;
      for (const one of casesOf(world, supplies)) {
        const { failure, says, perHour } = await judge(one, all);
        rows.push({ does: one.does, says });
        if (failure) wrong.push(`${one.does}: ${failure}`);
        most = Math.max(most, perHour);
        if (process.env.OBSCURA_SHOW) console.error(one.does, says, perHour, failure);
      }
      assert.equal(wrong, []);
      // One that was sealed once more is refused.
      const taken = all.done.filter(({ action, refused }) => action === "supply" && !refused);
      assert.equal(taken, [{ action: "supply" }, { action: "supply" }]);
      assert.equal(all.problems, []);
      rows.push(...(await removal(all)));
      console.log(
        `\nmeasured: hostile relay: ${rows.length} lies about commands; one that spins is asked ${most} times in the hour`,
      );
      await tell("commands", rows);
    },
    { deadlineMs: 1_000_000 },
  );
});

async function judge(one: Case, all: Obeyed) {
  const { camera, hostile, until, hour } = all;
  const before = all.done.length;
  const since = () => all.done.slice(before);
  const isDone = (count: number) => () => since().filter(({ refused }) => !refused).length >= count;
  // Nothing comes through before the lie is told.
  hostile.lie = lies.withhold(isBox);
  const sent = await all.ask();
  hostile.forget();
  hostile.lie = one.lie(sent);
  hostile.cut();
  let perHour = 0;
  if (one.spins) {
    await hour();
    perHour = hostile.asked.length;
  }
  // Enough that what was given has been looked into.
  const polls = () =>
    hostile.asked.filter(({ query }) => query.get("under") === `box/${sent.writer}/`).length;
  if (one.meanwhile === "waits") await until(() => polls() > 3);
  else await until(isDone(one.meanwhile === "done" ? 2 : 1));
  if (one.forgets) {
    await all.restart();
    hostile.forget();
    await until(() => polls() > 3);
    const given = hostile.asked.filter(({ method, name }) => method === "GET" && isBox(name));
    assert.ok(given.length >= sent.names.length, "nothing was replayed");
  }
  const tended = async () => (await all.tend()) && camera.outgoing.length === 0;
  const says = [
    `camera: ${since().length === 0 ? "nothing comes" : `${since().length} of 2 done`}`,
  ];
  says.push(...since().flatMap(({ refused }) => (refused ? `camera: refused: ${refused}` : [])));
  try {
    if (one.meanwhile === "waits") await tended();
    else await until(tended, 20);
    says.push(`phone: ${camera.outgoing.length === 0 ? "done" : `${camera.outgoing.length} wait`}`);
  } catch (error) {
    if (!isFailure(error)) throw error;
    says.push(`phone: ${error.kind} ${error.stage}: ${error.message}`);
  }
  hostile.lie = undefined;
  await until(tended, 20);
  const failures = await wrongIn(all, sent);
  if (perHour > 4000) failures.push(`${perHour} requests in an hour`);
  return { says, perHour, failure: failures.join("; ") };
}

/** A phone is let in and taken out again, and the relay holds that back. */
async function removal(all: Obeyed): Promise<Row[]> {
  const { camera, hostile, until, about } = all;
  const ben = signPair();
  const { bytes } = encodeSupply(
    {
      ...{ phone: ben.publicKey, camera: camera.id, incarnation: camera.incarnation, batch: 1 },
      ...{ firstIndex: 0, firstDay: 0, oneTime: [], days: [kemPair().publicKey] },
      restart: kemPair().publicKey,
    },
    { sign: (message) => sign(ben.secret, message), suite: nodeSuite },
  );
  camera.adding.push({ phone: ben.publicKey, role: "viewer", name: "Ben", supply: bytes });
  await until(async () => (await all.tend()) && !camera.adding[0] && !camera.outgoing[0], 20);
  const isIn = async () => {
    const { journal } = await all.tend();
    return roleOf(journal.members.head, ben.publicKey) !== undefined;
  };
  assert.ok(await isIn());
  const rows: Row[] = [];
  const { vault } = about();
  const { journal } = await all.tend();
  hostile.lie = lies.withhold(isBox);
  await removePhone(ben.publicKey, { vault, camera, journal });
  const before = all.done.length;
  const waiting = async (does: string) => {
    assert.ok(await isIn(), does);
    const isLeft = camera.removing.some((one) => toHex(one) === toHex(ben.publicKey));
    const camera_ = all.done.length > before ? "carried out" : "nothing comes";
    rows.push({
      does,
      says: [`camera: ${camera_}`, `phone: ${isLeft ? "not yet removed" : "removed"}`],
    });
  };
  await waiting("holds a removal back from the camera");
  // Now the camera hears of it, and the phone is not told.
  const known = new Set(all.outbox.entries().map((name) => printName(name)));
  const isTold = (name: string) => name.startsWith("entry/") && !known.has(name);
  hostile.lie = lies.withhold(isTold);
  await until(async () => (await all.tend()) && all.done.length > before, 20);
  await waiting("holds back from the phone that it was carried out");
  hostile.lie = undefined;
  await until(async () => !(await isIn()), 20);
  await all.tend();
  assert.equal(camera.removing, []);

  // Who was removed has no door any more; a relay that shows the older list opens it for nobody here.
  const { root } = camera;
  const shut = root && toHex(doorKeyOf(root, ben.publicKey));
  const versions = hostile.kept.get(all.door.mailbox)?.get("door") ?? [];
  assert.ok(versions.length > 2, "three lists of doors");
  const isAsked = () =>
    hostile.asked.some(({ query }) => query.get("under")?.includes(shut ?? "-"));
  await until(() => {
    const isShut = !isAsked();
    hostile.forget();
    return isShut;
  });
  hostile.lie = lies.give(
    (name) => name === "door",
    () => versions[1] ?? Buffer.alloc(0),
  );
  hostile.forget();
  const { names } = await all.ask();
  const count = all.done.length;
  await until(() => all.done.length === count + names.length);
  assert.not.ok(isAsked(), "the box of who was removed is read again");
  const { faults } = await openRelay(hostile.url, camera, all.line);
  rows.push({
    does: "rolls the door list back",
    says: [
      "camera: the newer list stays: the box of who was removed is not read",
      ...(faults ?? []).map(({ severity, kind, text }) => `phone: ${severity} ${kind}: ${text}`),
    ],
  });
  hostile.lie = undefined;
  await until(async () => (await all.tend()) && !camera.outgoing[0], 20);
  return rows;
}
