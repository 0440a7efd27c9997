import { concat, fromText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  blake2b,
  decryptChaCha,
  encryptChaCha,
  exchange,
  exchangePair,
  type Pair,
  sizes,
  wipe,
} from "./sodium.ts";

// Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b and nothing else of Noise. Specification: noise.md.

export type Role = "initiator" | "responder";
/** The longest Noise message, tag included. */
export const noiseBytes = 65_535;
/** How much plain text one transport message carries. */
export const noisePlainBytes: number = noiseBytes - sizes.tag;
/** What one direction of a channel may send: far below what a key or a counter bears. */
export const mostMessages = 65_536;
export const secretBytes = 32;

const protocolName = fromText("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b");
const blockBytes = 128;
const none = new Uint8Array();

type Token = "psk" | "e" | "s" | "ee" | "es" | "se";
const pattern: readonly (readonly Token[])[] = [
  ["psk", "e"],
  ["e", "ee", "s", "es"],
  ["s", "se"],
];

export type HandshakeOptions = {
  readonly role: Role;
  /** 32 random bytes that both ends know and nobody else does. */
  readonly secret: Uint8Array;
  /** What both must agree on; a difference is refused at the first message. */
  readonly prologue: Uint8Array;
  /** The long-term X25519 key of this end; a fresh one unless given. */
  readonly own?: Pair;
};

/**
 * One end of a handshake of three messages: the initiator writes the first and third. `read` throws
 * Failure "corrupt" with stage "length", "secret" (message 1 by somebody who has another secret or
 * prologue), "key" (of small order) or "handshake"; after any failure it is over.
 */
export class Handshake {
  readonly #role: Role;
  readonly #own: Pair;
  #secret: Uint8Array;
  #hash: Uint8Array;
  #chain: Uint8Array;
  #cipher: Cipher | undefined;
  #ephemeral: Pair | undefined;
  #peerEphemeral: Uint8Array | undefined;
  #peer: Uint8Array | undefined;
  #step = 0;

  constructor({ role, secret, prologue, own }: HandshakeOptions) {
    if (secret.length !== secretBytes) throw new Failure("misuse", "a secret has 32 bytes");
    this.#role = role;
    this.#own = own ? { ...own, secret: own.secret.slice() } : exchangePair();
    this.#secret = new Uint8Array(secret);
    // The name is shorter than a hash, so it is padded and not hashed.
    this.#hash = new Uint8Array(sizes.blake);
    this.#hash.set(protocolName);
    this.#chain = this.#hash;
    this.#mixHash(prologue);
  }

