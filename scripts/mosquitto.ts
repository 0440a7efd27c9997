import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { freePort } from "./port.ts";

// Debian's Mosquitto, one of our own on a free port of this machine, for tests and benchmarks.

const program = "/usr/sbin/mosquitto";

/** Why there is no broker here. */
export async function whyNoBroker(): Promise<string | undefined> {
  return await access(program).then(
    () => undefined,
    () => "Mosquitto is not installed (scripts/test installs it)",
  );
}

export type Tls = { ca: string; certificate: string; key: string };

export type Mosquitto = {
  port: number;
  url: string;
  start(): Promise<void>;
  /** Ends it, at once if `hard`. */
  stop(hard?: boolean): Promise<void>;
  /** Has it read its lists of users and rights again; its clients stay. */
  reload(): void;
  log(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

/** @param lines of its configuration, beside the listener's */
export async function startMosquitto(
  folder: string,
  {
    lines = ["allow_anonymous true"],
    tls,
    isForgetful = true,
  }: { lines?: readonly string[]; tls?: Tls; isForgetful?: boolean } = {},
): Promise<Mosquitto> {
  const port = await freePort();
  const file = join(folder, `mosquitto-${port}.conf`);
  const isRoot = process.getuid?.() === 0;
  const encrypted = tls
    ? [
        ...[`cafile ${tls.ca}`, `certfile ${tls.certificate}`, `keyfile ${tls.key}`],
        ...["require_certificate true", "use_identity_as_username true"],
      ]
    : [];
  const memory = isForgetful
    ? ["persistence false"]
    : ["persistence true", `persistence_location ${folder}/`, "autosave_on_changes true"];
  const text = [
    ...[`listener ${port} 127.0.0.1`, ...(isRoot ? ["user root"] : [])],
    ...[...memory, ...(isForgetful ? [] : ["autosave_interval 1"])],
    ...[...encrypted, ...lines, "log_type all"],
  ];
  await writeFile(file, `${text.join("\n")}\n`);
  let child: ChildProcess | undefined;
  let said = "";
  const start = async () => {
    const started = spawn(program, ["-c", file], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        said += chunk;
      });
    }
    child = started;
    // A port that was just free may be somebody's, and a broker of before may not have left it yet.
    for (let tries = 0; ; tries++) {
      if (started.exitCode !== null || tries > 600) throw new Error(`Mosquitto ended: ${said}`);
      const socket = connectTcp(port, "127.0.0.1");
      const isThere = await new Promise((resolve) => {
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      });
      socket.destroy();
      if (isThere) return;
      await wait(50);
    }
  };
  const stop = async (hard = false) => {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null) return;
    const closed = once(running, "close");
    running.kill(hard ? "SIGKILL" : "SIGTERM");
    await closed;
  };
  const reload = () => void child?.kill("SIGHUP");
  await start();
  const scheme = tls ? "mqtts" : "mqtt";
  const url = `${scheme}://${tls ? "localhost" : "127.0.0.1"}:${port}`;
  return {
    port,
    url,
    start,
    stop,
    reload,
    log: () => said,
    [Symbol.asyncDispose]: () => stop(true),
  };
}
