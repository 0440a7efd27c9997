import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fixedRandom } from "../../../scripts/random.ts";
import { printVector, type Vector } from "../../../scripts/vectors.ts";
import { sealedVectors } from "../../../scripts/vectors-sealed.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex, Reader } from "../../../src/base/pure/bytes.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { type Body, decodeBody, encodeBody } from "../../../src/protocol/sealed/body.ts";
import { encodeCheckpoint, verifyCheckpoint } from "../../../src/protocol/sealed/checkpoint.ts";
import { ChunkOpener } from "../../../src/protocol/sealed/chunk.ts";
import { type ClipStart, readStart } from "../../../src/protocol/sealed/clip.ts";
import { openCommand } from "../../../src/protocol/sealed/command.ts";
import {
  decodeClosing,
  decodeOpening,
  decodeThumbnail,
} from "../../../src/protocol/sealed/details.ts";
import { EpochReader, openEpoch } from "../../../src/protocol/sealed/epoch.ts";
import {
  encodeAnswer,
  encodeGrant,
  encodeOffer,
  verifyAnswer,
  verifyGrant,
  verifyOffer,
} from "../../../src/protocol/sealed/join.ts";
import { parseLens, printLens } from "../../../src/protocol/sealed/lens.ts";
import { parseLines, parseLink, printLink } from "../../../src/protocol/sealed/link.ts";
import {
  encodeMembership,
  verifyFirst,
  verifyNext,
} from "../../../src/protocol/sealed/membership.ts";
import {
  decodeAnswer as decodeNetworkAnswer,
  decodeRequest,
  encodeAnswer as encodeNetworkAnswer,
  encodeRequest,
} from "../../../src/protocol/sealed/network.ts";
import { ClipOpener } from "../../../src/protocol/sealed/opened.ts";
import {
  decodeAdoption,
  encodeAdoption,
  encodeIdentity,
  verifyAdoption,
  verifyIdentity,
} from "../../../src/protocol/sealed/pairing.ts";
import { openPointer, sealPointer } from "../../../src/protocol/sealed/pointer.ts";
import { encodeSeen, verifySeen } from "../../../src/protocol/sealed/seen.ts";
import { kemPublicKey, ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  decodeStanzas,
  keyFingerprint,
  keyId,
  type Stanza,
  unwrap,
} from "../../../src/protocol/sealed/stanza.ts";
import { encodeSupply, verifySupply } from "../../../src/protocol/sealed/supply.ts";
import {
  encodeConfirmation,
  encodeTombstone,
  verifyConfirmation,
  verifyTombstone,
} from "../../../src/protocol/sealed/tombstone.ts";
import { verifyEntry } from "../../../src/protocol/wire/entry.ts";
import { decodePart, partBytes } from "../../../src/protocol/wire/part.ts";
import { suite } from "../../lib/suite.ts";
import {
  checkVectors,
  type Opened,
  parseVector,
  readVectors,
  vectorsFolder,
} from "../../lib/vectors.ts";

await ready();

const seed = (value: number) => new Uint8Array(32).fill(value);
const owner = { ...ed25519Signer(seed(0x44)), suite: nodeSuite };
const camera = { ...ed25519Signer(seed(0x11)), suite: nodeSuite };
const made = await sealedVectors();

