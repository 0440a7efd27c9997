import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { access, copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { explain, Failure } from "../../src/base/pure/failure.ts";

/** What is fixed about vtest.avi (PETS2009 S2.L1, view 1); anything else is another film. */
export const source = { width: 768, height: 576, fps: 10, frames: 795 } as const;

const installed = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
const hint =
  "Set OBSCURA_VTEST to a copy of vtest.avi (Debian package opencv-doc, examples/data), or make `apt-get download opencv-doc` work";

/** Where downloads and composed footage lie between runs. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "obscura");
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * The path of vtest.avi: OBSCURA_VTEST, an installed opencv-doc, the cache, or the one file taken
 * out of Debian's package, which is fetched but not installed (96 MB, once).
 * Throws Failure "absent" with the way out.
 */
export async function findSource(folder: string, say: (line: string) => void): Promise<string> {
  const given = process.env.OBSCURA_VTEST;
  if (given) {
    if (await exists(given)) return given;
    throw new Failure("absent", `OBSCURA_VTEST names ${given}, which is not there`);
  }
  if (await exists(installed)) return installed;
  const kept = join(folder, "vtest.avi");
  if (!(await exists(kept))) await fetchSource(kept, folder, say);
  return kept;
}

async function fetchSource(to: string, folder: string, say: (line: string) => void) {
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, "fetch-"));
  try {
    say("fetching Debian's opencv-doc (96 MB, once) for its surveillance film vtest.avi");
    await run("apt-get", ["-q", "download", "opencv-doc"], { cwd: work, progress: true });
    const deb = (await readdir(work)).find((name) => name.endsWith(".deb"));
    if (!deb) throw new Failure("absent", "apt-get brought no package");
    const part = join(work, "vtest.avi");
    const unpack = spawn("dpkg-deb", ["--fsys-tarfile", join(work, deb)], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const pick = spawn("tar", ["-xO", "--wildcards", "*/vtest.avi"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    // tar stops at the archive's end and leaves its padding unread: that is no failure of either.
    unpack.on("error", () => pick.kill());
    pick.stdin.on("error", () => {});
    unpack.stdout.pipe(pick.stdin);
    await Promise.all([
      pipeline(pick.stdout, createWriteStream(part)),
      exitOf(pick, "dpkg-deb, tar"),
    ]);
    // The working folder may be on another file system only if the cache is a mount point itself.
    await rename(part, to).catch(() => copyFile(part, to));
  } catch (cause) {
    throw new Failure("absent", `vtest.avi could not be had: ${explain(cause)}`, { hint, cause });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function exitOf(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on("error", (cause) => reject(new Failure("absent", `${name} did not start`, { cause })));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Failure("refused", `${name} ended with ${signal ?? code}`));
    });
  });
}

/** Runs a program to its end and returns its standard output; its progress goes to stderr. */
export async function run(
  program: string,
  args: readonly string[],
  { cwd, progress = false }: { cwd?: string; progress?: boolean } = {},
): Promise<string> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", progress ? "inherit" : "pipe"],
    ...(cwd ? { cwd } : {}),
  });
  let output = "";
  let complaint = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (progress) process.stderr.write(text);
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  await exitOf(child, program).catch((cause) => {
    throw new Failure("refused", `${explain(cause)}: ${complaint.trim().slice(-300)}`, { cause });
  });
  return output;
}

/** Refuses a film that is not the one whose empty scene and visits we know. */
export async function checkSource(path: string): Promise<void> {
  const said = await run("ffprobe", [
    ...["-v", "error", "-select_streams", "v:0", "-of", "json"],
    ...["-show_entries", "stream=width,height,nb_frames", path],
  ]);
  const stream = JSON.parse(said)?.streams?.[0];
  if (
    stream?.width !== source.width ||
    stream?.height !== source.height ||
    Number(stream?.nb_frames) !== source.frames
  ) {
    throw new Failure("corrupt", `${path} is not Debian's vtest.avi`, {
      hint: `It should hold ${source.frames} frames of ${source.width}x${source.height}`,
    });
  }
}
