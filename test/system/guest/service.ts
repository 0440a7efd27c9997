import { type ChildProcess, execFile, spawn } from "node:child_process";
import { openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { appendFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { copyMemory } from "./memory.ts";

/** A whole camera and its owner in the guest, driven by their own command lines. */
export type ServiceOrder = {
  pictures: string;
  playlist: string;
  /** Text of the camera's settings file. */
  settings: string;
  /** Folder of the camera's state; /results/state when the host is to look at it. */
  state: string;
  rounds: number;
  /** From the model's being ready to the first picture of the first round. */
  settleMs: number;
  /** How long the camera goes on after the last picture was played: post-roll and what follows. */
  afterMs: number;
  /**
   * One entry for each life of the service but the last: what is killed, and how long after the
   * first picture of the round.
   */
  kills?: { what: "service" | "ffmpeg"; afterMs: number }[];
  /** Shell lines run before all else: disks, swap. */
  before?: string;
  /** Where settings and the two files of the adoption lie; /tmp unless said. */
  desk?: string;
  names?: { camera: string; phone: string };
  /** Shell lines run when the pre-roll has filled, before the first picture of the round. */
  ballast?: string;
  /** When, after the first durable part, all memory of service and ffmpeg is copied. */
  copyMemoryMs?: number;
  /** Shell lines run when the camera's part is over, before the phone's begins. */
  after?: string;
  /** What the phone reads, if not the camera's own outbox. */
  outbox?: string;
};
export type ServiceReport = {
  exits: (number | string | null)[];
  /** Least memory the guest had left, and the most that service and children held together. */
  leastAvailableKiB: number;
  mostServiceKiB: number;
  mostLockedKiB: number;
  killedAtUs: number[];
  swapsKiB: string;
};

const results = process.env.BOARD_RESULTS ?? "/results";
const device = "/dev/video10";
/** While it is there the player goes on to the next round. */
const go = "/tmp/go";
const order = JSON.parse(readFileSync(`${results}/order.json`, "utf8")) as ServiceOrder;
const run = promisify(execFile);
const home = `${results}/phone`;
const desk = order.desk ?? "/tmp";
const settings = join(desk, "camera.yaml");
const program = (path: string) => join(process.cwd(), "dist/src", path);
const camera = (...args: string[]) => [program("device/main.js"), ...args];
const phone = (...args: string[]) => [program("phone/cli.js"), "--home", home, ...args];

const codes: Record<string, number> = {};

/** Runs one of our programs to its end; what it prints goes to a result file of that name. */
async function tell(name: string, args: string[], allowed: number[] = [0]): Promise<string> {
  const { code, stdout, stderr } = await run(process.execPath, args, { maxBuffer: 1 << 26 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error) => error as { code: number; stdout: string; stderr: string },
  );
  writeFileSync(`${results}/${name}.out`, stdout);
  codes[name] = code;
  writeFileSync(`${results}/codes.json`, JSON.stringify(codes));
  await appendFile(`${results}/commands.log`, `$ ${args.join(" ")}\n${stderr}-> ${code}\n`);
  if (!allowed.includes(code)) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

const nowUs = () => Number(process.hrtime.bigint() / 1000n);
const report: ServiceReport = {
  ...{ exits: [], leastAvailableKiB: Number.POSITIVE_INFINITY, mostServiceKiB: 0 },
  ...{ mostLockedKiB: 0, killedAtUs: [], swapsKiB: "" },
};
let service: ChildProcess | undefined;

function startService(): ChildProcess {
  const log = openSync(`${results}/service.log`, "a");
  const events = openSync(`${results}/events`, "a");
  const wishes = ["--source", device, "--state", order.state, "--config", settings, "--json"];
  return spawn(process.execPath, camera("run", ...wishes), { stdio: ["ignore", events, log] });
}

const ended = (child: ChildProcess) =>
  new Promise<number | string | null>((resolve) => {
    if (child.exitCode !== null || child.signalCode) resolve(child.exitCode ?? child.signalCode);
    else child.once("exit", (code, signal) => resolve(code ?? signal));
  });

const field = (text: string, name: string) =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);

/** Processes of the service: itself and every child, children's children included. */
async function family(leader: number): Promise<{ pid: number; name: string }[]> {
  const all: { pid: number; parent: number; name: string }[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const name = /^Name:\s+(.*)$/m.exec(text)?.[1] ?? "";
    all.push({ pid: Number(pid), parent: field(text, "PPid"), name });
  }
  const found = all.filter(({ pid }) => pid === leader);
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid));
  return found;
}

async function measure(): Promise<void> {
  const memory = await readFile("/proc/meminfo", "utf8");
  report.leastAvailableKiB = Math.min(report.leastAvailableKiB, field(memory, "MemAvailable"));
  if (!service?.pid) return;
  let held = 0;
  let locked = 0;
  for (const { pid } of await family(service.pid)) {
    const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    held += field(text, "VmRSS");
    locked += field(text, "VmLck");
  }
  report.mostServiceKiB = Math.max(report.mostServiceKiB, held);
  report.mostLockedKiB = Math.max(report.mostLockedKiB, locked);
}

