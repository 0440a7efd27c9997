import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { openKeyring } from "../../../src/device/keyring.ts";
import { openPairing, type PairingStep } from "../../../src/device/pairing/host.ts";
import { boardTime } from "../../../src/device/pairing/window.ts";
import { openHome } from "../../../src/phone/cli/store.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { parseInvite, printInvite } from "../../../src/protocol/sealed/invite.ts";
import { checkWord } from "../../../src/protocol/sealed/pairing.ts";
import { generator } from "../../lib/ledger.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";
import { phone } from "../../phone/world.ts";

const program = new URL("../../../src/device/main.js", import.meta.url).pathname;
const pairer = new URL("../../lib/pairer.js", import.meta.url).pathname;
const slow = { deadlineMs: 600_000 };
/** Few keys: what is tested is the same. */
const few = ["--keys", "5", "--phone", "Ada"];

type Camera = {
  readonly link: string;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly said: { out: string; err: string };
  kill(signal: NodeJS.Signals): void;
};

/** Starts a program that shows a link, and reads it. */
async function start(args: string[]): Promise<Camera> {
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { out: "", err: "" };
  const ended = new Promise<number | string>((resolve) =>
    child.on("close", (code, signal) => resolve(code ?? signal ?? "gone")),
  );
  const link = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (text) => (said.err += text));
    child.stdout.setEncoding("utf8").on("data", (text) => {
      said.out += text;
      const found = /^obscura:\w+$/m.exec(said.out);
      if (found && said.out.includes(`${found[0]}\n`)) resolve(found[0]);
    });
    child.once("close", () => reject(new Error(`it ended: ${said.out}${said.err}`)));
  });
  return { link, ended, said, kill: (signal) => void child.kill(signal) };
}

/** An address of this test's own: nobody else takes its port while a camera is started again. */
const address = "127.0.77.4";
const camera = (state: string, ...more: string[]) =>
  start([program, "pair", "--state", state, "--listen", address, "--name", "porch", ...more]);

/** Both ends hold the same adoption, and show the same word where that was seen. */
async function agree(state: string, home: string, word?: string): Promise<void> {
  const { adopted, identity } = await openKeyring(state);
  assert.ok(adopted);
  if (word !== undefined) assert.is(checkWord(identity.hash, adopted.hash), word);
  await using store = await openHome(home, () => {});
  const { content } = await Vault.open(store);
  assert.is(content.cameras.length, 1);
  assert.is(content.cameras[0]?.unconfirmed, undefined);
  assert.is(content.cameras[0]?.batch, 1, "one batch of keys, however often it was sent");
  assert.equal(content.cameras[0]?.id, identity.camera);
  assert.equal(adopted.owner, content.phoneKey);
}

