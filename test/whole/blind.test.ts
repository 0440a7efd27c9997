import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { equal, is, ok } from "uvu/assert";
import { composeFootage } from "../../scripts/footage.ts";
import { freePort } from "../../scripts/port.ts";
import { type Canary, type Findings, searchFiles, windowsOf } from "../lib/canary.ts";
import { run, whyNobody } from "../lib/footage.ts";
import { suite } from "../lib/suite.ts";
import { eventually, isUp } from "../lib/trio.ts";
import { quickFolder } from "../lib/world.ts";
import { copyMemory } from "../system/guest/memory.ts";
import { keysOf, videoOf } from "../system/plain.ts";

const dist = new URL("../../", import.meta.url).pathname;
const programs = {
  camera: join(dist, "src/device/main.js"),
  phone: join(dist, "src/phone/cli.js"),
  relay: join(dist, "src/relay/main.js"),
};
const names = {
  "camera's name": "canary-kitchen-window",
  "identity's name": "canary-doorstep",
  "phone's name": "canary-pocket-of-owner",
  "zone's name": "canary-orchard",
};
const limits = { deadlineMs: 400_000 };
const luma = { width: 768, height: 576 };

/** Somebody walks in after four seconds and stays: enough for one clip. */
async function prepare(folder: string): Promise<string> {
  const { video } = await composeFootage();
  const film = join(folder, "film.mp4");
  const trim = ["-vf", "trim=6:22,setpts=PTS-STARTPTS", "-c:v", "libx264", "-preset", "ultrafast"];
  await run("ffmpeg", ["-v", "error", "-i", video, ...trim, "-crf", "20", film]);
  return film;
}

