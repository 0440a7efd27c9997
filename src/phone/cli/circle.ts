import { hostname } from "node:os";
import { createInterface } from "node:readline/promises";
import encodeQr from "qr";
import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { systemClock } from "../../base/node/time.ts";
import { equal, toHex, toText } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { joinKeys } from "../../protocol/sealed/join.ts";
import { parseLink } from "../../protocol/sealed/link.ts";
import type { Member } from "../../protocol/sealed/membership.ts";
import {
  acceptAnswer,
  grant,
  isJoined,
  readAnswer,
  type Shown,
  showAgain,
  showLink,
  takeBack,
} from "../add.ts";
import { answerLink, takeGrant } from "../join.ts";
import { statements } from "../journal.ts";
import { type Line, openFirstGuest } from "../relay.ts";
import { findMember, removePhone } from "../remove.ts";
import { type CameraKeys, shortId, Vault } from "../vault.ts";
import { type Arguments, readTyped } from "./arguments.ts";
import { openFolder } from "./folder.ts";
import { isReached, type Looking, lookAtAll, type Reached } from "./looking.ts";
import type { Voice } from "./out.ts";
import { printTable } from "./show.ts";
import type { Home } from "./store.ts";
import type { Say } from "./world.ts";

// obscura-phone phones, add-phone, join, remove-phone: who opens a camera's clips.

const joinWaitMs = 10 * 60_000;
const removeWaitMs = 20_000;
const pauseMs = 1500;
const longestLink = { what: "a link", mostBytes: 4096 };

/** What the commands here work on. */
export type Desk = {
  readonly given: Arguments;
  readonly store: Home;
  readonly line: Line;
  readonly voice: Voice;
  readonly say: Say;
};

const looksOf = (desk: Desk, vault: Vault) => lookAtAll({ ...desk, vault });

/** `phones`: every member of every camera's list, and what is being changed about it. */
export async function phones(desk: Desk): Promise<number> {
  const vault = await Vault.open(desk.store);
  const own = vault.content.phoneKey;
  const all = await looksOf(desk, vault);
  const lists = all.map(({ camera, list, disputes, journal }) => {
    const members = [
      ...list.members.map((member) => ({ ...member, state: stateOf(member, camera, own) })),
      ...camera.adding
        .filter(({ phone }) => !list.members.some((one) => equal(one.phone, phone)))
        .map(({ phone, role, name }) => ({ phone, role, name, state: "not yet added" })),
    ];
    const keys = (phone: Uint8Array) =>
      equal(phone, own) ? camera.oneTime.length : journal && keysLeft(journal, phone);
    return { camera, list, disputes, members: members.map((m) => ({ ...m, keys: keys(m.phone) })) };
  });
  const rows = lists.flatMap(({ camera: { id, name }, members }) =>
    members.map((member) => [
      `${name || "camera"} ${shortId(id)}`,
      member.name || "-",
      shortId(member.phone),
      member.role,
      member.role === "kit" ? "on paper" : (member.keys?.toString() ?? "-"),
      member.state,
    ]),
  );
  const disputes = lists.filter((one) => one.disputes > 0);
  const warn = disputes
    .map(({ camera }) => `${camera.name}: owners signed two lists in one place; see verify\n`)
    .join("");
  desk.say(printTable([["CAMERA", "PHONE", "ID", "ROLE", "KEYS LEFT", "STATE"], ...rows]) + warn, {
    cameras: lists.map(({ camera: { id, name, oneTime }, list, disputes: count, members }) => ({
      ...{ camera: toHex(id), name, version: list.version, disputes: count },
      oneTimeKeys: oneTime.length,
      phones: members.map(({ phone, name: called, role, state, keys }) => ({
        ...{ id: toHex(phone), name: called, role, own: equal(phone, own), state },
        ...(keys === undefined ? {} : { keys }),
      })),
    })),
  });
  return 0;
}

function stateOf({ phone }: Member, { removing }: CameraKeys, own: Uint8Array): string {
  if (removing.some((one) => equal(one, phone))) return "not yet removed";
  return equal(phone, own) ? "this phone" : "";
}

/** One-time keys that the camera has left of a phone, as the log says. */
function keysLeft(journal: NonNullable<Looking["journal"]>, phone: Uint8Array): number | undefined {
  const last = statements(journal, "supply-acknowledged").findLast(({ statement }) =>
    equal(statement.phone, phone),
  );
  if (!last) return undefined;
  const { sequence } = last.record.entry;
  const since = statements(journal, "clip-started").filter(
    ({ record }) => record.entry.sequence > sequence,
  );
  const { nextIndex, endIndex } = last.statement;
  return Math.max(0, endIndex - nextIndex - since.length);
}

