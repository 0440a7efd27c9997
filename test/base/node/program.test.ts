import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import * as assert from "uvu/assert";
import { findSupervisor } from "../../../src/base/node/program.ts";
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

suite("base/node/program", (test) => {
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
