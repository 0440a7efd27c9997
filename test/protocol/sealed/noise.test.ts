import { createRequire } from "node:module";
import * as assert from "uvu/assert";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Channel,
  Handshake,
  mostMessages,
  noiseBytes,
  noisePlainBytes,
  type Role,
} from "../../../src/protocol/sealed/noise.ts";
import { exchangePair, exchangePublicKey, ready } from "../../../src/protocol/sealed/sodium.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { fixedRandom, pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

/** What we use of noise-handshake, which has no types of its own. */
type Foreign = {
  initialise(prologue: Uint8Array): void;
  send(payload?: Uint8Array): Uint8Array;
  recv(message: Uint8Array): Uint8Array;
  readonly complete: boolean;
  readonly hash: Uint8Array;
  readonly rs: Uint8Array;
  readonly tx: Uint8Array;
  readonly rx: Uint8Array;
};
type ForeignCipher = {
  encrypt(plain: Uint8Array): Uint8Array;
  decrypt(sealed: Uint8Array): Uint8Array;
};
const require = createRequire(import.meta.url);
const ForeignNoise = require("noise-handshake") as new (
  pattern: string,
  initiator: boolean,
  own: undefined,
  options: { psk: Buffer },
) => Foreign;
const ForeignCipherState = require("noise-handshake/cipher.js") as new (
  key: Uint8Array,
) => ForeignCipher;

const secret = pattern(32, 3);
const prologue = fromText("a camera");
const other: Record<Role, Role> = { initiator: "responder", responder: "initiator" };

function foreign(role: Role, of = prologue, psk = secret): Foreign {
  const options = { psk: Buffer.from(psk) };
  const one = new ForeignNoise("XXpsk0", role === "initiator", undefined, options);
  one.initialise(Buffer.from(of));
  return one;
}

const ours = (role: Role, change: { secret?: Uint8Array; prologue?: Uint8Array } = {}) =>
  new Handshake({ role, secret, prologue, ...change });

/** A finished session between two of ours. */
function session(): { phone: Channel; camera: Channel } {
  const [a, b] = [ours("initiator"), ours("responder")];
  b.read(a.write());
  a.read(b.write());
  b.read(a.write());
  return { phone: a.finish(), camera: b.finish() };
}

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => {
    if (!isFailure(error, "corrupt")) throw error;
    assert.is(error.stage, stage, error.message);
    return true;
  });
}

