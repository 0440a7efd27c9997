import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { processors } from "../../scripts/test.ts";
import { checkout, type Machine } from "./machine.ts";

const recipe = join(checkout, "scripts/board");

export type BoardOptions = {
  /** Program and arguments, run as root in the checkout. `node` is the Node that runs the test. */
  command: [string, ...string[]];
  /** Memory of the whole guest, in MiB. What it writes outside /results lies in it too. */
  memoryMiB?: number;
  /** Kernel modules with their parameters, loaded in this order: "vivid node_types=0x1". */
  modules?: string[];
  /** Shell lines run after the modules and before the command. */
  prepare?: string;
  environment?: Record<string, string>;
  /** Put into /results before the start: name → what is in it. */
  files?: Record<string, Uint8Array | string>;
  /** Files of the host that become /dev/ubda, /dev/ubdb, … */
  disks?: string[];
  /** A folder of the host that is laid over its root: `findPackages`. */
  packages?: string;
  /** Debian's systemd is the first process, the command one of its services. */
  systemd?: boolean;
  /** What the guest writes lies on the first of `disks` (ext4), and is there at the next start. */
  lasting?: boolean;
  /** What it does is bound to the time of day: it goes before other programs where that is allowed. */
  urgent?: boolean;
  /** The guest is killed when it has not ended by then. */
  timeoutMs: number;
  /**
   * Nor when it gave no sign of life for so long (default 90 s); it gives one every three seconds. Where
   * its kernel keeps stacks in virtual memory (CONFIG_VMAP_STACK) User-Mode Linux can be interrupted while
   * it maps the stack that it stands on, and then takes the same fault for ever.
   */
  silentMs?: number;
};

export type Ending = {
  /** Exit code of the command; undefined when the guest ended without one (see `fault`). */
  exit: number | undefined;
  fault: string | undefined;
  /** The guest's kernel itself hung, whatever ran in it. */
  isStuck: boolean;
  stdout: string;
  stderr: string;
  /** What the kernel said: out-of-memory kills, panics, drivers' complaints. */
  console: string;
};

export type Board = AsyncDisposable & {
  /** The folder of the host that the guest sees as /results. Gone after disposal. */
  readonly results: string;
  /** Process id of the guest on the host. */
  readonly pid: number;
  readonly ended: Promise<Ending>;
  /** What the command has printed so far (up to a second old while it runs). */
  stdout(): Promise<string>;
};

