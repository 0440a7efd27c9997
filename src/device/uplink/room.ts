import { fromHex, toHex } from "../../base/pure/bytes.ts";
import { isFailure } from "../../base/pure/failure.ts";
import type { Mailbox } from "../../protocol/wire/client.ts";
import { listMost, printClip } from "../../protocol/wire/mailbox.ts";
import type { Loss, Standing } from "../outbox/outbox.ts";
import { foreignClips } from "./compare.ts";

// What a relay that is full gives up: this camera's oldest clips, as far as the owner's minimum age
// lets it, and never one for the sake of an older one. So nothing is sent to and fro.

const mostTries = 8;

export type Given = Loss & { incarnation: number };

/**
 * Takes one clip away at the relay that is older than `newer` (than everything, when that is
 * undefined); `name` names it in the log first. Undefined when there is none that may go.
 */
export async function makeRoom(
  mailbox: Mailbox,
  {
    clips,
    newer,
    mayBeThere,
    name,
    signal,
  }: {
    /** Those of the outbox, the oldest first. */
    clips: readonly Standing[];
    newer: string | undefined;
    mayBeThere(clip: string): boolean;
    name(losses: readonly Loss[]): Promise<void>;
    signal: AbortSignal;
  },
): Promise<Given | undefined> {
  const ours = new Set(clips.map(({ clip }) => clip));
  let tries = 0;
  // What the outbox gave up already was older than what it has, and the log has named it.
  const foreign = await foreignClips(mailbox, (clip) => ours.has(clip), {
    most: mostTries,
    signal,
  });
  for (const { clip, incarnation, parts } of foreign) {
    const given = { clip: toHex(clip), incarnation, parts };
    if (await give(given)) return given;
  }
  for (const { clip, incarnation, isOpen } of clips) {
    if (clip === newer || tries >= mostTries) break;
    if (isOpen || !mayBeThere(clip)) continue;
    tries += 1;
    const under = printClip({ incarnation, clip: fromHex(clip) });
    const parts = (await mailbox.list({ under, limit: listMost, signal })).length;
    if (parts === 0) continue;
    const given = { clip, incarnation, parts };
    if (await give(given)) {
      await name([{ clip, parts }]);
      return given;
    }
    // The others are younger still.
    break;
  }
  return undefined;

  async function give({ clip, incarnation }: Given): Promise<boolean> {
    const what = { incarnation, clip: fromHex(clip) };
    try {
      await mailbox.remove(what, { signal });
    } catch (error) {
      if (isFailure(error, "refused")) return false;
      throw error;
    }
    return true;
  }
}
