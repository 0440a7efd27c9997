import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Body,
  decodeBody,
  encodeBody,
  type Statement,
} from "../../../src/protocol/sealed/body.ts";
import {
  type DayKey,
  EpochReader,
  LogEpoch,
  longestEpoch,
  openEpoch,
  sealBeacon,
} from "../../../src/protocol/sealed/epoch.ts";
import { kemPair, random, ready } from "../../../src/protocol/sealed/sodium.ts";
import { keyFingerprint } from "../../../src/protocol/sealed/stanza.ts";
import { confirmationBytes } from "../../../src/protocol/sealed/tombstone.ts";
import { verifyBeacon } from "../../../src/protocol/wire/beacon.ts";
import { checkLink, type Entry, verifyEntry } from "../../../src/protocol/wire/entry.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const camera = signer();
const clip = pattern(16);
const key = pattern(32);
const statements: Statement[] = [
  { kind: "started", version: "0.1.0", reason: "boot" },
  { kind: "clock-synchronised", beforeMs: 5 },
  { kind: "receiving-key", publicKey: pattern(1216) },
  { kind: "membership", list: pattern(400) },
  { kind: "supply-acknowledged", phone: key, batch: 1, nextIndex: 3, endIndex: 2000 },
  { kind: "clip-started", clip, headerHash: key, keyIds: [pattern(16, 3), pattern(16, 5)] },
  { kind: "clip-ended", clip, last: { number: 9, hash: key }, reason: "cut-off" },
  { kind: "fallback-used", phone: key, key: "day", day: 3, clip },
  { kind: "fallback-used", phone: key, key: "restart" },
  { kind: "lost", clips: [{ clip, parts: 12 }], reason: "full" },
  { kind: "problem", code: "fsync", text: "The card does not take what it is given" },
  {
    ...{ kind: "incarnation-opened", reason: "behind" },
    head: { incarnation: 0, sequence: 4, hash: key },
  },
  { kind: "command-done", phone: key, number: 7, action: "tombstone" },
  { kind: "tombstone-done", tombstone: pattern(1181) },
  { kind: "setting", name: "detect.threshold", value: "0.5", version: 2 },
  { kind: "day-closed", day: 12 },
  { kind: "watched", phone: key, how: "live", state: "started" },
  { kind: "watched", phone: key, how: "snapshot", state: "ended", clip },
  { kind: "nonce", phone: key, number: 7, nonce: pattern(16) },
  { kind: "tombstone-confirmed", confirmation: pattern(confirmationBytes) },
  { kind: "checkpointed", checkpoint: pattern(216) },
  {
    ...{ kind: "window", phone: key, number: 8 },
    addresses: [{ ip: pattern(4), port: 41_234 }],
  },
  { kind: "asked", what: "privacy", value: "ON", by: "mqtt" },
  { kind: "alarm", what: "refused", by: "command", score: 0, text: "A wrong code was given" },
  { kind: "alarm", what: "siren", mode: "away", by: "delay", score: 108, text: "Nobody disarmed" },
];

function body(statement: Statement): Body & { statement: Statement } {
  return { wallMs: 1_700_000_000_000, clockTrusted: true, statement };
}

type Log = { entries: (Entry & { hash: Uint8Array })[]; dayKey: DayKey };

function log(count: number): Log {
  const day = kemPair();
  const fields = { camera: camera.key, incarnation: 0, epoch: 1, membership: 1 };
  const epoch = new LogEpoch(fields, [kemPair().publicKey, day.publicKey]);
  const entries: Log["entries"] = [];
  for (let sequence = 0; sequence < count; sequence++) {
    const previous = entries.at(-1)?.hash ?? new Uint8Array(32);
    const statement = statements[sequence % statements.length] as Statement;
    const { sealed, hash } = epoch.seal(
      body(statement),
      { sequence, previous, uptimeMs: sequence },
      camera,
    );
    entries.push({ ...verifyEntry(sealed.bytes, camera.key, nodeSuite), hash });
  }
  return { entries, dayKey: { fingerprint: keyFingerprint(day.publicKey), secret: day.secret } };
}

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