async function kill(what: "service" | "ffmpeg"): Promise<void> {
  const members = await family(service?.pid ?? 0);
  const victims = members.filter(({ pid, name }) =>
    what === "service" ? pid === service?.pid : name === "ffmpeg",
  );
  if (victims.length === 0) throw new Error(`there is no ${what} to kill`);
  report.killedAtUs.push(nowUs());
  for (const { pid } of victims) process.kill(pid, "SIGKILL");
}

/** Waits for what the service says, in its log or by an event, so many times over all its lives. */
async function saw(
  text: string,
  forMs: number,
  { file = "service.log", times = 1 } = {},
): Promise<void> {
  for (const endMs = Date.now() + forMs; Date.now() < endMs; await wait(100)) {
    if (readFileSync(`${results}/${file}`, "utf8").split(text).length > times) return;
    if (service?.exitCode || player.exitCode) break;
  }
  throw new Error(`the service did not say "${text}" within ${forMs} ms`);
}

/** When the first picture of a round was played. */
async function shownAt(round: number): Promise<number> {
  for (;;) {
    const said = readFileSync(`${results}/played`, "utf8");
    const found = new RegExp(`^\\{"round":${round},"index":0,"atUs":(\\d+)`, "m").exec(said);
    if (found) return Number(found[1]);
    if (player.exitCode !== null) throw new Error(`the player ended before round ${round}`);
    await wait(100);
  }
}

if (order.before) await run("sh", ["-ec", order.before]);
await mkdir(home, { recursive: true });
await mkdir(order.state, { recursive: true });
await mkdir(desk, { recursive: true });
writeFileSync(settings, order.settings);
const [card, letter] = [join(desk, "camera.json"), join(desk, "owner.json")];
const { names } = order;
const called = names ? ["--name", names.camera] : [];
await tell("identity", camera("identity", "--state", order.state, "-o", card, ...called));
await tell("adopt", phone("adopt", card, "-o", letter, ...(names ? ["--phone", names.phone] : [])));
await tell("adopted", camera("adopt", letter, "--state", order.state));

const player = spawn(
  process.execPath,
  [
    join(import.meta.dirname, "play.js"),
    ...["--pictures", order.pictures, "--playlist", order.playlist, "--device", device],
    ...["--rounds", String(order.rounds), "--until", go, "--log", `${results}/played`],
  ],
  { stdio: "inherit" },
);
const played = ended(player);
const sampling = setInterval(() => void measure().catch(() => {}), 500);

service = startService();
await saw("model ready", 90_000);
// The encoder is tried next, for a minute each if need be; then the pre-roll begins to fill.
await saw("encoder ready", 150_000);
await wait(order.settleMs);
if (order.ballast) await run("sh", ["-ec", order.ballast]);
writeFileSync(go, "");
if (order.copyMemoryMs !== undefined) {
  await saw('"event":"part"', 120_000, { file: "events" });
  await wait(order.copyMemoryMs);
  // All stand still: a copy takes as long as it takes, and keys are wiped when the clip ends.
  player.kill("SIGSTOP");
  const members = await family(service.pid ?? 0);
  for (const { pid } of members) process.kill(pid, "SIGSTOP");
  for (const { pid, name } of members) await copyMemory(pid, `${results}/memory-${name}`);
  for (const { pid } of members.reverse()) process.kill(pid, "SIGCONT");
  player.kill("SIGCONT");
}
for (const [round, { what, afterMs }] of (order.kills ?? []).entries()) {
  const firstUs = await shownAt(round);
  await wait(Math.max(0, afterMs - (nowUs() - firstUs) / 1000));
  await kill(what);
  if (what === "ffmpeg") continue;
  rmSync(go);
  report.exits.push(await ended(service));
  service = startService();
  // However long it takes to start: nobody comes before it can see them.
  await saw("encoder ready", 240_000, { times: report.exits.length + 1 });
  writeFileSync(go, "");
}
if ((await played) !== 0) throw new Error("the player failed");
await wait(order.afterMs);
clearInterval(sampling);
service.kill("SIGTERM");
report.exits.push(await Promise.race([ended(service), wait(30_000, "did not stop")]));
report.swapsKiB = await readFile("/proc/swaps", "utf8");
writeFileSync(`${results}/report.json`, JSON.stringify(report));

await tell("check", camera("check", "--state", order.state));
if (order.after) await run("sh", ["-ec", order.after], { maxBuffer: 1 << 26 });
const outbox = ["--from", order.outbox ?? join(order.state, "outbox")];
await tell("clips", phone("clips", ...outbox, "--json"), [0, 3]);
await tell("verify", phone("verify", ...outbox, "--json"), [0, 3]);
await tell(
  "export",
  phone("export", ...outbox, "--all", "-o", `${results}/clips`, "--json"),
  [0, 3],
);
