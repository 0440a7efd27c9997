import { hostname } from "node:os";
import encodeQr from "qr";
import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { systemClock } from "../../base/node/time.ts";
import { equal, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import {
  parseLines,
  parseLink,
  printLines,
  printLink,
  type SecretLink,
} from "../../protocol/sealed/link.ts";
import { signPublicKey } from "../../protocol/sealed/sodium.ts";
import { mailboxOf } from "../../protocol/wire/name.ts";
import { keepDoors, memberDoor } from "../doors.ts";
import { drawKit, grantKit, installKit, openKit, tendKit, testKit } from "../recovery.ts";
import { openFirstGuest } from "../relay.ts";
import { type CameraKeys, Vault } from "../vault.ts";
import { readTyped } from "./arguments.ts";
import type { Desk } from "./circle.ts";
import { openFolder } from "./folder.ts";
import { isReached, lookAtAll, type Reached } from "./looking.ts";
import { printTable } from "./show.ts";

// obscura-phone recovery-kit make | test | renew | use

const waitMs = 60_000;
const pauseMs = 1500;
const longestPaper = 16 * 1024;

const price = [
  "whoever has this paper opens everything that is recorded from now on, and can make himself an",
  "owner. What is sealed while there is a kit is never final when it is deleted: paper forgets",
  "nothing. It is seen in `phones`, and taken back with remove-phone.",
];

/** `recovery-kit make`, `test PAPER`, `renew PAPER`, `use PAPER`. */
export async function recoveryKit(desk: Desk): Promise<number> {
  const [what, ...rest] = desk.given.operands;
  if (what === "make" && rest.length === 0) return await make(desk);
  if (what === "test" && rest.length === 1) return await test(desk, await readPaper(rest[0] ?? ""));
  if (what === "renew" && rest.length === 1)
    return await renew(desk, await readPaper(rest[0] ?? ""));
  if (what === "use" && rest.length === 1) return await use(desk, await readPaper(rest[0] ?? ""));
  throw new Failure("misuse", "recovery-kit takes make, or test, renew or use and PAPER", {
    hint: "PAPER is a file with the lines of the kit, or - for standard input",
  });
}

async function readPaper(path: string): Promise<SecretLink> {
  const text = toText(await readNamed(path, { what: "a kit", mostBytes: longestPaper }));
  if (/^\s*obscura-kit:/i.test(text)) return readTyped(() => parseLink("kit", text.trim()));
  // As it was printed: the words around the lines are for people.
  const lines = text.split("\n").filter((line) => /^\s*\d\d\s/.test(line));
  return readTyped(() => parseLines("kit", lines.join("\n")));
}

const reachedOf = async (desk: Desk, vault: Vault): Promise<Reached[]> =>
  (await lookAtAll({ ...desk, vault })).filter(isReached);

async function make(desk: Desk): Promise<number> {
  const { voice, say } = desk;
  const vault = await Vault.open(desk.store);
  const all = await reachedOf(desk, vault);
  const [first] = all;
  if (!first) throw new Failure("offline", "no camera's relay was reached");
  const paper = drawKit(first.camera);
  const lines = printLines("kit", paper);
  const link = printLink("kit", paper);
  for (const text of price) voice.warn(text);
  // Before anything is sealed to it: a kit that nobody has seen would be of no use and in the way.
  const code = desk.given.json ? "" : encodeQr(link.toUpperCase(), "ascii");
  say(`OBSCURA RECOVERY KIT\n\n${lines.join("\n")}\n\n${code}\n`, { kit: { lines, link } });
  await installKit(paper, all, { vault, suite: nodeSuite });
  const isDone = await finish(desk, vault, paper);
  say(
    isDone
      ? "the kit is good: everything recorded from now on is sealed to it too\n"
      : "the cameras have not taken it yet: when they have, `recovery-kit test` with the paper completes it\n",
    { complete: isDone },
  );
  return 0;
}

/** Waits for the cameras, then leaves the grant. */
async function finish(desk: Desk, vault: Vault, paper: SecretLink): Promise<boolean> {
  const end = performance.now() + (desk.given.waitMs ?? waitMs);
  desk.voice.progress("waiting for the cameras");
  try {
    for (;;) {
      const all = inOrder(await reachedOf(desk, vault), paper);
      const { link } = meetingOf(all, paper);
      const options = { vault, link, suite: nodeSuite, nowMs: Date.now() };
      try {
        await grantKit(paper, all, options);
        const states = await testKit(paper, all, { link, suite: nodeSuite });
        if (states.every(({ hasKey }) => hasKey)) return true;
      } catch (error) {
        if (!isFailure(error, "busy")) throw error;
      }
      if (performance.now() >= end) return false;
      await systemClock.sleep(pauseMs);
    }
  } finally {
    desk.voice.progress("");
  }
}

function meetingOf(all: readonly Reached[], { place }: SecretLink): Reached {
  const found = all.find(({ camera: { root } }) => root && equal(root, place));
  if (found) return found;
  throw new Failure("absent", "the mailbox that the paper names is none of this phone's");
}

/** The camera whose mailbox the grant lies in first. */
function inOrder(all: readonly Reached[], paper: SecretLink): Reached[] {
  const meeting = meetingOf(all, paper);
  return [meeting, ...all.filter((one) => one !== meeting)];
}

/** Takes the cameras in that are not in the kit; the paper stays what it is. */
async function renew(desk: Desk, paper: SecretLink): Promise<number> {
  const { voice, say } = desk;
  const vault = await Vault.open(desk.store);
  const all = await reachedOf(desk, vault);
  const { link } = meetingOf(all, paper);
  const states = await testKit(paper, all, { link, suite: nodeSuite });
  const isOut = (camera: CameraKeys) =>
    states.some((state) => state.camera === camera && !state.isMember && !state.isAsked);
  const missing = all.filter(({ camera }) => isOut(camera));
  if (missing.length > 0) {
    for (const text of price) voice.warn(text);
    await installKit(paper, missing, { vault, suite: nodeSuite });
  }
  const isDone = await finish(desk, vault, paper);
  const names = missing.map(({ camera }) => camera.name || "a camera");
  const text = isDone
    ? `the kit is good for every camera that was reached${names.length > 0 ? `, now also ${names.join(", ")}` : ""}\n`
    : "the cameras have not taken it yet: when they have, `recovery-kit test` with the paper completes it\n";
  say(text, { added: missing.map(({ camera }) => toHex(camera.id)), complete: isDone });
  return 0;
}

async function test(desk: Desk, paper: SecretLink): Promise<number> {
  const { voice } = desk;
  const vault = await Vault.open(desk.store);
  const all = inOrder(await reachedOf(desk, vault), paper);
  const meeting = meetingOf(all, paper);
  const ask = () => testKit(paper, all, { link: meeting.link, suite: nodeSuite });
  let states = await ask();
  if (states.some(({ isMember, isGranted }) => isMember && !isGranted)) {
    const members = states.filter(({ isMember }) => isMember).map(({ camera }) => camera);
    const meant = all.filter(({ camera }) => members.includes(camera));
    const options = { vault, link: meeting.link, suite: nodeSuite, nowMs: Date.now() };
    await grantKit(paper, meant, { ...options, reached: all });
    states = await ask();
  }
  const rows = states.map(({ camera, isMember, hasKey, isGranted, isAsked }) => [
    camera.name || "-",
    isMember && hasKey && isGranted
      ? "good"
      : !isMember
        ? isAsked
          ? "not in it yet: the camera was asked to take it"
          : "not covered: adopted after the kit was made, or the kit was taken back"
        : "not complete yet: try again",
  ]);
  const isKnown = ({ id }: CameraKeys) => states.some(({ camera }) => equal(camera.id, id));
  const unknown = vault.content.cameras.filter((camera) => !isKnown(camera));
  if (desk.given.camera === undefined && desk.given.from === undefined) {
    rows.push(...unknown.map(({ name }) => [name || "-", "not known: it was not reached"]));
  }
  const good = states.every(({ isMember, hasKey, isGranted }) => isMember && hasKey && isGranted);
  if (states.some(({ isMember, isAsked }) => !isMember && !isAsked)) {
    voice.warn(
      "`obscura-phone recovery-kit renew PAPER` has the cameras take it that are not covered",
    );
  }
  desk.say(printTable([["CAMERA", "KIT"], ...rows]), {
    good,
    cameras: states.map(({ camera, ...state }) => ({ camera: toHex(camera.id), ...state })),
  });
  return good ? 0 : 3;
}

async function use(desk: Desk, paper: SecretLink): Promise<number> {
  const { given, store, line, voice, say } = desk;
  const isNew = (await store.load()) === undefined;
  const name = (given.phone ?? hostname()).slice(0, 32);
  const vault = isNew ? Vault.create(store, name) : await Vault.open(store);
  const root = signPublicKey(paper.place);
  const link = given.from
    ? await openFolder(given.from)
    : await openFirstGuest(
        given.relays ?? paper.relays,
        { mailbox: mailboxOf(root, nodeSuite), request: paper.place },
        line,
      );
  const suite = nodeSuite;
  const cameras = await openKit(paper, { vault, link, suite, nowMs: Date.now() });
  // With the root's own key this phone lets itself in.
  for (const camera of cameras) {
    const door = camera.root && memberDoor(camera.root, vault.content.phoneKey, "owner");
    if (!door || !camera.root || given.from) continue;
    const mailbox = mailboxOf(signPublicKey(camera.root), suite);
    const as = { mailbox, request: camera.root };
    const byRoot = await openFirstGuest(given.relays ?? camera.relays, as, line);
    await keepDoors({ link: byRoot, vault, camera, suite }, { let: [door], shut: [] });
  }
  const end = performance.now() + (given.waitMs ?? waitMs);
  voice.progress("waiting for the cameras");
  let waiting = cameras.length;
  for (;;) {
    waiting = 0;
    for (const { camera, link: own, journal } of await reachedOf(desk, vault)) {
      const options = { vault, link: own, suite, nowMs: Date.now() };
      if (await tendKit(camera, journal, options)) waiting += 1;
    }
    if (waiting === 0 || performance.now() >= end) break;
    await systemClock.sleep(pauseMs);
  }
  voice.progress("");
  const clips = cameras.reduce((sum, camera) => sum + camera.clips.length, 0);
  say(
    `${cameras.length} cameras, ${clips} clips open here\n` +
      (waiting === 0
        ? "this phone is an owner. Remove the phones that are lost, and the kit if others saw it\n"
        : "this phone is no owner yet: say it again when the cameras can be reached\n"),
    { cameras: cameras.map(({ id }) => toHex(id)), clips, owner: waiting === 0 },
  );
  return 0;
}
