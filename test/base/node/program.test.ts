import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import * as assert from "uvu/assert";
import { findSupervisor, readNamed } from "../../../src/base/node/program.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

/** What systemd does with its end: prints each word, and lets go of the descriptors it is handed. */
const listener = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    for fd in fds: os.close(fd)
    if not data.startswith(b"BARRIER"): print(repr(data.decode()), flush=True)
`;

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => assert.unreachable("it was read"),
    (error) => error,
  );

suite("base/node/program", (test) => {
  const what = { what: "a note", mostBytes: 8 };

  test("a file that is named is read up to its longest, and no further", async () => {
    await using folder = await quickFolder();
    const file = join(folder.path, "note");
    await writeFile(file, "12345678");
    assert.is(Buffer.from(await readNamed(file, what)).toString(), "12345678");
    await writeFile(file, "123456789");
    const long = await refusal(readNamed(file, what));
    assert.ok(isFailure(long, "misuse"));
    assert.match(long.message, /a note has at most 8 bytes/);
    assert.ok(isFailure(await refusal(readNamed("/dev/zero", what)), "misuse"));
    assert.ok(isFailure(await refusal(readNamed(join(folder.path, "none"), what)), "absent"));
    assert.ok(isFailure(await refusal(readNamed(folder.path, what)), "absent"));
  });

  for (const [program, ...args] of [
    ["src/device/main.js", "adopt", "/dev/zero"],
    ["src/phone/cli.js", "adopt", "/dev/zero", "-o", "/dev/null"],
    ["src/phone/cli.js", "restore", "/dev/zero"],
    ["src/phone/cli.js", "recovery-kit", "test", "/dev/zero"],
    ["src/phone/cli.js", "recovery-kit", "test", "-"],
    ["src/phone/cli.js", "join", "-"],
    ["src/phone/cli.js", "pair", "-"],
    ["src/relay/main.js", "--config", "/dev/zero"],
    ["src/device/main.js", "run", "--config", "/dev/zero"],
  ] as const) {
    test(`${program} ${args.join(" ")} is misuse, not memory without end`, async () => {
      await using folder = await quickFolder();
      const child = spawn(process.execPath, [`dist/${program}`, ...args], {
        env: { ...process.env, HOME: folder.path, XDG_STATE_HOME: folder.path },
        stdio: ["pipe", "ignore", "pipe"],
      });
      let said = "";
      child.stderr.on("data", (text) => {
        said += text;
      });
      // It stops reading before all is written.
      child.stdin.on("error", () => {}).end(Buffer.alloc(4 * 2 ** 20, "0"));
      const [code] = await once(child, "close");
      assert.match(said, /is too long: .* has at most [0-9]+ bytes/);
      assert.is(code, 2);
    });
  }

  test("without a supervisor nothing is started and nothing is told", () => {
    const supervisor = findSupervisor({ PATH: process.env.PATH, WATCHDOG_USEC: "1" });
    supervisor.tell("ready");
    assert.equal([supervisor.listens, supervisor.patienceMs], [false, undefined]);
  });

  const notify = "words reach a supervisor in order, and no child of ours can speak for us";
  if (spawnSync("systemd-notify", ["--version"]).status !== 0) {
    test.skip(notify, "there is no systemd-notify here");
    return;
  }
  test(notify, async () => {
    await using folder = await quickFolder();
    const socket = join(folder.path, "notify");
    const systemd = spawn("python3", ["-c", listener, socket], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const lines = createInterface({ input: systemd.stdout })[Symbol.asyncIterator]();
      const next = async () => (await lines.next()).value;
      assert.is(await next(), "listening");
      const environment: NodeJS.ProcessEnv = {
        ...{ PATH: process.env.PATH, NOTIFY_SOCKET: socket, WATCHDOG_USEC: "30000000" },
      };
      const supervisor = findSupervisor(environment);
      assert.equal(environment, { PATH: process.env.PATH });
      assert.equal([supervisor.listens, supervisor.patienceMs], [true, 30_000]);
      supervisor.status('it\'s "odd"\nREADY=1 $(id)');
      supervisor.tell("ready");
      supervisor.tell("alive");
      assert.is(await next(), `'STATUS=it\\'s "odd" READY=1 $(id)'`);
      assert.is(await next(), "'READY=1'");
      assert.is(await next(), "'WATCHDOG=1'");
    } finally {
      systemd.kill();
      await once(systemd, "close");
    }
  });
});
