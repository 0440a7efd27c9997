import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { checkout } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

/** The command as it is installed, in front of programs that only show what they are given. */
async function command(name: string, environment: string | undefined, uid = 0) {
  const folder = await temporaryFolder();
  const at = (file: string) => join(folder.path, file);
  await mkdir(at("bin"));
  await copyFile(join(checkout, "board/command"), at(name));
  const program = (file: string, text: string) =>
    writeFile(at(`bin/${file}`), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  await program("prlimit", 'printf "%s\\n" "$@"; env; env | grep -q ^LD_ || echo alone');
  await program("id", `echo ${uid}`);
  if (environment !== undefined) await writeFile(at("environment"), environment);
  const run = (...args: string[]) =>
    new Promise<{ code: number; out: string[]; err: string }>((resolve) => {
      const env = { PATH: `${at("bin")}:/usr/bin:/bin`, CONFIGURATION_DIRECTORY: folder.path };
      execFile("/bin/sh", [at(name), ...args], { env }, (error, out, err) => {
        resolve({ code: error ? Number(error.code) : 0, out: out.split("\n"), err });
      });
    });
  return { run, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const node = "/opt/obscura/current/bin/node";

suite("board/command", (test) => {
  test("a program is run as its service, with arguments as they are, and with one right for pairing", async () => {
    await using camera = await command("obscura-camera", undefined);
    const { out } = await camera.run("wifi", "join", "two  words", "$(id)", "");
    const from = out.indexOf(node);
    assert.equal(out.slice(from + 2, from + 7), ["wifi", "join", "two  words", "$(id)", ""]);
    assert.equal(out.slice(from - 3, from), ["--ambient-caps", "-all", "env"]);
    assert.ok(out.includes("STATE_DIRECTORY=/var/lib/obscura/camera"));
    const { out: pairing } = await camera.run("pair");
    assert.ok(pairing.includes("-all,+net_bind_service"));
  });

  test("the camera's variables are the program's, as its unit has them", async () => {
    const text = `# a comment
; another
LD_PRELOAD=/usr/lib/v4l2-compat.so
LIBCAMERA_LOG_LEVELS="*:ERROR x"
SINGLE='a b'
WITH=a=b
no variable
BAD-NAME=1
$(touch /tmp/never)=1
LAST=\`id\``;
    await using camera = await command("obscura-camera", text);
    const { out, code } = await camera.run("doctor");
    assert.is(code, 0);
    const from = out.indexOf("env");
    assert.equal(out.slice(from, from + 3), ["env", "LD_PRELOAD=/usr/lib/v4l2-compat.so", node]);
    assert.ok(out.includes("alone"), "what is root's on the way there is not given it");
    for (const one of ["LIBCAMERA_LOG_LEVELS=*:ERROR x", "SINGLE=a b", "WITH=a=b", "LAST=`id`"]) {
      assert.ok(out.includes(one), one);
    }
    assert.not(out.some((line) => /BAD-NAME|no variable/.test(line)));
    await using relay = await command("obscura-relay", text);
    assert.not((await relay.run("--version")).out.some((line) => /LD_PRELOAD=|SINGLE/.test(line)));
  });

  test("who is not root is told how", async () => {
    await using camera = await command("obscura-camera", undefined, 1000);
    const { code, err } = await camera.run("doctor");
    assert.is(code, 1);
    assert.match(err, /run: sudo obscura-camera doctor/);
  });
});
