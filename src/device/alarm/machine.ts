import { type Contribution, createScore } from "./score.ts";
import type { AlarmSettings } from "./settings.ts";
import type { Evidence } from "./sources.ts";

// What the alarm does, decided from what it is told and when: alarm.md. Acts on nothing itself.

export type Mode = "home" | "away";
export const commands = ["arm_home", "arm_away", "disarm", "trigger", "test"] as const;
export type Command = (typeof commands)[number];

/**
 * What is kept over a new start. `isAgain` says that the present delay, or siren, was begun anew because
 * of one already: it is not begun anew a second time.
 */
export type Kept =
  | { kind: "disarmed" }
  | { kind: "arming"; mode: Mode; isAgain: boolean }
  | { kind: "armed"; mode: Mode }
  | { kind: "pending"; mode: Mode; isAgain: boolean }
  /** Without a mode it was not armed: somebody called for help. */
  | { kind: "triggered"; mode: Mode | undefined; isAgain: boolean };

/** As Home Assistant's panel names them. */
export type PanelState =
  | "disarmed"
  | "arming"
  | "armed_home"
  | "armed_away"
  | "pending"
  | "triggered";

export type Cause = "command" | "evidence" | "delay" | "restart";
export type Deed = {
  what: "arming" | "armed" | "disarmed" | "warning" | "pending" | "siren" | "quiet" | "test";
  atUs: number;
  by: Cause;
  /** After it. */
  state: PanelState;
  mode: Mode | undefined;
  score: number;
  /** One line for people. */
  why: string;
  /** What the score was made of, the oldest first. */
  parts: readonly Contribution[];
};

export type View = {
  state: PanelState;
  mode: Mode | undefined;
  score: number;
  /** Somebody is to be warned now. */
  warning: boolean;
  siren: boolean;
};

export type Machine = {
  /** A command that changes nothing is no deed. */
  command(command: Command, atUs: number): Deed[];
  evidence(all: readonly Evidence[], atUs: number): Deed[];
  /** Time goes on. */
  tick(atUs: number): Deed[];
  /** When time alone changes something next, other than the score. */
  dueUs(): number | undefined;
  view(atUs: number): View;
  /** What counted at this moment, of what is in the score now. */
  fresh(atUs: number): readonly Contribution[];
  kept(): Kept;
};

export type MachineSettings = Pick<
  AlarmSettings,
  "exitS" | "entryS" | "windowS" | "sliceS" | "warnAt" | "sirenAt" | "warnS" | "sirenS"
>;

type State = Kept & { untilUs: number | undefined };