suite("noise", (test) => {
  for (const role of ["initiator", "responder"] as const) {
    test(`as ${role} against noise-handshake: same hash, keys and payloads`, () => {
      for (let round = 0; round < 20; round++) {
        const [us, them] = [ours(role), foreign(other[role])];
        const payloads = [pattern(round * 7, 5), pattern(round * 31, 7), pattern(round, 9)];
        payloads.forEach((payload, step) => {
          const isOurs = (step % 2 === 0) === (role === "initiator");
          const got = isOurs
            ? them.recv(Buffer.from(us.write(payload)))
            : us.read(them.send(Buffer.from(payload)));
          assert.is(Buffer.compare(got, payload), 0);
        });
        assert.ok(us.isDone && them.complete);
        const channel = us.finish();
        assert.is(Buffer.compare(channel.hash, them.hash), 0);
        const out = new ForeignCipherState(them.tx);
        const into = new ForeignCipherState(them.rx);
        for (const size of [0, 1, 1000, noisePlainBytes]) {
          const plain = pattern(size, size + 1);
          assert.is(Buffer.compare(channel.open(out.encrypt(Buffer.from(plain))), plain), 0);
          assert.is(Buffer.compare(into.decrypt(Buffer.from(channel.seal(plain))), plain), 0);
        }
      }
    });
  }

  test("each end learns the other's static key", () => {
    const [mine, theirs] = [exchangePair(), exchangePair()];
    const a = new Handshake({ role: "initiator", secret, prologue, own: mine });
    const b = new Handshake({ role: "responder", secret, prologue, own: theirs });
    b.read(a.write());
    a.read(b.write());
    b.read(a.write());
    const [phone, camera] = [a.finish(), b.finish()];
    assert.equal(phone.peer, theirs.publicKey);
    assert.equal(camera.peer, mine.publicKey);
    assert.equal(phone.hash, camera.hash);
    assert.equal(exchangePublicKey(mine.secret), mine.publicKey, "the caller's key is not wiped");
  });

  test("another secret or prologue is refused at message 1, by us and by noise-handshake", () => {
    const wrong = [{ secret: pattern(32, 4) }, { prologue: fromText("another camera") }];
    for (const change of wrong) {
      refused("secret", () => ours("responder").read(ours("initiator", change).write()));
      assert.throws(() =>
        foreign("responder").recv(Buffer.from(ours("initiator", change).write())),
      );
    }
    const stranger = foreign("initiator", prologue, pattern(32, 4));
    refused("secret", () => ours("responder").read(stranger.send()));
  });

  test("a key of small order is refused where it would be used", () => {
    // With the right secret: message 1 verifies, and the first exchange fails.
    for (const bad of [new Uint8Array(32), Uint8Array.from([1, ...new Uint8Array(31)])]) {
      const forged = foreign("initiator");
      (forged as unknown as { e: unknown }).e = { publicKey: Buffer.from(bad), secretKey: secret };
      const b = ours("responder");
      b.read(forged.send());
      refused("key", () => b.write());
      assert.throws(() => b.write(), /not at a message/, "over after a refusal");
    }
  });

  test("every changed bit of every message is refused", () => {
    for (const step of [0, 1, 2]) {
      const lengths = [48, 96, 64];
      for (let bit = 0; bit < (lengths[step] ?? 0) * 8; bit += 5) {
        using _ = fixedRandom(`bit ${step}`);
        const [a, b] = [ours("initiator"), ours("responder")];
        const ends = [b, a, b];
        for (let i = 0; i <= step; i++) {
          const message = (i % 2 === 0 ? a : b).write();
          assert.is(message.length, lengths[i]);
          if (i < step) ends[i]?.read(message);
          else {
            message[bit >> 3] = (message[bit >> 3] ?? 0) ^ (1 << (bit & 7));
            // The highest bit of an X25519 key does not count in the exchange, and is hashed.
            assert.throws(() => ends[i]?.read(message), isFailure, `message ${i}, bit ${bit}`);
            assert.throws(() => ends[i]?.read(message), /not at a message/);
          }
        }
      }
    }
  });

  test("a recorded message 1 gets an answer that only its sender can use", () => {
    const a = ours("initiator");
    const recorded = a.write();
    const [first, second] = [ours("responder"), ours("responder")];
    first.read(recorded);
    second.read(recorded);
    second.write();
    a.read(first.write());
    refused("handshake", () => second.read(a.write()));
    // Who recorded it has no secret of the ephemeral key in it: the answer opens for nobody else.
    const replayer = ours("initiator");
    replayer.write();
    const third = ours("responder");
    third.read(recorded);
    refused("handshake", () => replayer.read(third.write()));
  });

  test("turns are kept", () => {
    assert.throws(() => ours("responder").write(), /not at a message to write/);
    assert.throws(() => ours("initiator").read(new Uint8Array(48)), /not at a message to read/);
    assert.throws(() => ours("initiator").finish(), /not over/);
    assert.throws(() => ours("initiator", { secret: new Uint8Array(16) }), /32 bytes/);
    refused("length", () => ours("responder").read(new Uint8Array(47)));
    refused("length", () => ours("responder").read(new Uint8Array(noiseBytes + 1)));
  });

  test("a channel takes each message once, in order, in its own direction", () => {
    const cases: ((phone: Channel, camera: Channel) => void)[] = [
      (phone, camera) => {
        const one = phone.seal(fromText("one"));
        camera.open(one);
        camera.open(one); // doubled
      },
      (phone, camera) => {
        phone.seal(fromText("lost"));
        camera.open(phone.seal(fromText("two")));
      },
      (phone) => void phone.open(phone.seal(fromText("sent back"))),
      (phone, camera) => {
        const one = phone.seal(fromText("one"));
        one[0] = (one[0] ?? 0) ^ 1;
        camera.open(one);
      },
      (phone, camera) => void camera.open(phone.seal(new Uint8Array(9)).subarray(0, 15)),
    ];
    for (const attempt of cases) {
      const { phone, camera } = session();
      refused("channel", () => attempt(phone, camera));
    }
    const { phone, camera } = session();
    const good = phone.seal(fromText("good"));
    refused("channel", () => camera.open(new Uint8Array(40)));
    refused("channel", () => camera.open(good));
    phone.wipe();
    refused("channel", () => phone.seal(fromText("after the end")));
    const big = () => session().phone.seal(new Uint8Array(noisePlainBytes + 1));
    assert.throws(big, (error: unknown) => isFailure(error, "misuse"));
  });

  test("a direction ends before its counter could", () => {
    const { phone, camera } = session();
    const nothing = new Uint8Array();
    for (let i = 0; i < mostMessages; i++) camera.open(phone.seal(nothing));
    assert.throws(
      () => phone.seal(nothing),
      (error: unknown) => isFailure(error, "full") && error.stage === "channel",
    );
  });

  test("how long a handshake takes", () => {
    session();
    const rounds = 20;
    const start = performance.now();
    for (let i = 0; i < rounds; i++) session();
    const eachMs = (performance.now() - start) / rounds;
    console.log(`\nmeasured: handshake, both ends together: ${eachMs.toFixed(1)} ms`);
  });

  test(
    "fuzz: message 1",
    () => {
      const own = exchangePair();
      const start = () => new Handshake({ role: "responder", secret, prologue, own });
      fuzz({
        name: "noise message 1",
        seeds: [ours("initiator").write(), ours("initiator").write(pattern(20))],
        decode: (bytes) => start().read(bytes),
        reaches: ["length", "secret"],
      });
    },
    { deadlineMs: 900_000 },
  );

  test(
    "fuzz: message 2",
    () => {
      const start = () => {
        using _ = fixedRandom("phone");
        const phone = ours("initiator");
        return { phone, first: phone.write() };
      };
      const camera = ours("responder");
      camera.read(start().first);
      const second = camera.write(pattern(20));
      assert.equal(start().phone.read(second), pattern(20), "the same phone each time");
      fuzz({
        name: "noise message 2",
        seeds: [second],
        decode: (bytes) => start().phone.read(bytes),
        reaches: ["length", "handshake"],
      });
    },
    { deadlineMs: 900_000 },
  );
});
