import { toHex } from "../../base/pure/bytes.ts";
import type { Arguments } from "./arguments.ts";
import { haveDone, readLog } from "./ask.ts";
import type { Voice } from "./out.ts";
import type { Say, World } from "./world.ts";

/**
 * `obscura-phone erase CAMERA`: the camera overwrites its keys and is nobody's again. What lies at
 * the relay stays, and is counted: it opens as before with the keys that are here.
 */
export async function erase(
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  const { camera, link } = world;
  const journal = await readLog(world);
  const { version: replaces } = journal.members.head;
  const { waitMs } = given;
  const waiting = { what: "to be erased", waitMs, voice };
  const state = await haveDone(world, journal, { kind: "erase", replaces }, waiting);
  const parts = (await link.list({ under: "part/" })).flatMap((name) =>
    name.kind === "part" ? [toHex(name.clip)] : [],
  );
  const clips = new Set(parts).size;
  const name = camera.name || "the camera";
  const done = `${name} is erased: its keys are overwritten, its clips are gone from it, and it is nobody's
until it is paired anew, under a new identity.
`;
  const stays = `${clips} clips (${parts.length} objects) and the log stay at ${link.where}. They open with this
phone's keys as before: export what you want to keep, delete destroys the keys of the rest.
`;
  const waits = `${name}: sent, and the camera has not answered yet. Every later command sends it again
`;
  say(state === "done" ? done + stays : waits, { state, clips, objects: parts.length });
  return 0;
}