/** Begins with what was kept; the first `tick` tells what became of it. */
export function createMachine(options: {
  settings: MachineSettings;
  kept?: Kept | undefined;
  atUs: number;
}): Machine {
  const { settings } = options;
  const us = {
    ...{ exit: settings.exitS * 1e6, entry: settings.entryS * 1e6 },
    ...{ warn: settings.warnS * 1e6, siren: settings.sirenS * 1e6 },
  };
  const score = createScore({ windowUs: settings.windowS * 1e6, sliceUs: settings.sliceS * 1e6 });
  let state: State = { kind: "disarmed", untilUs: undefined };
  let warnUntilUs: number | undefined;
  /** A warning was given, and the score has not been below its threshold since. */
  let isWarned = false;
  let begun: Deed[] = [];

  const modeOf = () => (state.kind === "disarmed" ? undefined : state.mode);
  const panel = (): PanelState => (state.kind === "armed" ? `armed_${state.mode}` : state.kind);
  const deed = (what: Deed["what"], atUs: number, by: Cause, why: string): Deed => {
    const parts = score.parts(atUs);
    const now = { state: panel(), mode: modeOf(), score: score.at(atUs) };
    return { what, atUs, by, ...now, why, parts };
  };
  const clear = () => {
    score.clear();
    isWarned = false;
    warnUntilUs = undefined;
  };
  const arm = (mode: Mode, atUs: number, by: Cause, why: string): Deed => {
    clear();
    state = { kind: "armed", mode, untilUs: undefined };
    return deed("armed", atUs, by, why);
  };
  const disarm = (atUs: number, by: Cause, why: string): Deed => {
    clear();
    state = { kind: "disarmed", untilUs: undefined };
    return deed("disarmed", atUs, by, why);
  };
  const leave = (mode: Mode, atUs: number, by: Cause, why: string, isAgain = false): Deed => {
    if (us.exit === 0) return arm(mode, atUs, by, why);
    clear();
    state = { kind: "arming", mode, isAgain, untilUs: atUs + us.exit };
    return deed("arming", atUs, by, `${why}; ${settings.exitS} s to leave`);
  };
  const wait = (mode: Mode, atUs: number, by: Cause, why: string, isAgain = false): Deed => {
    state = { kind: "pending", mode, isAgain, untilUs: atUs + us.entry };
    warnUntilUs = undefined;
    return deed("pending", atUs, by, `${why}; ${settings.entryS} s to disarm`);
  };
  const howl = (
    mode: Mode | undefined,
    ...[atUs, by, why, isAgain = false]: [number, Cause, string, boolean?]
  ): Deed => {
    state = { kind: "triggered", mode, isAgain, untilUs: atUs + us.siren };
    warnUntilUs = undefined;
    return deed("siren", atUs, by, `${why}; for ${settings.sirenS} s`);
  };
  /** The siren has been heard: what was before, with nothing counted yet. */
  const hush = (mode: Mode | undefined, atUs: number, by: Cause, why: string): Deed => {
    clear();
    state = mode
      ? { kind: "armed", mode, untilUs: undefined }
      : { kind: "disarmed", untilUs: undefined };
    return deed("quiet", atUs, by, why);
  };

  /** Goes on with what an earlier start has left. */
  const resume = (kept: Kept, atUs: number): Deed | undefined => {
    const anew = "the camera was started anew";
    switch (kept.kind) {
      case "disarmed":
        return undefined;
      case "armed":
        return arm(kept.mode, atUs, "restart", `${anew} while armed`);
      case "arming":
        return kept.isAgain
          ? arm(kept.mode, atUs, "restart", `${anew} twice while somebody left`)
          : leave(kept.mode, atUs, "restart", `${anew} while somebody left`, true);
      case "pending":
        return kept.isAgain || us.entry === 0
          ? howl(kept.mode, atUs, "restart", `${anew} while it waited for being disarmed`)
          : wait(kept.mode, atUs, "restart", `${anew} while it waited for being disarmed`, true);
      case "triggered":
        return kept.isAgain
          ? hush(kept.mode, atUs, "restart", `${anew} twice while the siren sounded`)
          : howl(kept.mode, atUs, "restart", `${anew} while the siren sounded`, true);
    }
  };
  const first = options.kept && resume(options.kept, options.atUs);
  if (first) begun = [first];

  /** All that time alone has brought about, each at its own moment. */
  const advance = (nowUs: number): Deed[] => {
    const deeds = begun;
    begun = [];
    while (state.untilUs !== undefined && state.untilUs <= nowUs) {
      const atUs: number = state.untilUs;
      if (state.kind === "arming")
        deeds.push(arm(state.mode, atUs, "delay", "the exit delay is over"));
      else if (state.kind === "pending") {
        deeds.push(howl(state.mode, atUs, "delay", "nobody disarmed in the entry delay"));
      } else if (state.kind === "triggered") {
        deeds.push(hush(state.mode, atUs, "delay", "the siren has sounded long enough"));
      }
    }
    if (warnUntilUs !== undefined && warnUntilUs <= nowUs) warnUntilUs = undefined;
    return deeds;
  };

  const obey = (command: Command, atUs: number): Deed[] => {
    const { kind } = state;
    const asked = "asked for";
    if (command === "disarm") return kind === "disarmed" ? [] : [disarm(atUs, "command", asked)];
    if (command === "trigger") {
      return kind === "triggered" ? [] : [howl(modeOf(), atUs, "command", asked)];
    }
    if (command === "test") {
      if (kind === "triggered" || kind === "pending") return [];
      warnUntilUs = atUs + us.warn;
      return [deed("test", atUs, "command", `${asked}; a warning of ${settings.warnS} s`)];
    }
    const mode = command === "arm_home" ? "home" : "away";
    if (kind === "disarmed") return [leave(mode, atUs, "command", asked)];
    if (mode === modeOf() || kind === "pending" || kind === "triggered") return [];
    if (kind === "armed") return [arm(mode, atUs, "command", asked)];
    // Not longer than it was: who says so over and over keeps nobody from being armed.
    state = { ...state, mode } as State;
    return [deed("arming", atUs, "command", asked)];
  };

  const judge = (fresh: readonly Contribution[], atUs: number): Deed[] => {
    if (state.kind === "pending") {
      const instant = fresh.find(({ isInstant }) => isInstant);
      if (!instant) return [];
      return [howl(state.mode, atUs, "evidence", `${instant.source}, which gives no delay`)];
    }
    if (state.kind !== "armed") return [];
    const sum = score.at(atUs);
    if (sum >= settings.sirenAt) {
      const why = `the score is ${sum}, ${settings.sirenAt} ask for the siren`;
      isWarned = true;
      const isInstant = us.entry === 0 || score.parts(atUs).some((part) => part.isInstant);
      const act = isInstant ? howl : wait;
      return [act(state.mode, atUs, "evidence", why)];
    }
    if (sum < settings.warnAt || isWarned) return [];
    isWarned = true;
    warnUntilUs = atUs + us.warn;
    const why = `the score is ${sum}, ${settings.warnAt} ask for a warning`;
    return [deed("warning", atUs, "evidence", why)];
  };

  return {
    command(command, atUs) {
      return [...advance(atUs), ...obey(command, atUs)];
    },
    evidence(all, atUs) {
      const deeds = advance(atUs);
      const { kind } = state;
      if (kind === "disarmed" || kind === "arming") return deeds;
      const mode = state.mode;
      if (!mode) return deeds;
      if (score.at(atUs) < settings.warnAt) isWarned = false;
      const fresh = all
        .map(({ source, weight, isInstant }) => ({ source, points: weight[mode], isInstant, atUs }))
        .filter((one) => score.add(one));
      return [...deeds, ...judge(fresh, atUs)];
    },
    tick: advance,
    dueUs() {
      const all = [state.untilUs, warnUntilUs].filter((one) => one !== undefined);
      return begun.length > 0 ? 0 : all.length === 0 ? undefined : Math.min(...all);
    },
    view: (atUs) => ({
      ...{ state: panel(), mode: modeOf(), score: score.at(atUs) },
      warning: state.kind === "pending" || warnUntilUs !== undefined,
      siren: state.kind === "triggered",
    }),
    fresh: score.fresh,
    kept() {
      const { untilUs: _, ...kept } = state;
      return kept;
    },
  };
}

/**
 * Whether a command takes the code: all that takes protection away does, arming as the settings say, and
 * calling for help never.
 */
export function needsCode(
  command: Command,
  { state, mode }: Pick<View, "state" | "mode">,
  { codeToArm }: { codeToArm: boolean },
): boolean {
  if (command === "trigger" || command === "test") return false;
  if (command === "disarm" || codeToArm) return true;
  // Where it is armed away already, home is less.
  return command === "arm_home" && mode === "away" && state !== "disarmed";
}