/** Everything that goes to and fro, as somebody on the line sees it, in one file. */
async function openTap(to: number, file: string) {
  const out = createWriteStream(file);
  const server = createServer((here) => {
    const there = connect(to, "127.0.0.1");
    for (const [from, into] of [
      [here, there],
      [there, here],
    ] as const) {
      from.on("data", (bytes) => {
        out.write(bytes);
        into.write(bytes);
      });
      from.on("end", () => into.end()).on("error", () => into.destroy());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = async () => {
    server.close();
    await new Promise<void>((resolve) => out.end(resolve));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

const call = async (program: keyof typeof programs, ...args: string[]) => {
  const { stdout } = await promisify(execFile)(process.execPath, [programs[program], ...args]);
  return stdout;
};

async function filesUnder(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = all.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return files.filter((_, i) => (sizes[i] ?? 0) > 0);
}

const printed = ({ bytes, hits }: Findings) =>
  `${(bytes / 1e6).toFixed(1)} MB, ${
    Object.entries(hits)
      .map(([kind, times]) => `${times} of ${kind}`)
      .join(", ") || "nothing"
  }`;

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

const why =
  process.getuid?.() === 0
    ? await whyNobody()
    : "not root: another process's memory cannot be read";

suite("a blind relay", (test) => {
  test(
    "what the camera knows in the clear is in its memory, and neither in the relay's folder, memory, log and metrics, nor on the line",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const film = await prepare(folder.path);
      const [port, metrics] = [await freePort(), await freePort()];
      const tap = await openTap(port, at("traffic"));
      const url = `http://127.0.0.1:${tap.port}`;
      await writeFile(
        at("relay.yaml"),
        `version: 1
listen: { host: 127.0.0.1, port: ${port} }
authority: ["127.0.0.1:${tap.port}"]
metrics: { port: ${metrics} }
quota: { headroomMiB: 0 }
log: debug
`,
      );
      await writeFile(
        at("camera.yaml"),
        `version: 1
name: ${names["camera's name"]}
detect: { zones: [{ name: ${names["zone's name"]}, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]] }], separateVisitS: 3 }
record: { postRollS: 2 }
log: debug
`,
      );
      const relayLog: Buffer[] = [];
      const relay = spawn(process.execPath, [
        ...[programs.relay, "--config", at("relay.yaml"), "--folder", at("relay")],
      ]);
      for (const stream of [relay.stdout, relay.stderr]) {
        stream.on("data", (bytes: Buffer) => void relayLog.push(bytes));
      }
      try {
        await eventually("the relay listens", () =>
          isUp.test(Buffer.concat(relayLog).toString()) ? true : undefined,
        );
        const state = at("camera");
        const home = at("home");
        const phone = (...args: string[]) => call("phone", "--home", home, ...args);
        await mkdir(at("desk"));
        await call(
          "camera",
          "identity",
          "--state",
          state,
          "--name",
          names["identity's name"],
          "-o",
          at("desk/c"),
        );
        await phone(
          "adopt",
          at("desk/c"),
          "-o",
          at("desk/o"),
          "--relay",
          url,
          "--phone",
          names["phone's name"],
          "--keys",
          "20",
        );
        await call("camera", "adopt", "--state", state, at("desk/o"));
        const camera = spawn(process.execPath, [
          ...[programs.camera, "run", "--source", film, "--state", state, "--json"],
          ...["--config", at("camera.yaml")],
        ]);
        let said = "";
        let complaint = "";
        camera.stderr.setEncoding("utf8").on("data", (text: string) => {
          complaint += text;
        });
        let copies = 0;
        let copying: Promise<void> = Promise.resolve();
        camera.stdout.setEncoding("utf8").on("data", (text: string) => {
          said += text;
          const parts = said.split('"event":"part"').length - 1;
          // At the beginning of the clip, and when some of its video was sealed and some was not.
          if (parts < 1 || copies > 1 || (copies === 1 && parts < 4)) return;
          copies += 1;
          // It stands still meanwhile: it is not to end before.
          camera.kill("SIGSTOP");
          copying = copying.then(async () => {
            camera.kill("SIGSTOP");
            await copyMemory(camera.pid ?? 0, at("camera-memory"));
            camera.kill("SIGCONT");
          });
        });
        const [code] = await once(camera, "close");
        await copying;
        is(code, 0, complaint);
        // What the end of the run left behind goes with the next start; the phone reads what came.
        const relayed = said.split('"event":"relayed"').length - 1;
        ok(relayed > 0, `nothing was relayed: ${complaint.slice(-2000)}`);
        const clips = JSON.parse(await phone("clips", "--json"));
        ok(clips.clips.length > 0, "the phone sees no clip");
        await phone("thumbnail", "--all", "-o", `${at("pictures")}/`).catch(() => "");
        await writeFile(
          at("metrics"),
          await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text(),
        );
        await copyMemory(relay.pid ?? 0, at("relay-memory"));
        await sleep(200);
        await end(relay);
        await tap.close();
        await writeFile(at("relay.log"), Buffer.concat(relayLog));

        const planes = await run("ffmpeg", [
          ...["-v", "error", "-i", film, "-vf", "extractplanes=y", "-f", "rawvideo", "pipe:1"],
        ]);
        const canaries: Canary[] = [
          ...windowsOf("luma", planes, { stepBytes: 60_013 }),
          ...(await videoOf(home, join(state, "outbox"))),
          ...(await keysOf(home, state)),
          ...Object.entries(names).map(([kind, text]) => ({ kind, bytes: Buffer.from(text) })),
        ];
        is(planes.length % (luma.width * luma.height), 0);
        const kinds = [...new Set(canaries.map(({ kind }) => kind))];
        for (const kind of ["luma", "video", "thumbnail", "clip key", "log's key"])
          ok(kinds.includes(kind), `there is no ${kind} to look for: ${kinds}`);
        const places = {
          "the camera's memory": [at("camera-memory")],
          "the relay's folder": await filesUnder(at("relay")),
          "the relay's memory": [at("relay-memory")],
          "the traffic": [at("traffic")],
          "the relay's log": [at("relay.log")],
          "the relay's metrics": [at("metrics")],
        };
        const found: Record<string, Findings> = {};
        console.log("");
        for (const [place, files] of Object.entries(places)) {
          const findings = await searchFiles(canaries, files);
          found[place] = findings;
          console.log(`measured: canaries (${canaries.length}), ${place}: ${printed(findings)}`);
        }
        const { "the camera's memory": control, ...others } = found;
        for (const kind of ["video", "camera.key", "camera's name", "zone's name"])
          ok((control?.hits[kind] ?? 0) > 0, `the camera's memory shows no ${kind}`);
        for (const [place, { hits, first, bytes }] of Object.entries(others)) {
          ok(bytes > 20, `${place} is empty`);
          equal(hits, {}, `${place}: ${JSON.stringify(first)}`);
        }
        // What was looked through is what the clips went through.
        const traffic = await readFile(at("traffic"));
        const sent = found["the relay's folder"]?.bytes ?? 0;
        ok(sent > 50_000, `${sent} bytes at the relay`);
        ok(traffic.includes("PUT /") && traffic.length > sent, `${traffic.length} bytes`);
      } finally {
        await end(relay);
      }
    },
    { ...limits, skip: why },
  );
});