suite("pairing of two programs", (test) => {
  test(
    "by the link on standard input; one word at both ends, nothing secret in the log",
    async () => {
      await using folder = await quickFolder();
      const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
      const board = await camera(state);
      const given = spawnPhone(
        home,
        board.link,
        "pair",
        "-",
        "--json",
        ...few,
        "--relay",
        "http://10.0.0.9:8470",
      );
      const { code, out, err } = await given;
      assert.is(code, 0, err);
      const { check, identityCheck, name, relays, repeated } = JSON.parse(out);
      assert.is(await board.ended, 0, board.said.err);
      assert.match(board.said.out, new RegExp(`check word ${check}: the phone shows the same`));
      assert.match(board.said.out, new RegExp(`the camera's check word is ${identityCheck}`));
      assert.match(board.said.out, /adopted by Ada, with 5 one-time keys/);
      assert.equal([name, relays, repeated], ["porch", ["http://10.0.0.9:8470"], false]);
      assert.match(err, /losing the only copy loses every/);
      await agree(state, home, check);
      const { secret } = parseInvite(board.link);
      const hex = Buffer.from(secret).toString("hex");
      assert.not.ok(board.said.err.includes("obscura:") || board.said.err.includes(hex));
      const window = await readFile(join(state, "pairing/window"), "utf8");
      assert.not.ok(window.includes(hex) || window.includes("secret"));
      const late = await phone(home, "pair", board.link, ...few);
      assert.is(late.code, 1);
      assert.match(late.err, /no camera answers.*window still open/s);
    },
    slow,
  );

  test(
    "links that are none are misuse; what a camera refuses, or nobody answers, has failed",
    async () => {
      await using folder = await quickFolder();
      const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
      const board = await camera(state);
      const typo =
        board.link.slice(0, 20) + (board.link[20] === "0" ? "1" : "0") + board.link.slice(21);
      for (const args of [["pair"], ["pair", "a", "b"], ["pair", "https://a"], ["pair", typo]]) {
        const { code, err } = await phone(home, ...args);
        assert.is(code, 2, args.join(" "));
        assert.match(err, /obscura-phone: /);
      }
      assert.match((await phone(home, "pair", typo)).err, /wrong or missing character/);
      assert.is((await phone(home, "pair", board.link, "--address", "nowhere")).code, 2);
      assert.is((await phone(home, "pair", board.link, "--relay", "ftp://a")).code, 2);
      const invite = parseInvite(board.link);
      const old = printInvite({ ...invite, secret: new Uint8Array(32).fill(7) });
      const refused = await phone(home, "pair", old);
      assert.is(refused.code, 1);
      assert.match(refused.err, /does not know this link.*obscura-camera pair/s);
      assert.match(
        (await phone(home, "phones")).err,
        /no keys here yet/,
        "nothing was made for it",
      );
      // Somewhere else than the link says, broken over two lines: as a terminal copies it.
      const away = { ...invite, addresses: [{ ip: Uint8Array.of(127, 0, 0, 9), port: 9 }] };
      const text = printInvite(away).replace(/^(.{60})/, "$1\n  ");
      const at = `${address}:${invite.addresses[0]?.port}`;
      const { code, err } = await spawnPhone(home, text, "pair", "-", "--address", at, ...few);
      assert.is(code, 0, err);
      assert.is(await board.ended, 0);
    },
    slow,
  );

  for (const step of ["received", "kept", "noted", "acknowledged", "done"] as const) {
    test(
      `the camera dies when the adoption is ${step}: the same link serves again`,
      async () => {
        await using folder = await quickFolder();
        const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
        const first = await start([pairer, state, step satisfies PairingStep, address]);
        const cut = await phone(home, "pair", first.link, ...few);
        assert.is(await first.ended, "SIGKILL");
        const second = await camera(state);
        assert.is(second.link, first.link);
        assert.match(second.said.out, /open already: the link is the same/);
        assert.is(/belongs to Ada/.test(second.said.out), step !== "received");
        if (step === "done" || cut.code === 0) {
          // The phone knew already: nothing is left to be said, and the camera has its owner.
          assert.is(cut.code, 0, cut.err);
          const word = /check word ([\w-]+)/.exec(cut.out)?.[1] ?? "";
          second.kill("SIGTERM");
          assert.is(await second.ended, 0, second.said.err);
          assert.match(second.said.out, new RegExp(`check word ${word}`));
          assert.match(second.said.out, /the phone did not say that it knows/);
          await agree(state, home, word);
          return;
        }
        assert.is(cut.code, 1, cut.err);
        assert.match(cut.err, /again with the same link/);
        const again = await phone(home, "pair", first.link, "--json");
        assert.is(again.code, 0, again.err);
        const { check, repeated } = JSON.parse(again.out);
        assert.ok(repeated);
        assert.is(await second.ended, 0, second.said.err);
        await agree(state, home, check);
      },
      slow,
    );
  }

  test(
    "the phone dies when the camera has it: called again, it ends well",
    async () => {
      await using folder = await quickFolder();
      const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
      let victim: ReturnType<typeof spawn> | undefined;
      let note = () => {};
      const noted = new Promise<void>((resolve) => {
        note = resolve;
      });
      const pairing = await openPairing({
        ...{ state, name: "porch", port: 0, address: "127.0.0.1" },
        ...{ time: await boardTime(), log: openLog("pairing", "error") },
        onStep: (step) => {
          if (step === "received") victim?.kill("SIGKILL");
          if (step === "noted") note();
        },
      });
      const cli = new URL("../../../src/phone/cli.js", import.meta.url).pathname;
      victim = spawn(process.execPath, [cli, "--home", home, "pair", pairing.link, ...few]);
      assert.is(
        await new Promise((resolve) => victim?.on("close", (_, how) => resolve(how))),
        "SIGKILL",
      );
      victim = undefined;
      // While the camera still keeps what it was given, it is busy.
      await noted;
      const again = await phone(home, "pair", pairing.link, "--json");
      assert.is(again.code, 0, again.err);
      const { check, repeated } = JSON.parse(again.out);
      assert.ok(repeated);
      const outcome = await pairing.outcome;
      assert.ok(outcome.kind === "paired" && outcome.confirmed && outcome.word === check);
      await agree(state, home, check);
    },
    slow,
  );

  test(
    "either or both killed at random: whatever was reached, the same link ends it well",
    async () => {
      const below = generator(20);
      const count = { "no kill in time": 0, camera: 0, phone: 0, both: 0 };
      for (let round = 0; round < 20; round++) {
        await using folder = await quickFolder();
        const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
        const first = await camera(state);
        const calling = callPhone(home, first.link);
        const victims = (["camera", "phone", "both"] as const)[below(3)] ?? "both";
        await Promise.race([sleep(below(1500)), calling.ended]);
        if (victims !== "phone") first.kill("SIGKILL");
        if (victims !== "camera") calling.kill("SIGKILL");
        const told = await calling.ended;
        const isTold = told.code === 0;
        count[isTold ? "no kill in time" : victims] += 1;
        if (isTold) {
          first.kill("SIGTERM");
          await first.ended;
          await agree(state, home, JSON.parse(told.out).check);
          continue;
        }
        const second = victims === "phone" ? first : await camera(state);
        if (second.link !== first.link) {
          // The window had closed with success just before: both know of each other.
          second.kill("SIGTERM");
          await second.ended;
          await agree(state, home);
          continue;
        }
        let again = await phone(home, "pair", second.link, "--json", ...few);
        // A phone that comes while the camera keeps what it was given is told to come again.
        while (/busy with another phone/.test(again.err)) {
          again = await phone(home, "pair", second.link, "--json", ...few);
        }
        if (victims === "phone" && again.code !== 0) {
          // Its last word had come before it was killed: nobody waits for it any more.
          assert.is(await first.ended, 0, first.said.err + again.err);
          const [, word = ""] = /check word ([\w-]+): the phone shows/.exec(first.said.out) ?? [];
          await agree(state, home, word);
          continue;
        }
        assert.is(again.code, 0, again.err);
        assert.is(await second.ended, 0, second.said.err);
        await agree(state, home, JSON.parse(again.out).check);
      }
      console.log(`measured: 20 pairings: ${printCounts(count)}`);
    },
    { deadlineMs: 1_100_000 },
  );

  test(
    "four wrong secrets, a kill, and the fifth: closed, also after the next start",
    async () => {
      await using folder = await quickFolder();
      const [state, home] = [join(folder.path, "camera"), join(folder.path, "home")];
      const first = await camera(state);
      const invite = parseInvite(first.link);
      const guess = (i: number) =>
        phone(home, "pair", printInvite({ ...invite, secret: new Uint8Array(32).fill(i) }));
      for (const i of [1, 2, 3, 4]) assert.is((await guess(i)).code, 1);
      first.kill("SIGKILL");
      assert.is(await first.ended, "SIGKILL");
      const second = await camera(state);
      assert.is(second.link, first.link);
      await guess(5);
      assert.is(await second.ended, 1);
      assert.match(second.said.err, /not paired: a wrong secret was tried 5 times/);
      const third = await camera(state);
      assert.not.equal(third.link, first.link);
      assert.match(third.said.out, /the last window closed: a wrong secret/);
      const at = `${address}:${parseInvite(third.link).addresses[0]?.port}`;
      const old = await phone(home, "pair", first.link, "--address", at);
      assert.is(old.code, 1);
      assert.match(old.err, /does not know this link/);
      third.kill("SIGINT");
      assert.is(await third.ended, 1);
      assert.match(third.said.err, /stopped/);
    },
    slow,
  );

  test(
    "a link on the command line is not left there for others to read",
    async () => {
      await using folder = await quickFolder();
      const silent = createServer();
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const { port } = silent.address() as { port: number };
      const link = printInvite({
        ...{ identity: new Uint8Array(32).fill(1), secret: new Uint8Array(32).fill(2) },
        addresses: [{ ip: Uint8Array.of(127, 0, 0, 1), port }],
      });
      const cli = new URL("../../../src/phone/cli.js", import.meta.url).pathname;
      const connected = new Promise((resolve) => silent.once("connection", resolve));
      const child = spawn(process.execPath, [cli, "--home", folder.path, "pair", link]);
      const ended = new Promise((resolve) => child.on("close", resolve));
      await connected;
      const line = await readFile(`/proc/${child.pid}/cmdline`, "utf8");
      assert.not.ok(line.includes(link.slice(8, 20)), line);
      assert.match(line, /obscura-phone pair/);
      child.kill("SIGKILL");
      await ended;
      silent.close();
    },
    slow,
  );
});

const printCounts = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ");

/** obscura-phone pair, which may be killed. */
function callPhone(home: string, link: string) {
  const cli = new URL("../../../src/phone/cli.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [cli, "--home", home, "pair", link, "--json", ...few]);
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
  const ended = new Promise<{ code: number | null; out: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, out })),
  );
  return { ended, kill: (signal: NodeJS.Signals) => void child.kill(signal) };
}

/** obscura-phone with something on its standard input. */
async function spawnPhone(home: string, input: string, ...args: string[]) {
  const cli = new URL("../../../src/phone/cli.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [cli, "--home", home, ...args]);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (said.out += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (said.err += text));
  child.stdin.end(`${input}\n`);
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, ...said };
}
