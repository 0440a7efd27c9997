import { equal, toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { removePhone } from "../../src/phone/remove.ts";
import type { Survey } from "../../src/phone/survey.ts";
import { roleOf } from "../../src/protocol/sealed/membership.ts";
import { HouseCamera, type Kept } from "../fakes/camera.ts";
import { type Deed, drawDeed, linkTo, viewOf } from "./deeds.ts";
import { Resident, recordIn, type Stage } from "./house.ts";
import {
  checkEnd,
  checkLook,
  checkSaid,
  isShutOut,
  type Play,
  type Player,
  type Truth,
} from "./oracle.ts";

// A random schedule: what phones, cameras and the keepers of their mailboxes do, one after the other.

export type Step =
  | { step: "record"; camera: number }
  /** The camera takes what lies in its boxes: all, some of it, or also what lay there once. */
  | { step: "work"; camera: number; boxes: "all" | "some" | "again"; pick: number }
  | { step: "look"; camera: number; phone: number; deed: Deed; depth: "all" | "new" }
  | { step: "delete"; camera: number; phone: number; pick: number; after: number }
  | { step: "remove"; camera: number; phone: number; whom: number }
  /** The phone's home as it was at some time is put in the place of what it is. */
  | { step: "put back"; phone: number; pick: number };
export type Schedule = { seed: number; stage: number; steps: readonly Step[] };

/** Between two looks; a command is sealed anew after some of them. */
const stepMs = 4 * 60_000;

export function generator(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Most are short, and about one camera: what goes wrong mostly goes wrong early. */
export function draw(seed: number, stages: readonly Stage[]): Schedule {
  const random = generator(seed);
  random(2);
  const stage = random(stages.length);
  const phones = stages[stage]?.homes.size ?? 1;
  const isLong = random(40) === 0;
  const count = isLong ? 12 + random(12) : 1 + random(4);
  const cameras = random(4) === 0 ? 2 : 1;
  const first = random(2);
  const steps = Array.from({ length: count }, (_, i): Step => {
    const camera = (first + random(cameras)) % 2;
    const phone = random(phones);
    const at = random(100);
    if (at < 18) return { step: "record", camera };
    if (at < 40) {
      const boxes = (["all", "all", "some", "again"] as const)[random(4)] ?? "all";
      return { step: "work", camera, boxes, pick: random(1 << 20) };
    }
    if (at < 50) {
      const after = random(3) === 0 ? random(12) : Number.MAX_SAFE_INTEGER;
      return { step: "delete", camera, phone, pick: random(1 << 20), after };
    }
    if (at < 55) return { step: "remove", camera, phone, whom: random(phones + 1) };
    if (at < 62) return { step: "put back", phone, pick: random(1 << 20) };
    const depth = random(4) === 0 ? "all" : "new";
    return { step: "look", camera, phone, deed: drawDeed(random, i + 1), depth };
  });
  return { seed, stage, steps };
}

async function begin(stage: Stage): Promise<Play> {
  const truths = stage.cameras.map((of, i): Truth => {
    const objects = of.objects.copy();
    const camera = new HouseCamera(objects, "", of);
    const head = camera.members?.head;
    const lists = new Set<string>();
    for (let at = head; at; at = camera.members?.at(at.version - 1)) lists.add(toHex(at.hash));
    const empty = { moments: [], deletions: new Map<string, string>(), removals: [] };
    const clips = new Map(stage.clips[i]);
    const truth = { ...{ camera, objects, lists, clips, isTouched: false, ...empty } };
    return { ...truth, made: new Map<string, Kept>(), boxes: new Map<string, Kept>() };
  });
  const ids = truths.map(({ camera }) => camera.id);
  const players: Player[] = [];
  for (const [name, home] of stage.homes) {
    const resident = await Resident.from(name, ids, home);
    const isStale = ids.map(() => false);
    players.push({ resident, isStale, wasPutBack: false });
  }
  let nowMs = Math.ceil(stage.nowMs / stepMs) * stepMs;
  for (const truth of truths) note(truth);
  return {
    ...{ truths, players, stage },
    tick: () => (nowMs += stepMs),
    role: ({ resident }, { camera }) => camera.members && roleOf(camera.members.head, resident.key),
  };
}

/** Takes note of what the camera has made, and of what lies there now. */
function note(truth: Truth): void {
  const { camera, objects, made, lists, boxes, moments } = truth;
  for (const [name, kept] of objects.all) {
    if (name.startsWith("box/")) boxes.set(name, kept);
    else if (!made.has(name)) made.set(name, kept);
  }
  if (camera.members) lists.add(toHex(camera.members.head.hash));
  moments.push(new Map(objects.all));
}

/** Looks and does what follows; undefined when it was broken off. */
async function lookAs(play: Play, player: Player, i: number, deed: Deed, depth: "all" | "new") {
  const truth = play.truths[i] as Truth;
  const other = play.truths[1 - i] as Truth;
  const view = viewOf(deed, truth.objects.all, truth.moments, other.objects.all);
  const { resident } = player;
  const seen = resident.camera(i).head?.sequence ?? -1;
  const kept = player.wasPutBack ? await resident.keptTo(i) : seen;
  const before = new Set(resident.camera(i).clips.map(({ clip }) => toHex(clip)));
  let found: Survey | undefined;
  try {
    const nowMs = play.tick();
    const link = linkTo(deed, view, truth.objects);
    const name = nowMs % (8 * stepMs) === 0;
    const tended = await resident.tend(i, link, nowMs, { depth, name });
    found = tended.found;
    checkLook({ play, player, i, deed, depth, view, seen, kept, before }, found, tended.faults);
    if (deed.deed === "honest") player.isStale[i] = false;
  } catch (error) {
    if (!isFailure(error)) throw error;
    if (deed.deed === "honest") throw new Error(`an honest look fails: ${error.message}`);
    await resident.restart();
  }
  note(truth);
  return found;
}

async function act(play: Play, step: Step): Promise<void> {
  const player = "phone" in step ? play.players[step.phone] : undefined;
  if (step.step !== "put back") await actAt(play, step, player);
  else if (player) await putBack(play, player, step.pick);
}

async function actAt(
  play: Play,
  step: Exclude<Step, { step: "put back" }>,
  player: Player | undefined,
): Promise<void> {
  const truth = play.truths[step.camera] as Truth;
  const { camera, objects } = truth;
  truth.isTouched = true;
  switch (step.step) {
    case "record":
      await recordIn(camera, truth.clips);
      break;
    case "work": {
      const there = [...objects.all.values()].filter(({ name }) => name.kind === "box");
      if (step.boxes === "all") await camera.work(there);
      else if (step.boxes === "some") {
        await camera.work(there.filter((_, n) => (step.pick >> n) & 1));
      } else {
        const later = (name: Kept["name"]) =>
          name.kind === "box" ? { ...name, sequence: name.sequence + step.pick } : name;
        const again = [...truth.boxes.values()].map((one) => ({ ...one, name: later(one.name) }));
        await camera.work([...there, ...again]);
      }
      break;
    }
    case "look":
      if (player) await lookAs(play, player, step.camera, step.deed, step.depth);
      break;
    case "delete":
      if (player) await remove(play, player, step);
      break;
    case "remove":
      if (player) await expel(play, player, step);
  }
  note(truth);
}

async function putBack(play: Play, player: Player, pick: number): Promise<void> {
  const { resident } = player;
  const { all } = resident.store;
  const old = all[pick % all.length];
  if (!old || old === all.at(-1)) return;
  all.push({ key: old.key.slice(), sealed: old.sealed.slice() });
  await resident.restart();
  player.wasPutBack = true;
  player.isStale.fill(true);
  const truth = play.truths[pick % play.truths.length];
  if (truth) truth.isTouched = true;
}

async function remove(
  play: Play,
  player: Player,
  step: Extract<Step, { step: "delete" }>,
): Promise<void> {
  const { camera: i, pick, after } = step;
  const found = await lookAs(play, player, i, { deed: "honest" }, "new");
  const whole = found?.clips.filter(({ state }) => state === "whole") ?? [];
  const chosen = whole[pick % Math.max(1, whole.length)];
  if (!found || !chosen) return;
  const truth = play.truths[i] as Truth;
  const { resident } = player;
  const id = toHex(chosen.id);
  const deed: Deed = { deed: "broken off", after };
  const link = linkTo(
    deed,
    { served: truth.objects.all, listed: truth.objects.all },
    truth.objects,
  );
  const mayDelete = roleOf(found.journal.members.head, resident.key) === "owner";
  try {
    const options = resident.options(i, link, play.tick());
    await deleteClips([chosen], { ...options, survey: found });
  } catch (error) {
    if (!isFailure(error)) throw error;
    if (error.kind === "denied" && mayDelete) throw error;
    await resident.restart();
  }
  const camera = resident.camera(i);
  const isAsked = camera.deleted.some(({ clip }) => equal(clip, chosen.id));
  if (isAsked && !mayDelete) throw new Error(`${resident.name} deletes, and is no owner`);
  if (isAsked) truth.deletions.set(id, resident.name);
}

async function expel(
  play: Play,
  player: Player,
  { camera: i, whom }: Extract<Step, { step: "remove" }>,
): Promise<void> {
  const found = await lookAs(play, player, i, { deed: "honest" }, "new");
  if (!found) return;
  const { resident } = player;
  const { head } = found.journal.members;
  const kit = head.members.find(({ role }) => role === "kit")?.phone;
  const phone = play.players[whom]?.resident.key ?? kit;
  if (!phone || !roleOf(head, phone)) return;
  const truth = play.truths[i] as Truth;
  try {
    const camera = resident.camera(i);
    await removePhone(phone, { vault: resident.vault, camera, journal: found.journal });
    if (roleOf(head, resident.key) !== "owner") {
      throw new Error(`${resident.name} removes, and is no owner`);
    }
    truth.removals.push({ whom: toHex(phone), by: resident.name });
  } catch (error) {
    if (!isFailure(error, "denied", "refused")) throw error;
  }
}

const mostRounds = 12;

/** Everybody is honest from here on, until all that was asked for has come to its end. */
async function settle(play: Play, i: number, depth: "all" | "new"): Promise<void> {
  const truth = play.truths[i] as Truth;
  const looks = new Map<Player, Survey>();
  let said = -1;
  for (let round = 0, waiting = 1; waiting > 0; round++) {
    if (round === mostRounds) throw new Error("it does not come to rest");
    await truth.camera.work();
    note(truth);
    waiting = 0;
    const isNews = truth.camera.said.length > said;
    said = truth.camera.said.length;
    for (const player of play.players) {
      const { outgoing: before, removing: unwanted } = player.resident.camera(i);
      if (!isNews && before.length + unwanted.length === 0) continue;
      const found = await lookAs(play, player, i, { deed: "honest" }, "new");
      if (found) looks.set(player, found);
      const { outgoing, removing, adding } = player.resident.camera(i);
      const role = found && isShutOut(player, found) ? undefined : play.role(player, truth);
      if (role) waiting += outgoing.length;
      if (role === "owner") waiting += removing.length + adding.length;
    }
  }
  for (const [player, last] of looks) {
    const found = depth === "all" ? await lookAs(play, player, i, { deed: "honest" }, depth) : last;
    if (found) checkEnd(play, player, i, found);
  }
  checkSaid(truth);
}

/** Runs it; what does not hold is thrown. */
export async function run(
  { seed, stage, steps }: Schedule,
  stages: readonly Stage[],
): Promise<void> {
  const from = stages[stage];
  if (!from) throw new Error("no such stage");
  const play = await begin(from);
  for (const step of steps) await act(play, step);
  for (const [i, { isTouched }] of play.truths.entries()) {
    if (isTouched) await settle(play, i, seed % 8 === 0 ? "all" : "new");
  }
}

/** Takes away what does not matter for the failure. */
export async function shrink(
  schedule: Schedule,
  again: (one: Schedule) => Promise<void>,
): Promise<Schedule> {
  const fails = (one: Schedule) =>
    again(one).then(
      () => false,
      () => true,
    );
  let least = schedule;
  for (let i = 0; i < least.steps.length; ) {
    const fewer = { ...least, steps: least.steps.filter((_, at) => at !== i) };
    if (await fails(fewer)) least = fewer;
    else i += 1;
  }
  return least;
}