/** How each object is opened, from what its vector's header gives. */
const openers: Record<string, (vector: Vector) => Opened> = {
  supply: ({ header, bytes }) => {
    const expected = {
      phone: input(header, "expectedPhone"),
      camera: input(header, "expectedCamera"),
      incarnation: Number(header.expectedIncarnation),
    };
    const fields = verifySupply(bytes, expected, nodeSuite);
    return { fields, again: encodeSupply(fields, owner).bytes };
  },
  membership: ({ header, bytes }) => {
    const of = input(header, "expectedCamera");
    const parent = header.expectedParent && input(header, "expectedParent");
    const { hash: _, ...fields } = parent
      ? verifyNext(bytes, verifyFirst(parent, of, nodeSuite), nodeSuite)
      : verifyFirst(bytes, of, nodeSuite);
    return { fields, again: encodeMembership(fields, owner).bytes };
  },
  identity: ({ bytes }) => {
    const { hash: _, ...fields } = verifyIdentity(bytes, nodeSuite);
    return { fields, again: encodeIdentity(fields, camera).bytes };
  },
  adoption: ({ header, bytes }) => {
    const identity = verifyIdentity(input(header, "expectedIdentity"), nodeSuite);
    verifyAdoption(bytes, identity, nodeSuite);
    const fields = decodeAdoption(bytes);
    return { fields, again: encodeAdoption(fields, owner).bytes };
  },
  tombstone: ({ header, bytes }) => {
    const of = input(header, "expectedCamera");
    const { hash: _, ...fields } = verifyTombstone(bytes, of, nodeSuite);
    return { fields, again: encodeTombstone(fields, owner).bytes };
  },
  confirmation: ({ header, bytes }) => {
    const of = input(header, "expectedCamera");
    const { hash: _, ...fields } = verifyConfirmation(bytes, of, nodeSuite);
    return { fields, again: encodeConfirmation(fields, owner).bytes };
  },
  checkpoint: ({ header, bytes }) => {
    const fields = verifyCheckpoint(bytes, input(header, "expectedCamera"), nodeSuite);
    return { fields, again: encodeCheckpoint(fields, owner).bytes };
  },
  pointer: ({ header, bytes }) => {
    const secret = input(header, "secret");
    const holder = {
      ...{ camera: input(header, "expectedCamera"), phone: input(header, "expectedPhone") },
      subscription: input(header, "expectedSubscription"),
      pair: { publicKey: kemPublicKey(secret), secret },
    };
    const opened = openPointer(bytes, [holder], nodeSuite);
    if (!opened) throw new Failure("refused", "for another key", { stage: "null" });
    using _ = fixedRandom(header.random ?? "");
    const again = sealPointer(opened.pointer, holder.pair.publicKey, camera);
    return { fields: opened.pointer, again };
  },
  offer: ({ bytes }) => {
    const { hash: _, ...fields } = verifyOffer(bytes, nodeSuite);
    return { fields, again: encodeOffer(fields, owner).bytes };
  },
  answer: ({ bytes }) => {
    const { hash: _, ...fields } = verifyAnswer(bytes, nodeSuite);
    return { fields, again: encodeAnswer(fields, owner).bytes };
  },
  grant: ({ bytes }) => {
    const { hash: _, ...fields } = verifyGrant(bytes, nodeSuite);
    return { fields, again: encodeGrant(fields, owner).bytes };
  },
  seen: ({ bytes }) => {
    const fields = verifySeen(bytes, nodeSuite);
    return { fields, again: encodeSeen(fields, owner).bytes };
  },
  link: ({ header, bytes }) => {
    const text = new TextDecoder().decode(bytes);
    if (header.object === "lines") return { fields: parseLines("kit", text) };
    const kind = header.object === "kit" ? "kit" : "join";
    const fields = parseLink(kind, text);
    const again = new TextEncoder().encode(printLink(kind, fields));
    return text === text.toLowerCase() ? { fields, again } : { fields };
  },
  lens: ({ bytes }) => {
    const text = new TextDecoder().decode(bytes);
    const fields = parseLens(text);
    const again = new TextEncoder().encode(printLens(fields));
    return text === text.toUpperCase() ? { fields, again } : { fields };
  },
  network: ({ header, bytes }) => {
    if (header.object === "network-request") {
      const fields = decodeRequest(bytes);
      return { fields, again: encodeRequest(fields) };
    }
    const fields = decodeNetworkAnswer(bytes);
    return { fields, again: encodeNetworkAnswer(fields) };
  },
  details: ({ header, bytes }) => {
    if (header.object === "opening") return { fields: decodeOpening(bytes) };
    return { fields: header.object === "closing" ? decodeClosing(bytes) : decodeThumbnail(bytes) };
  },
  body: ({ header, bytes }) => {
    const fields = decodeBody(bytes, header.critical === "true");
    const { statement } = fields;
    if (statement.kind === "unknown") return { fields };
    return { fields, again: encodeBody({ ...fields, statement }) };
  },
  epoch: ({ header, bytes }) => {
    const of = input(header, "expectedCamera");
    const secret = input(header, "daySecret");
    const day = { fingerprint: keyFingerprint(kemPublicKey(secret)), secret };
    const entry = verifyEntry(bytes, of, nodeSuite);
    const first = header.opening ? verifyEntry(input(header, "opening"), of, nodeSuite) : entry;
    const key = openEpoch(first, [day]);
    const fields: Body | { wallMs: string } = key
      ? new EpochReader(first, key).open(entry)
      : { wallMs: "none" };
    return { fields };
  },
  stanza: ({ header, bytes }) => {
    const secret = input(header, "secret");
    const reader = new Reader(bytes, "stanzas");
    const stanzas = decodeStanzas(reader);
    reader.end();
    return { fields: { key: keyOf(stanzas, input(header, "context"), secret) ?? "none" } };
  },
  chunk: ({ header, bytes }) => {
    const keys = { video: input(header, "video"), details: input(header, "details") };
    const opener = new ChunkOpener(keys);
    const pieces = [...opener.push(bytes)];
    return { fields: { pieces, closed: opener.closed } };
  },
  clip: ({ header, bytes }) => openClip(header, [bytes]),
  command: ({ header, bytes }) => {
    const secret = input(header, "secret");
    const expected = {
      camera: input(header, "expectedCamera"),
      incarnation: Number(header.expectedIncarnation),
    };
    const pair = { secret, publicKey: kemPublicKey(secret) };
    return { fields: openCommand(bytes, [pair], expected, nodeSuite) };
  },
};

