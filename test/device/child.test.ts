import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { isFailure } from "../../src/base/pure/failure.ts";
import { findProgram, outputOf, startChild } from "../../src/device/child.ts";
import { run } from "../lib/footage.ts";
import { suite } from "../lib/suite.ts";

const shell = (script: string) => startChild("sh", ["-c", script]);

suite("device/child", (test) => {
  test("a program that is not there is absent, with the line that installs it", () => {
    const error = (() => {
      try {
        return findProgram("no-such-program");
      } catch (e) {
        return e;
      }
    })();
    assert.ok(isFailure(error, "absent"));
    assert.match(error.hint ?? "", "apt-get install no-such-program");
  });

  test("bytes go through, and how it ended is told", async () => {
    const child = shell("cat; echo ä bad >&2; exit 3");
    child.input.end("hello");
    const chunks: Uint8Array[] = [];
    for await (const chunk of child.output) chunks.push(chunk);
    assert.is(Buffer.concat(chunks).toString(), "hello");
    const { code, signal, complaint } = await child.ended;
    assert.equal([code, signal, complaint], [3, null, "bad"]);
  });

  test("what it says is bounded, however much", async () => {
    const child = shell("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo; echo the end >&2");
    const { complaint } = await child.ended;
    assert.ok(complaint.length <= 400 && complaint.length > 300, `${complaint.length}`);
    assert.match(complaint, /the end$/);
  });

  test("all that a helper says, or why not", async () => {
    const limits = { limitMs: 20_000, mostBytes: 1000 };
    const ask = (script: string, more = {}) =>
      outputOf("/bin/sh", ["-c", script], { ...limits, ...more });
    const failure = (script: string, more = {}) =>
      ask(script, more).then(
        () => undefined,
        (error: unknown) => error,
      );
    // What it reads is at its end at once, and nothing of our environment but two things gets there.
    process.env.OBSCURA_SECRET = "leaked";
    const said = await ask("cat; env | cut -d= -f1 | sort; ulimit -c");
    delete process.env.OBSCURA_SECRET;
    assert.equal(
      said.split("\n").filter((name) => !/^(PWD|_|OLDPWD|SHLVL)?$/.test(name)),
      [...["LC_ALL", "PATH", "0"]],
    );
    const refused = await failure("echo first >&2; echo last one >&2; exit 2");
    assert.ok(isFailure(refused, "refused"));
    assert.is(refused.message, "last one");
    assert.ok(isFailure(await failure("head -c 100000 /dev/zero"), "refused"));
    assert.ok(isFailure(await failure("sleep 60", { limitMs: 200 }), "stalled"));
    assert.ok(isFailure(await failure("exit 1"), "refused"));
    const crashed = await failure("kill -SEGV $$");
    assert.ok(isFailure(crashed, "refused"));
    assert.is(crashed.message, "/bin/sh was ended by SIGSEGV");
  });

  test("what it writes aside comes out on a stream of its own", async () => {
    const child = startChild("sh", ["-c", "echo aside >&3; echo out"], { aside: true });
    const chunks: Uint8Array[] = [];
    for await (const chunk of child.aside) chunks.push(chunk);
    assert.is(Buffer.concat(chunks).toString(), "aside\n");
    await child.kill();
  });

  test("killed once and twice, while it ignores everything else", async () => {
    const child = shell("trap '' TERM INT; while :; do sleep 1; done");
    await child.kill();
    await child.kill();
    assert.is((await child.ended).signal, "SIGKILL");
    child.input.write("nobody reads this");
  });

  test("it dies with us, even when we are killed", async () => {
    const module = new URL("../../src/device/child.js", import.meta.url).href;
    const script = `
      const { startChild } = await import(${JSON.stringify(module)});
      const { readFileSync } = await import("node:fs");
      const child = startChild("sleep", ["300"]);
      // Two programs become it, one after the other.
      const isAsleep = () => readFileSync("/proc/" + child.pid + "/comm", "latin1") === "sleep\\n";
      setInterval(() => {
        if (!isAsleep()) return;
        console.log(child.pid);
        process.kill(process.pid, "SIGKILL");
      }, 20);
    `;
    const out = await run("bash", [
      "-c",
      `"${process.execPath}" --input-type=module -e '${script}'; true`,
    ]);
    const pid = Number(out.toString().trim());
    assert.ok(pid > 0);
    const statusOf = () => readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const isDead = (status: string) => status === "" || /State:\s+Z/.test(status);
    for (let tries = 0; tries < 400 && !isDead(await statusOf()); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const status = await statusOf();
    assert.ok(isDead(status), status);
  });
});
