import { connect, type Socket } from "node:net";
import encodeQR from "qr";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { openLog } from "../../../src/base/node/log.ts";
import { socketStream } from "../../../src/base/node/socket.ts";
import { Writer } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { createKeyring, openKeyring } from "../../../src/device/keyring.ts";
import { ipBytes } from "../../../src/device/pairing/address.ts";
import { openPairing, type PairingOptions } from "../../../src/device/pairing/host.ts";
import { mostUnproven } from "../../../src/device/pairing/listener.ts";
import { qrCode } from "../../../src/device/pairing/pairing.ts";
import { windowMs } from "../../../src/device/pairing/window.ts";
import { type PairOptions, pairCamera } from "../../../src/phone/pair.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { openFrames, type Pipe } from "../../../src/protocol/sealed/frames.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { Handshake } from "../../../src/protocol/sealed/noise.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { label } from "../../../src/protocol/wire/signature.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";
import { MemoryStore } from "../../phone/memory.ts";

await ready();

const wanted = { mostBytes: 65_535, withinMs: 20_000 };

/** A board with its clock and card, in this process. */
async function board() {
  const folder = await quickFolder();
  const time = { boot: "one", ms: 1000, elapsedMs: () => time.ms };
  const lines: string[] = [];
  const log = openLog("pairing", "debug", (line) => void lines.push(line));
  const opened: { close(): Promise<void> }[] = [];
  return {
    time,
    lines,
    state: folder.path,
    async start(more: Partial<PairingOptions> = {}) {
      const pairing = await openPairing({
        ...{ state: folder.path, name: "porch", port: 0, address: "127.0.0.1", time, log },
        ...more,
      });
      opened.push(pairing);
      return pairing;
    },
    async [Symbol.asyncDispose]() {
      for (const one of opened) await one.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function dial(port: number): Promise<{ socket: Socket; pipe: Pipe }> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return { socket, pipe: openFrames(socketStream(socket)) };
}

/** A phone that pairs by the link; its vault may be one that was there before. */
async function pairBy(link: string, more: Partial<PairOptions> & { store?: MemoryStore } = {}) {
  const store = more.store ?? new MemoryStore();
  const vault = (await store.load()) ? await Vault.open(store) : Vault.create(store, "Ada");
  const invite = parseInvite(link);
  const { pipe } = await dial(invite.addresses[0]?.port ?? 0);
  try {
    const paired = await pairCamera(vault, {
      ...{ pipe, invite, name: undefined, nowMs: 1, suite: nodeSuite },
      ...{ supply: { oneTime: 3, days: 2 }, relays: ["https://relay.example"], ...more },
    });
    return { ...paired, store, vault };
  } finally {
    pipe.close();
  }
}

const failureOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!isFailure(error)) throw error ?? new Error("it went well");
  return error;
};

const withSecret = (link: string, secret: Uint8Array) => ({ ...parseInvite(link), secret });

/** Message 1 by somebody with this secret for this camera. */
function firstMessage(link: string, secret = parseInvite(link).secret) {
  const prologue = new Writer().raw(label("pairing")).raw(parseInvite(link).identity).done();
  const handshake = new Handshake({ role: "initiator", secret, prologue });
  return { handshake, first: handshake.write() };
}

/** One wrong guess; what the camera answered. */
async function guess(link: string, seed: number) {
  const { pipe } = await dial(parseInvite(link).addresses[0]?.port ?? 0);
  await pipe.send(firstMessage(link, pattern(32, seed)).first);
  const answer = await pipe.receive(wanted);
  pipe.close();
  return answer;
}

