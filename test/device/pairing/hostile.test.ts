import { createServer, type Socket } from "node:net";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { socketStream } from "../../../src/base/node/socket.ts";
import { mostUnproven } from "../../../src/device/pairing/listener.ts";
import { windowMs } from "../../../src/device/pairing/window.ts";
import { pairCamera } from "../../../src/phone/pair.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { openFrames } from "../../../src/protocol/sealed/frames.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  board,
  dial,
  failureOf,
  firstMessage,
  guess,
  pairBy,
  wanted,
  withSecret,
} from "../../lib/pairing.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";
import { MemoryStore } from "../../phone/memory.ts";

await ready();

const untilClosed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    if (socket.resume().closed) resolve();
    else socket.once("close", () => resolve());
  });

suite("pairing among strangers", (test) => {
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
    const flood: Awaited<ReturnType<typeof dial>>[] = [];
    // One after the other, so that who came first is who was called first.
    for (let i = 0; i < mostUnproven + 20; i++) flood.push(await dial(port));
    await Promise.all(flood.slice(0, 20).map(({ socket }) => untilClosed(socket)));
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

  test("who has no secret cannot stand in between: the phone refuses its answers", async () => {
    await using at = await board();
    const { link, port } = await at.start();
    const sent: Uint8Array[] = [];
    // Passes message 1 on and answers what the camera did, changed; or makes an answer of its own.
    for (const answer of ["changed", "own", "from another session"] as const) {
      const middle = createServer(async (socket) => {
        const [toPhone, toCamera] = [openFrames(socketStream(socket)), (await dial(port)).pipe];
        const first = (await toPhone.receive(wanted)) as Uint8Array;
        sent.push(first);
        await toCamera.send(answer === "from another session" ? firstMessage(link).first : first);
        const second = (await toCamera.receive(wanted)) as Uint8Array;
        if (answer === "changed") second[90] = (second[90] ?? 0) ^ 1;
        await toPhone.send(answer === "own" ? pattern(96) : second);
        await toPhone.receive(wanted).catch(() => undefined);
        toPhone.close();
        toCamera.close();
      });
      await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve));
      const { port: at } = middle.address() as { port: number };
      const store = new MemoryStore();
      const { pipe } = await dial(at);
      const failure = await failureOf(
        pairCamera(Vault.create(store, "Ada"), {
          ...{ pipe, invite: parseInvite(link), name: undefined, nowMs: 1, suite: nodeSuite },
        }),
      );
      pipe.close();
      assert.is(failure.stage, "handshake", answer);
      assert.is(await store.load(), undefined, "nothing was made");
      await new Promise((resolve) => middle.close(resolve));
    }
    assert.not.ok(at.lines.some((line) => line.includes("wrong secret")));
    await pairBy(link);
  });

  test("who drips bytes, or goes silent within the handshake, is cut after ten seconds", async () => {
    await using at = await board();
    const { link, port } = await at.start();
    const first = Buffer.from(firstMessage(link).first);
    const startMs = performance.now();
    const dripper = await dial(port);
    const drip = setInterval(() => dripper.socket.write(Uint8Array.of(0)), 2000);
    dripper.socket.write(Uint8Array.of(0, 48, ...first.subarray(0, 30)));
    const silent = await dial(port);
    await silent.pipe.send(firstMessage(link).first);
    await Promise.all([dripper, silent].map(({ socket }) => untilClosed(socket)));
    clearInterval(drip);
    // Who was not cut would be heard for ever: the upper end is the test's own.
    assert.ok(performance.now() - startMs > 9000);
    await pairBy(link);
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
});
