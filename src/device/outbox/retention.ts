/** A clip as retention sees it. */
export type Candidate = { clip: string; orderMs: number; bytes: number; isOpen: boolean };
/** The newest clip on a day: what is not newer is at least as old. */
export type DayMark = { day: number; orderMs: number };
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

/**
 * Decides which clips were kept for their time, the oldest first: those of days before the last
 * `retentionDays` whole ones. `marks` are those of use from now on, with one for today.
 */
export function chooseExpired(
  candidates: readonly Omit<Candidate, "bytes">[],
  marks: readonly DayMark[],
  { today, retentionDays }: { today: number; retentionDays: number },
): { victims: string[]; marks: DayMark[] } {
  const newestMs = (of: readonly { orderMs: number }[]) =>
    of.reduce((newest, { orderMs }) => Math.max(newest, orderMs), 0);
  const isOver = ({ day }: DayMark) => day < today - retentionDays;
  const overMs = newestMs(marks.filter(isOver));
  const victims = candidates
    .filter(({ isOpen, orderMs }) => !isOpen && orderMs <= overMs)
    .sort((a, b) => a.orderMs - b.orderMs)
    .map(({ clip }) => clip);
  const kept = marks.filter((mark) => !isOver(mark) && mark.day < today);
  return { victims, marks: [...kept, { day: today, orderMs: Math.ceil(newestMs(candidates)) }] };
}