suite("pairing", (test) => {
  test("a phone becomes the owner; both show one word; the window is closed for good", async () => {
    await using at = await board();
    const steps: string[] = [];
    const pairing = await at.start({ onStep: (step) => void steps.push(step) });
    const { word, store, camera, vault } = await pairBy(pairing.link);
    const outcome = await pairing.outcome;
    assert.equal(outcome, {
      ...{ kind: "paired", confirmed: true, word, members: ["Ada"], oneTimeKeys: 3 },
    });
    assert.equal(steps, ["opened", "received", "kept", "acknowledged", "done", "closed"]);
    const { adopted, identity } = await openKeyring(at.state);
    assert.equal(adopted?.relays, ["https://relay.example"]);
    assert.equal(adopted?.owner, vault.content.phoneKey);
    assert.equal(camera.id, identity.camera);
    assert.is(camera.unconfirmed, undefined);
    assert.is((await Vault.open(store)).content.cameras[0]?.unconfirmed, undefined);
    const late = await failureOf(pairBy(pairing.link)).catch((error) => error);
    assert.is(late.code, "ECONNREFUSED");
    const next = await at.start();
    assert.equal([next.owners, next.before], [["Ada"], "success"]);
    assert.not.equal(parseInvite(next.link).secret, parseInvite(pairing.link).secret);
  });

  test("silence, noise and broken messages are no failures, and hold nobody up", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { port, link } = pairing;
    const silent = await Promise.all(Array.from({ length: 10 }, () => dial(port)));
    for (const bytes of [
      ...[Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(255, 255, 1), Uint8Array.of(0, 49)],
      ...[
        Buffer.from("GET / HTTP/1.1\r\n\r\n"),
        Uint8Array.of(0, 47, ...pattern(47)),
        pattern(5000),
      ],
    ]) {
      const { socket } = await dial(port);
      socket.resume().end(bytes);
      await new Promise((resolve) => socket.once("close", resolve));
    }
    const { pipe, socket } = await dial(port);
    await pipe.send(firstMessage(link).first);
    await pipe.receive(wanted); // with the secret, and gone before message 3
    socket.destroy();
    await pairBy(link);
    assert.is((await pairing.outcome).kind, "paired");
    assert.not.ok(at.lines.some((line) => line.includes("wrong secret")));
    for (const one of silent) one.socket.destroy();
  });

  test("a flood of connections cuts itself, not the owner", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { port, link } = pairing;
    const flood = await Promise.all(Array.from({ length: mostUnproven + 20 }, () => dial(port)));
    const cut = flood.slice(0, 20).map(({ socket }) => {
      return new Promise((resolve) => socket.resume().once("close", resolve));
    });
    await Promise.all(cut);
    assert.ok(flood.slice(20).every(({ socket }) => !socket.destroyed));
    await pairBy(link);
    assert.is((await pairing.outcome).kind, "paired");
    for (const { socket } of flood) socket.destroy();
  });

  test("wrong secrets are counted and told; the fifth closes the window, also after a restart", async () => {
    await using at = await board();
    const first = await at.start();
    const { link } = first;
    assert.equal(await guess(link, 3), Uint8Array.of(1));
    const failure = await failureOf(pairBy(link, { invite: withSecret(link, pattern(32, 9)) }));
    assert.is(failure.stage, "secret");
    assert.match(failure.message, /old one, or of another camera/);
    await first.close();
    const second = await at.start();
    assert.is(second.link, link, "the same window after a restart");
    assert.ok(second.isResumed);
    for (const seed of [4, 5, 6]) await guess(link, seed);
    assert.equal(await second.outcome, { kind: "closed", why: "failures" });
    assert.is(at.lines.filter((line) => line.includes("wrong secret")).length, 5);
    const third = await at.start();
    assert.is(third.before, "failures");
    assert.not.equal(third.link, link);
    const old = withSecret(third.link, parseInvite(link).secret);
    assert.is((await failureOf(pairBy(third.link, { invite: old }))).stage, "secret");
    await pairBy(third.link);
    assert.is((await third.outcome).kind, "paired");
    // Nothing of a link stands in the log.
    for (const secret of [link, third.link]) {
      const hex = Buffer.from(parseInvite(secret).secret).toString("hex");
      assert.not.ok(at.lines.join("").includes(hex) || at.lines.join("").includes(secret));
    }
  });

  test("a phone with another camera's link is refused as a guess is, and gets no identity", async () => {
    await using at = await board();
    const { link } = await at.start();
    const invite = { ...parseInvite(link), identity: pattern(32) };
    assert.is((await failureOf(pairBy(link, { invite }))).stage, "secret");
  });

  test("a recorded message 1 is not answered again", async () => {
    await using at = await board();
    const { link, port } = await at.start();
    const { first } = firstMessage(link);
    const answers = [];
    for (let i = 0; i < 3; i++) {
      const { pipe } = await dial(port);
      await pipe.send(first);
      answers.push((await pipe.receive(wanted))?.length);
      pipe.close();
    }
    assert.equal(answers, [96, undefined, undefined]);
    await pairBy(link);
  });

  test("ten minutes end it, also in the middle of a session, and the phone is told", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { pipe } = await dial(pairing.port);
    const { handshake, first } = firstMessage(pairing.link);
    await pipe.send(first);
    handshake.read((await pipe.receive(wanted)) as Uint8Array);
    await pipe.send(handshake.write());
    const channel = handshake.finish();
    assert.is(channel.open((await pipe.receive(wanted)) as Uint8Array)[0], 1);
    at.time.ms += windowMs;
    const said = channel.open((await pipe.receive(wanted)) as Uint8Array);
    assert.equal([said[0], said[1]], [6, 4]);
    assert.equal(await pairing.outcome, { kind: "closed", why: "time" });
    const next = await at.start();
    assert.is(next.before, "time");
    assert.not.equal(next.link, pairing.link);
  });

  test("a newer session takes the place of one that hangs", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { pipe } = await dial(pairing.port);
    const { handshake, first } = firstMessage(pairing.link);
    await pipe.send(first);
    handshake.read((await pipe.receive(wanted)) as Uint8Array);
    await pipe.send(handshake.write());
    const channel = handshake.finish();
    channel.open((await pipe.receive(wanted)) as Uint8Array);
    await pairBy(pairing.link);
    const said = channel.open((await pipe.receive(wanted)) as Uint8Array);
    assert.equal([said[0], said[1]], [6, 5]);
    assert.is((await pairing.outcome).kind, "paired");
  });

  test("a phone that was cut off anywhere repeats the very bytes and ends well", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { link } = pairing;
    const store = new MemoryStore();
    const sent: Buffer[] = [];
    const invite = parseInvite(link);
    // The store fails when the phone would note the acknowledgement: as if it died right there.
    const vault = Vault.create(store, "Ada");
    const { pipe } = await dial(pairing.port);
    let saves = 0;
    const replace = store.replace.bind(store);
    store.replace = async (wrapped) => {
      saves += 1;
      if (saves === 2) throw new Error("the phone died");
      await replace(wrapped);
    };
    await pairCamera(vault, {
      ...{ pipe, invite, name: undefined, nowMs: 1, suite: nodeSuite },
      supply: { oneTime: 3, days: 2 },
    }).then(
      () => assert.unreachable("it died"),
      (error) => assert.is(error.message, "the phone died"),
    );
    pipe.close();
    const kept = (await Vault.open(store)).content.cameras[0]?.unconfirmed;
    assert.ok(kept);
    sent.push(Buffer.from(kept));
    const again = await pairBy(link, { store });
    assert.ok(again.isRepeat);
    assert.equal(again.relays, [], "what was made before is sent, not what is asked now");
    const outcome = await pairing.outcome;
    assert.ok(outcome.kind === "paired" && outcome.confirmed);
    assert.is(outcome.word, again.word);
    assert.is((await Vault.open(store)).content.cameras[0]?.unconfirmed, undefined);
    assert.is((await Vault.open(store)).content.cameras[0]?.batch, 1);
  });

  test("a camera with another owner says so, and the phone keeps nothing of it", async () => {
    await using at = await board();
    const first = await at.start();
    await pairBy(first.link);
    await first.outcome;
    const second = await at.start();
    const store = new MemoryStore();
    const failure = await failureOf(pairBy(second.link, { store }));
    assert.is(failure.stage, "owned");
    assert.equal((await Vault.open(store)).content.cameras, []);
    // The window is still open: the owner's own phone may need it.
    assert.is(await Promise.race([second.outcome, "open"]), "open");
  });

  test("one program pairs at a time; a port and an address that cannot be had are named", async () => {
    await using at = await board();
    await using away = await board();
    const pairing = await at.start();
    assert.is((await failureOf(at.start())).kind, "busy");
    assert.is((await failureOf(away.start({ port: pairing.port }))).kind, "busy");
    assert.is((await failureOf(away.start({ address: "192.0.2.1" }))).kind, "absent");
    assert.is((await failureOf(away.start({ address: "porch.local" }))).kind, "misuse");
    // What failed left nothing behind that would be in the way.
    await (await away.start()).close();
  });

  test("an existing camera keeps its identity; a broken card is said to the phone", async () => {
    await using at = await board();
    const { identity } = await createKeyring(at.state, "garden");
    const pairing = await at.start({
      onStep: (step) => {
        if (step === "received") throw new Error("no card");
      },
    });
    assert.equal(parseInvite(pairing.link).identity, identity.hash);
    const store = new MemoryStore();
    assert.is((await failureOf(pairBy(pairing.link, { store }))).stage, "storage");
    assert.ok((await Vault.open(store)).content.cameras[0]?.unconfirmed, "to be sent again");
  });

  test("addresses of both families", () => {
    assert.equal([...ipBytes("192.168.1.20")], [192, 168, 1, 20]);
    assert.equal([...ipBytes("::1")], [...new Array(15).fill(0), 1]);
    assert.equal([...ipBytes("fd00::a:1")], [0xfd, ...new Array(12).fill(0), 10, 0, 1]);
    assert.equal(
      [...ipBytes("1:2:3:4:5:6:7:8")],
      [1, 2, 3, 4, 5, 6, 7, 8].flatMap((n) => [0, n]),
    );
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "fe80::1%eth0",
      "::ffff:1.2.3.4",
      "porch",
      ":::",
    ]) {
      assert.throws(
        () => ipBytes(text),
        (error: unknown) => isFailure(error, "misuse"),
      );
    }
  });

  test("the QR code on the terminal is the one of the link, dot by dot", async () => {
    await using at = await board();
    const { link } = await at.start();
    const dots = encodeQR(link.toUpperCase(), "raw", { ecc: "low", border: 2 });
    const lines = qrCode(link).trimEnd().split("\n");
    const light = {
      "█": [true, true],
      "▀": [true, false],
      "▄": [false, true],
      " ": [false, false],
    };
    lines.forEach((line, row) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours around it
      const cells = [...line.replace(/\u001b\[[\d;]*m/g, "")] as (keyof typeof light)[];
      cells.forEach((cell, x) => {
        const [upper, lower] = light[cell] ?? [];
        assert.is(dots[2 * row]?.[x], !upper);
        if (2 * row + 1 < dots.length) assert.is(dots[2 * row + 1]?.[x], !lower);
      });
    });
    assert.is(lines.length, Math.ceil(dots.length / 2));
  });
});
