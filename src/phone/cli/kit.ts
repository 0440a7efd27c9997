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
import { Vault } from "../vault.ts";
import type { Desk } from "./circle.ts";
import { openFolder } from "./folder.ts";
import { isReached, lookAtAll, type Reached } from "./looking.ts";
import { printTable } from "./show.ts";

// obscura-phone recovery-kit make | test | use

const waitMs = 60_000;
const pauseMs = 1500;
const longestPaper = 16 * 1024;

const price = [
  "whoever has this paper opens everything that is recorded from now on, and can make himself an",
  "owner. What is sealed while there is a kit is never final when it is deleted: paper forgets",
  "nothing. It is seen in `phones`, and taken back with remove-phone.",
];

/** `recovery-kit make`, `test PAPER`, `use PAPER`. */
export async function recoveryKit(desk: Desk): Promise<number> {
  const [what, ...rest] = desk.given.operands;
  if (what === "make" && rest.length === 0) return await make(desk);
  if (what === "test" && rest.length === 1) return await test(desk, await readPaper(rest[0] ?? ""));
  if (what === "use" && rest.length === 1) return await use(desk, await readPaper(rest[0] ?? ""));
  throw new Failure("misuse", "recovery-kit takes make, test PAPER or use PAPER", {
    hint: "PAPER is a file with the lines of the kit, or - for standard input",
  });
}

async function readPaper(path: string): Promise<SecretLink> {
  const text = toText(await readNamed(path, { what: "a kit", mostBytes: longestPaper }));
  if (/^\s*obscura-kit:/i.test(text)) return parseLink("kit", text.trim());
  // As it was printed: the words around the lines are for people.
  const lines = text.split("\n").filter((line) => /^\s*\d\d\s/.test(line));
  return parseLines("kit", lines.join("\n"));
}

const reachedOf = async (desk: Desk, vault: Vault): Promise<Reached[]> =>
  (await lookAtAll({ ...desk, vault })).filter(isReached);

async function make(desk: Desk): Promise<number> {
  const { given, voice, say } = desk;
  const vault = await Vault.open(desk.store);
  const all = await reachedOf(desk, vault);
  const [first] = all;
  if (!first) throw new Failure("offline", "no camera's relay was reached");
  const paper = drawKit(first.camera);
  const lines = printLines("kit", paper);
  const link = printLink("kit", paper);
  for (const text of price) voice.warn(text);
  if (!given.json) {
    const code = encodeQr(link.toUpperCase(), "ascii");
    voice.print(`OBSCURA RECOVERY KIT\n\n${lines.join("\n")}\n\n${code}\n`);
  }
  await installKit(paper, all, { vault, suite: nodeSuite });
  const isDone = await finish(desk, vault, paper);
  say(
    isDone
      ? "the kit is good: everything recorded from now on is sealed to it too\n"
      : "the cameras have not taken it yet: when they have, `recovery-kit test` with the paper completes it\n",
    { kit: given.json ? { lines, link } : undefined, complete: isDone },
  );
  return 0;
}

/** Waits for the cameras, then leaves the grant. */
async function finish(desk: Desk, vault: Vault, paper: SecretLink): Promise<boolean> {
  const end = performance.now() + (desk.given.waitMs ?? waitMs);
  desk.voice.progress("waiting for the cameras");
  try {
    for (;;) {
      const all = await reachedOf(desk, vault);
      const meeting = meetingOf(all, paper);
      const options = { vault, suite: nodeSuite, nowMs: Date.now() };
      try {
        await grantKit(paper, all, { ...options, link: meeting.link });
        const states = await testKit(paper, all, { link: meeting.link, suite: nodeSuite });
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

async function test(desk: Desk, paper: SecretLink): Promise<number> {
  const vault = await Vault.open(desk.store);
  const all = await reachedOf(desk, vault);
  const meeting = meetingOf(all, paper);
  const ask = () => testKit(paper, all, { link: meeting.link, suite: nodeSuite });
  let states = await ask();
  if (states.some(({ isMember, isGranted }) => isMember && !isGranted)) {
    const members = states.filter(({ isMember }) => isMember).map(({ camera }) => camera);
    const meant = all.filter(({ camera }) => members.includes(camera));
    const options = { vault, link: meeting.link, suite: nodeSuite, nowMs: Date.now() };
    await grantKit(paper, meant, options);
    states = await ask();
  }
  const rows = states.map(({ camera, isMember, hasKey, isGranted }) => [
    camera.name || "-",
    isMember && hasKey && isGranted
      ? "good"
      : !isMember
        ? "not in it: adopted later, not taken yet, or taken back"
        : "not complete yet: try again",
  ]);
  const good = states.every(({ isMember, hasKey, isGranted }) => isMember && hasKey && isGranted);
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
