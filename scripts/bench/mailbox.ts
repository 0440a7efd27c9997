import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { readConfig } from "../../src/relay/config.ts";
import { openRelay } from "../../src/relay/relay.ts";

// The servers of the relay's bench, each a process of its own, as a relay is.

export type Task = { kind: "relay" | "bare"; folder: string };
export type ServerProcess = AsyncDisposable & {
  port: number;
  /** Of the server alone. */
  residentMB(): Promise<number>;
};

export async function startServer(task: Task): Promise<ServerProcess> {
  const program = new URL(import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, [program, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const [line] = await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, "data"),
    ended.then(() => Promise.reject(new Error(`the ${task.kind} server ended`))),
  ]);
  return {
    port: Number(String(line)),
    async residentMB() {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1000;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function startRelay(folder: string): Promise<number> {
  const config = await readConfig(undefined);
  Object.assign(config.listen, { host: "127.0.0.1", port: 0 });
  Object.assign(config.quota, { headroomMiB: 0, mailboxObjects: 10_000_000 });
  Object.assign(config.limits, { requestsPerSecondPerAddress: 0 });
  Object.assign(config.limits, { requestsPerSecondPerKey: 1_000_000 });
  config.metrics.port = 0;
  const log = openLog("relay", "error");
  const { port } = await openRelay({ folder, config, clock: systemClock, log });
  return port;
}

/** What the same job takes without any check: a file, its fsync, its name, its folder's fsync. */
async function startBare(folder: string): Promise<number> {
  await mkdir(folder);
  let count = 0;
  const server = createServer(async (request, response) => {
    const name = String(count++);
    const draft = join(folder, `draft-${name}`);
    const file = await open(draft, "wx");
    for await (const piece of request) await file.writeFile(piece);
    await file.sync();
    await file.close();
    await rename(draft, join(folder, name));
    const parent = await open(folder, "r");
    await parent.sync();
    await parent.close();
    response.writeHead(201).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

if (process.argv[1]?.endsWith("bench/mailbox.js")) {
  const { kind, folder }: Task = JSON.parse(process.argv[2] ?? "{}");
  console.log(await (kind === "relay" ? startRelay(folder) : startBare(folder)));
}
