#!/usr/bin/env node
import { programVersion } from "../base/node/program.ts";
import { explain, isFailure } from "../base/pure/failure.ts";

const help = `usage: obscura-camera [COMMAND] [OPTIONS]

  run        grab, find persons, record, seal (also when no command is given)
  pair       show a code; the phone that scans it becomes the owner, over the network
  label      what the first owner's phone pairs by, for a board that opens its window by itself
  local      who may read states in the local network: tokens
  wifi       list Wi-Fi networks, join one
  identity   write this camera's public keys to a file, for the owner's phone
  adopt      take the file that the owner's phone made of them
  cameras    list the cameras, and why one cannot be used
  detect     print the persons in images and videos
  mail       send a test message, for who wants to be told of visits by e-mail
  check      prove that the sealed clips on this board are in order
  alarm      what the alarm would have done with recorded events
  doctor     look at services, camera, encoder, model, light, swap, clock, card, heat, rights and relay
  config     print every setting with its default and its meaning

obscura-camera COMMAND --help says more; --version prints the version.
Exit code: 0 well, 1 failed, 2 misuse.
`;

type Command = (args: string[]) => Promise<number>;

/** Loaded when called: an identity needs no detector. */
const commands: Record<string, () => Promise<Command>> = {
  run: async () => (await import("./service.ts")).runService,
  detect: async () => (await import("./detect/detect.ts")).runDetect,
  pair: async () => (await import("./pairing/pairing.ts")).runPair,
  label: async () => (await import("./pairing/pairing.ts")).runLabel,
  local: async () => (await import("./local/local.ts")).runLocal,
  wifi: async () => (await import("./network/network.ts")).runWifi,
  identity: async () => (await import("./commands.ts")).runIdentity,
  adopt: async () => (await import("./commands.ts")).runAdopt,
  cameras: async () => (await import("./commands.ts")).runCameras,
  mail: async () => (await import("./mail/mail.ts")).runMail,
  check: async () => (await import("./commands.ts")).runCheck,
  alarm: async () => (await import("./commands.ts")).runAlarm,
  doctor: async () => (await import("./commands.ts")).runDoctor,
  config: async () => (await import("./commands.ts")).runConfig,
};

async function main(argv: string[]): Promise<number> {
  const [first = "run", ...rest] = argv;
  if (first === "--help" || first === "-h" || first === "help") {
    process.stdout.write(help);
    return 0;
  }
  if (first === "--version") {
    console.log(await programVersion());
    return 0;
  }
  const [name, args] = first.startsWith("-") ? ["run", argv] : [first, rest];
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    process.stderr.write(`obscura-camera: there is no command ${name}\n\n${help}`);
    return 2;
  }
  try {
    return await (await load())(args);
  } catch (error) {
    process.stderr.write(`obscura-camera: ${explain(error)}\n`);
    return isMisuse(error) ? 2 : 1;
  }
}

function isMisuse(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  return isFailure(error, "misuse") || code.startsWith("ERR_PARSE_ARGS");
}

// Whoever has read enough hangs up (`| head`): no fault of anybody's, and the service goes on.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`obscura-camera: standard output: ${error.message}\n`);
  process.exitCode = 1;
});
process.stderr.on("error", () => {});
const code = await main(process.argv.slice(2));
process.exitCode = code || process.exitCode || 0;
