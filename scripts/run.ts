import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs, promisify } from "node:util";
import { failureOf, makeFolder } from "../src/base/node/durable.ts";
import { explain, Failure } from "../src/base/pure/failure.ts";
import type { ServiceEvent } from "../src/device/service.ts";
import { bound, serviceEnvironment } from "./environment.ts";
import { composeFootage } from "./footage.ts";
import { type Owner, openOwner } from "./owner.ts";
import { type RunningRelay, startRelay } from "./relay.ts";

const help = `usage: scripts/run [--once] [--source FILE|DEVICE] [--state DIR] [--config FILE] [--mqtt URL] [--json]

Sets up this machine, makes an owner if there is none yet, runs a relay on this machine, the camera
that sends its sealed clips there, and the owner's phone, which exports each clip from the relay as
soon as it is whole. Without a camera it says so and replays surveillance footage as if it were one.

  --once           wait for the first whole clip, export it, print a summary, end
  --source S       a camera (/dev/…) or a video file; default: the first camera, else the footage
  --state DIR      everything that is kept: relay/, camera/, phone/, clips/ (default: state)
  --config FILE    settings of the camera (obscura-camera config prints them all)
  --mqtt URL       an MQTT broker, such as mqtt://127.0.0.1, that is told states and counts (HOME.md)
  --json           with --once: the summary as one JSON object on standard output
  --help           this text
`;

const execute = promisify(execFile);
const root = new URL("../../", import.meta.url).pathname;
const camera = join(root, "dist/src/device/main.js");
const phone = join(root, "dist/src/phone/cli.js");

async function call(program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await execute(process.execPath, [program, ...args]);
    return stdout;
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new Failure("refused", stderr?.trim() || explain(cause), { cause });
  }
}

type Folders = { relay: string; camera: string; phone: string; clips: string };
type Tell = (line: string) => void;

/**
 * Pairs camera and phone by file, as a person would; nothing to do when they are already. Those that
 * were paired without a relay are paired again, with it: the owner stays the same.
 */
async function pair(folders: Folders, relay: string, tell: Tell): Promise<void> {
  const adopted = await stat(join(folders.camera, "keys/adoption")).catch(() => undefined);
  if (adopted && (await relaysOf(folders)).includes(relay)) return;
  const identity = join(folders.phone, "camera.json");
  const adoption = join(folders.phone, "owner.json");
  tell("pairing: new keys for the camera and for its owner's phone");
  await call(camera, "identity", "--state", folders.camera, "-o", identity);
  await call(phone, "--home", folders.phone, "adopt", identity, "-o", adoption, "--relay", relay);
  await call(camera, "adopt", "--state", folders.camera, adoption);
  tell(`the owner's keys lie in ${folders.phone}: who loses the only copy loses every clip`);
}

async function relaysOf(folders: Folders): Promise<string[]> {
  const { cameras } = JSON.parse(await call(phone, "--home", folders.phone, "cameras", "--json"));
  return cameras.flatMap(({ relays }: { relays: string[] }) => relays);
}

async function findSource(wish: string | undefined, tell: Tell): Promise<string> {
  if (wish !== undefined) return wish;
  type Found = { source: string; captures: boolean; unusable?: string };
  const cameras: Found[] = JSON.parse(await call(camera, "cameras", "--json"));
  for (const { source, unusable } of cameras) {
    if (!unusable) return source;
    tell(`${source} cannot be used: ${unusable}`);
  }
  tell("no camera here: replaying surveillance footage as the camera, at its own speed");
  return (await composeFootage()).video;
}

/** What is known of the first clip as it comes about; times are CLOCK_MONOTONIC. */
type Progress = {
  firstSeenUs?: number;
  eventUs?: number;
  firstPartUs?: number;
  firstPictureUs?: number;
  relayPartUs?: number;
  phonePictureUs?: number;
};

export type Summary = {
  persons: number;
  clipSeconds: number;
  bytesSealed: number;
  eventMs: number;
  firstPartMs: number;
  firstPictureMs: number;
  /** From first sight to the first part durable at the relay, and a picture decrypted from there. */
  relayPartMs: number;
  phonePictureMs: number;
  clip: string;
};

const since = (fromUs = Number.NaN, toUs = Number.NaN) => Math.round((toUs - fromUs) / 1000);

