import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { fromText, toText } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { isFailure } from "../../base/pure/failure.ts";
import { hourUs, mostWaiting, newTray, type Tray, type Visit } from "./tray.ts";

// What of the tray outlives a stop. It shows no more than the names and times of what lies in the outbox.

export type Notes = {
  readonly tray: Tray;
  /** Durable when it resolves; what changed meanwhile is written with it. */
  save(): Promise<void>;
  /** What the camera's log was told last of who is written to; empty for nobody. */
  told(): Promise<string>;
  tell(text: string): Promise<void>;
  close(): Promise<void>;
};

const waitingFile = "waiting";
const toldFile = "told";
const clipPattern = /^[0-9a-f]{32}$/;

/** Opens the folder `mail` of a state folder; without one (a card that failed) nothing is kept. */
export async function openNotes(state: string | undefined, clock: Clock): Promise<Notes> {
  if (state === undefined) {
    const nothing = async () => {};
    return { tray: newTray(), save: nothing, told: async () => "", tell: nothing, close: nothing };
  }
  const folder = await openDurable(join(state, "mail"));
  const tray = read(await text(folder, waitingFile), clock);
  return {
    tray,
    save: () => folder.write(waitingFile, fromText(print(tray, clock))),
    told: () => text(folder, toldFile),
    tell: (said) => folder.write(toldFile, fromText(said)),
    close: () => folder.close(),
  };
}

async function text(folder: DurableFolder, name: string): Promise<string> {
  try {
    return toText(await folder.read(name));
  } catch (error) {
    if (!isFailure(error, "absent", "corrupt")) throw error;
    return "";
  }
}

function print({ visits, earlier, sentUs }: Tray, clock: Clock): string {
  const kept = visits.map(({ clip, atMs, clockTrusted, picture, refusals }) => ({
    ...{ clip, atMs, clockTrusted, picture, refusals },
  }));
  // The monotonic clock begins anew with the board, so what is kept is by the wall's.
  const nowUs = clock.monotonicUs();
  const sentMs = sentUs.map((atUs) => Math.round(clock.wallMs() - (nowUs - atUs) / 1000));
  return JSON.stringify({ version: 1, earlier, visits: kept, sentMs });
}

/** What cannot be read is as if it were not there: the clips and their log do not depend on it. */
function read(written: string, clock: Clock): Tray {
  const tray = newTray();
  let value: unknown;
  try {
    value = JSON.parse(written);
  } catch {
    return tray;
  }
  const { visits, earlier, sentMs } = (value ?? {}) as Record<string, unknown>;
  if (Array.isArray(visits)) {
    tray.visits = visits.flatMap((one) => readVisit(one) ?? []).slice(-mostWaiting);
  }
  if (isCount(earlier)) tray.earlier = earlier;
  const nowUs = clock.monotonicUs();
  const ages = (Array.isArray(sentMs) ? sentMs : []).map((atMs) => clock.wallMs() - Number(atMs));
  // A clock that was set since makes ages that none can be.
  tray.sentUs = ages
    .map((ageMs) => ageMs * 1000)
    .filter((ageUs) => ageUs >= 0 && ageUs < hourUs)
    .map((ageUs) => nowUs - ageUs)
    .slice(-60);
  return tray;
}

function readVisit(value: unknown): Visit | undefined {
  const { clip, atMs, clockTrusted, picture, refusals } = (value ?? {}) as Record<string, unknown>;
  const isRight = typeof clip === "string" && clipPattern.test(clip) && isTime(atMs);
  if (!isRight) return undefined;
  return {
    ...{ clip, atMs, clockTrusted: clockTrusted === true, persons: undefined },
    picture: isCount(picture) ? picture : undefined,
    refusals: isCount(refusals) ? refusals : 0,
  };
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
const isTime = (value: unknown): value is number =>
  typeof value === "number" && Math.abs(value) <= 8.64e15;
