import type { Incident, Sighting } from "../detect/detect.ts";

/** One message of the event stream; what the fields mean: topics.ts. */
export type VisitEvent = {
  event_type: "new" | "update" | "end" | "clip";
  id: string;
  run: string;
  number: number;
  at: string;
  since: string;
  clock_trusted: boolean;
  seconds: number;
  count: number;
  most: number;
  score: number;
  zones: string[];
  entered: string[];
  persons: {
    track: number;
    box: [x: number, y: number, width: number, height: number];
    score: number;
    zones: string[];
    still: boolean;
  }[];
  clip: string | null;
  clips: number;
  sealed: boolean;
  delivered: boolean;
};

export type VisitsOptions = {
  run: string;
  nowUs(): number;
  wallMs(): number;
  clockTrusted(): boolean;
  /** Whether a relay has the whole of a clip; undefined without relays. */
  isDelivered: ((clip: string) => boolean) | undefined;
};

/** Turns what detection, recording and sealing say of visits into messages. Decides, sends nothing. */
export type Visits = {
  incident(incident: Incident): VisitEvent[];
  /** The first part of a clip is durable, or a later one. */
  part(part: { clip: string; incident: string }): void;
  /** A clip was sealed to its end. */
  sealed(clip: { clip: string; incident: string }): void;
  /** Once a second: what was held back, and what became of clips. */
  tick(): VisitEvent[];
};

type Visit = {
  id: string;
  sinceUs: number;
  /** The same on the wall's clock, as it was said. */
  sinceMs: number;
  endUs: number | undefined;
  frame: { width: number; height: number };
  persons: readonly Sighting[];
  count: number;
  most: number;
  score: number;
  entered: Set<string>;
  clip: string | null;
  clips: number;
  /** Not delivered yet, or without relays not sealed; those that are have left only their number. */
  open: Map<string, { sealed: boolean; delivered: boolean }>;
  /** One was forgotten that was not delivered. */
  isShort: boolean;
  told: string;
  toldUs: number;
};

/** A visit's updates are at least so far apart, and, while somebody is seen, at most. */
const leastUs = 1_000_000;
const longestUs = 15_000_000;
/** What says of a clock on the wall that it was set, and not read a little later. */
const setMs = 500;
const mostVisits = 32;
const mostOpen = 64;
const mostPersons = 16;
const round = (value: number, digits: number) => Number(value.toFixed(digits));