suite("body", (test) => {
  test("each kind of statement is read as it was written, padded in steps of 256", () => {
    for (const statement of statements) {
      const plain = encodeBody(body(statement));
      assert.is(plain.length % 256, 0);
      assert.equal(decodeBody(plain, true), body(statement), statement.kind);
    }
  });

  test("Node's own byte arrays are bytes like any", () => {
    const tombstone = Buffer.from(pattern(16));
    const plain = encodeBody(body({ kind: "tombstone-done", tombstone }));
    const { statement } = decodeBody(plain, true);
    assert.ok(statement.kind === "tombstone-done");
    assert.equal(statement.tombstone, pattern(16));
  });

  test("a kind that is not known: an update when it is critical, else skipped", () => {
    const plain = encodeBody(body(statements[0] as Statement));
    plain[0] = 77;
    refused("statement", () => decodeBody(plain, true));
    assert.equal(decodeBody(plain, false).statement, { kind: "unknown", number: 77 });
  });

  test("padding and the clock's flag have one form", () => {
    const plain = encodeBody(body(statements[0] as Statement));
    const change = (at: number, value: number) => {
      const copy = Uint8Array.from(plain);
      copy[at] = value;
      return () => decodeBody(copy, true);
    };
    refused("trusted", change(9, 2));
    refused("padding", change(plain.length - 1, 1));
    refused("padding", () => decodeBody(Buffer.concat([plain, new Uint8Array(256)]), true));
    refused("padding", () => decodeBody(plain.subarray(0, 200), true));
    refused("range", change(1, 255));
  });

  test("members read every entry, in any order; the chain links", () => {
    const { entries, dayKey } = log(statements.length);
    const opening = entries[0] as Entry;
    const stranger = kemPair();
    const other = { fingerprint: keyFingerprint(stranger.publicKey), secret: stranger.secret };
    const epochKey = openEpoch(opening, [other, dayKey]);
    assert.ok(epochKey);
    assert.is(openEpoch(opening, [other]), null);
    const reader = new EpochReader(opening, epochKey);
    for (const i of [0, 1, 5, 2, 16, 0, 16]) {
      assert.equal(reader.open(entries[i] as Entry), body(statements[i] as Statement));
    }
    for (let i = 1; i < entries.length; i++) {
      checkLink(entries[i] as Entry, entries[i - 1] as Log["entries"][0]);
    }
    assert.is(entries.filter(({ stanzas }) => stanzas).length, 1);
  });

  test("an entry moved, of another epoch or with another's body does not open", () => {
    const { entries, dayKey } = log(3);
    const [first, second, third] = entries;
    assert.ok(first && second && third);
    const reader = new EpochReader(first, openEpoch(first, [dayKey]) as Uint8Array);
    refused("body", () => reader.open({ ...third, body: second.body }));
    refused("body", () => reader.open({ ...third, uptimeMs: 9 }));
    refused("epoch", () => reader.open({ ...third, epoch: 2 }));
    refused("epoch", () => reader.open({ ...third, incarnation: 1 }));
    refused("epoch", () => reader.open({ ...third, membership: 2 }));
    refused("epoch", () => reader.open({ ...third, sequence: longestEpoch }));
    const wrong = new EpochReader(first, random(32));
    refused("body", () => wrong.open(first));
  });

  test("an epoch ends for good, and a beacon is named and signed", () => {
    const fields = { camera: camera.key, incarnation: 0, epoch: 1, membership: 1 };
    const epoch = new LogEpoch(fields, [kemPair().publicKey]);
    epoch.end();
    assert.throws(() =>
      epoch.seal(
        body(statements[0] as Statement),
        { sequence: 0, previous: new Uint8Array(32), uptimeMs: 0 },
        camera,
      ),
    );
    const head = { sequence: 0, hash: key };
    const clock = { uptimeMs: 1, wallMs: 2, trusted: false };
    const beacon = { camera: camera.key, version: 1, incarnation: 0, head, ...clock };
    const sealed = sealBeacon(beacon, camera);
    assert.is(sealed.name.kind, "beacon");
    assert.equal(verifyBeacon(sealed.bytes, camera.key, nodeSuite).head.sequence, 0);
  });

  test("fuzz", () => {
    fuzz({
      name: "body",
      seeds: statements.map((statement) => encodeBody(body(statement))),
      decode: (bytes) => decodeBody(bytes, true),
      // Half of them with the padding put right, so that what is inside is met.
      reseal: (bytes) => {
        const json = Buffer.from(bytes).subarray(14, Buffer.from(bytes).indexOf("}", 14) + 1);
        const whole = Buffer.alloc(Math.ceil((14 + json.length) / 256) * 256);
        whole.set(bytes.subarray(0, 10));
        whole.writeUInt32BE(json.length, 10);
        whole.set(json, 14);
        return whole;
      },
      reaches: ["taken", "length", "json", "padding", "trusted", "range", "statement", "text"],
    });
  });
});
