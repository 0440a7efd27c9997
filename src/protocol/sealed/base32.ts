import { Failure } from "../../base/pure/failure.ts";

// Text that people read off a screen or type from paper. Specification: invite.md.

/** Without I, L, O and U, which are misread. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** Lower case, without padding; the unused bits of the last letter are zero. */
export function toBase32(bytes: Uint8Array): string {
  let [text, held, bits] = ["", 0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return bits > 0 ? text + alphabet[(held << (5 - bits)) & 31] : text;
}

/** Reads exactly what `toBase32` writes. Stage "base32". */
export function fromBase32(text: string, hint: string): Uint8Array {
  const refuse = (message: string) => new Failure("corrupt", message, { stage: "base32", hint });
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let [held, bits, at] = [0, 0, 0];
  for (const letter of text) {
    const value = alphabet.indexOf(letter);
    if (value < 0) throw refuse("a link with a character that no link has");
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
      held &= (1 << bits) - 1;
    }
  }
  // One text for each link: no character more than needed, and nothing in what is left over.
  if (bits >= 5 || held !== 0) throw refuse("a link with something left over");
  return bytes;
}
