import { equal, toHex } from "../../base/pure/bytes.ts";
import { statements } from "../journal.ts";
import type { Arguments } from "./arguments.ts";
import { haveDoneFresh } from "./fresh.ts";
import type { Voice } from "./out.ts";
import type { Say, World } from "./world.ts";

const defaultWaitMs = 60_000;

/** `obscura-phone arm home|away` and `disarm`: waits until the camera's log says what came of it. */
export async function orderAlarm(
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  const { vault, camera } = world;
  const armed = given.operands[0] === "home" ? "arm_home" : "arm_away";
  const order = given.command === "disarm" ? "disarm" : armed;
  const { journal, found } = await haveDoneFresh<{ since: number }>(
    world,
    (nonce) => ({ kind: "alarm", nonce, order }),
    (journal, { number, since }) => {
      const done = statements(journal, "command-done").find(
        ({ statement }) =>
          statement.number === number && equal(statement.phone, vault.content.phoneKey),
      )?.statement;
      if (!done) return undefined;
      return done.refused === undefined ? { since } : { refused: done.refused };
    },
    {
      what: "change of the alarm",
      endMs: performance.now() + (given.waitMs ?? defaultWaitMs),
      voice,
    },
  );
  voice.progress("");
  const deed = statements(journal, "alarm").findLast(
    ({ record, statement }) => record.entry.sequence > found.since && statement.by === "command",
  )?.statement;
  const name = camera.name || toHex(camera.id).slice(0, 12);
  const mode = deed?.mode === undefined ? "" : ` (${deed.mode})`;
  const text = deed ? `${deed.what}${mode}: ${deed.text}` : "as it was";
  const what = deed ? { what: deed.what, mode: deed.mode ?? null } : { what: null, mode: null };
  say(`${name}: ${text}\n`, { camera: toHex(camera.id), ...what });
  return 0;
}
