import { type Config, needsRestart, withRemote } from "./config.ts";
import type { DetectStage } from "./detect/detect.ts";
import type { RecordStage } from "./record/record.ts";

/** What of the running service a setting may change. */
export type Tuned = {
  /** Changed in place: whoever reads it later finds what is in force. */
  config: Config;
  detect: Pick<DetectStage, "set">;
  record: Pick<RecordStage, "set">;
  /** The bandwidth of the uplink. */
  cap(kbitPerS: number): void;
};

/** How much of the past and of what follows a clip holds, and the name in it. */
export function recordSettings({ record, name }: Config): Parameters<RecordStage["set"]>[0] {
  const { preRollS, postRollS } = record;
  return { preRollMs: preRollS * 1000, postRollMs: postRollS * 1000, camera: name };
}

/**
 * Takes a setting that an owner sent, its value as JSON, while a clip may be being recorded; false
 * for one that the service has to begin anew for.
 */
export function tune(tuned: Tuned, name: string, value: string): boolean {
  if (needsRestart(name)) return false;
  const { config, detect, record, cap } = tuned;
  Object.assign(config, withRemote(config, { [name]: value }));
  detect.set(config.detect);
  record.set(recordSettings(config));
  cap(config.relay.kbitPerS);
  return true;
}
