import { states, type Topic } from "../mqtt/mqtt.ts";
import { type States, splitTopic } from "./board.ts";

// Prometheus' text format, 0.0.4, of the states and of what the interface itself has done: local.md.

/** What the interface counts. */
export type Counts = {
  /** Requests that were answered, by the first digit of their status. */
  answers: ReadonlyMap<number, number>;
  subscribers: number;
  /** Connections that were ended because they were slow, or too many. */
  cutOff: number;
};

export type Measured = {
  told: States;
  pictures: { ageS: number; isStale: boolean };
  visits: number;
  counts: Counts;
};

const prefix = "obscura_camera_";
/** Base units, as Prometheus wants them, and the end of a name. */
const units: Readonly<Record<string, { ending: string; times: number }>> = {
  MiB: { ending: "_bytes", times: 2 ** 20 },
  s: { ending: "_seconds", times: 1 },
  "°C": { ending: "_celsius", times: 1 },
};

/** What is called otherwise here: `_count` is the end of a histogram's name. */
const renamed: Readonly<Record<string, string>> = { count: "persons" };

/** The name of a state as a metric, and by how much its value is multiplied; undefined for text. */
export function metricOf(
  topic: string,
  { kind, shown }: Pick<Topic<never>, "kind" | "shown">,
): { name: string; times: number } | undefined {
  if (kind === undefined || kind === "object") return undefined;
  const { zone, name } = splitTopic(topic);
  const { ending = "", times = 1 } = units[shown?.unit ?? ""] ?? {};
  const called = `${renamed[name] ?? name}${ending}`;
  return { name: `${prefix}${zone === undefined ? "" : "zone_"}${called}`, times };
}

const label = (text: string) =>
  text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");

export function printMetrics({ told, pictures, visits, counts }: Measured): string {
  const lines: string[] = [];
  type Sample = [labels: string, value: number];
  const metric = (name: string, type: "gauge" | "counter", about: string, samples: Sample[]) => {
    if (samples.length === 0) return;
    const help = about.replace(/\\/g, "\\\\").replace(/\n/g, " ");
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) lines.push(`${name}${labels} ${value}`);
  };
  const one = (name: string, type: "gauge" | "counter", about: string, value: number) =>
    metric(prefix + name, type, about, [["", value]]);

  const version = label(String(told.states.version ?? ""));
  const info = `{name="${label(told.name)}",version="${version}"}`;
  metric(`${prefix}info`, "gauge", "Always 1.", [[info, 1]]);
  one(
    "pictures_stale",
    "gauge",
    "1 when no picture was looked at for 30 s, or none is to be had yet.",
    pictures.isStale ? 1 : 0,
  );
  one(
    "pictures_age_seconds",
    "gauge",
    "Since a picture was last looked at, to the second it is seen by.",
    Math.round(pictures.ageS * 10) / 10,
  );
  one("visits_total", "counter", "Visits that began since the start.", visits);
  for (const [topic, about] of Object.entries(states as Record<string, Topic<never>>)) {
    const found = metricOf(topic, about);
    if (!found) continue;
    const { name, zone } = splitTopic(topic);
    const values =
      zone === undefined
        ? [["", told.states[name]] as const]
        : Object.entries(told.zones).map(
            ([of, values]) => [`{zone="${label(of)}"}`, values[name]] as const,
          );
    const samples = values.flatMap(([labels, value]): Sample[] =>
      typeof value === "boolean" || typeof value === "number"
        ? [[labels, Number(value) * found.times]]
        : [],
    );
    metric(found.name, "gauge", about.about, samples);
  }
  const answers = [2, 3, 4, 5].map(
    (digit): Sample => [`{status="${digit}xx"}`, counts.answers.get(digit) ?? 0],
  );
  metric(`${prefix}local_requests_total`, "counter", "Requests to the local interface.", answers);
  one("local_subscribers", "gauge", "Who reads the stream now.", counts.subscribers);
  one(
    "local_cut_off_total",
    "counter",
    "Connections ended because they were slow or too many.",
    counts.cutOff,
  );
  return `${lines.join("\n")}\n`;
}
