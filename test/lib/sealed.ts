import { fixedRandom } from "../../scripts/random.ts";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { sealingSuite } from "../../src/device/seal/aead.ts";
import type { OpeningDetails } from "../../src/protocol/sealed/details.ts";
import { sign, signPair } from "../../src/protocol/sealed/sodium.ts";
import type { Sign, Suite } from "../../src/protocol/wire/signature.ts";

export { fixedRandom, nodeSuite, sealingSuite };

/** Somebody who signs. */
export type Signer = {
  readonly key: Uint8Array;
  readonly sign: Sign;
  readonly suite: Suite;
  /** Its key in the door list; the same here, where no relay looks. */
  readonly writer: Uint8Array;
};

export function signer(): Signer {
  const { publicKey, secret } = signPair();
  const by = { sign: (message: Uint8Array) => sign(secret, message), suite: nodeSuite };
  return { key: publicKey, writer: publicKey, ...by };
}

export const opening: OpeningDetails = {
  startUs: 12_345_678,
  wallMs: 1_700_000_000_000,
  clockTrusted: true,
  incident: "00112233445566778899aabbccddeeff",
  width: 1280,
  height: 720,
  fps: 15,
  codec: "avc1.42c01f",
  model: { id: "nanodet", precision: "int8" },
  zones: ["door"],
  preRollMs: 5000,
};

/** Bytes that differ at every place and from seed to seed. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
