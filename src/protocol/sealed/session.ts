import { equal, fromText, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import {
  digest,
  hashBytes,
  type Kind,
  label,
  type Sign,
  type Suite,
  signatureBytes,
  signatureInput,
} from "../wire/signature.ts";
import type { Pipe } from "./frames.ts";
import type { Invite } from "./invite.ts";
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  longestAnswer,
  longestRequest,
  type NetworkAnswer,
  type NetworkRequest,
} from "./network.ts";
import { type Channel, Handshake, noiseBytes } from "./noise.ts";
import { type Identity, longestAdoptionBytes, verifyIdentity } from "./pairing.ts";
import type { Pair } from "./sodium.ts";

// Pairing in one sitting over a network. Specification: session.md.

export const sessionKind: Kind = { word: "session", number: 23 };

const handshakeMs = 10_000;
const answerMs = 60_000;
const keepMs = 120_000;
/** An attempt of 45 s, and the way back. */
const joinMs = 100_000;
const firstBytes = 48;
const thirdBytes = 64;
const identityBytes = 4096;
const pieceBytes = 60_000;
const stageBytes = 32;

const message = {
  ...{ identity: 1, offer: 2, piece: 3, kept: 4, done: 5, refusal: 6 },
  ...{ network: 7, answer: 8 },
} as const;
const reasons = [
  "owned",
  "adoption",
  "storage",
  "closed",
  "replaced",
  "identity",
  "busy",
  "phone",
] as const;
export type Reason = (typeof reasons)[number];
const notices = ["secret", "closed"] as const;
export type Notice = (typeof notices)[number];

/** Binds a handshake to the camera that the link names. */
function prologue(identityHash: Uint8Array): Uint8Array {
  return new Writer().raw(label("pairing")).raw(identityHash).done();
}

/** What the camera signs, so that it and nobody else is at the other end of this session. */
function proofInput(channel: Channel, identityHash: Uint8Array, suite: Suite): Uint8Array {
  return signatureInput(sessionKind, digest(suite, channel.hash, identityHash));
}

// The camera's end.

/**
 * Waits for message 1. Throws Failure "corrupt" with stage "secret" for a guess, which is to be
 * counted; with "length", or "stalled" or "gone", for what was none.
 */
export async function awaitProof(
  pipe: Pipe,
  { secret, identityHash }: { secret: Uint8Array; identityHash: Uint8Array },
): Promise<{ handshake: Handshake; ephemeral: Uint8Array }> {
  const first = await pipe.receive({ mostBytes: firstBytes, withinMs: handshakeMs });
  if (!first) throw new Failure("gone", "it went without a word");
  const handshake = new Handshake({
    ...{ role: "responder", secret, prologue: prologue(identityHash) },
  });
  handshake.read(first);
  return { handshake, ephemeral: first.slice(0, 32) };
}

/** Tells a phone in the clear why it is not served. */
export async function sendNotice(pipe: Pipe, notice: Notice): Promise<void> {
  await pipe.send(Uint8Array.of(notices.indexOf(notice) + 1));
}

/** Goes through the rest of the handshake; only who has the secret and is no recording gets there. */
export async function finishProof(pipe: Pipe, handshake: Handshake): Promise<Channel> {
  await pipe.send(handshake.write());
  const third = await pipe.receive({ mostBytes: thirdBytes, withinMs: handshakeMs });
  if (!third) throw new Failure("gone", "the phone went within the handshake");
  handshake.read(third);
  return handshake.finish();
}

export type CameraEnd = {
  readonly channel: Channel;
  readonly identity: { readonly bytes: Uint8Array; readonly hash: Uint8Array };
  readonly sign: Sign;
  readonly suite: Suite;
  onProgress?(received: number, of: number): void;
  /** Checks and keeps the adoption, durable when it resolves to its hash. */
  keep(adoption: Uint8Array): Promise<Uint8Array>;
  /** The acknowledgement is under way; the phone may or may not get it. */
  onAcknowledged?(): Promise<void>;
  /** Joins the network that the phone names, or says why not. */
  join(request: NetworkRequest): Promise<NetworkAnswer>;
  /** The phone knows now that it was kept. */
  onDone(): Promise<void>;
};

