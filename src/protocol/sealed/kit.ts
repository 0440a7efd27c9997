import { derive, kemPublicKey, type Pair, signPublicKey } from "./sodium.ts";

// What the secret on a recovery kit gives. Specification: kit.md.

export type KitKeys = {
  /** Its member key: signs its supplies and, when it is used, a member list. Secret is the seed. */
  readonly phone: Pair;
  /** What a camera's recordings are sealed to for it; the restart key of its supply there. */
  seal(camera: Uint8Array): Pair;
  /** What its grant is sealed to. */
  readonly grant: Pair;
};

export function kitKeys(secret: Uint8Array): KitKeys {
  const kem = (label: string, ...inputs: Uint8Array[]): Pair => {
    const seed = derive(secret, label, ...inputs);
    return { secret: seed, publicKey: kemPublicKey(seed) };
  };
  const phone = derive(secret, "obscura/1/kit/phone");
  return {
    phone: { secret: phone, publicKey: signPublicKey(phone) },
    seal: (camera) => kem("obscura/1/kit/seal", camera),
    grant: kem("obscura/1/kit/grant"),
  };
}
