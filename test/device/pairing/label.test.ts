import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openDurable } from "../../../src/base/node/durable.ts";
import { equal } from "../../../src/base/pure/bytes.ts";
import { finishErase, markErased } from "../../../src/device/command/command.ts";
import { hasKeys, isAdopted, openKeyring } from "../../../src/device/keyring.ts";
import { readCode } from "../../../src/device/pairing/eye.ts";
import {
  type Due,
  destroyLabel,
  judgeLabel,
  makeLabel,
  tendLabel,
} from "../../../src/device/pairing/label.ts";
import {
  openWindow,
  parseWindow,
  readWindow,
  type WindowState,
  windowMs,
} from "../../../src/device/pairing/window.ts";
import { toBase32 } from "../../../src/protocol/sealed/base32.ts";
import { mostAddresses, parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { run } from "../../lib/footage.ts";
import { board, failureOf, pairBy } from "../../lib/pairing.ts";
import { pattern } from "../../lib/sealed.ts";
import { breakOff, type How } from "../../lib/steps.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

await ready();

const time = { boot: "one", elapsedMs: () => 1000 };

/** Whether any file below a folder holds the secret, as it is or as its link and its window write it. */
async function holds(folder: string, secret: Uint8Array): Promise<string[]> {
  const shapes = [
    Buffer.from(secret),
    Buffer.from(Buffer.from(secret).toString("hex")),
    // The link has it in the middle of other bytes: of its letters only these depend on nothing else.
    ...[0, 1, 2, 3, 4].map((cut) =>
      Buffer.from(toBase32(secret.subarray(cut, cut + 25)).slice(1, -1)),
    ),
  ];
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = await readFile(join(entry.parentPath, entry.name));
    if (shapes.some((shape) => bytes.includes(shape))) found.push(entry.name);
  }
  return found.sort();
}

