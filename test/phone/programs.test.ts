import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openHttp } from "../../src/base/node/http.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import {
  checkWord,
  parsePairingFile,
  printPairingFile,
  verifyIdentity,
} from "../../src/protocol/sealed/pairing.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { type Mailbox, openMailbox } from "../../src/protocol/wire/client.ts";
import { HouseCamera, Objects } from "../fakes/camera.ts";
import { relayWorld } from "../lib/relay.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { phone } from "./world.ts";

const program = new URL("../../src/phone/cli.js", import.meta.url).pathname;
const settings = "limits: { requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000 }\n";

/** What an uplink does, until the signal: boxes in, everything else out. Says when it has done so once. */
async function work(
  camera: HouseCamera,
  objects: Objects,
  own: Mailbox,
  { signal, onWorked }: { signal: AbortSignal; onWorked(): void },
): Promise<void> {
  const sent = new Set<string>();
  const pump = async () => {
    for (const { name } of await own.list({ under: "box/", limit: 1000 })) {
      if (name.kind !== "box" || sent.has(toHex(name.hash))) continue;
      const bytes = await own.get(name);
      sent.add(toHex(name.hash));
      if (bytes) await objects.link.put({ name, bytes } as never);
    }
    await camera.work();
    for (const [text, { name, bytes }] of objects.all) {
      if (name.kind === "box" || sent.has(text)) continue;
      await own.put({ name, bytes });
      sent.add(text);
    }
  };
  while (!signal.aborted) {
    await pump().catch((error) => {
      if (!signal.aborted) throw error;
    });
    onWorked();
    await systemClock.sleep(200);
  }
}

