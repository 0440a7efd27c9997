import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import encodeQR from "qr";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { keepAdoption } from "../../../src/device/adoption.ts";
import { createKeyring, openKeyring } from "../../../src/device/keyring.ts";
import { ipBytes } from "../../../src/device/pairing/address.ts";
import type { Pairing } from "../../../src/device/pairing/host.ts";
import { qrCode } from "../../../src/device/pairing/pairing.ts";
import { readWindow } from "../../../src/device/pairing/window.ts";
import { pairCamera } from "../../../src/phone/pair.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { firstSupply } from "../../../src/protocol/sealed/supply.ts";
import { makeOwner } from "../../lib/owner.ts";
import { board, dial, failureOf, guess, pairBy } from "../../lib/pairing.ts";
import { suite } from "../../lib/suite.ts";
import { MemoryStore } from "../../phone/memory.ts";

await ready();

suite("pairing", (test) => {
  test("a phone becomes the owner; both show one word; the window is closed for good", async () => {
    await using at = await board();
    const steps: string[] = [];
    const serving: boolean[] = [];
    const pairing: Pairing = await at.start({
      onStep(step) {
        steps.push(step);
        if (step === "received") serving.push(pairing.isServing());
      },
    });
    serving.push(pairing.isServing());
    void pairing.owned.then(() => steps.push("owned"));
    const { word, store, camera, vault } = await pairBy(pairing.link);
    const outcome = await pairing.outcome;
    assert.equal(serving, [false, true]);
    assert.equal(outcome, {
      ...{ kind: "paired", confirmed: true, word, members: ["Ada"], oneTimeKeys: 3 },
    });
    const told = ["noted", "acknowledged", "done", "closed"];
    assert.equal(steps, ["opened", "received", "kept", "owned", ...told]);
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
    await next.owned;
    assert.not.equal(parseInvite(next.link).secret, parseInvite(pairing.link).secret);
  });

  test("from the board's own network to another: the same port and secret, where it is now", async () => {
    await using at = await board();
    // Addresses at which nobody else on this machine has the same port.
    const [spot, home] = ["127.0.77.2", "127.0.77.3"];
    const open = async () => spot;
    const reach = { open, join: async () => ({ answer: { verdict: "unable" as const } }) };
    const pairing = await at.start({ reach, address: home });
    const reaches = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = connect(pairing.port, host, () => resolve(true));
        socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
      });
    const where = async () => [await reaches(spot), await reaches(home)];
    assert.equal(await where(), [true, false]);
    const [before, after] = [parseInvite(pairing.link), parseInvite(await pairing.relocate())];
    assert.equal(after.secret, before.secret);
    const texts = [before, after].map(({ addresses }) =>
      addresses.map(({ ip, port }) => `${ip.join(".")}:${port}`).join(),
    );
    assert.equal(texts, [`${spot}:${pairing.port}`, `${home}:${pairing.port}`]);
    assert.equal(await where(), [false, true]);
    await pairing.close();
    await pairing.relocate();
    assert.equal(await where(), [false, false]);
  });

  test(
    "how long it takes with all the keys",
    async () => {
      await using at = await board();
      const pairing = await at.start();
      let madeMs = 0;
      const startMs = performance.now();
      const { adoption } = await pairBy(pairing.link, {
        supply: firstSupply,
        onProgress: (made, of) => {
          if (made === of) madeMs = performance.now() - startMs;
        },
      }).then(async ({ camera }) => ({ adoption: camera.oneTime.length }));
      const allMs = performance.now() - startMs;
      assert.is(adoption, firstSupply.oneTime);
      console.log(
        `\nmeasured: pairing over loopback: ${(allMs / 1000).toFixed(1)} s, ` +
          `${(madeMs / 1000).toFixed(1)} s of it until 2401 keys are made`,
      );
    },
    { deadlineMs: 120_000 },
  );

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

  test("a camera that gets its owner by file closes its window, and nobody comes in any more", async () => {
    await using at = await board();
    const pairing = await at.start();
    const owner = await makeOwner((await openKeyring(at.state)).identity);
    await keepAdoption(at.state, owner.adoption);
    assert.equal(await pairing.outcome, { kind: "closed", why: "success" });
    assert.is((await readWindow(at.state))?.secret, undefined);
    // The owner's own window is another matter.
    const own = await at.start();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.ok((await readWindow(at.state))?.secret);
    await own.close();
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

  test("a card that fails when a guess is to be counted ends it: nobody is let in uncounted", async () => {
    await using at = await board();
    const { state } = at;
    const pairing = await at.start();
    await rm(join(state, "pairing"), { recursive: true });
    await guess(pairing.link, 3).catch(() => {});
    assert.ok(isFailure(await failureOf(pairing.outcome)));
    const late = await failureOf(pairBy(pairing.link)).catch((error) => error);
    assert.is(late.code, "ECONNREFUSED");
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