function input(header: Record<string, string>, name: string): Uint8Array {
  return fromHex(header[name] ?? "no such line");
}

function keyOf(stanzas: readonly Stanza[], context: Uint8Array, secret: Uint8Array) {
  const id = keyId(kemPublicKey(secret));
  for (const stanza of stanzas) {
    const key = unwrap(stanza, context, id, secret);
    if (key) return key;
  }
  return null;
}

function openClip(header: Record<string, string>, slices: Iterable<Uint8Array>): Opened {
  let start: ClipStart | undefined;
  const opener = new ClipOpener({
    ...{ camera: input(header, "expectedCamera"), suite: nodeSuite },
    key: (found) => {
      start = found;
      const clip = keyOf(found.stanzas, found.headerHash, input(header, "secret"));
      if (!clip) throw new Failure("refused", "for others", { stage: "not-for-us" });
      return { clip };
    },
  });
  const media: string[] = [];
  for (const slice of slices) {
    for (const event of opener.push(slice)) {
      if ("bytes" in event) media.push(`${event.kind} ${event.bytes.length}`);
    }
  }
  const { clip } = start?.header ?? {};
  const keyIds = start?.stanzas.map(({ id }) => id);
  const { headerHash } = start ?? {};
  const { whole } = opener.end();
  return { fields: { clip, headerHash, keyIds, media: media.join(", "), whole } };
}

/** Where every proper prefix can be tried: the others have 64 KiB and more. */
const short = [
  ...["supply", "membership", "identity", "adoption", "body", "stanza", "epoch"],
  ...["tombstone", "confirmation", "checkpoint", "offer", "answer", "grant", "seen", "link"],
  "lens",
];

suite("sealed vectors", (test) => {
  for (const [object, open] of Object.entries(openers)) {
    test(
      `${object}: each file opens, or is refused at the stage that it names`,
      () => checkVectors(`sealed/${object}`, open, { prefixes: short.includes(object) }),
      { deadlineMs: 300_000 },
    );
    test(`${object}: the files are what the script makes today`, async () => {
      const kept = await readVectors(`sealed/${object}`);
      const names = (list: readonly { name: string }[]) => list.map(({ name }) => name).sort();
      assert.equal(names(kept), names(made[object] ?? []));
      for (const vector of made[object] ?? []) {
        const file = kept.find(({ name }) => name === vector.name);
        const { header, bytes } = parseVector(vector.name, printVector(vector));
        assert.equal(file?.header, header, vector.name);
        assert.is(Buffer.compare(file?.bytes ?? Buffer.alloc(0), bytes), 0, vector.name);
      }
    });
  }

  test("no folder of vectors is left without a test", async () => {
    const folders = (await readdir(join(vectorsFolder, "sealed"))).sort();
    assert.equal(folders, Object.keys(openers).sort());
  });

  for (const [how, cut] of [
    ["byte by byte", 1],
    ["in odd slices", 1021],
  ] as const) {
    test(
      `chunks and clips ${how} give the same, or are refused at the same stage`,
      async () => {
        for (const object of ["chunk", "clip"]) {
          for (const vector of await readVectors(`sealed/${object}`)) {
            const whole = outcome(() => openers[object]?.(vector));
            const sliced = outcome(() => openSliced(object, vector, cut));
            assert.equal(sliced, whole, `${object}/${vector.name}`);
          }
        }
      },
      { deadlineMs: 120_000 },
    );
  }

  test("a clip cut anywhere is cut off or incomplete, never whole", async () => {
    const vectors = await readVectors("sealed/clip");
    const well = vectors.find(({ name }) => name === "well");
    assert.ok(well);
    for (let length = 0; length < well.bytes.length; length += 4099) {
      const { fields } = openClip(well.header, [well.bytes.subarray(0, length)]);
      assert.is((fields as { whole: boolean }).whole, false, String(length));
    }
    const first = decodePart(well.bytes.subarray(0, firstLength(well.bytes)));
    assert.is(readStart(first, nodeSuite).stanzas.length, 1);
    assert.ok(first.payload.length < partBytes);
  });
});

function firstLength(bytes: Uint8Array): number {
  return 96 + Buffer.from(bytes).readUInt32BE(92) + 64;
}

function openSliced(object: string, { header, bytes }: Vector, cut: number): Opened {
  const slices: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += cut) slices.push(bytes.subarray(at, at + cut));
  if (object === "clip") return openClip(header, slices);
  const keys = { video: input(header, "video"), details: input(header, "details") };
  const opener = new ChunkOpener(keys);
  const pieces = slices.flatMap((slice) => [...opener.push(slice)]);
  return { fields: { pieces, closed: opener.closed } };
}

/** What came out, or the stage that refused, in a form that can be compared. */
function outcome(act: () => Opened | undefined): string {
  try {
    return JSON.stringify(act()?.fields);
  } catch (error) {
    assert.ok(error instanceof Failure);
    return `refused: ${error.stage}`;
  }
}
