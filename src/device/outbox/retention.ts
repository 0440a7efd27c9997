/** A clip as retention sees it. */
export type Candidate = { clip: string; orderMs: number; bytes: number; isOpen: boolean };
export type Room = {
  /** What is about to be written. */
  incomingBytes: number;
  usedBytes: number;
  limitBytes: number;
  /** Free on the file system beyond what must stay free. */
  spareBytes: number;
};

/**
 * Decides which clips have to go before `incomingBytes` may come: the oldest whose recording is
 * over, as few as do. `enough` is false when even all of them do not do.
 */
export function chooseVictims(
  candidates: readonly Candidate[],
  room: Room,
): { victims: string[]; enough: boolean } {
  const overLimit = room.usedBytes + room.incomingBytes - room.limitBytes;
  const overFree = room.incomingBytes - room.spareBytes;
  let missing = Math.max(overLimit, overFree);
  const victims: string[] = [];
  const byAge = candidates
    .filter(({ isOpen }) => !isOpen)
    .sort((a, b) => a.orderMs - b.orderMs || (a.clip < b.clip ? -1 : 1));
  for (const { clip, bytes } of byAge) {
    if (missing <= 0) break;
    victims.push(clip);
    missing -= bytes;
  }
  return { victims, enough: missing <= 0 };
}