/** Runs the service and follows it as the owner; resolves when it ended. */
async function follow(options: {
  args: string[];
  owner: Owner;
  clips: string;
  once: boolean;
  tell: Tell;
}): Promise<{ summary?: Summary; exit: number; isAsked: boolean }> {
  const { owner, tell } = options;
  const service = spawn(...bound(options.args), {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...serviceEnvironment, ...process.env },
  });
  let isAsked = false;
  const stop = () => {
    isAsked = true;
    service.kill("SIGTERM");
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const incidents = new Map<string, Progress>();
  const clips = new Map<string, Progress>();
  let newest: Progress = {};
  let summary: Summary | undefined;
  let failed = false;

  const picture = async (clip: string, progress: Progress) => {
    if (progress.firstPictureUs !== undefined || !(await owner.picture(clip, "folder"))) return;
    progress.firstPictureUs ??= owner.nowUs();
  };
  const relayed = async (clip: string, progress: Progress) => {
    if (progress.phonePictureUs !== undefined || !(await owner.picture(clip, "relay"))) return;
    progress.phonePictureUs ??= owner.nowUs();
  };
  const handle = async (event: ServiceEvent) => {
    if (event.event === "person") {
      const { firstSeenUs, atUs } = event;
      newest = { firstSeenUs, eventUs: atUs };
      incidents.set(event.incident, newest);
    } else if (event.event === "part") {
      const progress = clips.get(event.clip) ?? newest;
      clips.set(event.clip, progress);
      progress.firstPartUs ??= event.atUs;
      await picture(event.clip, progress);
    } else if (event.event === "relayed") {
      const progress = clips.get(event.clip) ?? newest;
      clips.set(event.clip, progress);
      progress.relayPartUs ??= event.atUs;
      await relayed(event.clip, progress);
    } else if (event.event === "clip") {
      const progress = incidents.get(event.incident) ?? newest;
      const { file, persons, seconds } = await owner.exportClip(event.clip, options.clips);
      tell(
        `clip: ${seconds.toFixed(1)} s, ${persons} at once, ${event.bytes} bytes sealed → ${file}`,
      );
      if (!options.once || summary) return;
      summary = {
        persons,
        clipSeconds: Number(seconds.toFixed(3)),
        bytesSealed: event.bytes,
        eventMs: since(progress.firstSeenUs, progress.eventUs),
        firstPartMs: since(progress.firstSeenUs, progress.firstPartUs),
        firstPictureMs: since(progress.firstSeenUs, progress.firstPictureUs),
        relayPartMs: since(progress.firstSeenUs, progress.relayPartUs),
        phonePictureMs: since(progress.firstSeenUs, progress.phonePictureUs),
        clip: file,
      };
      stop();
    }
  };
  let last = Promise.resolve();
  const enqueue = (event: ServiceEvent) => {
    last = last
      .then(() => handle(event))
      .catch((error) => {
        failed = true;
        tell(explain(error));
      });
  };
  createInterface({ input: service.stdout }).on("line", (line) => enqueue(JSON.parse(line)));
  const [code, signal] = await once(service, "close");
  await last;
  const exit = signal ? 1 : Number(code);
  return { exit: failed ? 1 : exit, isAsked, ...(summary ? { summary } : {}) };
}

function print(summary: Summary, tell: Tell): void {
  tell(`
first clip            ${summary.clip}
most persons at once  ${summary.persons}
length                ${summary.clipSeconds.toFixed(1)} s
sealed                ${summary.bytesSealed} bytes
from first sight to   the event ${summary.eventMs} ms, the first durable part ${summary.firstPartMs} ms,
                      the first picture out of it ${summary.firstPictureMs} ms
through the relay     the first part durable there ${summary.relayPartMs} ms,
                      the first picture on the phone ${summary.phonePictureMs} ms`);
}

async function main(): Promise<number> {
  process.umask(0o077);
  const { values } = parseArgs({
    options: {
      once: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      source: { type: "string" },
      state: { type: "string", default: "state" },
      config: { type: "string" },
      mqtt: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const tell = (line: string) => void process.stderr.write(`${line}\n`);
  const state = resolve(values.state);
  const at = (name: string) => join(state, name);
  const folders: Folders = {
    ...{ relay: at("relay"), camera: at("camera") },
    ...{ phone: at("phone"), clips: at("clips") },
  };
  for (const folder of Object.values(folders)) {
    await makeFolder(folder).catch((error) => {
      throw failureOf(error, "mkdir", folder);
    });
  }
  const relay = await startRelay(folders.relay);
  try {
    return await runWith(relay, folders, values, tell);
  } finally {
    await relay.stop();
  }
}

async function runWith(
  relay: RunningRelay,
  folders: Folders,
  values: { source?: string; config?: string; mqtt?: string; once: boolean; json: boolean },
  tell: Tell,
): Promise<number> {
  await pair(folders, relay.url, tell);
  const source = await findSource(values.source, tell);
  const owner = await openOwner({ home: folders.phone, folder: join(folders.camera, "outbox") });
  const args = [camera, "run", "--json", "--state", folders.camera, "--source", source];
  if (values.config) args.push("--config", resolve(values.config));
  if (values.mqtt !== undefined) args.push("--mqtt", values.mqtt);
  tell(
    `camera: ${source}\nrelay:  ${relay.url}\nclips:  ${folders.clips}\nCtrl-C ends it; what is being recorded is sealed first.`,
  );
  const { once: isOnce } = values;
  const following = follow({ args, owner, clips: folders.clips, once: isOnce, tell });
  const ended = await Promise.race([following, relay.failed]).finally(owner.close);
  const { summary, exit, isAsked } = ended;
  if (!isOnce) {
    if (exit === 0 && !isAsked) tell("the footage is over; what was recorded of it is sealed");
    return exit;
  }
  if (!summary) {
    tell("it ended before a clip was whole: nobody was seen");
    return 1;
  }
  if (values.json) console.log(JSON.stringify(summary));
  else print(summary, tell);
  return exit;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isMisuse = String((error as NodeJS.ErrnoException).code).startsWith("ERR_PARSE_ARGS");
  process.stderr.write(`scripts/run: ${explain(error)}\n${isMisuse ? `\n${help}` : ""}`);
  process.exitCode = isMisuse ? 2 : 1;
}
