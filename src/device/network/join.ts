import { randomUUID } from "node:crypto";
import type { DurableFolder } from "../../base/node/durable.ts";
import type { Log } from "../../base/node/log.ts";
import { equal } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { activate } from "./activate.ts";
import { checkWanted, draftProfile, type Wanted } from "./profile.ts";
import { type Active, type Radio, states } from "./radio.ts";
import { type Result, readResult, writeResult } from "./result.ts";
import { type Seen, survey } from "./seen.ts";
import { judge, type Verdict } from "./verdict.ts";

// One attempt to join a network, with a way back.

/** After this NetworkManager itself puts back what was in force, whatever became of this program. */
const checkpointS = 45;
/** What listening and trying may take of it together. */
const attemptMs = 40_000;
/** In the middle of a connection a radio goes through two bands in 11 s: it turns back after each channel. */
const scanMs = 20_000;
const restoreMs = 30_000;
/** NetworkManager is left to go back by itself for so long, then told to, and told again. */
const patienceMs = 3000;

export type JoinOptions = {
  readonly radio: Radio;
  readonly folder: DurableFolder;
  readonly clock: Clock;
  readonly log: Log;
};

/** The networks that are heard now, the strongest first. */
export async function listen(
  radio: Radio,
  names: readonly Uint8Array[],
  withinMs = scanMs,
): Promise<Seen[]> {
  await radio.scan(names, withinMs).catch((error) => {
    // What was heard before is better than nothing.
    if (!isFailure(error, "stalled")) throw error;
  });
  return survey(await radio.heard());
}

/**
 * Joins, or leaves everything as it was. The result is durable when it resolves. Throws Failure "misuse"
 * for what is no network or no password of any, "busy" when another attempt is under way; nothing was
 * tried then. The password is handed to NetworkManager, which keeps it when it was right.
 */
export async function join(wanted: Wanted, options: JoinOptions): Promise<Result> {
  const { radio, folder, log } = options;
  checkWanted(wanted, undefined);
  const { ssid, request } = wanted;
  const number = ((await readResult(folder))?.attempt ?? 0) + 1;
  const begun: Result = {
    ...{ ssid, uuid: randomUUID(), attempt: number },
    ...(request ? { request } : {}),
  };
  const end = async (verdict: Verdict, rest: Pick<Result, "address" | "isRestored">) => {
    const result = { ...begun, verdict, ...rest };
    await writeResult(folder, result);
    log.info("an attempt to join a network ended", { attempt: number, verdict });
    return result;
  };
  const before = await radio.active();
  const older = await radio.profilesOf(ssid);
  const checkpoint = await radio.checkpoint(checkpointS).catch((error) => {
    if (!isFailure(error, "refused")) throw error;
    throw new Failure("busy", "another attempt to join a network is under way", { cause: error });
  });
  await writeResult(folder, begun);
  let verdict: Verdict;
  try {
    const tried = await attempt(wanted, { ...options, begun, before });
    verdict = tried.verdict;
    if (tried.keep) {
      await tried.keep();
      const [address] = await radio.addresses();
      for (const path of older) await radio.removeProfile(path);
      await checkpoint.forget();
      return await end(verdict, address ? { address } : {});
    }
  } catch (error) {
    log.warn(`an attempt to join a network broke off: ${explain(error)}`);
    verdict = "interrupted";
  }
  // A NetworkManager that was started anew knows of no checkpoint; it takes up what it used by itself.
  await checkpoint.restore().catch((error) => log.debug(explain(error)));
  return await end(verdict, { isRestored: await goBack(before, begun.uuid, options) });
}

/** Finds the network and tries it; `keep` is there when it was joined. */
async function attempt(
  wanted: Wanted,
  options: JoinOptions & { begun: Result; before: Active | undefined },
): Promise<{ verdict: Verdict; keep?: () => Promise<void> }> {
  const { radio, clock, log, begun, before } = options;
  const endUs = clock.monotonicUs() + attemptMs * 1000;
  // One that is an access point itself does not hear others.
  if (before?.isOwn) await radio.deactivate(before.path);
  const seen = await find(wanted, options);
  // One that hides its name may answer its supplicant where it did not answer us.
  if (!seen && !wanted.isHidden) return { verdict: "no-such-network" };
  try {
    checkWanted(wanted, seen?.security);
  } catch (error) {
    log.warn(explain(error));
    return { verdict: "unfit" };
  }
  const { tried, kept } = draftProfile(wanted, seen?.security, begun.uuid);
  const restMs = (endUs - clock.monotonicUs()) / 1000;
  const { moves, profile } = await activate(tried, seen?.path, restMs, options);
  if (!moves) return { verdict: "interrupted" };
  // Trying is listening too.
  const verdict = judge(moves, (seen ?? (await hear(wanted, radio)))?.security);
  if (verdict !== "joined") return { verdict };
  return { verdict, keep: () => radio.keepProfile(profile, kept) };
}

/** Ends what a program that was stopped in the middle left behind; NetworkManager goes back by itself. */
export async function settle({ radio, folder, log }: JoinOptions): Promise<void> {
  const last = await readResult(folder);
  if (!last || last.verdict) return;
  log.warn("the last attempt to join a network was interrupted", { attempt: last.attempt });
  const left = await radio.profileOf(last.uuid);
  // While it is in use the checkpoint is still to come, which removes it.
  const active = await radio.active();
  if (left && active?.uuid !== last.uuid) await radio.removeProfile(left);
  await writeResult(folder, { ...last, verdict: "interrupted" });
}

/** Listens until it is heard: a scan that was under way already asked for nobody by name. */
async function find(
  wanted: Wanted,
  { radio, clock }: Pick<JoinOptions, "radio" | "clock">,
): Promise<Seen | undefined> {
  const endUs = clock.monotonicUs() + scanMs * 1000;
  let seen = await hear(wanted, radio);
  while (!seen && clock.monotonicUs() < endUs) {
    await listen(radio, [wanted.ssid], (endUs - clock.monotonicUs()) / 1000);
    seen = await hear(wanted, radio);
  }
  return seen;
}

async function hear({ ssid }: Wanted, radio: Radio): Promise<Seen | undefined> {
  return survey(await radio.heard()).find((one) => equal(one.ssid, ssid));
}

/** Waits until what was in use before is so again (true when nothing was), and the tried profile gone. */
async function goBack(
  before: Active | undefined,
  tried: string,
  { radio, clock, log }: JoinOptions,
): Promise<boolean> {
  const look = async () => {
    const left = await radio.profileOf(tried);
    if (left) await radio.removeProfile(left);
    if (!before) return true;
    const now = await radio.active();
    return now?.uuid === before.uuid && (await radio.state()) === states.up;
  };
  const push = async () => {
    const state = await radio.state();
    // Up, but not there: it took another network that it knows.
    const isAtRest = [states.disconnected, states.failed, states.up].includes(state);
    if (before && isAtRest) await radio.activateAgain(before.uuid);
  };
  for (let waitedMs = 0; waitedMs < restoreMs; ) {
    // NetworkManager may be on its way back itself.
    if (await look().catch(() => false)) return true;
    await clock.sleep(500);
    waitedMs += 500;
    if (waitedMs % patienceMs === 0) await push().catch((error) => log.debug(explain(error)));
  }
  return false;
}
