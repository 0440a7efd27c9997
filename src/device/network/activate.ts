import type { Clock } from "../../base/pure/clock.ts";
import { type Move, type Profile, type Radio, states } from "./radio.ts";

/**
 * Puts a profile in force that lies in memory only, and waits until that came to be, failed, or took
 * `forMs`. `moves` is what the device did; nothing when NetworkManager or the device went away.
 */
export async function activate(
  profile: Profile,
  point: string | undefined,
  forMs: number,
  { radio, clock }: { radio: Radio; clock: Clock },
): Promise<{ moves: Move[] | undefined; profile: string }> {
  const moves: Move[] = [];
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let isGone = false;
  const unfollow = await radio.follow(
    (move) => {
      moves.push(move);
      if (move.state === states.up || move.state === states.failed) end();
    },
    () => {
      isGone = true;
      end();
    },
  );
  const late = new AbortController();
  try {
    const path = await radio.activate(profile, point);
    await Promise.race([ended, clock.sleep(forMs, late.signal).catch(() => {})]);
    return { moves: isGone ? undefined : moves, profile: path };
  } finally {
    late.abort();
    await unfollow().catch(() => {});
  }
}
