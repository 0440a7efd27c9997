import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { fromHex, toHex } from "../src/base/pure/bytes.ts";
import {
  openPlain,
  type Pointer,
  pointerKind,
  sealPlain,
  sealPointer,
} from "../src/protocol/sealed/pointer.ts";
import { kemPublicKey } from "../src/protocol/sealed/sodium.ts";
import { signObject } from "../src/protocol/wire/signature.ts";
import { fixedRandom } from "./random.ts";
import { describe, type Vector } from "./vectors.ts";
import { cameraSeed } from "./vectors-wire.ts";

// Vectors of what is sent to a phone by way of a push service.

const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);
const camera = { ...ed25519Signer(cameraSeed), suite: nodeSuite };
const owner = ed25519Signer(bytesOf(0x44, 32));
const other = ed25519Signer(bytesOf(0x55, 32));
const secret = bytesOf(0x66, 32);

/** The base point of P-256: one that is on the curve. */
export const generator: Uint8Array = fromHex(
  "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
);

export function pointerVectors(): Vector[] {
  const publicKey = kemPublicKey(secret);
  const about = { camera: camera.publicKey, phone: owner.publicKey };
  const visit: Pointer = {
    ...{ ...about, subscription: bytesOf(0x77, 16), incarnation: 1, number: 7 },
    ...{ wallMs: 1_700_000_000_000, clockTrusted: true, what: "visit" },
    ...{ clip: bytesOf(0xc1, 16), picture: 2, persons: 1, name: "Front door" },
  };
  const test: Pointer = {
    ...{ ...visit, clockTrusted: false, what: "test", name: `Tür ${"ü".repeat(93)}` },
    ...{ clip: undefined, picture: undefined, persons: undefined },
  };
  const input = {
    ...{ secret: toHex(secret), expectedCamera: toHex(camera.publicKey) },
    ...{ expectedPhone: toHex(owner.publicKey), expectedSubscription: toHex(visit.subscription) },
  };
  const sealed = (name: string, make: () => Uint8Array) => {
    using _ = fixedRandom(name);
    return make();
  };
  const well = (name: string, pointer: Pointer): Vector => {
    const bytes = sealed(name, () => sealPointer(pointer, publicKey, camera));
    const header = { object: "pointer", expect: "well", ...input, random: name };
    return { name, header: { ...header, ...describe(pointer) }, bytes, raw: false };
  };
  const [first] = [well("well-visit", visit)];
  const plain = openPlain(first.bytes, { publicKey, secret }, nodeSuite) ?? bytesOf(0, 0);
  const refused = (name: string, expect: string, bytes: Uint8Array, kind = "corrupt"): Vector => ({
    ...{ name, bytes, raw: false },
    header: { object: "pointer", expect, kind, ...input },
  });
  /** Changed inside, signed and sealed again. */
  const within = (name: string, expect: string, at: number, to: Uint8Array, kind?: string) => {
    const edited = Uint8Array.from(plain);
    edited.set(to, at);
    if (expect !== "signature") signObject(pointerKind, edited, camera.sign, nodeSuite);
    const bytes = sealed(name, () => sealPlain(edited, publicKey, nodeSuite));
    return refused(name, expect, bytes, kind);
  };
  const outside = (name: string, expect: string, at: number, to: Uint8Array, kind?: string) => {
    const edited = Uint8Array.from(first.bytes);
    edited.set(to, at);
    return refused(name, expect, edited, kind);
  };
  const alarm: Pointer = { ...visit, what: "alarm", number: 8, name: "" };
  return [
    first,
    well("well-test", test),
    well("well-alarm", alarm),
    outside("version-2", "version", 0, bytesOf(2, 1), "refused"),
    outside("kind-of-another", "kind", 2, bytesOf(39, 1)),
    outside("flags-unknown", "flags", 3, bytesOf(1, 1), "refused"),
    outside("null-another-key", "null", 4, bytesOf(0, 16), "refused"),
    outside("pointer-flipped", "pointer", 1500, bytesOf(0, 4)),
    refused("length-trailing", "length", Buffer.concat([first.bytes, bytesOf(0, 1)])),
    within("kind-inside", "kind", 2, bytesOf(40, 1)),
    within("camera-another", "camera", 4, other.publicKey),
    within("phone-another", "phone", 36, other.publicKey),
    within("subscription-another", "subscription", 68, bytesOf(1, 16)),
    within("range-of-number", "range", 88, bytesOf(0xff, 1)),
    within("range-of-time", "range", 96, bytesOf(0xff, 1)),
    within("trusted-2", "trusted", 104, bytesOf(2, 1)),
    within("what-0", "what", 105, bytesOf(0, 1), "refused"),
    within("what-unknown", "what", 105, bytesOf(4, 1), "refused"),
    within("length-of-name", "length", 128, Uint8Array.of(0, 193)),
    within("text-with-escape", "text", 130, bytesOf(27, 1)),
    within("text-not-utf8", "text", 130, bytesOf(0xff, 1)),
    within("padding-not-zero", "padding", 703, bytesOf(1, 1)),
    within("signature-flipped", "signature", 710, bytesOf(1, 4)),
    within("signature-of-what", "signature", 105, bytesOf(2, 1)),
  ];
}
