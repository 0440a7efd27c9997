import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import type { Statement } from "../../src/protocol/sealed/body.ts";
import { ClipSealer } from "../../src/protocol/sealed/clip.ts";
import { type EntryPlace, LogEpoch, sealBeacon } from "../../src/protocol/sealed/epoch.ts";
import {
  type Adopted,
  checkWord,
  encodeIdentity,
  parsePairingFile,
  printPairingFile,
  verifyAdoption,
  verifyIdentity,
} from "../../src/protocol/sealed/pairing.ts";
import type { Sealed } from "../../src/protocol/sealed/sealed.ts";
import { kemPair, type Pair, random } from "../../src/protocol/sealed/sodium.ts";
import { toFileName } from "../../src/protocol/wire/name.ts";
import { opening, sealingSuite } from "../lib/sealed.ts";
import type { FilmPieces } from "./film.ts";

export type ClipPlan = {
  film: FilmPieces;
  /** How it ends: whole, cut off and said so after a restart, or not at all. */
  end?: "whole" | "cut-off" | "open";
  key?: "one-time" | "day" | "restart";
  thumbnail?: Uint8Array;
  persons?: number;
  /** Whether the log says that it began; a camera always does. */
  log?: boolean;
  /** The header hash that the log names, where it is not the clip's own. */
  header?: Uint8Array;
};

/**
 * What a camera puts into its outbox, made with the protocol alone: a recorder without camera,
 * encoder or journal. Every object goes into `folder` under its name.
 */
export class FakeRecorder {
  readonly folder: string;
  readonly signer = { ...ed25519Signer(random(32)), suite: nodeSuite };
  readonly requestSigner = ed25519Signer(random(32));
  readonly request: Uint8Array = this.requestSigner.publicKey;
  readonly receiving: Pair = kemPair();
  readonly identity: Uint8Array;
  adopted: Adopted | undefined;
  incarnation = 0;
  wallMs = 1_700_000_000_000;
  clockTrusted = true;
  uptimeMs = 1000;
  #epoch: LogEpoch | undefined;
  #epochNumber = 0;
  #sequence = 0;
  #previous: Uint8Array = new Uint8Array(32);
  #nextIndex = 0;
  #beaconVersion = 0;

  constructor(folder: string) {
    this.folder = folder;
    this.identity = encodeIdentity(
      {
        ...{ camera: this.signer.publicKey, request: this.request, incarnation: 0 },
        ...{ receiving: this.receiving.publicKey, name: "Front door" },
      },
      this.signer,
    ).bytes;
  }

  get head(): { sequence: number; hash: Uint8Array } {
    return { sequence: this.#sequence - 1, hash: this.#previous };
  }

  async writeIdentity(path: string): Promise<string> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const word = checkWord(verifyIdentity(this.identity, nodeSuite).hash);
    await writeFile(path, printPairingFile("camera identity", this.identity, word));
    return path;
  }

  /** Takes the owner's file and writes the first entries of the log. */
  async adopt(file: Uint8Array): Promise<string> {
    const identity = verifyIdentity(this.identity, nodeSuite);
    const bytes = parsePairingFile("camera adoption", file);
    this.adopted = verifyAdoption(bytes, identity, nodeSuite);
    await this.start();
    await this.say({ kind: "membership", list: this.adopted.membershipBytes });
    await this.say({ kind: "receiving-key", publicKey: this.receiving.publicKey });
    return checkWord(identity.hash, this.adopted.hash);
  }

  /** A start of the service: a new epoch of the log. */
  async start(): Promise<void> {
    this.newEpoch();
    await this.say({ kind: "started", version: "0.1.0", reason: "test" });
  }

  newEpoch(): void {
    this.#epochNumber += 1;
    const day = this.adopted?.supply.days[0];
    if (!day) throw new Error("not adopted");
    const fields = { camera: this.signer.publicKey, incarnation: this.incarnation };
    this.#epoch = new LogEpoch({ ...fields, epoch: this.#epochNumber, membership: 1 }, [day]);
  }

