import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { access, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { composeFootage } from "../../scripts/footage.ts";
import { explain } from "../../src/base/pure/failure.ts";
import { installedModels } from "../../src/device/detect/detect.ts";
import { run as runProgram } from "../lib/footage.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const root = new URL("../../../", import.meta.url).pathname;
const programs = {
  run: join(root, "dist/scripts/run.js"),
  camera: join(root, "dist/src/device/main.js"),
  phone: join(root, "dist/src/phone/cli.js"),
};
type Ended = { code: number | null; out: string; err: string };

/** Runs a program; `onOut` sees its standard output as it comes and may send it a signal. */
async function run(
  program: keyof typeof programs,
  args: string[],
  onOut: (out: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(process.execPath, [programs[program], ...args]);
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    onOut(out, (signal) => void child.kill(signal));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, out, err };
}

/** The first visit of the footage: 5 s of nobody, 15 s with people, 9 s of nobody. */
async function prepare(): Promise<{ film: string } | { why: string }> {
  try {
    await access(join(installedModels, "nanodet-g-fp32.onnx"));
    const { video } = await composeFootage();
    const film = `${video}.first-visit.mp4`;
    const trim = "trim=5:34,setpts=PTS-STARTPTS";
    const encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-f", "mp4"];
    await runProgram("ffmpeg", [
      "-v",
      "error",
      "-y",
      "-i",
      video,
      "-vf",
      trim,
      ...encode,
      `${film}.part`,
    ]);
    await rename(`${film}.part`, film);
    return { film };
  } catch (error) {
    return { why: explain(error) };
  }
}

async function modesUnder(folder: string): Promise<number[]> {
  const entries = await readdir(folder, { recursive: true });
  const stats = await Promise.all(entries.map((entry) => stat(join(folder, entry))));
  return stats.map(({ mode }) => mode & 0o077);
}

const ready = await prepare();
const deadlineMs = 400_000;

suite("scripts/run", (test) => {
  test("--help says everything, a wrong option is misuse", async () => {
    const help = await run("run", ["--help"]);
    assert.is(help.code, 0);
    for (const option of ["--once", "--source", "--state", "--json"]) {
      assert.match(help.out, option);
    }
    const wrong = await run("run", ["--onec"]);
    assert.is(wrong.code, 2);
    assert.match(wrong.err, /--onec/);
  });

  test(
    "a source that is not there ends with 1 and its name",
    async () => {
      await using folder = await temporaryFolder();
      const { code, err } = await run("run", [
        "--once",
        "--source",
        "/nowhere.mp4",
        "--state",
        folder.path,
      ]);
      assert.is(code, 1);
      assert.match(err, /\/nowhere\.mp4/);
    },
    { deadlineMs },
  );

  const titles = {
    once: "--once: from the footage to a clip that the owner's phone exported",
    killed:
      "SIGTERM in the middle of a visit: what was seen is sealed, whole, and the board in order",
  };
  if ("why" in ready) {
    for (const title of Object.values(titles)) test.skip(title, ready.why);
    return;
  }
  const { film } = ready;

  test(
    titles.once,
    async () => {
      await using folder = await temporaryFolder();
      const args = ["--once", "--json", "--source", film, "--state", folder.path];
      const { code, out, err } = await run("run", args);
      assert.is(code, 0, err);
      const summary = JSON.parse(out);
      // Eight are there at most.
      assert.ok(summary.persons >= 6 && summary.persons <= 9, out);
      // 5 s before, 15 s with people, 5 s after.
      assert.ok(Math.abs(summary.clipSeconds - 25) < 2.5, out);
      for (const name of ["eventMs", "firstPartMs", "firstPictureMs", "bytesSealed"]) {
        assert.ok(summary[name] > 0, `${name} in ${out}`);
      }
      assert.ok(summary.eventMs <= summary.firstPartMs, out);
      assert.ok(summary.firstPartMs <= summary.firstPictureMs, out);
      assert.ok(summary.firstPartMs <= summary.relayPartMs, out);
      assert.ok(summary.relayPartMs <= summary.phonePictureMs, out);
      // The clip came through the relay: what lies there is sealed, and the phone opened it.
      const kept = await readdir(join(folder.path, "relay/mailboxes"), { recursive: true });
      assert.ok(kept.length > 0);
      const verified = await run("phone", ["--home", join(folder.path, "phone"), "cameras"]);
      assert.match(verified.out, /http:\/\/127\.0\.0\.1:\d+/);
      assert.match(summary.clip, join(folder.path, "clips/"));
      await runProgram("ffmpeg", ["-v", "error", "-xerror", "-i", summary.clip, "-f", "null", "-"]);
      const open = (await modesUnder(folder.path)).filter((mode) => mode !== 0);
      assert.is(open.length, 0, "somebody else may read it");
    },
    { deadlineMs },
  );

  test(
    titles.killed,
    async () => {
      await using folder = await temporaryFolder();
      const at = (name: string) => join(folder.path, name);
      const [camera, phone] = [at("camera"), at("phone")];
      const pairing: [keyof typeof programs, string[]][] = [
        ["camera", ["identity", "--state", camera, "-o", at("camera.json")]],
        ["phone", ["--home", phone, "adopt", at("camera.json"), "-o", at("owner.json")]],
        ["camera", ["adopt", "--state", camera, at("owner.json")]],
      ];
      const early = await run("camera", ["run", "--state", camera, "--source", film]);
      assert.is(early.code, 1);
      for (const [program, args] of pairing) {
        const { code, err } = await run(program, args);
        assert.is(code, 0, err);
      }
      const args = ["run", "--json", "--state", camera, "--source", film];
      let second: Promise<Ended> | undefined;
      const ended = await run("camera", args, (out, kill) => {
        if (!out.includes('"event":"part"')) return;
        second ??= run("camera", args).finally(() => kill("SIGTERM"));
      });
      assert.is(ended.code, 0, ended.err);
      assert.match(ended.out, /"event":"clip".*"reason":"stopped"/);
      const refused = await second;
      assert.is(refused?.code, 1, "two services on one state folder");
      assert.match(refused?.err ?? "", /another/);

      assert.is((await run("camera", ["check", "--state", camera])).code, 0);
      const verified = await run("phone", [
        "--home",
        phone,
        "verify",
        "--from",
        join(camera, "outbox"),
        "--json",
      ]);
      assert.is(verified.code, 0, verified.out);
      const { clips } = JSON.parse(verified.out);
      assert.equal(
        clips.map(({ state }: { state: string }) => state),
        ["whole"],
      );
    },
    { deadlineMs },
  );

  const alone = "killed at once it leaves neither relay nor camera behind";
  if (spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status !== 0) {
    test.skip(alone, "there is no setpriv here");
  } else {
    test(
      alone,
      async () => {
        await using folder = await temporaryFolder();
        const script = spawn(process.execPath, [
          ...[programs.run, "--source", film, "--state", folder.path],
        ]);
        script.stderr.resume();
        script.stdout.resume();
        const closed = once(script, "close");
        const children = async () => {
          const path = `/proc/${script.pid}/task/${script.pid}/children`;
          const ids = (await readFile(path, "utf8")).trim().split(" ");
          const lines = ids.map((id) => readFile(`/proc/${id}/cmdline`, "utf8").catch(() => ""));
          const wanted = /dist\/src\/(relay|device)\/main\.js/;
          const found = (await Promise.all(lines)).map((line) => line.match(wanted)?.[1]);
          return ids.flatMap((id, i) => (found[i] ? [{ id, program: found[i] }] : []));
        };
        let left = await children();
        // Both are there, the camera as a service and not in the middle of being paired.
        while (new Set(left.map(({ program }) => program)).size < 2) {
          assert.is(script.exitCode, null);
          await new Promise((resolve) => setTimeout(resolve, 50));
          left = await children();
        }
        script.kill("SIGKILL");
        for (const { id, program } of left) {
          const isThere = async () => {
            const line = await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "");
            return line.includes(`${program}/main.js`);
          };
          while (await isThere()) await new Promise((resolve) => setTimeout(resolve, 50));
        }
        await closed;
      },
      { deadlineMs },
    );
  }

  test("the shortened footage is taken away", async () => {
    await rm(film);
  });
});