export function createVisits(options: VisitsOptions): Visits {
  const { run, nowUs, wallMs, clockTrusted, isDelivered } = options;
  const visits = new Map<string, Visit>();
  let number = 0;

  const isSealed = ({ clips, open }: Visit) =>
    clips > 0 && [...open.values()].every(({ sealed }) => sealed);
  const isAway = (visit: Visit) =>
    isDelivered !== undefined && isSealed(visit) && visit.open.size === 0 && !visit.isShort;

  const write = (visit: Visit, event_type: VisitEvent["event_type"]): VisitEvent => {
    const now = nowUs();
    const wall = wallMs();
    const sinceMs = wall - (now - visit.sinceUs) / 1000;
    if (!(Math.abs(sinceMs - visit.sinceMs) < setMs)) visit.sinceMs = sinceMs;
    const iso = (ms: number) => new Date(ms).toISOString();
    visit.toldUs = now;
    visit.told = worth(visit);
    number += 1;
    return {
      ...{ event_type, id: visit.id, run, number },
      ...{ at: iso(wall), since: iso(visit.sinceMs), clock_trusted: clockTrusted() },
      seconds: round(((visit.endUs ?? now) - visit.sinceUs) / 1e6, 1),
      ...{ count: visit.count, most: visit.most, score: round(visit.score, 3) },
      zones: zonesOf(visit),
      entered: [...visit.entered],
      persons: visit.persons.slice(0, mostPersons).map((one) => describe(one, visit.frame)),
      ...{ clip: visit.clip, clips: visit.clips },
      ...{ sealed: isSealed(visit), delivered: isAway(visit) },
    };
  };
  /** What is worth an update when it changes. */
  const worth = (visit: Visit) => {
    const persons = visit.persons.map(({ track, zones, still }) => [track, zones, still]);
    const { count, most, clip } = visit;
    return visit.endUs === undefined
      ? JSON.stringify([persons, count, most, clip, isSealed(visit), isAway(visit)])
      : JSON.stringify([visit.clips, isSealed(visit), isAway(visit)]);
  };
  const see = (visit: Visit, { persons, count }: { persons: Sighting[]; count: number }) => {
    visit.persons = persons;
    // Nobody is looked for again until somebody is found: the median of the last looks stays behind.
    visit.count = persons.length === 0 ? 0 : count;
    visit.most = Math.max(visit.most, count);
    for (const { score, zones } of persons) {
      visit.score = Math.max(visit.score, score);
      for (const zone of zones) visit.entered.add(zone);
    }
  };
  const begin = (incident: Incident & { kind: "start" }) => {
    const visit: Visit = {
      ...{ id: incident.id, sinceUs: incident.firstSeenUs, sinceMs: Number.NaN },
      endUs: undefined,
      ...{ frame: incident.frame, persons: [], count: 0, most: 0, score: 0, entered: new Set() },
      ...{ clip: null, clips: 0, open: new Map(), isShort: false, told: "", toldUs: 0 },
    };
    visits.set(visit.id, visit);
    for (const id of visits.keys()) {
      if (visits.size <= mostVisits) break;
      visits.delete(id);
    }
    see(visit, incident);
    return write(visit, "new");
  };
  const isDue = (visit: Visit, isSeen: boolean) => {
    const sinceUs = nowUs() - visit.toldUs;
    return (sinceUs >= leastUs && worth(visit) !== visit.told) || (isSeen && sinceUs >= longestUs);
  };
  const clipOf = ({ clip, incident }: { clip: string; incident: string }) => {
    const visit = visits.get(incident);
    if (!visit) return undefined;
    const known = visit.open.get(clip);
    if (known || visit.clip === clip) return known;
    const fresh = { sealed: false, delivered: false };
    visit.clip = clip;
    visit.clips += 1;
    visit.open.set(clip, fresh);
    for (const old of visit.open.keys()) {
      if (visit.open.size <= mostOpen) break;
      visit.open.delete(old);
      visit.isShort = true;
    }
    return fresh;
  };
  const settle = (visit: Visit) => {
    for (const [clip, { sealed }] of visit.open) {
      if (sealed && (isDelivered === undefined || isDelivered(clip))) visit.open.delete(clip);
    }
  };

  return {
    incident(incident) {
      if (incident.kind === "start") return [begin(incident)];
      const visit = visits.get(incident.id);
      if (!visit) return [];
      if (incident.kind === "update") {
        see(visit, incident);
        return isDue(visit, visit.persons.length > 0) ? [write(visit, "update")] : [];
      }
      see(visit, { persons: [], count: 0 });
      visit.most = Math.max(visit.most, incident.mostPersons);
      // By the picture, which on a board that lags is older than what was said last.
      visit.endUs = Math.max(incident.atUs, visit.toldUs);
      settle(visit);
      return [write(visit, "end")];
    },
    part: (part) => void clipOf(part),
    sealed(clip) {
      const open = clipOf(clip);
      if (open) open.sealed = true;
    },
    tick() {
      const events: VisitEvent[] = [];
      for (const visit of visits.values()) {
        settle(visit);
        const isOver = visit.endUs !== undefined;
        // After the end only what is final is worth a message.
        const isFinal = !isOver || isSealed(visit);
        if (isFinal && isDue(visit, false)) events.push(write(visit, isOver ? "clip" : "update"));
        const isDone = isSealed(visit) && visit.open.size === 0;
        if (isOver && isDone && worth(visit) === visit.told) visits.delete(visit.id);
      }
      return events;
    },
  };
}

function zonesOf({ persons }: Visit): string[] {
  return [...new Set(persons.flatMap(({ zones }) => zones))];
}

function describe(
  { track, box, score, zones, still }: Sighting,
  { width, height }: { width: number; height: number },
): VisitEvent["persons"][number] {
  const [x, y, w, h] = [box.x / width, box.y / height, box.width / width, box.height / height];
  return {
    track,
    box: [round(x, 4), round(y, 4), round(w, 4), round(h, 4)],
    ...{ score: round(score, 3), zones: [...zones], still },
  };
}