/** A real relay, a camera behind it that works on as it would, and phones as programs. */
async function programsWorld() {
  await ready();
  const folder = await temporaryFolder();
  const relay = await relayWorld({ isEmpty: true, settings });
  const url = `http://${relay.authority}`;
  const homeOf = (name: string) => join(folder.path, name);
  const run = (name: string, ...args: string[]) => phone(homeOf(name), ...args);
  const http = openHttp();
  const stop = new AbortController();
  const working: Promise<void>[] = [];
  /** Ada adopts it; from then on it works on as a camera would. */
  const addCamera = async (name: string): Promise<HouseCamera> => {
    const objects = new Objects();
    const camera = new HouseCamera(objects);
    const cameraFile = join(folder.path, `${name}.json`);
    const ownerFile = join(folder.path, `${name}.owner.json`);
    const word = checkWord(verifyIdentity(camera.identity, nodeSuite).hash);
    await writeFile(cameraFile, printPairingFile("camera identity", camera.identity, word));
    const adopted = await run(
      ...["ada", "adopt", cameraFile, "-o", ownerFile, "--phone", "Ada", "--name", name],
      ...(["--keys", "20", "--relay", url] as const),
    );
    if (adopted.code !== 0) throw new Error(adopted.err);
    const adoption = parsePairingFile("camera adoption", await readFile(ownerFile));
    const { mailbox } = await camera.adopt(adoption);
    const own = openMailbox({
      ...{ url, mailbox, send: http.send, suite: nodeSuite, nowMs: () => Date.now() },
      ...{ key: camera.requests.publicKey, sign: camera.requests.sign },
    });
    const { signal } = stop;
    await new Promise<void>((resolve, reject) => {
      const worked = work(camera, objects, own, { signal, onWorked: resolve });
      working.push(worked);
      worked.catch(reject);
    });
    return camera;
  };
  const camera = await addCamera("door");
  /** A command that waits: what it says as it says it, and its end. */
  const start = (name: string, ...args: string[]) => {
    const child = spawn(process.execPath, [program, "--home", homeOf(name), ...args]);
    const said = { out: "", err: "" };
    child.stdout.on("data", (text) => {
      said.out += text;
    });
    child.stderr.on("data", (text) => {
      said.err += text;
    });
    const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
    return { said, closed, kill: () => child.kill("SIGKILL") };
  };
  const until = async <T>(what: string, find: () => T | undefined | null): Promise<T> => {
    for (let tries = 0; tries < 1200; tries++) {
      const found = find();
      if (found !== undefined && found !== null) return found;
      await systemClock.sleep(100);
    }
    throw new Error(`never: ${what}`);
  };
  return {
    ...{ path: folder.path, camera, addCamera, run, start, until },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(working);
      http.close();
      await relay[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite("phones as programs", (test) => {
  test(
    "over a relay: a phone joins, both delete, one is removed, a kit brings a third",
    async () => {
      await using world = await programsWorld();
      const { camera, run, start, until } = world;
      const showing = start("ada", "add-phone", "--viewer", "--wait", "120");
      const link = await until(
        "a link",
        () => /obscura-join:\w+(?=\s)/.exec(showing.said.out)?.[0],
      );
      // The camera is as slow as it likes: the other phone waits.
      const joining = start("ben", "join", link, "--phone", "Ben", "--wait", "240");
      const word = await until("a word", () => /check word (\S+)\s/.exec(joining.said.out)?.[1]);
      assert.is(await showing.closed, 1, showing.said.err);
      assert.ok(showing.said.err.includes(`add-phone --check ${word}`), showing.said.err);
      // Nothing is done before somebody has said that the words are the same.
      assert.is(camera.members?.head.members.length, 1);
      const other = await run("ada", "add-phone", "--check", "0000-0000-0000", "--wait", "5");
      assert.is(other.code, 1);
      const added = await run("ada", "add-phone", "--check", word ?? "", "--wait", "120");
      assert.is(added.code, 0, added.err);
      assert.match(added.out, /added: what is recorded from now on opens there too/);
      assert.is(await joining.closed, 0, joining.said.err);
      assert.match(joining.said.out, /this phone opens what is recorded now/);

      const clip = toHex(await camera.record());
      const kept = toHex(await camera.record());
      for (const name of ["ada", "ben"]) {
        const { out, err } = await until2(
          () => run(name, "clips"),
          ({ out: text }) => text.includes(kept.slice(0, 12)),
        );
        assert.match(out, /whole/, err);
      }
      assert.is((await run("ben", "delete", clip)).code, 1);
      const deleted = await run("ada", "delete", clip);
      assert.match(deleted.out, /final when these have confirmed: (Ada, Ben|Ben, Ada)/);
      const open = await until2(
        () => run("ada", "clips"),
        ({ out }) => /not final: Ben has/.test(out),
      );
      assert.match(open.out, /deleted, not final: Ben has not confirmed/);
      await until2(
        () => run("ben", "clips"),
        ({ out }) => /deleted/.test(out),
      );
      const final = await until2(
        () => run("ada", "clips"),
        ({ out }) => /final\n/.test(out),
      );
      assert.match(final.out, /deleted, final/);

      const paper = join(world.path, "paper.txt");
      const made = await run("ada", "recovery-kit", "make", "--wait", "60");
      assert.match(made.out, /the kit is good/, made.err);
      assert.match(made.err, /paper forgets/);
      await writeFile(paper, made.out);
      assert.match((await run("ada", "recovery-kit", "test", paper)).out, /good/);
      const removed = await run("ada", "remove-phone", "Ben", "--wait", "60");
      assert.match(removed.out, /Ben is removed/, removed.err);
      const listed = JSON.parse((await run("ada", "phones", "--json")).out);
      const roles = listed.cameras[0].phones.map(({ name, role }: Record<string, string>) => [
        ...[name, role],
      ]);
      assert.equal(roles.sort(), [
        ["Ada", "owner"],
        ["recovery kit", "kit"],
      ]);
      // A removed phone gets in no more, and says so.
      const out = await run("ben", "clips");
      assert.is(out.code, 1);
      assert.match(out.err, /no key that the relay lets in/);

      const last = toHex(await camera.record());
      await until2(
        () => run("ada", "clips"),
        (said) => said.out.includes(last.slice(0, 12)),
      );
      const never = await run("ada", "delete", last);
      assert.match(never.out, /never final: there is a recovery kit/);
      const held = toHex(await camera.record());
      const used = await run(
        "dora",
        "recovery-kit",
        "use",
        paper,
        "--phone",
        "Dora",
        "--wait",
        "90",
      );
      assert.match(used.out, /this phone is an owner/, used.err);
      const members = camera.members?.head.members.map(({ name }) => name).sort();
      assert.equal(members, ["Ada", "Dora", "recovery kit"]);
      const seen = await run("dora", "clips");
      assert.match(seen.out, new RegExp(`${held.slice(0, 12)}.* whole`), seen.err);
      assert.is((await run("dora", "verify")).code, 0);

      // A camera that comes later is in no kit that there was, and the phone says so.
      await world.addCamera("shed");
      const partly = await run("ada", "recovery-kit", "test", paper);
      assert.is(partly.code, 3, partly.err);
      assert.match(partly.out, /door +good\nshed +not covered/);
      assert.match(partly.err, /recovery-kit renew PAPER/);
      assert.match((await run("ada", "cameras")).out, /shed .*No recovery kit covers it/);
      const renewed = await run("ada", "recovery-kit", "renew", paper, "--wait", "60");
      assert.match(renewed.out, /every camera that was reached, now also shed/, renewed.err);
      assert.is((await run("ada", "recovery-kit", "test", paper)).code, 0);
      assert.not.match((await run("ada", "cameras")).out, /No recovery kit/);
      const eve = await run(
        ...(["eve", "recovery-kit", "use", paper, "--phone", "Eve", "--wait", "90"] as const),
      );
      assert.match(eve.out, /^2 cameras, .*this phone is an owner/s, eve.err);
    },
    { deadlineMs: 900_000 },
  );
});

async function until2<T>(act: () => Promise<T>, isRight: (said: T) => boolean): Promise<T> {
  let said = await act();
  for (let tries = 0; tries < 100 && !isRight(said); tries++) {
    await systemClock.sleep(300);
    said = await act();
  }
  return said;
}
