import type { Log } from "../base/node/log.ts";
import { explain } from "../base/pure/failure.ts";
import type { CameraEvent } from "./camera/camera.ts";
import type { DetectEvent, Incident } from "./detect/detect.ts";
import type { Health } from "./health.ts";

/** What `run --json` prints, a line each: states and counts, never a picture. */
export type ServiceEvent =
  | { event: "camera"; source: string; width: number; height: number; format: string }
  /** All that sees is shut, or is about to be opened again. */
  | { event: "privacy"; isOn: boolean }
  /** The first picture that was looked at; `index` is the footage's own, of replayed footage. */
  | { event: "pictures"; capturedUs: number; index?: number }
  | {
      event: "person";
      incident: string;
      firstSeenUs: number;
      atUs: number;
      persons: number;
      /** What one look takes at present. */
      inferenceMs: number;
    }
  | { event: "gone"; incident: string; atUs: number; mostPersons: number }
  /** A part that is durable; `picture` with the one that makes the clip's first picture so. */
  | {
      event: "part";
      clip: string;
      incident: string;
      number: number;
      bytes: number;
      atUs: number;
      picture?: true;
    }
  /** How it stands with the house's MQTT broker, told when it changes; `why` it is away. */
  | { event: "broker"; isConnected: boolean; why?: string }
  /** A part that is durable at a relay, which is counted from 0. */
  | { event: "relayed"; clip: string; number: number; atUs: number; relay: number }
  | {
      event: "clip";
      clip: string;
      incident: string;
      parts: number;
      bytes: number;
      reason: string;
      atUs: number;
    };

export function tellCamera(
  { kind, failure }: CameraEvent,
  { log, health }: { log: Log; health: Health },
): void {
  const text = failure ? explain(failure) : kind;
  if (kind !== "corrupt") health.fault("camera", kind === "opened" ? undefined : text);
  if (kind === "opened") log.info("pictures flow");
  else if (kind === "corrupt" || kind === "problem") log.warn(text);
  else log.error(text);
}

/** Pictures that could not be looked at, at the first, tenth, hundredth: a cable may damage each of them. */
export function tellDamaged(count: number, log: Log): void {
  if (!/^10*$/.test(String(count))) return;
  log.warn("a damaged picture was not looked at", { count });
}

/** Whether the person detector works. */
export function tellModel(
  event: DetectEvent,
  { log, health }: { log: Log; health: Pick<Health, "fault"> },
): void {
  const text = event.kind === "problem" ? explain(event.failure) : undefined;
  health.fault("model", text);
  if (text) log.error(text);
  else log.info("the model works again");
}

export function tellIncident(
  incident: Incident,
  options: { log: Log; emit(event: ServiceEvent): void; nowUs: number; inferenceMs: number },
): void {
  const { id } = incident;
  const { log, emit, nowUs, inferenceMs } = options;
  if (incident.kind === "start") {
    const { firstSeenUs } = incident;
    const persons = incident.persons.length;
    log.info("somebody came", { incident: id.slice(0, 8), persons });
    emit({ event: "person", incident: id, firstSeenUs, atUs: nowUs, persons, inferenceMs });
  } else if (incident.kind === "end") {
    log.info("nobody is left", { incident: id.slice(0, 8), most: incident.mostPersons });
    emit({ event: "gone", incident: id, atUs: nowUs, mostPersons: incident.mostPersons });
  }
}