const prefix = "obscura-board-";

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** The script that runs in the guest after `init`, or on the host itself. */
function writeJob(options: BoardOptions, results: string, guest: boolean): string {
  const environment: Record<string, string> = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: guest ? "/root" : homedir(),
    LANG: "C.UTF-8",
    BOARD_RESULTS: results,
    ...options.environment,
  };
  const [program, ...rest] = options.command;
  const command = [program === "node" ? process.execPath : program, ...rest].map(quote).join(" ");
  const out = quote(results);
  const head = [
    "#!/bin/sh",
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}`),
  ];
  const ground = [
    "mkdir -p /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t devpts devpts /dev/pts",
    "ip link set lo up 2>/dev/null || busybox ifconfig lo up",
    // A sign of life for the host.
    "(while :; do date >/results/.alive; sleep 3; done) &",
    // Results are written through soon, so that the host sees what a hung guest did.
    "echo 20 >/proc/sys/vm/dirty_writeback_centisecs; echo 50 >/proc/sys/vm/dirty_expire_centisecs",
  ];
  const work = [
    "ulimit -c 0",
    "loaded=yes",
    ...(options.modules ?? []).map(
      (module) =>
        `modprobe ${module} || { loaded=; echo ${quote(`cannot load ${module}`)} >${out}/.fault; }`,
    ),
    `cd ${quote(checkout)}`,
    options.prepare ?? "",
    `if [ "$loaded" ]; then ${command} >${out}/.stdout 2>${out}/.stderr </dev/null; echo $? >${out}/.exit; fi`,
    ...(guest
      ? ["sync; echo o >/proc/sysrq-trigger; sleep 60"]
      : (options.modules ?? []).map((module) => `modprobe -r ${module.split(" ")[0]}`).reverse()),
    "",
  ];
  if (!guest || !options.systemd) return [...head, ...(guest ? ground : []), ...work].join("\n");
  const service = [...head, ...work].join("\n");
  return [...head, ...ground, underSystemd(service), ""].join("\n");
}

/** Hands the machine over to systemd, which finds `service` among what starts with it. */
function underSystemd(service: string): string {
  const units = "/run/systemd/system";
  return [
    `mkdir -p ${units}/multi-user.target.wants`,
    `cat >/run/work <<'end of work'\n${service}\nend of work`,
    "chmod +x /run/work",
    `printf '[Service]\\nExecStart=/run/work\\n' >${units}/work.service`,
    `ln -s ../work.service ${units}/multi-user.target.wants/`,
    // What the host's own services and files would do here takes time and shows nothing.
    "find /etc/systemd/system/multi-user.target.wants ! -name 'obscura-*' -type l -delete",
    ...["systemd-tmpfiles-setup", "getty@tty1", "console-getty", "systemd-logind"].map(
      (name) => `ln -s /dev/null ${units}/${name}.service`,
    ),
    "exec /lib/systemd/systemd --unit=multi-user.target",
  ].join("\n");
}

/**
 * Starts a guest whose root is the host's, read-only, with an overlay in its own memory, and runs
 * one command in it. Only /results is written through to the host. Any number at once; root is not
 * needed. Disposal kills whatever still runs and removes every trace.
 */
export async function bootBoard(machine: Machine, options: BoardOptions): Promise<Board> {
  if (machine.kind === "none") throw new Error(machine.why);
  await sweep();
  const folder = await mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
  const results = join(folder, "results");
  await mkdir(results);
  for (const [name, content] of Object.entries(options.files ?? {}))
    await writeFile(join(results, name), content);
  const guest = machine.kind === "guest";
  const job = writeJob(options, guest ? "/results" : results, guest);
  await writeFile(join(folder, "job"), job, { mode: 0o755 });
  if (guest) {
    await copyFile(machine.modules, join(folder, "modules.tar.gz"));
    await copyFile(join(recipe, "init"), join(folder, "init"));
  }
  const child = guest
    ? startGuest(machine.kernel, folder, options)
    : spawn(join(folder, "job"), { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const pid = child.pid;
  if (pid === undefined) {
    await rm(folder, { recursive: true, force: true });
    throw new Error(`cannot start ${guest ? machine.kernel : "the job"}`);
  }
  const ended = watch(child, pid, results, {
    ...{ timeoutMs: options.timeoutMs },
    silentMs: guest ? (options.silentMs ?? 90_000) : Number.POSITIVE_INFINITY,
  });
  return {
    results,
    pid,
    ended,
    stdout: () => readText(join(results, ".stdout")),
    [Symbol.asyncDispose]: async () => {
      await killSession(pid);
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Real-time priority; two processes of the host take turns for each thing that a guest does. */
function canGoFirst(): boolean {
  return spawnSync("chrt", ["--rr", "1", "true"], { stdio: "ignore" }).status === 0;
}

/**
 * The processor for a guest, which the runner leaves to it. User-Mode Linux has one processor of its
 * own, and hands it to and fro between two processes of the host for each system call: on one
 * processor of the host that takes a quarter of the time it takes across two.
 */
const place = processors().at(-1) ?? "0";

function startGuest(kernel: string, folder: string, options: BoardOptions): ChildProcess {
  const memory = process.env.TMPDIR ?? "/dev/shm";
  const first = options.urgent && canGoFirst() ? ["chrt", "--rr", "1"] : [];
  const disks = (options.disks ?? []).map((path, i) => `ubd${"abcdefgh"[i]}=${path}`);
  const [program = "", ...rest] = [...first, "taskset", "--cpu-list", place, "setpriv"];
  return spawn(
    program,
    [
      // A test file that is killed takes its guest along.
      ...[...rest, "--pdeathsig=KILL", kernel],
      `mem=${options.memoryMiB ?? 768}M`,
      ...["root=none", "rootfstype=hostfs", "rootflags=/", "ro", `init=${folder}/init`],
      ...[`BOARD=${folder}`, `uml_dir=${folder}`, `umid=board`],
      ...(options.packages ? [`PACKAGES=${options.packages}`] : []),
      ...(options.lasting ? ["LASTING=/dev/ubda"] : []),
      ...["quiet", "con=null", "con0=null,fd:1", "console=tty0", ...disks],
    ],
    {
      cwd: folder,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env.PATH, HOME: folder, TMPDIR: memory },
    },
  );
}

async function watch(
  child: ChildProcess,
  pid: number,
  results: string,
  { timeoutMs, silentMs }: { timeoutMs: number; silentMs: number },
): Promise<Ending> {
  const bootedMs = Date.now();
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killSession(pid).catch(() => {});
  }, timeoutMs);
  let isStuck = false;
  const listening = setInterval(async () => {
    const sign = await stat(join(results, ".alive")).catch(() => undefined);
    if (Date.now() - Math.max(bootedMs, sign?.mtimeMs ?? 0) < silentMs) return;
    isStuck = true;
    killSession(pid).catch(() => {});
  }, 5000);
  const how = await new Promise<string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(signal ? `killed by ${signal}` : `exit ${code}`));
  });
  clearTimeout(timer);
  clearInterval(listening);
  const exit = await readText(join(results, ".exit"));
  const fault = (await readText(join(results, ".fault"))).trim();
  const missing = isStuck
    ? "its kernel hung"
    : late
      ? `did not end within ${timeoutMs} ms`
      : `ended without a result (${how})`;
  return {
    exit: exit === "" ? undefined : Number(exit),
    fault: fault || (exit === "" ? missing : undefined),
    isStuck: isStuck && exit === "",
    stdout: await readText(join(results, ".stdout")),
    stderr: await readText(join(results, ".stderr")),
    console: said,
  };
}

const readText = (path: string) => readFile(path, "utf8").catch(() => "");

/**
 * Ends every process of the session `leader` started. User-Mode Linux keeps one process of the
 * host for each of the guest's; they are not all in its process group.
 */
async function killSession(leader: number): Promise<void> {
  // What had much memory takes a while to give it back.
  for (const endMs = Date.now() + 60_000; Date.now() < endMs; ) {
    let found = 0;
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const stat = await readText(`/proc/${name}/stat`);
      // After the name in brackets: state, parent, group, session.
      const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(session) !== leader || state === "Z") continue;
      found++;
      end(Number(name));
    }
    if (found === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`processes of session ${leader} outlive SIGKILL`);
}

/** Removes what a test process that was killed left behind: its guests' last processes and folders. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = Number(/^obscura-board-(\d+)-/.exec(name)?.[1]);
    if (!owner || (await readText(`/proc/${owner}/stat`)) !== "") continue;
    const folder = join(tmpdir(), name);
    for (const pid of (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry)))
      if ((await readText(`/proc/${pid}/cmdline`)).includes(`${folder}/init`)) end(Number(pid));
    await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}

/** A guest whose kernel hung is booted again so often; `prepare` makes its disks anew. */
const mostBoots = 3;

/** Boots, and waits for the end. */
export async function boardUntilEnd(
  machine: Machine,
  options: BoardOptions,
  prepare: () => Promise<void> = async () => {},
): Promise<{ board: Board; ending: Ending }> {
  for (let boots = 1; ; boots++) {
    await prepare();
    const board = await bootBoard(machine, options);
    const ending = await board.ended;
    if (boots > 1) console.log(`measured: the guest's kernel hung ${boots - 1} times`);
    if (!ending.isStuck || boots === mostBoots) return { board, ending };
    await board[Symbol.asyncDispose]();
  }
}

/** As `boardUntilEnd`; throws with all that was said unless the command ended 0. */
export async function runOnBoard(
  machine: Machine,
  options: BoardOptions,
): Promise<Ending & { results: string; read(name: string): Promise<Buffer> } & AsyncDisposable> {
  const { board, ending } = await boardUntilEnd(machine, options);
  if (ending.exit !== 0) {
    await board[Symbol.asyncDispose]();
    const tail = (text: string) => text.slice(-4000);
    throw new Error(
      `${options.command.join(" ")}: ${ending.fault ?? `exit ${ending.exit}`}\n${tail(ending.stdout)}\n${tail(ending.stderr)}\n${tail(ending.console)}`,
    );
  }
  return {
    ...{ ...ending, results: board.results },
    read: (name) => readFile(join(board.results, name)),
    [Symbol.asyncDispose]: () => board[Symbol.asyncDispose](),
  };
}
