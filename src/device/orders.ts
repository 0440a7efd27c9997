import { explain, Failure } from "../base/pure/failure.ts";
import type { Statement } from "../protocol/sealed/body.ts";
import type { Health } from "./health.ts";
import { type Mode, type Modes, noProfile } from "./mode.ts";
import type { Order } from "./order.ts";
import type { Sight } from "./sight.ts";
import type { Tuning } from "./tuning.ts";

export type OrderDesk = {
  modes: Modes;
  tuning: Pick<Tuning, "config" | "refresh">;
  sight: Pick<Sight, "seeing" | "shut" | "open">;
  health: Pick<Health, "fault">;
  /** Adds to the camera's sealed log; rejects when that takes nothing. */
  note(statement: Statement): Promise<void>;
  /** What could not be written, and is in force all the same. */
  onProblem(error: unknown): void;
  /** By which way it was asked for, for the log: `mqtt`. */
  by: string;
};

/**
 * Carries out what the house asks for. Each that changes something is an entry of the sealed log, written
 * first: what cannot be said there is not done. But privacy that begins waits for nothing. Throws the
 * Failure that says why not.
 */
export async function carryOut(order: Order, desk: OrderDesk): Promise<void> {
  const { modes, tuning, sight } = desk;
  const now = modes.now();
  const change = async (value: string, next: Partial<Mode>) => {
    await note(order.name, value, desk);
    try {
      await keep(next, desk);
    } finally {
      // In force, if perhaps not for long.
      tuning.refresh();
    }
  };
  switch (order.name) {
    case "privacy":
      if (order.value === now.privacy) return;
      if (order.value) await begin(desk);
      else if (modes.isOwners) {
        throw new Failure("refused", "privacy is a setting of the owner's, and ends with it");
      } else {
        await note("privacy", "OFF", desk);
        // What is not kept shuts the lens at the next start.
        await keep({ privacy: false }, desk).finally(sight.open);
      }
      return;
    case "detection":
      if (order.value === now.detection) return;
      return await change(order.value ? "ON" : "OFF", { detection: order.value });
    case "threshold":
      if (order.value === tuning.config.detect.threshold) return;
      return await change(String(order.value), { threshold: order.value });
    case "profile": {
      const { profiles } = tuning.config;
      if (order.value !== noProfile && !Object.hasOwn(profiles, order.value)) {
        const names = [noProfile, ...Object.keys(profiles)].join(", ");
        throw new Failure("refused", `there is no such profile: there are ${names}`);
      }
      if (order.value === now.profile && now.threshold === undefined) return;
      return await change(order.value, { profile: order.value, threshold: undefined });
    }
    case "record": {
      if (now.privacy) throw new Failure("refused", "in privacy nothing is recorded");
      if (!sight.seeing) throw new Failure("gone", "the camera gives no picture");
      await note("record", String(order.value), desk);
      sight.seeing?.record.byHand(order.value * 1000);
      return;
    }
  }
}

/** The lens first, then what says so: a card that is slow or failed leaves nothing open. */
async function begin(desk: OrderDesk): Promise<void> {
  const { modes, sight, onProblem } = desk;
  const kept = keep({ privacy: true }, desk).catch(onProblem);
  const shut = sight.shut();
  await Promise.all([kept, shut, note("privacy", "ON", desk).catch(onProblem)]);
  // An owner may have ended it meanwhile.
  if (!modes.now().privacy) sight.open();
}

async function keep(next: Partial<Mode>, { modes, health }: OrderDesk): Promise<void> {
  try {
    await modes.set(next);
    health.fault("mode");
  } catch (error) {
    const text = `what the house has set is over with the next start: ${explain(error)}`;
    health.fault("mode", text);
    throw error;
  }
}

function note(what: string, value: string, { note: say, by }: OrderDesk): Promise<void> {
  return say({ kind: "asked", what, value, by });
}

/** At a start: what owners could not know by what they read last. */
export async function noteStart({ modes, note }: Pick<OrderDesk, "modes" | "note">): Promise<void> {
  const before = modes.before();
  const { privacy, detection } = modes.now();
  const say = (what: string, isOn: boolean, by: string) =>
    note({ kind: "asked", what, value: isOn ? "ON" : "OFF", by });
  if (privacy || before.privacy) await say("privacy", privacy, privacy ? "start" : "settings");
  if (!detection || !before.detection) {
    await say("detection", detection, detection ? "settings" : "start");
  }
}
