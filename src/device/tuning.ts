import { type Config, needsRestart, withRemote } from "./config.ts";
import type { DetectStage } from "./detect/detect.ts";
import { type Mode, type Modes, noProfile } from "./mode.ts";
import type { RecordStage } from "./record/record.ts";

/** What of the running service a setting may change. */
export type Tuned = {
  detect: Pick<DetectStage, "set" | "pause">;
  record: Pick<RecordStage, "set">;
};

/** What is in force: the settings of the file, those of an owner over them, and what the house chose. */
export type Tuning = {
  /** Changed in place: whoever reads it later finds what is in force. */
  readonly config: Config;
  /**
   * Takes a setting that an owner sent, its value as JSON, while a clip may be being recorded; false for
   * one that the service has to begin anew for. What the house had set in its place is over.
   */
  set(name: string, value: string): Promise<boolean>;
  /** Puts what the house chose into force. */
  refresh(): void;
  /** These follow from now on; undefined when nothing runs. */
  attach(tuned: Tuned | undefined): void;
};

/** How much of the past and of what follows a clip holds, and the name in it. */
export function recordSettings({ record, name }: Config): Parameters<RecordStage["set"]>[0] {
  const { preRollS, postRollS } = record;
  return { preRollMs: preRollS * 1000, postRollMs: postRollS * 1000, camera: name };
}

const threshold = "detect.threshold";

/** The settings that the house has put in the place of the owner's, as JSON by name. */
export function chosen({ profiles }: Config, mode: Mode): Record<string, string> {
  const set = Object.entries(profiles[mode.profile] ?? {});
  return {
    ...Object.fromEntries(set.map(([name, value]) => [name, JSON.stringify(value)])),
    ...(mode.threshold === undefined ? {} : { [threshold]: JSON.stringify(mode.threshold) }),
  };
}

export function openTuning(options: {
  /** Of the file and the owner; it becomes what is in force. */
  config: Config;
  modes: Modes;
  /** The bandwidth of the uplink. */
  cap(kbitPerS: number): void;
  /** Something is in force that was not. */
  onChange(): void;
  /** An owner has set privacy, which is in force; resolves when the camera is as that says. */
  onPrivacy(): Promise<void>;
}): Tuning {
  const { config, modes, cap, onChange, onPrivacy } = options;
  let own = structuredClone(config);
  let tuned: Tuned | undefined;

  const apply = () => {
    tuned?.detect.set(config.detect);
    tuned?.detect.pause(!modes.now().detection);
    tuned?.record.set(recordSettings(config));
  };
  const refresh = () => {
    Object.assign(config, withRemote(own, chosen(own, modes.now())));
    apply();
    cap(config.relay.kbitPerS);
    onChange();
  };
  Object.assign(config, withRemote(own, chosen(own, modes.now())));
  return {
    config,
    async set(name, value) {
      if (needsRestart(name)) return false;
      own = withRemote(own, { [name]: value });
      const mode = modes.now();
      if (name === "privacy") {
        modes.follow(own);
        // The house's word is over, also where it says the same.
        await modes.set({ privacy: false }).finally(onPrivacy);
      } else if (name in (own.profiles[mode.profile] ?? {})) {
        await modes.set({ profile: noProfile, threshold: undefined });
      } else if (name === threshold && mode.threshold !== undefined) {
        await modes.set({ threshold: undefined });
      }
      refresh();
      return true;
    },
    refresh,
    attach(next) {
      tuned = next;
      apply();
    },
  };
}
