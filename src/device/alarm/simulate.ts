import {
  createMachine,
  type Deed,
  type Kept,
  type Machine,
  type MachineSettings,
  type View,
} from "./machine.ts";
import type { Outcome, Recorded, Recording, Starting } from "./recording.ts";
import type { Contribution } from "./score.ts";
import type { AlarmSettings } from "./settings.ts";
import { createSources } from "./sources.ts";

/** How it stood from `atUs` on. */
export type Sample = { atUs: number } & View;
export type Simulation = {
  recording: Recording;
  /** One for each change, in order. */
  samples: Sample[];
  deeds: Deed[];
  /** All that counted. */
  counted: Contribution[];
  /** The most that came of it. */
  outcome: Outcome;
  /** Of what was expected; undefined when nothing was. */
  isRight: boolean | undefined;
  endUs: number;
};

export type SimulationSettings = MachineSettings &
  Pick<AlarmSettings, "person" | "motion" | "zones" | "sensors">;

/** Beyond the last event: until what began has ended. */
const stepUs = 1_000_000;

/**
 * What the alarm would have done. Without a code and without an exit delay at the beginning: who had armed it
 * had left. Time goes on behind the last event until nothing changes any more.
 */
export function simulate(
  recording: Recording,
  settings: SimulationSettings,
  as: Starting = recording.as,
): Simulation {
  const sources = createSources(settings);
  const kept: Kept = as === "disarmed" ? { kind: "disarmed" } : { kind: "armed", mode: as };
  const machine = createMachine({ settings, kept, atUs: 0 });
  // Of how it began nothing is to be told.
  machine.tick(0);
  const samples: Sample[] = [];
  const deeds: Deed[] = [];
  const counted = new Set<Contribution>();
  const sample = (atUs: number) => {
    const next = { atUs, ...machine.view(atUs) };
    const last = samples.at(-1);
    const isSame = last && JSON.stringify({ ...last, atUs }) === JSON.stringify(next);
    if (!isSame) samples.push(next);
  };
  let nowUs = 0;
  /** When what counted leaves the score, in order; those up to `left` have. */
  const leaves: number[] = [];
  let left = 0;
  /** By the moments at which time alone does something. */
  const goTo = (atUs: number) => {
    while (nowUs < atUs) {
      while ((leaves[left] ?? Number.POSITIVE_INFINITY) <= nowUs) left += 1;
      const next = Math.min(leaves[left] ?? atUs, machine.dueUs() ?? atUs);
      nowUs = Math.min(atUs, Math.max(nowUs, next));
      deeds.push(...machine.tick(nowUs));
      sample(nowUs);
    }
  };
  sample(0);
  for (const event of recording.events) {
    goTo(event.atUs);
    deeds.push(...tell(machine, sources, event));
    for (const part of machine.fresh(event.atUs)) {
      if (!counted.has(part)) leaves.push(part.atUs + settings.windowS * 1e6);
      counted.add(part);
    }
    sample(event.atUs);
  }
  const isOver = () => {
    const { score, warning } = machine.view(nowUs);
    return score === 0 && !warning && machine.dueUs() === undefined;
  };
  while (!isOver()) goTo(nowUs + stepUs);
  const outcome = outcomeOf(deeds);
  const { expect } = recording;
  const isRight = expect === undefined ? undefined : outcome === expect;
  return { recording, samples, deeds, counted: [...counted], outcome, isRight, endUs: nowUs };
}

function tell(machine: Machine, sources: ReturnType<typeof createSources>, event: Recorded) {
  const { atUs } = event;
  switch (event.kind) {
    case "motion":
      return machine.evidence(sources.motion(), atUs);
    case "persons":
      return machine.evidence(sources.persons(event.zones), atUs);
    case "message":
      return machine.evidence(sources.message(event), atUs);
    case "command":
      return machine.command(event.command, atUs);
  }
}

/** A siren that was due and was disarmed in time was a warning. */
function outcomeOf(deeds: readonly Deed[]): Outcome {
  const was = (...what: Deed["what"][]) => deeds.some((deed) => what.includes(deed.what));
  if (was("siren")) return "siren";
  return was("warning", "pending") ? "warning" : "nothing";
}
