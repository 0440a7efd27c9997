/** What went wrong, as callers branch on it; the message is for people only. */
export type FailureKind =
  | "absent" // the thing asked for is not there (a device, a file, a key)
  | "busy" // somebody else holds it
  | "denied" // the system or a right forbids it
  | "refused" // the other side said no to what was asked (a format, a request, a version)
  | "stalled" // it was there and stopped moving
  | "full" // no room: a disk, a quota, a bound
  | "gone" // it was there and went away (an unplugged camera, an erased clip)
  | "corrupt" // bytes that are not what they claim to be
  | "offline" // no network or no peer
  | "misuse"; // the caller's mistake: a wrong argument, a wrong setting

export type FailureOptions = {
  /** What the person in front of it can do about it, as one sentence. */
  hint?: string;
  cause?: unknown;
  /** The system call and errno name behind it, where there was one ("VIDIOC_S_FMT", "EBUSY"). */
  syscall?: string;
  errno?: string;
  /** Of decoders: which check said no ("length", "version", ...); vectors name it. Of settings: which one. */
  stage?: string;
  /** When the other side said how long to wait before asking again. */
  retryAfterMs?: number;
};

/** The one error class of Obscura. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly kind: FailureKind;
  readonly hint: string | undefined;
  readonly syscall: string | undefined;
  readonly errno: string | undefined;
  readonly stage: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(kind: FailureKind, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint;
    this.syscall = options.syscall;
    this.errno = options.errno;
    this.stage = options.stage;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** True if `error` is a Failure of one of the given kinds (of any kind when none is given). */
export function isFailure(error: unknown, ...kinds: FailureKind[]): error is Failure {
  return error instanceof Failure && (kinds.length === 0 || kinds.includes(error.kind));
}

/** One line for a person: the message, and what to do about it where that is known. */
export function explain(error: unknown): string {
  if (error instanceof Failure)
    return error.hint ? `${error.message}. ${error.hint}` : error.message;
  return error instanceof Error ? error.message : String(error);
}