/** Serves a phone after the handshake; resolves when it said done, or has its answer about a network. */
export async function serveSession(pipe: Pipe, camera: CameraEnd): Promise<void> {
  const { channel, identity, suite } = camera;
  const talk = openTalk(pipe, channel, cameraReason);
  try {
    const proof = camera.sign(proofInput(channel, identity.hash, suite));
    await talk.say(message.identity, new Writer().bytes16(identity.bytes).raw(proof).done());
    const adoption = await receiveAdoption(talk, camera);
    await talk.say(message.kept, await camera.keep(adoption));
    await camera.onAcknowledged?.();
    const next = await talk.hearOne([message.done, message.network], longestRequest, answerMs);
    if (next.kind === message.network) {
      const answer = await camera.join(decodeRequest(next.content));
      await talk.say(message.answer, encodeAnswer(answer));
      if (answer.verdict !== "joined") return;
      await talk.hear(message.done, 0, answerMs);
    }
    await camera.onDone();
  } catch (error) {
    await talk.refuse(error);
    throw error;
  } finally {
    channel.wipe();
  }
}

/** Tells a phone that has proven the secret why it is not served. Never throws. */
export async function refuseSession(pipe: Pipe, channel: Channel, why: Failure): Promise<void> {
  await openTalk(pipe, channel, cameraReason).refuse(why);
  channel.wipe();
}

async function receiveAdoption(talk: Talk, camera: CameraEnd): Promise<Uint8Array> {
  const offer = new Reader(await talk.hear(message.offer, 4, answerMs), "offer");
  const length = offer.u32();
  offer.end();
  if (length === 0 || length > longestAdoptionBytes) {
    throw offer.refuse("length", `an adoption of ${length} bytes`);
  }
  const adoption = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const piece = await talk.hear(message.piece, pieceBytes, answerMs);
    if (piece.length === 0 || piece.length > length - at) {
      throw offer.refuse("length", "a piece of an adoption that does not fit");
    }
    adoption.set(piece, at);
    at += piece.length;
    camera.onProgress?.(at, length);
  }
  return adoption;
}

// The phone's end.

export type PhoneEnd = {
  readonly invite: Invite;
  /** The X25519 key that the camera was told of (lens.md); a fresh one unless given. */
  readonly own?: Pair;
  readonly suite: Suite;
  onProgress?(sent: number, of: number): void;
  /** Makes an adoption of this identity, or finds the one that it made; durable when it resolves. */
  adopt(identity: Uint8Array): Promise<{ adoption: Uint8Array; hash: Uint8Array }>;
  /** The network that the camera is to join, where it is to. */
  readonly network?: NetworkRequest;
  /** The camera has it: to be noted durably before the camera is told. */
  onKept(): Promise<void>;
};

type Paired = Identity & { readonly hash: Uint8Array; readonly network?: NetworkAnswer };

/**
 * Pairs with the camera that the invitation names. Throws Failure "refused" with a notice or a
 * reason as its stage when the camera says no, "corrupt" with a stage when it is not that camera,
 * "gone" or "stalled" when it is not there any more; then nothing was decided, and the same may be
 * tried again.
 */