  /** The next message, with an optional payload that it seals. */
  write(payload: Uint8Array = none): Uint8Array {
    return this.#act("write", (tokens) => {
      const pieces: Uint8Array[] = [];
      for (const token of tokens) {
        if (token === "e") {
          this.#ephemeral = exchangePair();
          pieces.push(this.#ephemeral.publicKey);
          this.#mixEphemeral(this.#ephemeral.publicKey);
        } else if (token === "s") pieces.push(this.#encrypt(this.#own.publicKey));
        else this.#mixToken(token);
      }
      pieces.push(this.#encrypt(payload));
      return concat(pieces);
    });
  }

  /** The payload of the next message of the other end. */
  read(message: Uint8Array): Uint8Array {
    const stage = this.#step === 0 ? "secret" : "handshake";
    return this.#act("read", (tokens) => {
      let rest = message;
      const take = (count: number) => {
        if (rest.length < count) throw refuse("length", "a handshake message is cut short");
        const piece = rest.subarray(0, count);
        rest = rest.subarray(count);
        return piece;
      };
      if (message.length > noiseBytes) throw refuse("length", "a handshake message is too long");
      for (const token of tokens) {
        if (token === "e") {
          this.#peerEphemeral = take(sizes.exchangeKey).slice();
          this.#mixEphemeral(this.#peerEphemeral);
        } else if (token === "s") {
          this.#peer = this.#decrypt(take(sizes.exchangeKey + sizes.tag), stage);
        } else this.#mixToken(token);
      }
      if (rest.length < sizes.tag) throw refuse("length", "a handshake message is cut short");
      return this.#decrypt(rest, stage);
    });
  }

  get isDone(): boolean {
    return this.#step === pattern.length;
  }

  /** After the third message: the channel. The handshake's own secrets are gone then. */
  finish(): Channel {
    const peer = this.#peer;
    if (!this.isDone || !peer) throw new Failure("misuse", "the handshake is not over");
    const [first, second] = derive(this.#chain, none, 2) as [Uint8Array, Uint8Array];
    const [hash, role] = [this.#hash, this.#role];
    const [sends, receives] = role === "initiator" ? [first, second] : [second, first];
    const out = new Cipher(sends.slice(0, sizes.key), mostMessages);
    const into = new Cipher(receives.slice(0, sizes.key), mostMessages);
    wipe(first, second);
    this.wipe();
    return new Channel({ hash, peer, out, into });
  }

  /** Erases what is secret; the handshake cannot go on. */
  wipe(): void {
    this.#step = pattern.length + 1;
    wipe(this.#secret, this.#chain, this.#own.secret);
    if (this.#ephemeral) wipe(this.#ephemeral.secret);
    this.#cipher?.wipe();
    this.#chain = none;
    this.#secret = none;
  }

  /** Runs the pattern's next step; a handshake in which one failed is over. */
  #act<T>(act: "write" | "read", run: (tokens: readonly Token[]) => T): T {
    const step = this.#step;
    const tokens = pattern[step];
    const isWriter = (step % 2 === 0) === (this.#role === "initiator");
    if (!tokens || isWriter !== (act === "write")) {
      throw new Failure("misuse", `this handshake is not at a message to ${act}`);
    }
    try {
      const result = run(tokens);
      this.#step = step + 1;
      return result;
    } catch (error) {
      this.wipe();
      throw error;
    }
  }

  #mixToken(token: Exclude<Token, "e" | "s">): void {
    if (token === "psk") {
      this.#mixKeyAndHash(this.#secret);
      return;
    }
    const isInitiator = this.#role === "initiator";
    // The first letter is the initiator's key, the second the responder's.
    const [own, other] = isInitiator ? [token[0], token[1]] : [token[1], token[0]];
    const secret = own === "e" ? this.#ephemeral?.secret : this.#own.secret;
    const key = other === "e" ? this.#peerEphemeral : this.#peer;
    if (!secret || !key) throw new Failure("misuse", "a key exchange before its keys");
    const shared = exchange(secret, key);
    this.#mixKey(shared);
    wipe(shared);
  }

  /** In a handshake with a secret, each ephemeral key goes into the chain too. */
  #mixEphemeral(key: Uint8Array): void {
    this.#mixHash(key);
    this.#mixKey(key);
  }

  #mixHash(data: Uint8Array): void {
    this.#hash = blake2b(this.#hash, data);
  }

  #mixKey(input: Uint8Array): void {
    const [chain, key] = derive(this.#chain, input, 2) as [Uint8Array, Uint8Array];
    this.#rekey(chain, key);
  }

  #mixKeyAndHash(input: Uint8Array): void {
    const derived = derive(this.#chain, input, 3) as [Uint8Array, Uint8Array, Uint8Array];
    const [chain, hash, key] = derived;
    this.#mixHash(hash);
    this.#rekey(chain, key);
  }

  #rekey(chain: Uint8Array, key: Uint8Array): void {
    wipe(this.#chain);
    this.#chain = chain;
    this.#cipher?.wipe();
    this.#cipher = new Cipher(key.slice(0, sizes.key), mostMessages);
    wipe(key);
  }

  #encrypt(plain: Uint8Array): Uint8Array {
    if (!this.#cipher) throw new Failure("misuse", "no key yet");
    const sealed = this.#cipher.encrypt(plain, this.#hash);
    this.#mixHash(sealed);
    return sealed;
  }

  #decrypt(sealed: Uint8Array, stage: string): Uint8Array {
    const plain = this.#cipher?.decrypt(sealed, this.#hash);
    if (!plain) {
      throw refuse(stage, stage === "secret" ? "another secret" : "a handshake that was changed");
    }
    this.#mixHash(sealed);
    return plain;
  }
}

