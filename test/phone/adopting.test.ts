import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { explain, isFailure } from "../../src/base/pure/failure.ts";
import { checkState } from "../../src/device/check.ts";
import { runAdopt, runIdentity } from "../../src/device/commands.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { main } from "../../src/phone/cli/cli.ts";
import { recording, startSealer } from "../lib/sealing.ts";
import { breakOff, type How } from "../lib/steps.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

type Said = { code: number; out: string; err: string };
const commands = ["identity", "adopt by the phone", "adopt by the camera"] as const;
type Command = (typeof commands)[number];

/** A camera and a phone that were never paired, as programs in this process. */
async function openPair() {
  const folder = await quickFolder();
  const at = (name: string) => join(folder.path, name);
  const state = at("camera");
  // The files that are handed over lie beside the keys, as those of scripts/run do.
  await mkdir(at("phone"), { mode: 0o700 });
  const phone = (...args: string[]) => heard(() => main(["--home", at("phone"), ...args]));
  const camera = (act: typeof runAdopt, ...args: string[]) =>
    heard(() =>
      act([...args, "--state", state]).catch((error) => {
        if (!isFailure(error)) throw error;
        process.stderr.write(explain(error));
        return 1;
      }),
    );
  const handed = ["-o", at("phone/owner.json"), "--keys", "3", "--phone", "Ada"];
  const run: Record<Command, () => Promise<Said>> = {
    identity: () => camera(runIdentity, "-o", at("phone/camera.json"), "--name", "porch"),
    "adopt by the phone": () => phone("adopt", at("phone/camera.json"), ...handed),
    "adopt by the camera": () => camera(runAdopt, at("phone/owner.json")),
  };
  return {
    ...{ path: folder.path, state, run, phone },
    /** One command, broken off at its nth step. */
    broken: (command: Command, nth: number, how: How) =>
      breakOff(folder.path, { nth, how }, () =>
        run[command]().catch((error: unknown) => ({ code: 1, out: "", err: String(error) })),
      ),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** What is said meanwhile. */
async function heard(act: () => Promise<number>): Promise<Said> {
  const said = { out: "", err: "" };
  const { stdout, stderr } = process;
  const before = { out: stdout.write, err: stderr.write };
  const hear = (name: "out" | "err") => (text: string | Uint8Array) => {
    said[name] += text;
    return true;
  };
  stdout.write = hear("out");
  stderr.write = hear("err");
  try {
    return { code: await act(), ...said };
  } finally {
    stdout.write = before.out;
    stderr.write = before.err;
  }
}

/** The word that both ends show behind the last command, whatever else is said. */
const wordOf = ({ out }: Said) => /^check word ([^,:]+)[,:]/m.exec(out)?.[1];

suite("pairing by two files, broken off", (test) => {
  for (const how of ["killed", "full"] as const) {
    for (const broken of commands) {
      test(
        `${broken}, ${how} at each step: the same again ends well`,
        async () => {
          for (let nth = 1; ; nth++) {
            await using pair = await openPair();
            let at: string | undefined;
            const words: (string | undefined)[] = [];
            for (const command of commands) {
              if (command === broken) {
                const first = await pair.broken(command, nth, how);
                at = first.at;
                if (at !== undefined) {
                  assert.is(first.value.code, 1, `${how} at ${at}`);
                  if (how === "full") assert.match(first.value.err, /no room|ENOSPC/, at);
                }
              }
              const said = await pair.run[command]();
              assert.is(said.code, 0, `${how} at ${at}: ${said.err}`);
              words.push(wordOf(said));
            }
            const where = `${how} at ${at}`;
            assert.ok(words[2] !== undefined && words[1] === words[2], `${where}: ${words}`);
            // Nothing half is left, and a clip that is sealed now opens.
            const { adopted } = await openKeyring(pair.state);
            assert.equal(
              adopted?.membership.members.map(({ name }) => name),
              ["Ada"],
              where,
            );
            const { sealer, stop } = await startSealer(pair.state);
            const { clip } = await sealer.clip(recording(1));
            await stop();
            const outbox = join(pair.state, "outbox");
            const { out, err } = await pair.phone("verify", "--from", outbox, "--json");
            const found = JSON.parse(out || "{}");
            assert.equal([found.well, found.clips?.[0]?.id], [true, clip], `${where}: ${err}`);
            assert.is(found.clips[0].state, "whole", where);
            const keys = await readdir(join(pair.state, "keys"));
            assert.equal(
              keys.filter((name) => /unfinished|draft|~/.test(name)),
              [],
              where,
            );
            const verdicts = await checkState(pair.state, { limitBytes: 2 ** 30 });
            assert.ok(
              verdicts.every(({ holds }) => holds),
              where,
            );
            if (at === undefined) {
              assert.ok(nth > 2, "no step was met");
              console.log(`\nmeasured: ${broken}: ${how} at ${nth - 1} steps`);
              return;
            }
          }
        },
        { deadlineMs: 900_000 },
      );
    }
  }
});