/** `add-phone`: shows a link, waits for an answer, asks whether the words are the same, grants. */
export async function addPhone(desk: Desk): Promise<number> {
  const { given, voice, say } = desk;
  const vault = await Vault.open(desk.store);
  const all = await reached(desk, vault);
  const nowMs = Date.now();
  for (const old of vault.content.links.filter(({ untilMs }) => untilMs <= nowMs)) {
    await takeBack(old, vault);
  }
  const [known] = vault.content.links;
  if (given.cancel) {
    for (const one of [...vault.content.links]) await takeBack(one, vault);
    await looksOf(desk, vault);
    say("no link is good any more\n", { cancelled: true });
    return 0;
  }
  const meeting = (known && all.find(({ camera }) => equal(camera.id, known.meeting))) ?? all[0];
  if (!meeting) throw new Failure("absent", "no camera was reached");
  const options = { vault, link: meeting.link, suite: nodeSuite, nowMs };
  const role = given.viewer ? "viewer" : "owner";
  const { text, shown } = known
    ? { shown: known, text: await showAgain(known, meeting.camera, options) }
    : await showLink(all, role, options);
  // The link's own door has to be there before the other phone comes.
  await looksOf(desk, vault);
  if (!shown.answer) {
    // With --check the other phone has had it already.
    if (!given.json && given.check === undefined) {
      voice.print(`${encodeQr(text.toUpperCase(), "ascii")}\n${text}\n`);
      voice.warn(
        "on the other phone: obscura-phone join LINK. Whoever sees the link can answer it;",
      );
      voice.warn("it is good once and for a day at most, or until `add-phone --cancel`");
    }
    if (given.json) say("", { link: text, until: new Date(shown.untilMs).toISOString() });
    if (!(await awaitAnswer(desk, vault, shown, meeting))) return 0;
  }
  return await finishAdding(desk, vault, shown);
}

/** The cameras whose log could be read; at least one. */
async function reached(desk: Desk, vault: Vault): Promise<Reached[]> {
  const all = (await looksOf(desk, vault)).filter(isReached);
  if (all.length === 0) throw new Failure("offline", "no camera's relay was reached");
  return all;
}

async function awaitAnswer(
  { given, voice, say }: Desk,
  vault: Vault,
  shown: Shown,
  { camera, link }: Reached,
): Promise<boolean> {
  const end = performance.now() + (given.waitMs ?? joinWaitMs);
  voice.progress("waiting for the other phone");
  for (;;) {
    const answered = await readAnswer(shown, camera, {
      ...{ link, suite: nodeSuite, nowMs: Date.now() },
    });
    if (answered) {
      voice.progress("");
      const { word, answer } = answered;
      const who = `"${answer.name}" ${shortId(answer.phone)}`;
      if (!(await isSame(word, who, given.check))) {
        const hint = `Compare, then: obscura-phone add-phone --check ${word}`;
        throw new Failure("refused", `${who} answered with check word ${word}`, {
          stage: "check",
          hint,
        });
      }
      await acceptAnswer(shown, answered, vault);
      return true;
    }
    if (performance.now() >= end) {
      voice.progress("");
      if (!given.json) say("nobody has answered yet: say add-phone again to go on\n", {});
      return false;
    }
    await systemClock.sleep(pauseMs);
  }
}

/** Asks the person; without a terminal only --check says yes. */
async function isSame(word: string, who: string, check: string | undefined): Promise<boolean> {
  const plain = (text: string) => text.toUpperCase().replace(/[^0-9A-Z]/g, "");
  if (check !== undefined) return plain(check) === plain(word);
  if (!process.stdin.isTTY) return false;
  const input = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await input.question(
      `${who} shows a check word. Is it ${word} there too? Then type yes: `,
    );
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    input.close();
  }
}

/** Until every camera has taken the phone, and the phone has taken the grant. */
async function finishAdding(desk: Desk, vault: Vault, shown: Shown): Promise<number> {
  const { given, voice, say } = desk;
  const end = performance.now() + (given.waitMs ?? joinWaitMs);
  let isGranted = false;
  for (;;) {
    const all = await reached(desk, vault);
    const meeting = all.find(({ camera }) => equal(camera.id, shown.meeting));
    if (!isGranted && meeting) {
      const options = { vault, link: meeting.link, suite: nodeSuite, nowMs: Date.now() };
      isGranted = await grant(shown, all, options);
    }
    const isDone = isGranted && isJoined(shown, all, nodeSuite);
    voice.progress(isGranted ? "waiting for the other phone" : "waiting for the cameras");
    if (isDone) {
      await takeBack(shown, vault);
      await looksOf(desk, vault);
    }
    if (isDone || performance.now() >= end) {
      voice.progress("");
      const state = isDone ? "added" : isGranted ? "granted" : "waiting";
      const text = {
        added: "added: what is recorded from now on opens there too\n",
        granted:
          "the cameras have it; the other phone has not come back yet: say add-phone again\n",
        waiting: "the cameras have not taken it yet: say add-phone again to go on\n",
      }[state];
      say(text, { state });
      return 0;
    }
    await systemClock.sleep(pauseMs);
  }
}