/**
 * Two directions, each with its own key and counter: what is changed, doubled, left out, reordered
 * or sent back is refused (stage "channel"), and then that direction is over.
 */
export class Channel {
  /** Names this session and no other; the same at both ends. 64 bytes. */
  readonly hash: Uint8Array;
  /** The other end's long-term X25519 key. */
  readonly peer: Uint8Array;
  readonly #out: Cipher;
  readonly #into: Cipher;

  constructor(parts: { hash: Uint8Array; peer: Uint8Array; out: Cipher; into: Cipher }) {
    this.hash = parts.hash;
    this.peer = parts.peer;
    this.#out = parts.out;
    this.#into = parts.into;
  }

  /** Throws Failure "misuse" for more than `noisePlainBytes`, "full" after `mostMessages`. */
  seal(plain: Uint8Array): Uint8Array {
    return this.#out.encrypt(plain, none);
  }

  open(sealed: Uint8Array): Uint8Array {
    const plain = this.#into.decrypt(sealed, none);
    if (!plain) throw refuse("channel", "a message that is not the next of this session");
    return plain;
  }

  wipe(): void {
    this.#out.wipe();
    this.#into.wipe();
  }
}

/** A key that counts what it seals. */
class Cipher {
  readonly #key: Uint8Array;
  readonly #most: number;
  #count = 0;
  #isOver = false;

  constructor(key: Uint8Array, most: number) {
    this.#key = key;
    this.#most = most;
  }

  encrypt(plain: Uint8Array, additional: Uint8Array): Uint8Array {
    if (plain.length > noisePlainBytes) throw new Failure("misuse", "too much for one message");
    return encryptChaCha(this.#key, this.#next(), plain, additional);
  }

  decrypt(sealed: Uint8Array, additional: Uint8Array): Uint8Array | null {
    if (sealed.length > noiseBytes) return null;
    const plain = decryptChaCha(this.#key, this.#next(), sealed, additional);
    if (!plain) this.wipe();
    return plain;
  }

  wipe(): void {
    this.#isOver = true;
    wipe(this.#key);
  }

  /** Four zero bytes and the count, little-endian. */
  #next(): Uint8Array {
    if (this.#isOver) throw refuse("channel", "this session is over");
    if (this.#count >= this.#most) {
      throw new Failure("full", "a session of too many messages", { stage: "channel" });
    }
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setUint32(4, this.#count++, true);
    return nonce;
  }
}

/** HKDF with HMAC-BLAKE2b (RFC 5869 with empty info): two or three outputs of 64 bytes. */
function derive(chain: Uint8Array, input: Uint8Array, outputs: 2 | 3): Uint8Array[] {
  const extracted = hmac(chain, input);
  const made: Uint8Array[] = [];
  for (let i = 1; i <= outputs; i++) {
    made.push(hmac(extracted, made.at(-1) ?? none, new Uint8Array([i])));
  }
  wipe(extracted);
  return made;
}

function hmac(key: Uint8Array, ...pieces: readonly Uint8Array[]): Uint8Array {
  const [inner, outer] = [new Uint8Array(blockBytes), new Uint8Array(blockBytes)];
  for (let i = 0; i < blockBytes; i++) {
    inner[i] = (key[i] ?? 0) ^ 0x36;
    outer[i] = (key[i] ?? 0) ^ 0x5c;
  }
  const hash = blake2b(outer, blake2b(inner, ...pieces));
  wipe(inner, outer);
  return hash;
}

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", message, { stage });
}