  async say(statement: Statement): Promise<Sealed> {
    const place: EntryPlace = {
      ...{ sequence: this.#sequence, previous: this.#previous, uptimeMs: this.uptimeMs },
    };
    const { wallMs, clockTrusted } = this;
    const body = { wallMs, clockTrusted, statement };
    const made = this.#epoch?.seal(body, place, this.signer);
    if (!made) throw new Error("no epoch");
    this.#sequence += 1;
    this.#previous = made.hash;
    this.uptimeMs += 1000;
    this.wallMs += 1000;
    await this.put(made.sealed);
    return made.sealed;
  }

  /** Goes on from an older head, as a card put back would; makes a fork. */
  rewind({ sequence, hash }: { sequence: number; hash: Uint8Array }): void {
    this.#sequence = sequence + 1;
    this.#previous = hash;
    this.newEpoch();
  }

  async beacon(): Promise<void> {
    this.#beaconVersion += 1;
    const { head, incarnation, uptimeMs, wallMs } = this;
    const fields = { camera: this.signer.publicKey, version: this.#beaconVersion, incarnation };
    await this.put(sealBeacon({ ...fields, head, uptimeMs, wallMs, trusted: true }, this.signer));
  }

  async record(plan: ClipPlan): Promise<{ id: string; parts: Sealed[] }> {
    const { end = "whole", film } = plan;
    const supply = this.adopted?.supply;
    const key = plan.key ?? "one-time";
    const publicKey =
      key === "day"
        ? supply?.days[0]
        : key === "restart"
          ? supply?.restart
          : supply?.oneTime[this.#nextIndex++];
    if (!publicKey) throw new Error("no key left");
    const sealer = new ClipSealer({
      ...{ camera: this.signer.publicKey, incarnation: this.incarnation, membership: 1 },
      recipients: [{ publicKey, shared: key !== "one-time" }],
      opening: { ...opening, wallMs: this.wallMs, clockTrusted: this.clockTrusted },
      ...{ sign: this.signer.sign, suite: sealingSuite },
    });
    const { clip, headerHash, keyIds } = sealer;
    const isLogged = plan.log ?? true;
    if (isLogged) {
      const named = plan.header ?? headerHash;
      await this.say({ kind: "clip-started", clip, headerHash: named, keyIds: [...keyIds] });
    }
    const parts: Sealed[] = [];
    const put = async (made: (Sealed | undefined)[]) => {
      for (const part of made) {
        if (!part) continue;
        parts.push(part);
        await this.put(part);
      }
    };
    await put([sealer.flush()]);
    // Without video it is a snapshot.
    if (film.init.length > 0) await put(sealer.init(film.init));
    for (const [i, fragment] of film.fragments.entries()) {
      await put(sealer.fragment(fragment));
      if (i % 2 === 0) await put([sealer.flush()]);
    }
    if (plan.thumbnail) {
      const details = { what: "person", width: 64, height: 64, capturedUs: 1 } as const;
      await put(sealer.thumbnail(details, plan.thumbnail));
    }
    if (end === "whole") await put(sealer.close(closingOf(film, plan.persons ?? 1)));
    else await put([sealer.flush()]);
    if (end === "cut-off") await this.start();
    const last = sealer.last;
    sealer.abandon();
    if (isLogged && end !== "open" && last) {
      const reason = end === "whole" ? "ended" : "cut-off";
      await this.say({ kind: "clip-ended", clip, last, reason });
    }
    return { id: toHex(clip), parts };
  }

  async put({ name, bytes }: Sealed): Promise<void> {
    await writeFile(join(this.folder, toFileName(name)), bytes, { mode: 0o600 });
  }

  async remove({ name }: Sealed): Promise<void> {
    await rm(join(this.folder, toFileName(name)));
  }
}

function closingOf({ fragments }: FilmPieces, mostPersons: number) {
  return {
    ...{ endUs: opening.startUs + fragments.length * 500_000, durationMs: fragments.length * 500 },
    ...{ frames: fragments.length * 5, thinned: [], mostPersons, bestScore: 0.9, tracks: [] },
    reason: "ended" as const,
  };
}
