import type { Clock } from "../../base/pure/clock.ts";

/** Bytes that may go out; resolves when so many may. */
export type Pace = (bytes: number) => Promise<void>;

/**
 * A bandwidth cap for all that is sent: a bucket that holds a second's worth and may run into debt
 * by one slice. What is urgent goes first, in its order; the patient get what is left. 0 is no cap.
 */
export function openPace({ kbitPerS, clock }: { kbitPerS: number; clock: Clock }): {
  urgent: Pace;
  patient: Pace;
  /** Another cap from here on, also for what waits. */
  cap(kbitPerS: number): void;
} {
  let kbit = kbitPerS;
  const bytesPerS = () => (kbit * 1000) / 8;
  let tokens = bytesPerS();
  let filledUs = clock.monotonicUs();
  const waiting: Record<"urgent" | "patient", { bytes: number; go: () => void }[]> = {
    urgent: [],
    patient: [],
  };
  let isServing = false;

  const serve = async () => {
    isServing = true;
    for (;;) {
      const next = waiting.urgent[0] ? waiting.urgent : waiting.patient;
      const [first] = next;
      if (!first) break;
      const now = clock.monotonicUs();
      tokens = Math.min(bytesPerS(), tokens + ((now - filledUs) / 1e6) * bytesPerS());
      filledUs = now;
      if (kbit > 0 && tokens <= 0) {
        // Not the whole of it: the cap may be another by then.
        await clock.sleep(Math.min(500, Math.max(1, (-tokens / bytesPerS()) * 1000)));
        continue;
      }
      next.shift();
      tokens -= first.bytes;
      first.go();
    }
    isServing = false;
  };

  const pace =
    (which: "urgent" | "patient"): Pace =>
    (bytes) =>
      new Promise((go) => {
        waiting[which].push({ bytes, go });
        if (!isServing) void serve();
      });
  return {
    urgent: pace("urgent"),
    patient: pace("patient"),
    cap(next) {
      kbit = next;
      tokens = bytesPerS();
    },
  };
}
