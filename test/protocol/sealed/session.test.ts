import * as assert from "uvu/assert";
import { equal, fromText, Writer } from "../../../src/base/pure/bytes.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { openFrames, type Pipe } from "../../../src/protocol/sealed/frames.ts";
import type { Invite } from "../../../src/protocol/sealed/invite.ts";
import {
  type NetworkAnswer,
  type NetworkRequest,
  newNetworkRequest,
} from "../../../src/protocol/sealed/network.ts";
import { Handshake } from "../../../src/protocol/sealed/noise.ts";
import { encodeIdentity, longestAdoptionBytes } from "../../../src/protocol/sealed/pairing.ts";
import {
  awaitProof,
  finishProof,
  pairSession,
  refusalFor,
  sendNotice,
  serveSession,
} from "../../../src/protocol/sealed/session.ts";
import { kemPair, ready } from "../../../src/protocol/sealed/sodium.ts";
import { digest, label } from "../../../src/protocol/wire/signature.ts";
import { type Between, pipePair } from "../../lib/pipes.ts";
import { nodeSuite, pattern, type Signer, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const secret = pattern(32, 3);
const wanted = { mostBytes: 65_535, withinMs: 5000 };
const receiving = kemPair().publicKey;
const adoption = pattern(200_000, 5);
const hashOf = (bytes: Uint8Array) => digest(nodeSuite, bytes);

function cameraOf(by: Signer) {
  const fields = {
    camera: by.key,
    request: signer().key,
    receiving,
    incarnation: 1,
    name: "porch",
  };
  const { bytes, hash } = encodeIdentity(fields, by);
  return { by, identity: { bytes, hash } };
}
type Camera = ReturnType<typeof cameraOf>;
const camera = cameraOf(signer());

type World = {
  between?: Between;
  invite?: Partial<Invite>;
  camera?: Camera;
  /** Instead of keeping. */
  keep?: (adoption: Uint8Array) => Promise<Uint8Array>;
  adopt?: (identity: Uint8Array) => Promise<{ adoption: Uint8Array; hash: Uint8Array }>;
  onKept?: () => Promise<void>;
  network?: NetworkRequest;
  /** What the camera answers to it. */
  answer?: NetworkAnswer;
};

const never = (what = "not reached"): never => {
  throw new Error(what);
};

const settle = async (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => {
      if (!isFailure(error)) throw error;
      return error;
    },
  );

/** One whole session; says what each end made of it. */
async function sitting(world: World = {}) {
  const { a, b } = pipePair(world.between);
  const { by, identity } = world.camera ?? camera;
  const seen = { kept: [] as Uint8Array[], done: 0, noted: 0, progress: 0 };
  const asked: NetworkRequest[] = [];
  let told: NetworkAnswer | undefined;
  const serve = async () => {
    const { handshake } = await awaitProof(b, { secret, identityHash: identity.hash });
    const channel = await finishProof(b, handshake);
    await serveSession(b, {
      ...{ channel, identity, sign: by.sign, suite: nodeSuite },
      keep: async (bytes) => {
        if (world.keep) return await world.keep(bytes);
        seen.kept.push(bytes);
        return hashOf(bytes);
      },
      join: async (request) => {
        asked.push(request);
        return world.answer ?? never();
      },
      onDone: async () => void seen.done++,
    });
  };
  const invite = { identity: camera.identity.hash, secret, addresses: [], ...world.invite };
  const [phoneSays, cameraSays] = await Promise.all([
    settle(
      pairSession(a, {
        ...{ invite, suite: nodeSuite },
        onProgress: () => void seen.progress++,
        adopt: world.adopt ?? (async () => ({ adoption, hash: hashOf(adoption) })),
        onKept: world.onKept ?? (async () => void seen.noted++),
        ...(world.network ? { network: world.network } : {}),
      }).then(({ network }) => {
        told = network;
      }),
    ).finally(() => a.close()),
    settle(serve()).finally(() => b.close()),
  ]);
  return { phone: phoneSays, camera: cameraSays, seen, asked, told };
}

const stages = ({ phone, camera: other }: Awaited<ReturnType<typeof sitting>>) => [
  phone?.stage ?? phone?.kind,
  other?.stage ?? other?.kind,
];

suite("session", (test) => {
  test("identity there, adoption back, kept, noted, done", async () => {
    const { phone, camera: other, seen } = await sitting();
    assert.equal([phone, other], [undefined, undefined]);
    assert.equal(seen.kept, [adoption]);
    assert.equal([seen.noted, seen.done, seen.progress], [1, 1, 4]);
  });

  test("a network is joined in between; only joined closes the window, only leaving is not noted", async () => {
    const network = newNetworkRequest({ ssid: fromText("Home"), password: "", hidden: true });
    const cases: [NetworkAnswer, noted: number, done: number][] = [
      [{ verdict: "joined", address: "192.168.1.7" }, 1, 1],
      [{ verdict: "wrong-password" }, 1, 0],
      [{ verdict: "leaving" }, 0, 0],
    ];
    for (const [answer, noted, done] of cases) {
      const { phone, camera: other, seen, asked, told } = await sitting({ network, answer });
      assert.equal([phone, other, told], [undefined, undefined, answer]);
      assert.equal(asked, [network]);
      assert.equal([seen.noted, seen.done], [noted, done], answer.verdict);
    }
  });

  test("another secret, or another camera's link, is refused before anything is said", async () => {
    for (const invite of [{ secret: pattern(32, 4) }, { identity: pattern(32) }]) {
      let cameraSpoke = 0;
      const between: Between = (from, message) => {
        if (from === "b") cameraSpoke++;
        return message;
      };
      const said = await sitting({ invite, between });
      assert.equal(stages(said), ["gone", "secret"]);
      assert.is(cameraSpoke, 0);
      assert.equal(said.seen, { kept: [], done: 0, noted: 0, progress: 0 });
    }
  });

  test("every message that is changed or cut on the way ends it; nothing false is kept", async () => {
    for (const from of ["a", "b"] as const) {
      for (let count = 0; count < (from === "a" ? 8 : 3); count++) {
        for (const change of ["flip", "cut", "drop"] as const) {
          const between: Between = (by, message, n) => {
            if (by !== from || n !== count) return message;
            if (change === "cut") return undefined;
            if (change === "drop") return message.subarray(0, message.length - 1);
            message[message.length >> 1] = (message[message.length >> 1] ?? 0) ^ 4;
            return message;
          };
          const { phone, camera: other, seen } = await sitting({ between });
          const at = `${from} ${count} ${change}`;
          assert.ok(phone || other, at);
          assert.ok(
            seen.kept.every((bytes) => equal(bytes, adoption)),
            at,
          );
          // The acknowledgement counts only after the camera kept it.
          assert.ok(seen.noted <= seen.kept.length && seen.done <= seen.noted, at);
        }
      }
    }
  });

  test("who photographed the code cannot stand in between: the phone sees another handshake", async () => {
    // Knows the secret: answers the phone as the camera, and passes on what the camera says.
    const [phonePipe, inner] = [pipePair(), pipePair()];
    const { identity, by } = camera;
    const real = async () => {
      const { handshake } = await awaitProof(inner.b, { secret, identityHash: identity.hash });
      const channel = await finishProof(inner.b, handshake);
      await serveSession(inner.b, {
        ...{ channel, identity, sign: by.sign, suite: nodeSuite },
        keep: async () => never("the camera must get nothing"),
        ...{ join: async () => never(), onDone: async () => {} },
      });
    };
    const middle = async () => {
      const bound = new Writer().raw(label("pairing")).raw(identity.hash).done();
      const { handshake } = await awaitProof(phonePipe.b, { secret, identityHash: identity.hash });
      const toPhone = await finishProof(phonePipe.b, handshake);
      const mine = new Handshake({ role: "initiator", secret, prologue: bound });
      await inner.a.send(mine.write());
      mine.read((await inner.a.receive(wanted)) as Uint8Array);
      await inner.a.send(mine.write());
      const toCamera = mine.finish();
      const said = toCamera.open((await inner.a.receive(wanted)) as Uint8Array);
      await phonePipe.b.send(toPhone.seal(said));
      const answer = toPhone.open((await phonePipe.b.receive(wanted)) as Uint8Array);
      inner.a.close();
      return answer;
    };
    const phone = settle(
      pairSession(phonePipe.a, {
        invite: { identity: identity.hash, secret, addresses: [] },
        suite: nodeSuite,
        adopt: async () => never("no adoption for somebody in between"),
        onKept: async () => {},
      }),
    );
    const [failure, answer] = await Promise.all([phone, middle(), settle(real())]);
    assert.is(failure?.stage, "proof");
    assert.is(answer[0], 6, "the phone says that it refuses");
  });

  test("a camera under another identity, or an identity that it did not sign, is refused", async () => {
    const other = cameraOf(signer());
    const swapped = { by: other.by, identity: { ...other.identity, hash: camera.identity.hash } };
    assert.equal(stages(await sitting({ camera: swapped })), ["identity", "identity"]);
    const unsigned = { by: other.by, identity: camera.identity };
    assert.equal(stages(await sitting({ camera: unsigned })), ["proof", "identity"]);
  });

  test("refusals have a type at both ends", async () => {
    const owned = () => Promise.reject(refusalFor("owned", "an owner already"));
    assert.equal(stages(await sitting({ keep: owned })), ["owned", "owned"]);
    const bad = () => Promise.reject(new Failure("corrupt", "no", { stage: "signature" }));
    const said = await sitting({ keep: bad });
    assert.equal(stages(said), ["adoption", "signature"]);
    assert.match(said.phone?.message ?? "", /\(signature\)/);
    const full = () => Promise.reject(new Failure("full", "no room"));
    assert.equal(stages(await sitting({ keep: full })), ["storage", "full"]);
    const another = async () => pattern(32, 9);
    assert.equal(stages(await sitting({ keep: another })), ["hash", "identity"]);
    // What is wrong with the phone itself is told to nobody.
    const adopt = () => Promise.reject(new Failure("full", "the phone has no room"));
    assert.equal(stages(await sitting({ adopt })), ["full", "gone"]);
    const onKept = () => Promise.reject(new Failure("full", "the phone has no room"));
    const late = await sitting({ onKept });
    assert.equal([...stages(late), late.seen.done], ["full", "gone", 0]);
  });

  test("notices say why in the clear, and an unknown one says so", async () => {
    for (const [send, stage] of [
      [(pipe: Pipe) => sendNotice(pipe, "secret"), "secret"],
      [(pipe: Pipe) => sendNotice(pipe, "closed"), "closed"],
      [(pipe: Pipe) => pipe.send(Uint8Array.of(77)), "reason"],
    ] as const) {
      const { a, b } = pipePair();
      const failure = settle(
        pairSession(a, {
          invite: { identity: camera.identity.hash, secret, addresses: [] },
          suite: nodeSuite,
          adopt: async () => never(),
          onKept: async () => {},
        }),
      );
      await b.receive(wanted);
      await send(b);
      assert.is((await failure)?.stage, stage);
    }
  });

  test("an adoption that is too long, empty, or more than offered is refused", async () => {
    assert.equal(
      stages(await sitting({ adopt: async () => ({ adoption: new Uint8Array(), hash: secret }) })),
      ["adoption", "length"],
    );
    const long = new Uint8Array(longestAdoptionBytes + 1);
    const said = await sitting({ adopt: async () => ({ adoption: long, hash: secret }) });
    assert.is(said.camera?.stage, "length");
    assert.equal(said.seen.kept, []);
  });

  test("frames: in any slices, one message at a time; bounds, ends and delays have names", async () => {
    const messages = [pattern(1), pattern(65_535, 3), pattern(300, 5)];
    const framed = new Writer();
    for (const message of messages) framed.bytes16(message);
    const bytes = framed.done();
    const stream = (chunks: Iterable<Uint8Array>) => ({
      chunks: (async function* () {
        yield* chunks;
      })(),
      write: async () => {},
      close: () => {},
      after: (ms: number, act: () => void) => {
        const timer = setTimeout(act, ms);
        return () => clearTimeout(timer);
      },
    });
    const slices = (size: number) =>
      Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.slice(i * size, (i + 1) * size),
      );
    for (const size of [1, 7, 4096, bytes.length]) {
      const pipe = openFrames(stream(slices(size)));
      for (const message of messages) assert.equal(await pipe.receive(wanted), message);
      assert.is(await pipe.receive(wanted), undefined);
    }
    const stageOf = async (chunks: Uint8Array[], more: Partial<typeof wanted> = {}) => {
      const failure = await settle(openFrames(stream(chunks)).receive({ ...wanted, ...more }));
      return failure?.stage ?? failure?.kind;
    };
    assert.is(await stageOf([Uint8Array.of(0, 0)]), "length");
    assert.is(await stageOf([Uint8Array.of(0, 49, 1)], { mostBytes: 48 }), "length");
    assert.is(await stageOf([Uint8Array.of(0, 9, 1)]), "gone");
    assert.is(await stageOf([Uint8Array.of(0)]), "gone");
    let isClosed = false;
    const pipe = openFrames({
      ...stream([]),
      chunks: (async function* () {
        yield Uint8Array.of(0);
        while (!isClosed) await new Promise((resolve) => setTimeout(resolve, 5));
      })(),
      close: () => {
        isClosed = true;
      },
    });
    const failure = await settle(pipe.receive({ mostBytes: 10, withinMs: 50 }));
    assert.is(failure?.kind, "stalled");
    assert.is((await settle(pipe.receive(wanted)))?.kind, "gone");
    assert.is((await settle(pipe.send(pattern(1))))?.kind, "gone");
  });

  test(
    "whatever a peer with the secret says, it is refused with a stage and nothing is kept",
    async () => {
      const rounds = Math.min(500, Number(process.env.OBSCURA_FUZZ_COUNT ?? 500));
      const met = new Map<string, number>();
      const bound = new Writer().raw(label("pairing")).raw(camera.identity.hash).done();
      for (let i = 0; i < rounds; i++) {
        const { a, b } = pipePair();
        const mine = new Handshake({ role: "initiator", secret, prologue: bound });
        const serve = async () => {
          const identityHash = camera.identity.hash;
          const { handshake } = await awaitProof(b, { secret, identityHash });
          const channel = await finishProof(b, handshake);
          await serveSession(b, {
            ...{ channel, identity: camera.identity, sign: camera.by.sign, suite: nodeSuite },
            keep: async (bytes) => (bytes.length > 0 ? hashOf(bytes) : never()),
            ...{ join: async () => never(), onDone: async () => {} },
          });
        };
        const served = settle(serve()).finally(() => b.close());
        await a.send(mine.write());
        mine.read((await a.receive(wanted)) as Uint8Array);
        await a.send(mine.write());
        const channel = mine.finish();
        // Now and then the right beginning, so that what comes after it is met too.
        const offer = new Writer()
          .u8(2)
          .u32(1 + (i % 5))
          .done();
        const refusal = new Writer()
          .u8(6)
          .u8(i % 11)
          .u8(0)
          .done();
        const beginning = i % 7 === 0 ? [refusal] : i % 3 > 0 ? [offer] : [];
        const said = [...beginning, ...hostile(i)];
        for (const plain of said) await a.send(channel.seal(plain));
        a.close();
        const failure = await served;
        assert.ok(failure, `round ${i}`);
        const stage = failure.stage ?? failure.kind;
        met.set(stage, (met.get(stage) ?? 0) + 1);
      }
      const list = [...met].sort(([, x], [, y]) => y - x).map(([stage, n]) => `${stage} ${n}`);
      console.log(
        `\nmeasured: hostile peers with the secret: ${rounds} rounds: ${list.join(", ")}`,
      );
      if (rounds === 500) {
        for (const stage of ["order", "length", "gone", "reason", "owned"])
          assert.ok(met.has(stage), stage);
      }
    },
    { deadlineMs: 120_000 },
  );
});

/** Messages of every kind and length, most of them wrong. */
function hostile(seed: number): Uint8Array[] {
  const noise = pattern(64, seed + 1);
  const pick = (i: number, below: number) => (noise[i] ?? 0) % below;
  return Array.from({ length: 1 + pick(0, 3) }, (_, i) => {
    const kind = pick(4 * i + 1, 9);
    const length = [0, 1, 2, 4, 5, 33, 200, 60_001][pick(4 * i + 2, 8)] ?? 0;
    return new Writer().u8(kind).raw(pattern(length, seed)).done();
  });
}
