import {
  openPointer,
  type Pointer,
  type PointerHolder,
  pointerLifeMs,
  take,
} from "../protocol/sealed/pointer.ts";
import { kemPublicKey } from "../protocol/sealed/sodium.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import type { CameraKeys, VaultContent } from "./vault.ts";

// What word of a visit says that came by way of a push service, and whether it comes as it should.

type Push = NonNullable<CameraKeys["pushes"]>[number];
export type Holder = PointerHolder & { readonly keys: CameraKeys; readonly push: Push };

export type Notice = {
  readonly pointer: Pointer;
  readonly camera: CameraKeys;
  /** One of this number came before, or it is older than any that is remembered. */
  readonly isAgain: boolean;
  /** How long it took, where that is far longer than it may. */
  readonly lateMs: number | undefined;
  /** How many with lower numbers have not come. */
  readonly missing: number;
  /** Remembers that it came; the vault is not saved. */
  keep(): void;
};

/** What a push service and a phone that was asleep may take beside the hour. */
const graceMs = 5 * 60_000;

/** Every subscription whose pointers open here. */
export function holdersIn({ cameras, phoneKey }: VaultContent): Holder[] {
  return cameras.flatMap((keys) =>
    (keys.pushes ?? []).map((push) => ({
      ...{ camera: keys.id, phone: phoneKey, subscription: push.id, keys, push },
      pair: { publicKey: kemPublicKey(push.secret), secret: push.secret },
    })),
  );
}

/** Null for one that is sealed to none of them; throws as `openPointer`. */
export function readNotice(
  bytes: Uint8Array,
  holders: readonly Holder[],
  { suite, nowMs }: { suite: Suite; nowMs: number },
): Notice | null {
  const opened = openPointer(bytes, holders, suite);
  if (!opened) return null;
  const { pointer, holder } = opened;
  const { isAgain, missing, come } = take(holder.push.come, pointer);
  const tookMs = pointer.clockTrusted ? nowMs - pointer.wallMs : 0;
  return {
    ...{ pointer, camera: holder.keys, isAgain, missing },
    lateMs: tookMs > pointerLifeMs + graceMs ? tookMs : undefined,
    keep: () => {
      holder.push.come = { ...come, below: [...come.below] };
    },
  };
}

/** For people: what is not as it should be, a line each. */
export function doubtsOf({ isAgain, lateMs, missing }: Notice): string[] {
  return [
    ...(isAgain ? ["AGAIN: it came before, or is far too old"] : []),
    ...(lateMs === undefined ? [] : [`LATE: ${Math.round(lateMs / 60_000)} minutes old`]),
    ...(missing > 0 ? [`MISSING: ${missing} before it did not come`] : []),
  ];
}
