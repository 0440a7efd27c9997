import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import type { openButton, Press } from "../../src/device/button.ts";
import { readConfig } from "../../src/device/config.ts";
import { openHealth } from "../../src/device/health.ts";
import { identifyMs } from "../../src/device/improv/improv.ts";
import { printCommand } from "../../src/device/improv/packet.ts";
import { isAdopted } from "../../src/device/keyring.ts";
import { destroyLabel, makeLabel } from "../../src/device/pairing/label.ts";
import type { holdWindow } from "../../src/device/pairing/pairing.ts";
import { readWindow } from "../../src/device/pairing/window.ts";
import { openPanel } from "../../src/device/panel.ts";
import { parseInvite } from "../../src/protocol/sealed/invite.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { improvHost } from "../lib/improv.ts";
import { dial, guess, pairBy } from "../lib/pairing.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

await ready();

const config = await readConfig(undefined);
// Whatever radios this machine has are left alone.
process.env.DBUS_SYSTEM_BUS_ADDRESS = "unix:path=/nowhere";
config.camera.source = "/nowhere/video";

/** The panels that a service has on one board, start after start; nobody is before the lens. */
async function board() {
  const home = await quickFolder();
  const lines: string[] = [];
  return {
    state: home.path,
    lines,
    start(more: Partial<Parameters<typeof openPanel>[0]> = {}) {
      let press: (press: Press) => void = () => {};
      const button: typeof openButton = (_, { onPress }) => {
        press = onPress;
        return { close: async () => {} };
      };
      const panel = openPanel({
        ...{ config, state: home.path, clock: systemClock, button },
        health: { hand: () => {} },
        ...more,
        logs: (stage) => openLog(stage, "info", (line) => lines.push(line)),
      });
      return {
        panel,
        press: () => press("short"),
        [Symbol.asyncDispose]: () => panel.close(),
      };
    },
    /** Until a phone that has this link would be let in. */
    async listens(link: string) {
      const port = parseInvite(link).addresses[0]?.port ?? 0;
      for (;;) {
        const found = await dial(port).catch(() => undefined);
        found?.pipe.close();
        if (found) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    /** Until the notes of a window say so. */
    async until(wanted: (now: Awaited<ReturnType<typeof readWindow>>) => boolean) {
      while (!wanted(await readWindow(home.path))) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async labelGone() {
      while ((await readdir(join(home.path, "label"))).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

const isOpen = (now: Awaited<ReturnType<typeof readWindow>>) => now?.secret !== undefined;
const opened = /by this board's label/;
const deadlineMs = 120_000;
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

suite("panel", (test) => {
  test(
    "in privacy a window opens no camera, whatever is held before the lens",
    async () => {
      await using at = await board();
      let isShut = true;
      const camera = /no eye yet: there is no camera and no file/;
      await using service = at.start({ isShut: () => isShut });
      service.press();
      while (!/no eye yet: privacy: the camera is shut/.test(at.lines.join("\n"))) await pause();
      for (let i = 0; i < 60; i++) await pause();
      assert.not.match(at.lines.join("\n"), camera);
      isShut = false;
      while (!camera.test(at.lines.join("\n"))) await pause();
    },
    { deadlineMs },
  );

  test(
    "a label opens its window without a press, and goes when the phone has paired",
    async () => {
      await using at = await board();
      const { link } = await makeLabel(at.state, "porch");
      await using service = at.start();
      await service.panel.tendLabel();
      await at.until(isOpen);
      assert.ok(!(await pairBy(link)).isRepeat);
      await at.labelGone();
      assert.ok(await isAdopted(at.state));
      const left = await readWindow(at.state);
      assert.equal([left?.end, left?.secret], ["success", undefined]);
    },
    { deadlineMs },
  );

  test(
    "five guesses close it, for this start of the board too; a press opens it again",
    async () => {
      await using at = await board();
      const { link } = await makeLabel(at.state, "porch");
      {
        await using service = at.start();
        await service.panel.tendLabel();
        await at.until(isOpen);
      }
      at.lines.length = 0;
      {
        await using service = at.start();
        await service.panel.tendLabel();
        await at.listens(link);
        assert.match(
          at.lines.join("\n"),
          opened,
          "a service that is started anew has it open still",
        );
        for (let i = 1; i <= 5; i++) await guess(link, i);
        await at.until((now) => now?.end === "failures");
      }
      at.lines.length = 0;
      await using service = at.start();
      await service.panel.tendLabel();
      assert.equal(at.lines, []);
      assert.ok(!isOpen(await readWindow(at.state)));
      service.press();
      await at.until(isOpen);
      await pairBy(link);
      await at.labelGone();
    },
    { deadlineMs },
  );

  test(
    "a window by command takes the place of one that is open; a service that ends opens none",
    async () => {
      await using at = await board();
      await using service = at.start();
      const { panel } = service;
      service.press();
      await at.until(isOpen);
      const secret = new Uint8Array(32).fill(7);
      const [address] = await panel.openWindow(secret);
      assert.ok(address && address.port > 0);
      const open = await readWindow(at.state);
      assert.equal([open?.secret, open?.port], [secret, address.port]);
      const late = panel.openWindow(new Uint8Array(32).fill(8)).then(
        () => "open",
        (error: unknown) => (isFailure(error, "gone") ? "refused" : String(error)),
      );
      await panel.takeBack();
      await panel.close();
      assert.ok(["open", "refused"].includes(await late), await late);
    },
    { deadlineMs },
  );

  test(
    "an app that asks by Improv which camera this is: the light says so for a while, and is told once",
    async () => {
      await using at = await board();
      await makeLabel(at.state, "porch");
      const shown: string[] = [];
      const health = openHealth({
        supervisor: { listens: false, patienceMs: undefined, tell() {}, status() {} },
        light: { show: (state) => void shown.push(state), close: async () => {} },
        ...{ clock: systemClock, log: openLog("health", "error", () => {}) },
      });
      // The window itself needs BlueZ and NetworkManager: what asks is the stage that stands between.
      let host: Awaited<ReturnType<typeof improvHost>> | undefined;
      const holds: typeof holdWindow = async ({ bluetooth, signal }) => {
        const improv = bluetooth?.improv;
        if (improv) host = await improvHost({ identify: improv.identify });
        await once(signal, "abort");
        await host?.improv.close();
        return { kind: "closed", why: "stopped" };
      };
      {
        await using service = at.start({ health, holds });
        await service.panel.tendLabel();
        while (!host) await pause();
        assert.is(shown.at(-1), "window");
        const ask = () => host?.write(printCommand({ kind: "identify" }));
        const fromMs = performance.now();
        for (let i = 0; i < 200; i++) ask();
        assert.is(shown.at(-1), "asked");
        while (shown.at(-1) === "asked") await pause();
        assert.ok(performance.now() - fromMs >= identifyMs - 50);
        assert.is(shown.at(-1), "window");
        const told = at.lines.filter((line) => /asks which camera/.test(line));
        assert.is(told.length, 1);
        // Asking too early counts for nothing, and its timer may have been early by a part of a millisecond.
        while (shown.at(-1) !== "asked") {
          ask();
          await pause();
        }
      }
      // A window that ends asks nothing any more.
      assert.is(shown.at(-1), "starting");
      await health.close();
    },
    { deadlineMs },
  );

  test(
    "without a label nothing opens, and with an owner none does",
    async () => {
      await using at = await board();
      {
        await using service = at.start();
        await service.panel.tendLabel();
        assert.is(await readWindow(at.state), undefined);
      }
      const { link } = await makeLabel(at.state, "porch");
      {
        await using service = at.start();
        await service.panel.tendLabel();
        await at.until(isOpen);
        await pairBy(link);
        await at.labelGone();
      }
      at.lines.length = 0;
      await using service = at.start();
      await service.panel.tendLabel();
      service.press();
      await at.until(isOpen);
      assert.not.equal((await readWindow(at.state))?.secret, parseInvite(link).secret);
      assert.not.match(at.lines.join("\n"), opened);
      await destroyLabel(at.state);
    },
    { deadlineMs },
  );
});
