import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import type { Incident } from "../detect/detect.ts";
import { asMisuse, ofSetting } from "../login.ts";
import { createLock, isNumeric, isSameCode, readCode } from "./code.ts";
import { openKeep } from "./keep.ts";
import { type Command, createMachine, type Deed, needsCode, type View } from "./machine.ts";
import { type AlarmSettings, isBelow } from "./settings.ts";
import { createSources, type Message, zonesOf } from "./sources.ts";

/** What the alarm did, or somebody could not make it do. */
export type Told = Omit<Deed, "what"> & { what: Deed["what"] | "refused" };

export type AlarmOptions = {
  settings: AlarmSettings;
  /** Its folder, of its own. */
  path: string;
  /** Nothing is to be written: the card failed. */
  isReadOnly: boolean;
  /** What this camera's own topics begin with: those prove nothing. */
  own: string;
  /** Adds to the camera's sealed log. */
  note(statement: Statement): Promise<void>;
  /** Something that only the owner can mend; undefined when it is mended. */
  onFault(text: string | undefined): void;
  /** It could not be kept, or not be noted. */
  onProblem(error: unknown): void;
  clock: Clock;
  log: Log;
};

export type Alarm = {
  /** What is listened to besides the camera's own eye. */
  readonly topics: readonly string[];
  readonly panel: { code: "none" | "digits" | "text"; codeToArm: boolean };
  /** As it was last told; the score as it is. */
  view(): View;
  incident(incident: Incident): void;
  motion(): void;
  message(message: Message): void;
  /** Done, and durable, when it resolves. Throws Failure "denied" when it takes another code. */
  take(command: Command, code: string | undefined): Promise<void>;
  /** The same for an owner, who signed it: no code is asked for, and it is noted too when it resolves. */
  obey(command: Command): Promise<void>;
  /** From now on told of what it does, once that is kept; at first of what it did so far. */
  listen(onTold: (told: readonly Told[]) => void): void;
  close(): Promise<void>;
};

/** A card that hangs keeps nobody from hearing the siren for longer than this. */
const keepMs = 1_000;
const idleMs = 3_600_000;
/** How often a code that could not be read is looked for: nobody gives one only to end a problem. */
const codeMs = 60_000;

