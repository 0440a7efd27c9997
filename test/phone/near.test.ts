import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { localAddresses } from "../../src/base/node/socket.ts";
import { equal } from "../../src/base/pure/bytes.ts";
import { openOutbox } from "../../src/device/outbox/outbox.ts";
import { findRelays } from "../../src/phone/cli/lan.ts";
import {
  parsePairingFile,
  verifyAdoption,
  verifyIdentity,
} from "../../src/protocol/sealed/pairing.ts";
import { cameraService } from "../../src/protocol/wire/announce.ts";
import { testFilm } from "../fakes/film.ts";
import { openLocalWorld } from "../lib/local.ts";
import { suite } from "../lib/suite.ts";
import { pairedWorld, patiently, phone } from "./world.ts";

const film = await testFilm();
const slow = { deadlineMs: 400_000 };
const settings = { port: 0, host: "", names: [], certificate: "", key: "", announce: true };

/** A camera that its phone has adopted, with one clip, and its own interface in this machine's networks. */
async function openWorld() {
  const world = await pairedWorld();
  const { id } = await world.camera.record({ film });
  const identity = verifyIdentity(
    parsePairingFile("camera identity", await readFile(world.cameraFile)),
    nodeSuite,
  );
  const bytes = parsePairingFile("camera adoption", await readFile(world.ownerFile));
  const { mailbox, owner } = verifyAdoption(bytes, identity, nodeSuite);
  const outbox = await openOutbox({
    ...{ folder: world.outbox, limitBytes: 2 ** 30, headroomBytes: 0, wallMs: () => Date.now() },
  });
  const boxes: Uint8Array[] = [];
  const at = await openLocalWorld({ settings, own: { mailbox, hash: identity.hash, outbox } });
  at.local.lend({
    take: async (box) => boxes.push(box) > 0,
    role: (phone) => (equal(phone, owner) ? "owner" : undefined),
  });
  return {
    ...{ ...world, at, boxes, id, hash: identity.hash },
    ask: (...args: string[]) => phone(world.home, ...args),
    async [Symbol.asyncDispose]() {
      await at[Symbol.asyncDispose]();
      await outbox.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** Whether what is said by multicast in a network of this machine is heard on it. */
async function whyDeaf(): Promise<string | undefined> {
  if (localAddresses().length === 0) return "this machine is in no network";
  await using world = await openWorld();
  const found = await findRelays({
    ...{ mailboxes: [world.hash], suite: nodeSuite, timeoutMs: 4000, service: cameraService },
    onFound: () => true,
  }).catch(() => []);
  return found.length > 0 ? undefined : "multicast is not heard on this machine";
}

const deaf = await whyDeaf();

suite("obscura-phone near the camera", (test) => {
  test(
    "by its address: it reads there, and hands its commands over; --from and --relay are other ways",
    async () => {
      await using world = await openWorld();
      const address = `127.0.0.1:${world.at.port}`;
      const listed = await world.ask("clips", "--json", "--address", address);
      assert.is(listed.code, 0, listed.err);
      assert.equal(
        JSON.parse(listed.out).clips.map((clip: { id: string }) => clip.id),
        [world.id],
      );
      const well = await world.ask("verify", "--address", address);
      assert.equal(
        [well.code, /no lie and no loss/.test(well.out)],
        [0, true],
        well.out + well.err,
      );
      const set = await world.ask("settings", "name", "Hall", "--wait", "1", "--address", address);
      assert.match(set.out, /sent, and the camera has not answered yet/);
      assert.is(world.boxes.length, 1);
      const armed = await world.ask("arm", "home", "--wait", "1", "--address", address);
      assert.match(armed.err, /did not give its leave/);
      assert.is(world.boxes.length, 2);
      for (const more of [
        ["--lan", "--from", world.outbox],
        ["--lan", "--relay", "http://127.0.0.1:1"],
        ["--address", address, "--from", world.outbox],
      ]) {
        const { code, err } = await world.ask("clips", ...more);
        assert.equal([code, /one at a time/.test(err)], [2, true], err);
      }
      assert.is((await world.ask("clips", "--address", "nowhere")).code, 2);
      // Another phone, which the camera does not know.
      const { code, err } = await phone(
        `${world.home}-2`,
        "adopt",
        world.cameraFile,
        "-o",
        `${world.home}.json`,
        ...["--keys", "5"],
      );
      assert.is(code, 0, err);
      const strange = await phone(`${world.home}-2`, "clips", "--address", address);
      assert.equal(
        [strange.code, /no key that the camera lets in/.test(strange.err)],
        [1, true],
        strange.err,
      );
    },
    slow,
  );

  test("that nobody answers is said", async () => {
    await using world = await pairedWorld();
    const { code, err } = await phone(world.home, "clips", "--lan");
    assert.is(code, 1);
    assert.match(err, /does not answer in the local network.*local\.port/s);
    const closed = await phone(world.home, "clips", "--address", "127.0.0.1:1");
    assert.is(closed.code, 1);
    assert.match(closed.err, /camera http:\/\/127\.0\.0\.1:1: /);
  });

  test(
    "it finds the camera by itself, with --lan or when no relay answers, and says so",
    async () => {
      await using world = await openWorld();
      const found = await patiently(() => world.ask("clips", "--lan"));
      assert.is(found.code, 0, found.err);
      assert.match(found.err, /over the camera itself, in the local network: http:/);
      assert.match(found.out, new RegExp(world.id.slice(0, 12)));
      const fallen = await patiently(() => world.ask("clips"));
      assert.is(fallen.code, 0, fallen.err);
      assert.match(fallen.err, /no relay answers: over the camera itself/);
    },
    { ...slow, skip: deaf },
  );
});