export async function pairSession(pipe: Pipe, phone: PhoneEnd): Promise<Paired> {
  const { invite, suite, own } = phone;
  const handshake = new Handshake({
    ...{ role: "initiator", secret: invite.secret, prologue: prologue(invite.identity) },
    ...(own ? { own } : {}),
  });
  await pipe.send(handshake.write());
  const second = await pipe.receive({ mostBytes: noiseBytes, withinMs: answerMs });
  if (!second) throw new Failure("gone", "the camera closed the connection");
  if (second.length === 1) throw noticeOf(second[0] ?? 0);
  handshake.read(second);
  await pipe.send(handshake.write());
  const talk = openTalk(pipe, handshake.finish(), phoneReason);
  try {
    const identity = await receiveIdentity(talk, phone);
    const { adoption, hash } = await phone.adopt(identity.bytes);
    await talk.say(message.offer, new Writer().u32(adoption.length).done());
    for (let at = 0; at < adoption.length; at += pieceBytes) {
      const piece = adoption.subarray(at, at + pieceBytes);
      await talk.say(message.piece, piece);
      phone.onProgress?.(at + piece.length, adoption.length);
    }
    const kept = await talk.hear(message.kept, hashBytes, keepMs);
    if (!equal(kept, hash)) throw refuse("hash", "the camera kept another adoption");
    const network = phone.network && (await askToJoin(talk, phone.network));
    const paired = { ...verifyIdentity(identity.bytes, suite), ...(network ? { network } : {}) };
    // It comes again: the adoption is sent once more then, as it is.
    if (network?.verdict === "leaving") return paired;
    await phone.onKept();
    // Paired whether or not this arrives: the camera only keeps its window open without it.
    if (!network || network.verdict === "joined") {
      await talk.say(message.done, new Uint8Array()).catch(() => {});
    }
    return paired;
  } catch (error) {
    await talk.refuse(error);
    throw error;
  } finally {
    talk.channel.wipe();
  }
}

async function askToJoin(talk: Talk, request: NetworkRequest): Promise<NetworkAnswer> {
  await talk.say(message.network, encodeRequest(request));
  return decodeAnswer(await talk.hear(message.answer, longestAnswer, joinMs));
}

async function receiveIdentity(talk: Talk, { invite, suite }: PhoneEnd) {
  const content = await talk.hear(message.identity, 2 + identityBytes + signatureBytes, answerMs);
  const reader = new Reader(content, "identity message");
  const bytes = reader.bytes16(identityBytes);
  const proof = reader.take(signatureBytes);
  reader.end();
  if (!equal(digest(suite, bytes), invite.identity)) {
    throw refuse("identity", "this is not the camera that the link is of");
  }
  const { camera, hash } = verifyIdentity(bytes, suite);
  if (!suite.verify(camera, proofInput(talk.channel, hash, suite), proof)) {
    throw refuse("proof", "somebody stands between this phone and the camera");
  }
  return { bytes };
}

// Both.

type Talk = {
  readonly channel: Channel;
  say(kind: number, content: Uint8Array): Promise<void>;
  /** The content of the next message, which has to be of this kind. */
  hear(kind: number, mostBytes: number, withinMs: number): Promise<Uint8Array>;
  /** The same where it may be of several kinds. */
  hearOne(kinds: readonly number[], mostBytes: number, withinMs: number): Promise<Heard>;
  /** Tells the other end why, as far as it has a use for it. Never throws. */
  refuse(error: unknown): Promise<void>;
};

type Heard = { readonly kind: number; readonly content: Uint8Array };
type ReasonOf = (error: unknown) => Reason | undefined;

function openTalk(pipe: Pipe, channel: Channel, reasonOf: ReasonOf): Talk {
  let isOver = false;
  const say = (kind: number, content: Uint8Array) =>
    pipe.send(channel.seal(new Writer().u8(kind).raw(content).done()));
  const hearOne: Talk["hearOne"] = async (kinds, mostBytes, withinMs) => {
    // A refusal may come in place of everything.
    const longest = Math.max(1 + mostBytes, 3 + stageBytes) + 16;
    const sealed = await pipe.receive({ mostBytes: longest, withinMs });
    if (!sealed) throw new Failure("gone", "the other end closed the connection");
    const reader = new Reader(channel.open(sealed), "message");
    const kind = reader.u8();
    if (kind === message.refusal) {
      isOver = true;
      throw readRefusal(reader);
    }
    if (!kinds.includes(kind)) {
      throw refuse("order", `message ${kind} where ${kinds.join(" or ")} was expected`);
    }
    const content = reader.take(reader.remaining);
    if (content.length > mostBytes) throw refuse("length", "a message that is too long");
    return { kind, content };
  };
  return {
    channel,
    say,
    hearOne,
    hear: async (kind, mostBytes, withinMs) => (await hearOne([kind], mostBytes, withinMs)).content,
    async refuse(error) {
      const reason = isOver ? undefined : reasonOf(error);
      if (!reason) return;
      isOver = true;
      const stage = fromText((isFailure(error) && error.stage) || "").slice(0, stageBytes);
      const code = reasons.indexOf(reason) + 1;
      const content = new Writer().u8(code).u8(stage.length).raw(stage).done();
      await say(message.refusal, content).catch(() => {});
    },
  };
}