/** Goes on from where an earlier start was. */
export async function openAlarm(options: AlarmOptions): Promise<Alarm> {
  const { settings, clock, log, note, onFault, onProblem } = options;
  const now = () => clock.monotonicUs();
  const sensors = settings.sensors.filter(({ topic }) => !isBelow(topic, options.own));
  const sources = createSources({ ...settings, sensors });
  const keep = await openKeep(options.path, options);
  const machine = createMachine({ settings, kept: keep.before?.kept, atUs: now() });
  const lock = createLock(keep.before?.failures ?? 0, now());

  // What an earlier one has said is said anew, where it is so still.
  onFault(undefined);
  const faults = new Map<string, string>();
  const fault = (about: string, text: string | undefined) => {
    if (text === undefined) faults.delete(about);
    else faults.set(about, text);
    if (text) log.warn(text);
    onFault(faults.size > 0 ? [...faults.values()].join("; ") : undefined);
  };
  const isDeaf = sensors.length < settings.sensors.length;
  if (isDeaf)
    fault("sensors", "alarm.sensors has a topic of this camera's own, which is not heard");
  if (keep.isSpoilt) fault("state", "how the alarm stood cannot be read: it is disarmed now");
  const code = await codeOf(settings, (text) => fault("code", text));

  /** As it is told, which may be later than it is. */
  let shown = machine.view(now());
  let planned = shown;
  let onTold: ((told: readonly Told[]) => void) | undefined;
  let waiting: Told[] = [];
  let last: Promise<void> = Promise.resolve();
  let noted: Promise<void> = Promise.resolve();
  let wake = new AbortController();
  const end = new AbortController();

  const write = () =>
    keep.write({ kept: machine.kept(), failures: lock.failures }).catch(onProblem);
  /** Kept, then told and noted, in their order. A card that hangs holds up no siren. */
  const settle = async (told: readonly Told[], view: View): Promise<void> => {
    const kept = write();
    last = last
      .then(async () => {
        const enough = new AbortController();
        await Promise.race([kept, clock.sleep(keepMs, enough.signal).catch(() => {})]);
        enough.abort();
        shown = view;
        for (const { what, state, score, why } of told)
          log.info(`${what}: ${why}`, { state, score });
        if (onTold) onTold(told);
        else waiting.push(...told);
      })
      .catch(onProblem);
    noted = noted.then(async () => {
      for (const one of told) await note(statementOf(one)).catch(onProblem);
    });
    await Promise.all([kept, last]);
  };
  const tell = async (deeds: readonly Deed[]): Promise<void> => {
    const view = machine.view(now());
    const { state, warning, siren } = planned;
    const isSame = view.state === state && view.warning === warning && view.siren === siren;
    if (deeds.length === 0 && isSame) return;
    planned = view;
    // What is due next may be another thing.
    wake.abort();
    await settle(deeds, view);
  };

  const watch = async () => {
    while (!end.signal.aborted) {
      wake = new AbortController();
      const dueUs = machine.dueUs();
      const ms = dueUs === undefined ? idleMs : Math.max(0, (dueUs - now()) / 1000);
      await clock.sleep(Math.min(ms, idleMs), wake.signal).catch(() => {});
      if (!end.signal.aborted) void tell(machine.tick(now()));
    }
  };
  const hear = (act: () => readonly Deed[]) => {
    if (!end.signal.aborted) void tell(act());
  };

  const watchCode = async () => {
    while (!end.signal.aborted) {
      await clock.sleep(codeMs, end.signal).catch(() => {});
      if (end.signal.aborted || !faults.has("code")) continue;
      await readCode(settings.code).then(
        () => fault("code", undefined),
        () => {},
      );
    }
  };

  const refuse = async (why: string): Promise<Failure> => {
    const atUs = now();
    const view = machine.view(atUs);
    const { state, mode, score } = view;
    const told: Told = { what: "refused", atUs, by: "command", state, mode, score, why, parts: [] };
    await settle([told], view);
    return new Failure("denied", why);
  };
  /** Throws when the code is not the one. */
  const checkCode = async (given: string | undefined) => {
    if (given === undefined) throw new Failure("denied", "this takes the code");
    if (lock.remainingMs(now()) > 0) {
      throw new Failure("denied", "too many wrong codes: none is tried for a while");
    }
    const right = await readCode(settings.code).catch((error) => {
      fault("code", faultOf(error));
      throw error;
    });
    fault("code", undefined);
    if (isSameCode(given, right)) return lock.right();
    lock.wrong(now());
    throw await refuse("a wrong code was given");
  };

  const carryOut = async (command: Command) => {
    fault("state", undefined);
    await tell(machine.command(command, now()));
  };

  // What an earlier start has left is told of, and kept, before anything else happens.
  const begun = machine.tick(now());
  planned = machine.view(now());
  await settle(begun, planned);
  const watching = watch().catch(onProblem);
  if (settings.code !== "") void watchCode().catch(onProblem);
  return {
    topics: sources.topics,
    panel: { code, codeToArm: settings.codeToArm },
    view: () => ({ ...shown, score: machine.view(now()).score }),
    incident: (incident) => hear(() => machine.evidence(sources.persons(zonesOf(incident)), now())),
    motion: () => hear(() => machine.evidence(sources.motion(), now())),
    message(message) {
      const evidence = sources.message(message);
      if (evidence.length > 0) hear(() => machine.evidence(evidence, now()));
    },
    async take(command, given) {
      await tell(machine.tick(now()));
      if (settings.code !== "" && needsCode(command, machine.view(now()), settings)) {
        await checkCode(given);
      }
      await carryOut(command);
    },
    async obey(command) {
      await carryOut(command);
      await noted;
    },
    listen(listener) {
      onTold = listener;
      const before = waiting;
      waiting = [];
      if (before.length > 0) listener(before);
    },
    async close() {
      end.abort();
      wake.abort();
      await watching;
      await Promise.all([last, noted]);
      await write();
      await keep.close();
    },
  };
}

/** How a keypad is to look; a code that cannot be read is a fault, and of any characters. */
async function codeOf(
  { code }: AlarmSettings,
  onFault: (text: string) => void,
): Promise<Alarm["panel"]["code"]> {
  if (code === "") return "none";
  try {
    return isNumeric(await readCode(code)) ? "digits" : "text";
  } catch (error) {
    if (!isFailure(error)) throw error;
    onFault(faultOf(error));
    return "text";
  }
}

const faultOf = (error: unknown) => `the alarm cannot be disarmed: ${explain(error)}`;

/** For --check-config. Throws Failure "misuse". */
export async function checkCodeFile({ enabled, code }: AlarmSettings): Promise<void> {
  if (!enabled || code === "") return;
  await asMisuse("alarm.code", ofSetting("alarm.code", readCode(code)));
}

const mostText = 512;

function statementOf({ what, mode, by, score, why, parts }: Told): Statement {
  const sums = new Map<string, number>();
  for (const { source, points } of parts) sums.set(source, (sums.get(source) ?? 0) + points);
  const all = [...sums].map(([source, points]) => `${source} ${points}`).join(", ");
  const text = (all === "" ? why : `${why} (${all})`)
    .slice(0, mostText)
    // Half a character is none.
    .replace(/\p{Cs}$/u, "");
  return { kind: "alarm", what, by, ...(mode ? { mode } : {}), score, text };
}
