import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { failureOf, makeFolder } from "../src/base/node/durable.ts";
import { Failure } from "../src/base/pure/failure.ts";
import { bound } from "./environment.ts";
import { freePort } from "./port.ts";

const program = new URL("../src/relay/main.js", import.meta.url).pathname;
const file = "relay.yaml";

export type RunningRelay = {
  readonly url: string;
  /** Rejects when it ends before it was told to. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
};

/** The address of the relay whose folder this is: once chosen it stays, for phones have it in mind. */
export async function relayUrl(folder: string): Promise<string> {
  const path = join(folder, file);
  const known = await readFile(path, "utf8").catch(() => undefined);
  const port = Number(/port: (\d+)/.exec(known ?? "")?.[1] ?? 0) || (await freePort());
  if (known === undefined) {
    await makeFolder(folder).catch((error) => {
      throw failureOf(error, "mkdir", folder);
    });
    const settings = [
      "version: 1",
      `listen: { host: 127.0.0.1, port: ${port} }`,
      "metrics: { port: 0 }",
      "log: warn",
    ];
    await writeFile(path, `${settings.join("\n")}\n`, { mode: 0o600, flag: "wx" });
  }
  return `http://127.0.0.1:${port}`;
}

/** Runs the relay of `folder` on this machine alone; resolves when it answers. */
export async function startRelay(folder: string): Promise<RunningRelay> {
  const url = await relayUrl(folder);
  const args = [program, "--config", join(folder, file), "--folder", join(folder, "mailboxes")];
  // A process group of its own: Ctrl-C is for the camera, whose last parts come here after it.
  const child = spawn(...bound(args), {
    ...{ stdio: ["ignore", "ignore", "pipe"], detached: true },
  });
  process.once("exit", () => child.kill("SIGKILL"));
  let said = "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    said = `${said}${line}\n`.slice(-2000);
  });
  const closed = once(child, "close");
  let stopping = false;
  const failed = closed.then(() => {
    if (stopping) return new Promise<never>(() => {});
    throw new Failure("gone", `the relay ended: ${said.trim() || "it did not say why"}`);
  });
  failed.catch(() => {});
  const stop = async () => {
    stopping = true;
    child.kill("SIGTERM");
    await closed;
  };
  try {
    await Promise.race([answers(url), failed]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, failed, stop };
}

async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const found = await fetch(url, { signal: AbortSignal.timeout(1000) }).catch(() => undefined);
    if (found) {
      await found.arrayBuffer();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Failure("stalled", "the relay does not answer");
}
