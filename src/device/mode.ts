import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../base/node/durable.ts";
import { fromText, toText } from "../base/pure/bytes.ts";
import type { OrderName } from "./order.ts";

/** What the house has set, and what a start finds again. */
export type Mode = {
  privacy: boolean;
  detection: boolean;
  /** One of the settings' `profiles`, or `none`. */
  profile: string;
  /** Set after the profile, and in its place. */
  threshold: number | undefined;
};

export type Modes = {
  /** Privacy is what the house or an owner has set. */
  now(): Mode;
  /** An owner's own setting, which the house cannot end. */
  readonly isOwners: boolean;
  /** What the settings say of privacy, those that an owner's phone sent among them. */
  follow(config: { privacy: boolean }): void;
  /** What it was before: for the first who asks as it lay there, whatever the settings say; then as it is. */
  before(): Mode;
  /** In force at once, durable when it resolves; rejects when it cannot be kept, and is in force then too. */
  set(next: Partial<Mode>): Promise<void>;
};

export const noProfile = "none";
export const plainMode: Mode = {
  ...{ privacy: false, detection: true, profile: noProfile, threshold: undefined },
};

const folder = "mode";
const file = "now";
const mostBytes = 1024;

/**
 * What the house had set when this camera last ran. What cannot be read, and is there, may have said that
 * the lens is to be shut: it is. What the settings do not allow any more is as they say.
 */
export async function openModes(
  state: string,
  {
    allowed,
    profiles,
    spare,
  }: {
    allowed: readonly OrderName[];
    profiles: readonly string[];
    /** In memory, for privacy that a failed card does not take: a start finds it, a board that was off does not. */
    spare?: string | undefined;
  },
): Promise<Modes> {
  const isMarked = spare !== undefined && (await isThere(spare));
  const read = await readMode(state);
  const found = isMarked ? { ...read, privacy: true } : read;
  let mode = within(found, allowed, profiles);
  // What is not allowed now does not come back when it is allowed again.
  const isSame = JSON.stringify(mode) === JSON.stringify({ ...mode, ...found });
  let last = isSame ? Promise.resolve() : keep(state, mode, spare).catch(() => {});
  await last;
  let lay: Mode | undefined = found;
  let isOwners = false;
  const now = () => ({ ...mode, privacy: mode.privacy || isOwners });
  return {
    now,
    get isOwners() {
      return isOwners;
    },
    follow({ privacy }) {
      isOwners = privacy;
    },
    before() {
      const before = lay ?? now();
      lay = undefined;
      return before;
    },
    set(next) {
      mode = { ...mode, ...next };
      // One after the other: each writes what is in force when it comes to it.
      const turn = last.then(() => keep(state, mode, spare));
      last = turn.catch(() => {});
      return turn;
    },
  };
}

function within(
  { privacy, detection, profile, threshold }: Mode,
  allowed: readonly OrderName[],
  profiles: readonly string[],
): Mode {
  const isKnown = allowed.includes("profile") && profiles.includes(profile);
  return {
    privacy: privacy && allowed.includes("privacy"),
    detection: detection || !allowed.includes("detection"),
    profile: isKnown ? profile : noProfile,
    threshold: allowed.includes("threshold") ? threshold : undefined,
  };
}

async function readMode(state: string): Promise<Mode> {
  try {
    const bytes = await readFile(join(state, folder, file));
    return decode(bytes) ?? { ...plainMode, privacy: true };
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === "ENOENT";
    return { ...plainMode, privacy: !isAbsent };
  }
}

function decode(bytes: Uint8Array): Mode | undefined {
  try {
    if (bytes.length > mostBytes) return undefined;
    const {
      version,
      privacy,
      detection,
      profile,
      threshold = undefined,
    } = JSON.parse(toText(bytes));
    const isRight =
      version === 1 &&
      typeof privacy === "boolean" &&
      typeof detection === "boolean" &&
      typeof profile === "string" &&
      (threshold === undefined ||
        (typeof threshold === "number" && threshold > 0 && threshold < 1));
    return isRight ? { privacy, detection, profile, threshold } : undefined;
  } catch {
    return undefined;
  }
}

async function keep(state: string, mode: Mode, spare: string | undefined): Promise<void> {
  const isKept = write(state, mode);
  const isMarked = await isKept.then(
    () => false,
    () => mode.privacy,
  );
  if (spare !== undefined && isMarked) await writeFile(spare, "", { mode: 0o600 }).catch(() => {});
  else if (spare !== undefined) await rm(spare, { force: true }).catch(() => {});
  await isKept;
}

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function write(state: string, mode: Mode): Promise<void> {
  const kept = await openDurable(join(state, folder));
  try {
    await kept.write(file, fromText(JSON.stringify({ version: 1, ...mode })));
  } finally {
    await kept.close();
  }
}
