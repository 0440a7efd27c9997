import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { composeFootage } from "../../scripts/footage.ts";
import type { ServiceEvent } from "../../src/device/service.ts";
import { run } from "./footage.ts";

// A camera's program before which somebody passes over and over.

const program = new URL("../../src/device/main.js", import.meta.url).pathname;

/** Two seconds of nobody, `seconds` - 2 of people, five of nobody, for ten minutes and more. */
export async function visitFilm(folder: string, seconds = 9): Promise<string> {
  const { video } = await composeFootage();
  const [visit, film] = [join(folder, "visit.mp4"), join(folder, "film.mp4")];
  const cut = (from: number, to: number) => `trim=${from}:${to},setpts=PTS-STARTPTS`;
  const parts = `[0:v]split[a][b];[a]${cut(8, 8 + seconds)}[c];[b]${cut(0, 5)}[d];[c][d]concat=n=2:v=1`;
  const encode = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "22"];
  await run("ffmpeg", ["-v", "error", "-i", video, "-filter_complex", parts, ...encode, visit]);
  await run("ffmpeg", ["-v", "error", "-stream_loop", "60", "-i", visit, "-c", "copy", film]);
  return film;
}

export type Life = {
  child: ChildProcess;
  events: ServiceEvent[];
  /** Its log. */
  said(): string;
  count(kind: ServiceEvent["event"]): number;
  end(how: NodeJS.Signals): Promise<void>;
};

/** One run of the camera: `obscura-camera run --json` and `args`. */
export function startLife(args: readonly string[]): Life {
  const child = spawn(process.execPath, [program, "run", "--json", ...args]);
  let [out, err] = ["", ""];
  const events: ServiceEvent[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    for (let at = out.indexOf("\n"); at >= 0; at = out.indexOf("\n")) {
      events.push(JSON.parse(out.slice(0, at)) as ServiceEvent);
      out = out.slice(at + 1);
    }
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const closed = once(child, "close");
  return {
    ...{ child, events, said: () => err },
    count: (kind) => events.filter(({ event }) => event === kind).length,
    async end(how) {
      if (child.exitCode === null && child.signalCode === null) child.kill(how);
      await closed;
    },
  };
}
