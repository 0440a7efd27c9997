import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { openHttp } from "../../../src/base/node/http.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { openKeyring } from "../../../src/device/keyring.ts";
import { doorKeyOf } from "../../../src/phone/doors.ts";
import { readJournal, statements } from "../../../src/phone/journal.ts";
import { makeBatch, signBatch } from "../../../src/phone/keys.ts";
import { addOutgoing, sendOutgoing } from "../../../src/phone/outgoing.ts";
import { openRelay } from "../../../src/phone/relay.ts";
import { removePhone } from "../../../src/phone/remove.ts";
import { survey } from "../../../src/phone/survey.ts";
import { tend } from "../../../src/phone/tend.ts";
import { roleOf } from "../../../src/protocol/sealed/membership.ts";
import {
  kemPair,
  random,
  sign,
  signPair,
  signPublicKey,
} from "../../../src/protocol/sealed/sodium.ts";
import { encodeSupply } from "../../../src/protocol/sealed/supply.ts";
import { encodeConfirmation } from "../../../src/protocol/sealed/tombstone.ts";
import { openMailbox } from "../../../src/protocol/wire/client.ts";
import { printName } from "../../../src/protocol/wire/name.ts";
import { watched } from "../../lib/busy.ts";
import { startCamera } from "../../lib/commands.ts";
import { type Deceived, deceivedWorld, type House } from "../../lib/deceived.ts";
import type { Lie } from "../../lib/hostile.ts";
import * as lies from "../../lib/lies.ts";
import { suite } from "../../lib/suite.ts";
import { type Row, tell } from "../../lib/told.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** What is on its way while the relay lies: the names of two commands, the older first. */
type Sent = { writer: string; names: readonly string[]; asked: readonly Uint8Array[] };
type Case = {
  does: string;
  lie(sent: Sent): Lie;
  /** Whether the commands are carried out while it lies, one of them first, or the phone waits. */
  meanwhile: "done" | "waits" | "half";
  /** Every poll is answered at once: how much is asked in an hour is counted. */
  spins?: true;
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
      ...{ lie: () => lies.inventWhenAsked, meanwhile: waits, spins: true },
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

/** A camera that takes commands, and the phone that sends them, both over the liar. */
async function open(world: Deceived) {
  const [door] = world.houses as [House];
  const { hostile, vault } = world;
  const camera = vault.content.cameras.find(({ name }) => name === door.name);
  if (!camera) throw new Error("no camera");
  const keyring = await openKeyring(door.state);
  const http = openHttp();
  const clock = new ManualClock();
  const { mailbox, pass } = watched(
    openMailbox({
      ...{ url: hostile.url, mailbox: keyring.adopted?.mailbox ?? new Uint8Array() },
      ...{ key: keyring.identity.request, sign: keyring.signRequest, suite: nodeSuite },
      ...{ nowMs: () => Date.now(), send: http.send },
    }),
  );
  const running = await startCamera({ state: door.state }, { relays: [mailbox], clock });
  const link = await openRelay(hostile.url, camera, { ...world.line, send: http.send });
  let nowMs = Date.now();
  const about = () => ({ link, vault, camera, suite: nodeSuite, nowMs });
  return {
    ...{ running, camera, link, hostile, door, line: { ...world.line, send: http.send } },
    hour: () => pass(clock, hourMs, minuteMs),
    about,
    /** Puts two commands on their way; what they ask for does nothing but stand in the log. */
    async ask(): Promise<Sent> {
      const { phone, phoneKey } = vault.content;
      const by = { sign: (message: Uint8Array) => sign(phone, message), suite: nodeSuite };
      const asked = [1, 2].map(() => {
        const done = [{ clip: random(16), tombstone: random(32) }];
        const fields = { camera: camera.id, phone: phoneKey, atMs: nowMs, done };
        return encodeConfirmation(fields, by).bytes;
      });
      const items = asked.map((confirmation) =>
        addOutgoing(camera, { kind: "confirm", replaces: 0, confirmation }, nowMs),
      );
      const journal = await readJournal({ link, camera, suite: nodeSuite });
      await sendOutgoing({ ...about(), journal });
      const names = items.flatMap(({ sent }) => (sent ? [printName(sent.name)] : []));
      return { names, asked, writer: toHex(signPublicKey(camera.request)) };
    },
    /** The phone looks, a quarter of an hour later, and does what is due. */
    async tend() {
      nowMs += 15 * minuteMs;
      const found = await survey({ link, vault, camera, suite: nodeSuite, depth: "new", nowMs });
      await tend({ ...about(), survey: found, size: { oneTime: 6, days: 4 } });
      return found;
    },
    /** Time passes for the camera until something is so; asked `every` so many steps. */
    async until(isSo: () => boolean | Promise<boolean>, every = 1): Promise<void> {
      for (let i = 0; i % every > 0 || !(await isSo()); i++) {
        if (i > 8000) throw new Error("it never came");
        // A long poll waits by the relay's clock, which nobody moves here.
        if (i % 200 === 199) hostile.cut();
        clock.advance(20_000);
        await wait(5);
      }
    },
    async [Symbol.asyncDispose]() {
      hostile.lie = undefined;
      await running.stop();
      http.close();
    },
  };
}

type Open = Awaited<ReturnType<typeof open>>;

/** How often each command was carried out, as the camera's own log says. */
async function countIn({ about }: Open, sent: readonly Uint8Array[]): Promise<number[]> {
  const { link, camera } = about();
  const journal = await readJournal({ link, camera, suite: nodeSuite });
  const said = statements(journal, "tombstone-confirmed").map(({ statement }) =>
    toHex(statement.confirmation),
  );
  return sent.map((one) => said.filter((other) => other === toHex(one)).length);
}

suite("commands over a hostile relay", (test) => {
  test(
    "what camera and phone say to each lie, and that each command is carried out once",
    async () => {
      await using world = await deceivedWorld(["door", "garden"]);
      await using all = await open(world);
      const { running, camera, hostile, until } = all;
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
        const before = running.done.length;
        await until(() => running.done.length > before);
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
      const taken = running.done.filter(({ action }) => action === "supply");
      assert.equal(taken, [{ action: "supply" }, { action: "supply" }]);
      assert.equal(running.problems, []);
      rows.push(...(await removal(all)));
      console.log(
        `\nmeasured: hostile relay: ${rows.length} lies about commands; one that spins is asked ${most} times in the hour`,
      );
      await tell("commands", rows);
    },
    { deadlineMs: 600_000 },
  );
});

async function judge(one: Case, all: Open) {
  const { running, camera, hostile, until, hour } = all;
  const before = running.done.length;
  const since = () => running.done.slice(before);
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
  const counts = await countIn(all, sent.asked);
  const failures: string[] = [];
  if (counts.some((often) => often !== 1)) failures.push(`carried out ${counts} times`);
  if (perHour > 4000) failures.push(`${perHour} requests in an hour`);
  return { says, perHour, failure: failures.join("; ") };
}

/** A phone is let in and taken out again, and the relay holds that back. */
async function removal(all: Open): Promise<Row[]> {
  const { camera, running, hostile, until, about } = all;
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
  const before = running.done.length;
  const waiting = async (does: string) => {
    assert.ok(await isIn(), does);
    const isLeft = camera.removing.some((one) => toHex(one) === toHex(ben.publicKey));
    const camera_ = running.done.length > before ? "carried out" : "nothing comes";
    rows.push({
      does,
      says: [`camera: ${camera_}`, `phone: ${isLeft ? "not yet removed" : "removed"}`],
    });
  };
  await waiting("holds a removal back from the camera");
  // Now the camera hears of it, and the phone is not told.
  const known = new Set(running.outbox.entries().map((name) => printName(name)));
  const isTold = (name: string) => name.startsWith("entry/") && !known.has(name);
  hostile.lie = lies.withhold(isTold);
  await until(async () => (await all.tend()) && running.done.length > before, 20);
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
  const count = running.done.length;
  await until(() => running.done.length === count + names.length);
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
