import { toText } from "../../base/pure/bytes.ts";
import type { Incident } from "../detect/detect.ts";
import type { AlarmSettings, Sensor, Weight } from "./settings.ts";

// What the camera and the house say, as evidence. Decides what counts, not whether it is enough.

export type Evidence = { source: string; weight: Weight; isInstant: boolean };
/** What comes by the broker. A retained one was said whenever: it proves nothing of now. */
export type Message = { topic: string; payload: Uint8Array; isRetained: boolean };

export type Sources = {
  /** The topics that are listened to, each once. */
  readonly topics: readonly string[];
  motion(): Evidence[];
  /** By the zones of each person in one look. */
  persons(zones: readonly (readonly string[])[]): Evidence[];
  message(message: Message): Evidence[];
};

const longestPayload = 4096;

/** The zones of each person whom detection tells of. */
export function zonesOf(incident: Incident): readonly (readonly string[])[] {
  return incident.kind === "end" ? [] : incident.persons.map(({ zones }) => zones);
}

export function createSources(
  settings: Pick<AlarmSettings, "person" | "motion" | "zones" | "sensors">,
): Sources {
  const { person, motion, sensors } = settings;
  const zones = new Map(settings.zones.map(({ zone, weight }) => [zone, weight]));
  const byTopic = new Map<string, Sensor[]>();
  for (const one of sensors) byTopic.set(one.topic, [...(byTopic.get(one.topic) ?? []), one]);
  /** Of the zones that somebody is in the one that weighs most: one person is not two. */
  const where = (within: readonly string[]): Evidence => {
    const [best] = within
      .flatMap((zone) => {
        const weight = zones.get(zone);
        return weight ? [{ zone, weight }] : [];
      })
      .sort((one, other) => other.weight.away - one.weight.away);
    if (!best) return { source: "person", weight: person, isInstant: false };
    return { source: `person in ${best.zone}`, weight: best.weight, isInstant: false };
  };
  return {
    topics: [...byTopic.keys()],
    motion: () => [{ source: "motion", weight: motion, isInstant: false }],
    persons(all) {
      const found = all.map((within) => where(within));
      return [...new Map(found.map((one) => [one.source, one])).values()];
    },
    message({ topic, payload, isRetained }) {
      if (isRetained || payload.length > longestPayload) return [];
      const matching = byTopic.get(topic)?.filter((sensor) => doesCount(sensor, payload)) ?? [];
      return matching.map(({ name, weight, isInstant }) => ({
        ...{ source: isOfTheEye(name) ? `sensor ${name}` : name, weight, isInstant },
      }));
    },
  };
}

/** Two sources of one name would count as one. */
const isOfTheEye = (name: string) => /^(sensor )*(motion|person|person in .*)$/.test(name);

function doesCount({ field, counts }: Sensor, payload: Uint8Array): boolean {
  const value = readValue(payload, field);
  return value !== undefined && (counts.length === 0 || counts.some((one) => isSame(one, value)));
}

/** Of as many digits as are told apart for sure. */
const isPlain = (text: string) => /^-?\d{1,12}(\.\d{1,3})?$/.test(text);

/** YAML reads `1.0` as 1 and `007` as 7, and would make an alarm deaf to what says just that. */
function isSame(one: string, value: string): boolean {
  return one === value || (isPlain(one) && isPlain(value) && Number(one) === Number(value));
}

/** Undefined for what is not text, empty (the end of a retained topic), or not there. */
function readValue(payload: Uint8Array, field: readonly string[]): string | undefined {
  try {
    const text = toText(payload).trim();
    if (field.length === 0) return text === "" ? undefined : text;
    let value: unknown = JSON.parse(text);
    for (const step of field) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) {
        return undefined;
      }
      value = (value as Record<string, unknown>)[step];
    }
    return ["string", "number", "boolean"].includes(typeof value) ? String(value) : undefined;
  } catch {
    return undefined;
  }
}