suite("pairing/label", (test) => {
  test("made once: keys, secret, port, and the same link as words and as a code", async () => {
    await using home = await quickFolder();
    const { link, text } = await makeLabel(home.path, "porch");
    const invite = parseInvite(link);
    assert.equal(invite.identity, (await openKeyring(home.path)).identity.hash);
    assert.ok(invite.addresses.length <= mostAddresses);
    assert.equal(invite.addresses.at(-1)?.ip, Uint8Array.of(10, 71, 83, 1));
    const folder = join(home.path, "label");
    assert.is(await readFile(join(folder, "pairing.txt"), "utf8"), text);
    assert.ok(text.split("\n").includes(link));
    const picture = await readFile(join(folder, "pairing.png"));
    const grey = ["-f", "rawvideo", "-pix_fmt", "gray", "-"];
    const luma = await run(
      "ffmpeg",
      ["-v", "error", "-f", "png_pipe", "-i", "-", ...grey],
      picture,
    );
    const width = Math.sqrt(luma.length);
    assert.is(readCode(new Uint8Array(luma), { width, height: width }), link.toUpperCase());
    for (const name of ["label", "pairing.png", "pairing.txt"]) {
      assert.is((await stat(join(folder, name))).mode & 0o777, 0o600);
    }
    const files = async () =>
      await Promise.all(
        (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).ino),
      );
    const before = await files();
    assert.is((await makeLabel(home.path, "another name")).link, link);
    assert.equal(await files(), before, "nothing was written");
    assert.equal(await holds(home.path, invite.secret), ["label", "pairing.txt"]);
    await using other = await quickFolder();
    assert.is.not((await makeLabel(other.path, "porch")).link, link);
  });

  test("killed anywhere while it is made, it is made by the next", async () => {
    let steps = 0;
    for (let nth = 1; ; nth++) {
      await using home = await quickFolder();
      const make = () => makeLabel(home.path, "porch").catch(() => undefined);
      const { at } = await breakOff(home.path, { nth, how: "killed in effect" }, make);
      const early = await tendLabel(home.path, time);
      const { link } = await makeLabel(home.path, "porch");
      const { identity, secret } = parseInvite(link);
      if (early) assert.equal(early.label.secret, secret, `after ${at}`);
      assert.equal(identity, (await openKeyring(home.path)).identity.hash);
      const files = await readdir(join(home.path, "label"));
      assert.equal(files.sort(), ["label", "pairing.png", "pairing.txt"]);
      if (at === undefined) break;
      steps = nth;
    }
    assert.ok(steps >= 7, `${steps} steps`);
  });

  test("damaged, it is made anew; a camera with an owner, or one that is erased, gets none", async () => {
    await using home = await quickFolder();
    const { link } = await makeLabel(home.path, "porch");
    const file = join(home.path, "label/label");
    const whole = await readFile(file, "utf8");
    const damaged = [
      ...["", "{}", whole.slice(0, -2), "x".repeat(5000)],
      whole.replace('"version":1', '"version":2'),
      whole.replace(/"port":\d+/, '"port":0'),
    ];
    for (const text of damaged) {
      await writeFile(file, text);
      assert.is(await tendLabel(home.path, time), undefined);
    }
    const again = await makeLabel(home.path, "porch");
    assert.is.not(again.link, link);
    assert.equal(parseInvite(again.link).identity, parseInvite(link).identity);
    await using erased = await quickFolder();
    await markErased(erased.path);
    assert.is((await failureOf(makeLabel(erased.path, "porch"))).kind, "refused");
    assert.not.ok(await hasKeys(erased.path));
  });

  test("what is due: a window a start of the board, none for a camera with an owner", () => {
    const secret = pattern(32, 1);
    const open = { version: 1, boot: "one", openedMs: 1000, failures: 0, port: 7, kept: false };
    const { boot: _, ...rest } = { ...open, secret };
    const cases: [WindowState | undefined, Due, Due][] = [
      [undefined, "open", "destroy"],
      [{ ...open, secret }, "resume", "resume"],
      [{ ...open, openedMs: 1000 - windowMs, secret }, "wait", "destroy"],
      [{ ...open, failures: 5, end: "failures" }, "wait", "destroy"],
      [{ ...open, failures: 5, secret }, "wait", "destroy"],
      [{ ...open, end: "success" }, "wait", "destroy"],
      // Of another program, and of another start of the board.
      [{ ...open, secret: pattern(32, 2) }, "wait", "destroy"],
      [{ ...rest, boot: "zero" }, "open", "destroy"],
      [{ ...rest, boot: "zero", end: "failures" }, "open", "destroy"],
    ];
    for (const [window, alone, owned] of cases) {
      assert.is(judgeLabel({ secret }, { window, isOwned: false, time }), alone);
      assert.is(judgeLabel({ secret }, { window, isOwned: true, time }), owned);
    }
  });

  for (const how of ["killed", "killed in effect"] as const satisfies readonly How[]) {
    test(
      `with an owner it is destroyed, ${how} anywhere, and nothing of it is left`,
      async () => {
        let steps = 0;
        for (let nth = 1; ; nth++) {
          await using at = await board();
          const { link } = await makeLabel(at.state, "porch");
          const { secret } = parseInvite(link);
          const pairing = await at.start({ secret });
          await pairBy(pairing.link);
          await pairing.outcome;
          // As one that was killed between the adoption and the window's end, in an earlier start.
          const notes = await readWindow(at.state);
          assert.ok(notes?.end === "success" && !notes.secret);
          const folder = await openDurable(join(at.state, "pairing"));
          const { window } = await openWindow(folder, { ...time, boot: "zero" }, secret);
          await window.listenAt(41_000);
          await folder.close();
          assert.ok(await isAdopted(at.state));
          assert.equal(await holds(at.state, secret), ["label", "pairing.txt", "window"]);

          const tend = () => tendLabel(at.state, time).catch(() => undefined);
          const { at: step } = await breakOff(at.state, { nth, how }, tend);
          assert.is(await tendLabel(at.state, time), undefined);
          assert.equal(await holds(at.state, secret), [], `after ${step}`);
          assert.equal(await readdir(join(at.state, "label")), [], `after ${step}`);
          const closed = parseWindow(await readFile(join(at.state, "pairing/window")));
          assert.equal([closed.end, closed.secret], ["success", undefined]);
          if (step === undefined) break;
          steps = nth;
        }
        assert.ok(steps >= 6, `${steps} steps`);
      },
      { deadlineMs: 400_000 },
    );
  }

  test("the owner's phone that was not told yet comes again by the same link", async () => {
    await using at = await board();
    const { secret } = parseInvite((await makeLabel(at.state, "porch")).link);
    const died = await at.start({
      secret,
      onStep: (step) => {
        if (step === "acknowledged") throw new Error("the camera died");
      },
    });
    const first = await pairBy(died.link).catch((error) => error);
    await died.close();
    const found = await tendLabel(at.state, at.time);
    assert.is(found?.due, "resume");
    assert.ok(first && equal(found?.label.secret ?? new Uint8Array(), secret));
    at.time.ms += windowMs;
    assert.is(await tendLabel(at.state, at.time), undefined);
    assert.equal(await holds(at.state, secret), []);
  });

  test("an erase takes it, and the next is another camera's", async () => {
    await using home = await quickFolder();
    const before = parseInvite((await makeLabel(home.path, "porch")).link);
    await markErased(home.path);
    assert.ok(await finishErase(home.path));
    assert.equal(await readdir(home.path), []);
    const after = parseInvite((await makeLabel(home.path, "porch")).link);
    assert.not.equal(after.secret, before.secret);
    assert.not.equal(after.identity, before.identity);
  });

  test("taken away before it has served, its window is closed", async () => {
    await using at = await board();
    const { secret } = parseInvite((await makeLabel(at.state, "porch")).link);
    const pairing = await at.start({ secret });
    assert.is((await failureOf(destroyLabel(at.state))).kind, "busy");
    await pairing.close();
    await destroyLabel(at.state);
    assert.equal(await holds(at.state, secret), []);
    assert.is((await readWindow(at.state))?.end, "time");
    await destroyLabel(at.state);
  });
});
