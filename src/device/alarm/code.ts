import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { readSecret } from "../login.ts";

// The code that disarms: four to 32 characters, in a file, compared so that time tells nothing.

const least = 4;
export const longestCode = 32;

/**
 * The code of a file that only its owner may read. Throws Failure "absent", "denied", or "misuse" for a
 * file that is not what it should be.
 */
export async function readCode(file: string): Promise<string> {
  const bytes = await readSecret(file);
  const refuse = () =>
    new Failure(
      "misuse",
      `${file} should hold one line: a code of ${least} to ${longestCode} characters, and no spaces`,
    );
  let text: string;
  try {
    // Some editors put a mark before it.
    text = toText(bytes)
      .replace(/^\uFEFF/, "")
      .replace(/\r?\n$/, "");
  } catch {
    throw refuse();
  }
  const length = [...text].length;
  if (length < least || length > longestCode || !/^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(text)) {
    throw refuse();
  }
  return text;
}

/** Whether a keypad of digits will do. */
export const isNumeric = (code: string): boolean => /^\d+$/.test(code);

/** Whether both are the same, in a time that does not tell how far they are. */
export function isSameCode(given: string, code: string): boolean {
  const key = randomBytes(32);
  const digest = (text: string) => createHmac("sha256", key).update(text).digest();
  return timingSafeEqual(digest(given), digest(code));
}

const freeTries = 3;
const firstMs = 10_000;
const longestMs = 15 * 60_000;

/** How long nothing is tried after so many wrong codes in a row, ms. */
export function waitAfter(failures: number): number {
  if (failures < freeTries) return 0;
  return Math.min(longestMs, firstMs * 2 ** Math.min(failures - freeTries, 20));
}

/** Counts wrong codes. Pure; times are µs of the monotonic clock. */
export type Lock = {
  readonly failures: number;
  /** How long nothing is tried any more, ms; 0 when something may be. */
  remainingMs(nowUs: number): number;
  wrong(nowUs: number): void;
  right(): void;
};

/** After a new start with failures it is waited as after the last of them. */
export function createLock(failures: number, nowUs: number): Lock {
  let count = failures;
  let untilUs = nowUs + waitAfter(count) * 1000;
  return {
    get failures() {
      return count;
    },
    remainingMs: (atUs) => Math.max(0, Math.ceil((untilUs - atUs) / 1000)),
    wrong(atUs) {
      count += 1;
      untilUs = atUs + waitAfter(count) * 1000;
    },
    right() {
      count = 0;
      untilUs = 0;
    },
  };
}