/** A failure that ends a session with a reason for the other end. */
export function refusalFor(reason: Reason, text: string, hint?: string): Failure {
  return new Failure("refused", text, { stage: reason, ...(hint ? { hint } : {}) });
}

function cameraReason(error: unknown): Reason | undefined {
  if (!isFailure(error)) return "storage";
  const { kind, stage = "" } = error;
  if (stage === "channel") return undefined;
  // An adoption of another identity is refused as an adoption.
  if (kind === "refused" && isReason(stage) && stage !== "identity") return stage;
  if (kind === "corrupt" || kind === "refused") return "adoption";
  // Who went, or said nothing, is told nothing; but a storage that went is another matter.
  if (kind === "stalled" || (kind === "gone" && stage !== storageStage)) return undefined;
  return "storage";
}

/** What goes wrong at the phone itself is no business of the camera's. */
function phoneReason(error: unknown): Reason | undefined {
  const isCameras = isFailure(error, "corrupt", "refused") && error.stage !== "channel";
  return isCameras ? "identity" : undefined;
}

/** The stage of a storage's failures (base/node/durable). */
const storageStage = "storage";

const isReason = (text: string): text is Reason => (reasons as readonly string[]).includes(text);

function readRefusal(reader: Reader): Failure {
  const code = reader.u8();
  const length = reader.u8();
  if (length > stageBytes) throw reader.refuse("length", "a refusal that is too long");
  const stage = toText(reader.take(length));
  reader.end();
  const reason = reasons[code - 1];
  if (!reason || !/^[a-z-]*$/.test(stage)) {
    const hint = "Update this program";
    return new Failure("refused", `refused for a reason ${code}`, { stage: "reason", hint });
  }
  const at = stage && stage !== reason ? ` (${stage})` : "";
  const { text, hint } = words[reason];
  return refusalFor(reason, text + at, hint);
}

const words: Record<Reason, { text: string; hint?: string }> = {
  owned: {
    text: "the camera has another owner",
    hint: "Its owner can add this phone; a new owner makes it as new first: its button, held for ten seconds, or an empty state folder",
  },
  adoption: { text: "the other end refused what it was sent" },
  storage: {
    text: "the camera could not keep it",
    hint: "What it prints says why; then try again with the same link",
  },
  closed: {
    text: "the camera's window closed meanwhile",
    hint: "Open another at the camera: obscura-camera pair",
  },
  replaced: { text: "another phone with the same link took its place" },
  identity: { text: "the phone refuses what the camera says of itself" },
  busy: { text: "the camera is busy with another phone", hint: "Try again in a moment" },
  phone: {
    text: "the code was made by another phone",
    hint: "Somebody else has seen it: make another, and show it to the camera alone",
  },
};

function noticeOf(code: number): Failure {
  const again = "Open another window at the camera: obscura-camera pair";
  const known: Record<Notice, [text: string, hint: string]> = {
    secret: ["the camera does not know this link: it is an old one, or of another camera", again],
    closed: ["the camera's window is closed", again],
  };
  const notice = notices[code - 1];
  if (!notice) return refuse("reason", "an answer that is none");
  const [text, hint] = known[notice];
  return new Failure("refused", text, { stage: notice, hint });
}

function refuse(stage: string, text: string): Failure {
  return new Failure("corrupt", text, { stage });
}