/** `join LINK`: the other side. Without a link it goes on where it was. */
export async function joinPhones(desk: Desk): Promise<number> {
  const { given, store, line, voice, say } = desk;
  const isNew = (await store.load()) === undefined;
  const name = (given.phone ?? hostname()).slice(0, 32);
  const vault = isNew ? Vault.create(store, name) : await Vault.open(store);
  const { joining } = vault.content;
  const parsed = await readLink(given.operands, joining !== undefined);
  const meant = parsed ?? (joining && { ...joining, place: joining.mailbox });
  if (!meant) throw new Failure("misuse", "join takes the link that the owner's phone shows");
  const { request } = joinKeys(meant.secret, meant.place);
  const link = given.from
    ? await openFolder(given.from)
    : await openFirstGuest(given.relays ?? meant.relays, { mailbox: meant.place, request }, line);
  const options = () => ({ vault, link, suite: nodeSuite, nowMs: Date.now() });
  let cameras =
    joining && equal(joining.secret, meant.secret) ? await takeGrant(options()) : undefined;
  if (!cameras) {
    const { word, role, cameras: count } = await answerLink(meant, options());
    const what = `${count} camera${count === 1 ? "" : "s"} as ${role}`;
    voice.print(given.json ? "" : `joining ${what}, check word ${word}\n`);
    voice.warn("the owner's phone shows the same word, or somebody else has answered");
    if (given.json) say("", { state: "answered", check: word, role, cameras: count });
  }
  const end = performance.now() + (given.waitMs ?? joinWaitMs);
  voice.progress("waiting for the owner's phone");
  while (!cameras && performance.now() < end) {
    await systemClock.sleep(pauseMs);
    cameras = await takeGrant(options());
  }
  voice.progress("");
  if (!cameras) {
    if (!given.json) say("the owner's phone has not granted it yet: say join again to go on\n", {});
    return 0;
  }
  await lookAtAll({ given, store, vault, line, voice });
  say(
    `${cameras.map((camera) => camera.name).join(", ")}: this phone opens what is recorded now\n`,
    {
      state: "joined",
      cameras: cameras.map(({ id, name: called }) => ({ camera: toHex(id), name: called })),
    },
  );
  if (isNew) {
    voice.warn(`the keys lie in ${given.home} and nowhere else: obscura-phone backup FILE`);
  }
  return 0;
}

async function readLink(operands: readonly string[], mayBeNone: boolean) {
  const [given] = operands;
  if (given === undefined && mayBeNone) return undefined;
  if (given === undefined) {
    throw new Failure("misuse", "join takes the link that the owner's phone shows", {
      hint: "or - to read it from standard input",
    });
  }
  const text = given === "-" ? toText(await readNamed(given, longestLink)) : given;
  return readTyped(() => parseLink("join", text.trim()));
}

/** `remove-phone NAME`: out of every camera's list that it is in. */
export async function removePhones(desk: Desk): Promise<number> {
  const { given, voice, say } = desk;
  const [name = ""] = given.operands;
  const vault = await Vault.open(desk.store);
  const all = await reached(desk, vault);
  let found: Member | undefined;
  for (const { camera, journal } of all) {
    const { members } = journal.members.head;
    const known = found;
    const member = known
      ? members.find(({ phone }) => equal(phone, known.phone))
      : tryFind(members, name);
    if (!member) continue;
    found = member;
    await removePhone(member.phone, { vault, camera, journal });
  }
  if (!found)
    findMember(
      all.flatMap(({ journal }) => journal.members.head.members),
      name,
    );
  const end = performance.now() + (given.waitMs ?? removeWaitMs);
  voice.progress("waiting for the cameras");
  for (;;) {
    const waiting = (await looksOf(desk, vault)).filter(({ camera }) => camera.removing.length > 0);
    if (waiting.length === 0 || performance.now() >= end) {
      voice.progress("");
      const who = found?.name || name;
      const left = waiting.map(({ camera }) => camera.name || shortId(camera.id)).join(", ");
      const text =
        waiting.length === 0
          ? `${who} is removed: it opens nothing that is recorded from now on\n`
          : `${who} is not yet removed: ${left} has not said so. Every later command goes on with it\n`;
      say(text, {
        ...{ phone: who, removed: waiting.length === 0 },
        waiting: waiting.map(({ camera }) => toHex(camera.id)),
      });
      return 0;
    }
    await systemClock.sleep(pauseMs);
  }
}

function tryFind(members: readonly Member[], name: string): Member | undefined {
  try {
    return findMember(members, name);
  } catch (error) {
    if (isFailure(error, "misuse") && /names 0 /.test(explain(error))) return undefined;
    throw error;
  }
}
