import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { composeFootage } from "../../scripts/footage.ts";
import { run as runProgram, whyNobody } from "../lib/footage.ts";
import { listen, startMosquitto, until, whyNoBroker } from "../lib/mosquitto.ts";
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
async function prepare(folder: string): Promise<string> {
  const { video } = await composeFootage();
  const film = join(folder, "first-visit.mp4");
  const trim = ["-vf", "trim=5:34,setpts=PTS-STARTPTS"];
  const encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-f", "mp4"];
  await runProgram("ffmpeg", ["-v", "error", "-i", video, ...trim, ...encode, film]);
  return film;
}

async function modesUnder(folder: string): Promise<number[]> {
  const entries = await readdir(folder, { recursive: true });
  const stats = await Promise.all(entries.map((entry) => stat(join(folder, entry))));
  return stats.map(({ mode }) => mode & 0o077);
}

const why = await whyNobody();
const noBroker = await whyNoBroker();
const footage = await temporaryFolder();
const film = why ? "" : await prepare(footage.path);
const deadlineMs = 400_000;

suite("scripts/run", (test) => {
  test("--help says everything and sets nothing up, a wrong option is misuse", async () => {
    const help = await run("run", ["--help"]);
    assert.is(help.code, 0);
    // A path that has neither Node nor npm nor apt-get: nothing could be set up.
    await using folder = await temporaryFolder();
    for (const tool of ["bash", "dirname", "readlink", "sed"]) {
      await symlink(`/usr/bin/${tool}`, join(folder.path, tool));
    }
    const bare = (script: string) =>
      runProgram("/usr/bin/env", ["-i", `PATH=${folder.path}`, join(root, script), "--once", "-h"]);
    assert.is((await bare("scripts/run")).toString(), help.out);
    assert.match((await bare("scripts/test")).toString(), /^usage: scripts\/test .*PATTERN/);
    for (const option of ["--once", "--source", "--state", "--mqtt", "--json"]) {
      assert.match(help.out, option);
    }
    const wrong = await run("run", ["--onec"]);
    assert.is(wrong.code, 2);
    assert.match(wrong.err, /--onec/);
  });

  test("a place that takes no folder is said at once", async () => {
    for (const place of ["/proc/obscura", "/dev/null"]) {
      const { code, err } = await run("run", ["--once", "--state", place]);
      assert.is(code, 1);
      assert.match(err, new RegExp(`^scripts/run: ${place}/relay is (not there|no folder)\\n$`));
    }
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

  test(
    "--once: from the footage to a clip that the owner's phone exported",
    async () => {
      await using folder = await temporaryFolder();
      const args = ["--once", "--json", "--source", film, "--state", folder.path];
      await using beside = await temporaryFolder();
      await using broker = noBroker ? undefined : await startMosquitto(beside.path);
      await using house = broker && (await listen(broker.url));
      const mqtt = broker ? ["--mqtt", broker.url] : [];
      const { code, out, err } = await run("run", [...args, ...mqtt]);
      assert.is(code, 0, err);
      if (house) {
        const last = (name: string) => house.messages.findLast(({ topic }) => topic.endsWith(name));
        // The program may have ended before its last words were heard here.
        const isGone = () => last("/availability")?.payload.toString() === "offline";
        await until("the camera is offline", isGone);
        const at = house.messages.findIndex(({ topic }) => topic.endsWith("/availability"));
        assert.ok(at > 0, err);
        assert.is(last("/person")?.payload.toString(), "OFF");
        assert.ok(last("/event"), "nobody was told who came");
      }
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
    { skip: why, deadlineMs },
  );

  test(
    "SIGTERM in the middle of a visit: what was seen is sealed, whole, and the board in order",
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
    { skip: why, deadlineMs },
  );

  const noSetpriv =
    spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status === 0
      ? undefined
      : "there is no setpriv here";
  test(
    "killed at once it leaves neither relay nor camera behind",
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
    { skip: why ?? noSetpriv, deadlineMs },
  );

  test("the shortened footage is taken away", async () => await footage[Symbol.asyncDispose]());
});
