#!/usr/bin/env node
import { parseArgs } from "node:util";
import { openLog } from "../base/node/log.ts";
import { findSupervisor, programVersion, stateFolder, stopSignal } from "../base/node/program.ts";
import { systemClock } from "../base/node/time.ts";
import { explain, isFailure } from "../base/pure/failure.ts";
import { printConfig, readConfig } from "./config.ts";
import { openRelay } from "./relay.ts";
import { readTls } from "./server.ts";

const help = `usage: obscura-relay [--config FILE] [--folder DIR]

Keeps sealed clips between cameras and phones, and can open none of them. Runs until SIGTERM; SIGHUP
reads the TLS certificate again. RELAY.md says how to operate it.

  --config FILE    settings; none is needed to start
  --folder DIR     where mailboxes lie; overrides the settings
  --check-config   read the settings, say whether they are right, end
  --print-config   print every setting with its default and its meaning, end
  --version        print the version
Exit code: 0 well, 1 failed, 2 misuse.
`;

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      config: { type: "string" },
      folder: { type: "string" },
      "check-config": { type: "boolean", default: false },
      "print-config": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
      version: { type: "boolean", default: false },
    },
  });
  if (values.help) return say(help);
  if (values.version) return say(`${await programVersion()}\n`);
  if (values["print-config"]) return say(printConfig());
  const notices: string[] = [];
  const config = await readConfig(values.config, (line) => notices.push(line));
  if (values["check-config"]) {
    if (config.tls.certificate !== "") await readTls(config.tls);
    return say(`${[...notices, "the settings are right"].join("\n")}\n`);
  }

  const supervisor = findSupervisor();
  const log = openLog("relay", config.log);
  for (const line of notices) log.warn(line);
  const folder = values.folder ?? (config.folder || stateFolder("relay"));
  const signal = stopSignal();
  const relay = await openRelay({ folder, config, clock: systemClock, log });
  process.on("SIGHUP", () => {
    relay.reloadTls().then(
      () => log.info("read the certificate again"),
      (error) => log.error("kept the old certificate", { what: explain(error) }),
    );
  });
  const { metricsPort } = relay;
  log.info("listening", { port: relay.port, tls: config.tls.certificate !== "", metricsPort });
  supervisor.tell("ready");
  const { patienceMs } = supervisor;
  if (patienceMs) setInterval(() => supervisor.tell("alive"), patienceMs / 3).unref();
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  try {
    await Promise.race([stopped, relay.failed]);
    log.info("stopping");
    supervisor.tell("stopping");
    return 0;
  } finally {
    await relay.close();
  }
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

function isMisuse(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  return isFailure(error, "misuse") || code.startsWith("ERR_PARSE_ARGS");
}

// Whoever has read enough hangs up (`| head`): no fault of anybody's, and the relay goes on.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`obscura-relay: standard output: ${error.message}\n`);
  process.exitCode = 1;
});
process.stderr.on("error", () => {});
try {
  const code = await main(process.argv.slice(2));
  process.exitCode = code || process.exitCode || 0;
} catch (error) {
  process.stderr.write(`obscura-relay: ${explain(error)}\n`);
  process.exitCode = isMisuse(error) ? 2 : 1;
}
