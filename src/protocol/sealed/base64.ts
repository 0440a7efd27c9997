import { Failure } from "../../base/pure/failure.ts";

// RFC 4648 with padding, for the files that people carry: Node and browsers share no coder.

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const values = new Uint8Array(128).fill(255);
for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i;

export function toBase64(bytes: Uint8Array): string {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const left = bytes.length - at;
    pieces.push(
      (alphabet[a >> 2] ?? "") +
        (alphabet[((a & 3) << 4) | (b >> 4)] ?? "") +
        (left > 1 ? (alphabet[((b & 15) << 2) | (c >> 6)] ?? "") : "=") +
        (left > 2 ? (alphabet[c & 63] ?? "") : "="),
    );
  }
  return pieces.join("");
}

/** Reads exactly what `toBase64` writes: whole groups, no spaces, spare bits zero. Stage "base64". */
export function fromBase64(text: string): Uint8Array {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const length = (text.length / 4) * 3 - padding;
  if (text.length % 4 !== 0 || length < 0) throw refuse();
  const bytes = new Uint8Array(length);
  for (let i = 0, at = 0; i < text.length; i += 4) {
    const isLast = i + 4 === text.length;
    const count = isLast ? 4 - padding : 4;
    let group = 0;
    for (let j = 0; j < 4; j++) {
      const value = j < count ? (values[text.charCodeAt(i + j)] ?? 255) : 0;
      if (value === 255) throw refuse();
      group = (group << 6) | value;
    }
    const spare = isLast ? padding * 8 : 0;
    if ((group & ((1 << spare) - 1)) !== 0) throw refuse();
    for (let shift = 16; shift >= spare; shift -= 8) bytes[at++] = (group >> shift) & 255;
  }
  return bytes;
}

function refuse(): Failure {
  return new Failure("corrupt", "not base64 in its one canonical form", { stage: "base64" });
}
