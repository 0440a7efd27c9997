import { randomBytes } from "node:crypto";
import { open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { equal, match, ok } from "uvu/assert";
import { type Canary, type Findings, searchFiles, windowsOf } from "../lib/canary.ts";
import { type CountedFootage, countedFootage } from "../lib/counted.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";
import { keysOf, picturesOf, videoOf } from "./plain.ts";
import { keep, runService, zeroSettings } from "./service.ts";

const machine = await findMachine();
const size = { width: 640, height: 360 };
const fps = 10;
const names = { camera: "canary-doorstep", phone: "canary-pocket-of-owner" };
const zone = "canary-orchard";
const network = "canary-home-wlan";

/** What must be in the camera's memory while it records, or the search proves nothing. */
const inMemory = {
  MJPG: ["jpeg", "luma", "encoder's luma", "small luma", "video", "parameter sets", "thumbnail"],
  YUYV: ["camera's own", "jpeg", "luma", "encoder's luma", "small luma", "video", "thumbnail"],
};
/** The clip key itself is wiped when the other two are derived from it. */
const keysInMemory = ["camera.key", "video key"];
const namesInMemory = ["zone's name", "camera's name"];
/** Of the service's heap, which is not locked as the pictures are: names that the card has too. */
const mayBeSwapped = ["ballast", "identity's name", "phone's name"];

/** What belongs on the card, and in which file alone. */
const places: Record<string, string[]> = {
  "camera.key": ["keys/camera.key"],
  "identity's name": ["keys/identity"],
  "phone's name": ["keys/adoption"],
  "receiving.key": ["keys/receiving.key"],
  "request.key": ["keys/request.key"],
};

type Case = {
  name: string;
  format: "MJPG" | "YUYV";
  modules: string[];
  /** Prepares the swap, from /dev/ubdc where a disk is wanted. */
  swap: string;
  /** Copies what was swapped out to /results/swap. */
  copySwap: string;
};
const every: Case[] = [
  {
    name: "Motion JPEG, swap in compressed memory",
    format: "MJPG",
    modules: ["zram num_devices=1"],
    swap: "echo 128M >/sys/block/zram0/disksize; mkswap /dev/zram0; swapon -p 10 /dev/zram0",
    copySwap: "cat /dev/zram0 >/results/swap",
  },
  {
    name: "YUYV, swap on a disk",
    format: "YUYV",
    modules: [],
    swap: "mkswap /dev/ubdc; swapon /dev/ubdc",
    // As a service it would not have run with such a swap.
    copySwap: `sync; cat /dev/ubdc >/results/swap
sh -c 'SYSTEMD_EXEC_PID=$$ exec "$@"' - ${process.execPath} dist/src/device/main.js run \
  --source /dev/video10 --state /dev/shm/other >/results/refused 2>&1 && exit 1`,
  },
];

const card = "/mnt/card";
/** Everything that a program may write to lies on the card: state, temporary files, home, logs. */
const prepare = (swap: string) => `
echo 100 >/proc/sys/vm/swappiness
${swap}
mkfs.ext4 -q -F /dev/ubda; mkdir -p ${card}; mount /dev/ubda ${card}
for place in /tmp /var/tmp /var/log /var/lib /root /home; do
  mkdir -p ${card}$place; mount --bind ${card}$place $place
done`;
/** Pages that are never looked at again, as a browser's would be: half of each compresses away. */
const press = (mebibytes: number) => `
mount -o remount,size=90% /dev/shm; cp /results/pages /dev/shm/pages
i=0; while [ $i -lt ${mebibytes} ]; do cat /dev/shm/pages; i=$((i+8)); done >/dev/shm/ballast`;
const finish = (copySwap: string) => `
dmesg >/results/kernel.log
${copySwap}
cp -a ${card}/camera /results/state
for place in /tmp /var/tmp /var/log /var/lib /root /home; do umount -l $place; done
cd /; sync; umount -l ${card}; sync
mkfs.ext4 -q -F /dev/ubdb; mkdir -p /mnt/planted; mount /dev/ubdb /mnt/planted; cd /mnt/planted
cp /results/plant raw; base64 -w0 raw >a; { printf x; cat raw; } | base64 >b
{ printf xy; cat raw; } | base64 -w0 | tr '+/' '-_' >c; od -An -v -tx1 raw | tr -d ' \\n' >d
cd /; umount /mnt/planted; sync`;

async function sparse(path: string, mebibytes: number): Promise<string> {
  const file = await open(path, "w");
  await file.truncate(mebibytes << 20);
  await file.close();
  return path;
}

async function filesUnder(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

const count = ({ bytes, hits }: Findings) =>
  `${bytes} B, ${
    Object.entries(hits)
      .map(([kind, times]) => `${times} of ${kind}`)
      .join(", ") || "nothing"
  }`;
const told = (findings: Findings) => `${count(findings)}; ${JSON.stringify(findings.first)}`;

suite("canaries", (test) => {
  if (machine.kind !== "guest") {
    test.skip("everything", machine.kind === "none" ? machine.why : "needs a guest of its own");
    return;
  }
  for (const { name, format, modules, swap, copySwap } of every)
    test(
      `${name}: in the camera's memory, and neither on its card, nor in its swap, nor in a log`,
      async () => {
        await using folder = await quickFolder();
        const footage: CountedFootage = await countedFootage({
          ...{ folder: folder.path, format, ...size, rates: [[0, fps]] },
          scenes: { before: 60, people: 40, after: 80 },
          part: { x: 128, y: 150, width: 512, height: 288 },
        });
        const page = Buffer.concat([randomBytes(2048), Buffer.alloc(2048)]);
        const plant = await readShot(footage, 70);
        const disks = {
          card: await sparse(join(folder.path, "card"), 128),
          planted: await sparse(join(folder.path, "planted"), 16),
          swap: await sparse(join(folder.path, "swap"), 128),
        };
        const run = await runService(
          machine,
          // /tmp is the card's; only /results is the host's.
          { ...footage, pictures: "/results/pictures", playlist: "/results/playlist" },
          {
            settings: settingsOf(format),
            ...{ state: `${card}/camera`, desk: "/dev/shm/desk", outbox: "/results/state/outbox" },
            ...{ rounds: 1, settleMs: 7000, afterMs: 1000, names },
            before: prepare(swap),
            ballast: press(190),
            copyMemoryMs: 2000,
            after: finish(copySwap),
          },
          {
            ...{ memoryMiB: 416, disks: [disks.card, disks.planted, disks.swap], modules },
            files: {
              pages: Buffer.concat(Array.from({ length: 2048 }, () => page)),
              ...{ plant, pictures: await readFile(footage.pictures) },
              playlist: await readFile(footage.playlist),
            },
          },
        );
        await using _ = run.board;
        await keep(run);
        const { results } = run.board;
        // The stillness of the copy may end the clip: then another follows, and no third.
        ok([1, 2].includes(run.clips.length), run.serviceLog);
        equal([run.codes.check, run.codes.verify, run.codes.export], [0, 0, 0]);

        const state = join(results, "state");
        const canaries: Canary[] = [
          ...(await picturesOf(footage, {
            small: { width: 160, height: 90 },
            input: { width: 256, height: 160 },
          })),
          ...(await videoOf(join(results, "phone"), join(state, "outbox"))),
          ...(await keysOf(join(results, "phone"), state)),
          ...Object.entries({
            "camera's name": "canary-kitchen",
            "zone's name": zone,
            "identity's name": names.camera,
            "phone's name": names.phone,
            "network's name": network,
          }).map(([kind, text]) => ({ kind, bytes: Buffer.from(text) })),
        ];
        const inResults = (files: string[]) => files.map((file) => join(results, file));
        const copies = (await readdir(results)).filter((file) => file.startsWith("memory-"));
        await writeFile(join(results, "console.log"), `${run.console}\n`);
        const logs = ["service.log", "events", "kernel.log", "console.log"];
        const ballast = windowsOf("ballast", page);
        const found = {
          memory: await searchFiles(canaries, inResults(copies)),
          planted: await searchFiles(canaries, [disks.planted]),
          card: await searchFiles(canaries, [disks.card]),
          logs: await searchFiles(canaries, inResults(logs)),
          swap: await searchFiles([...canaries, ...ballast], inResults(["swap"])),
        };
        console.log("");
        for (const [place, findings] of Object.entries(found))
          console.log(`measured: canaries, ${name}: ${place}: ${count(findings)}`);

        // The controls: the same search finds them where they are.
        ok(copies.includes("memory-ffmpeg"), `no encoder ran: ${copies}`);
        for (const kind of [...inMemory[format], ...keysInMemory, ...namesInMemory])
          ok(found.memory.hits[kind], `the camera's memory shows no ${kind}`);
        const exported = await searchFiles(canaries, await filesUnder(join(results, "clips")));
        for (const kind of ["video", "parameter sets"])
          ok(exported.hits[kind], `the exported clip shows no ${kind}: ${told(exported)}`);
        const plantedAs = format === "MJPG" ? "jpeg" : "camera's own";
        ok((found.planted.hits[plantedAs] ?? 0) > 0, `what was planted: ${told(found.planted)}`);
        equal(
          Object.keys(found.planted.forms).sort(),
          ["base64", "base64url", "hex", "raw"],
          `what was planted: ${told(found.planted)}`,
        );
        ok((found.swap.hits.ballast ?? 0) > 0, `nothing was swapped out: ${run.report.swapsKiB}`);

        // Nowhere else. What the card must hold lies in its own file, and nowhere besides.
        const inFiles = new Map<string, string[]>();
        for (const file of await filesUnder(state)) {
          if ((await stat(file)).size === 0) continue;
          for (const kind of Object.keys((await searchFiles(canaries, [file])).hits))
            inFiles.set(kind, [...(inFiles.get(kind) ?? []), relative(state, file)]);
        }
        equal(Object.fromEntries([...inFiles].sort()), places);
        const once = Object.fromEntries(Object.keys(places).map((kind) => [kind, 1]));
        equal(Object.fromEntries(Object.entries(found.card.hits).sort()), once, told(found.card));
        equal(found.logs.hits, {}, `the logs: ${told(found.logs)}`);
        ok(run.serviceLog.includes("somebody came"), "the log says what happened");
        const swapped = Object.keys(found.swap.hits).filter((kind) => !mayBeSwapped.includes(kind));
        equal(swapped, [], `the swap: ${told(found.swap)}`);
        if (modules.length > 0) return;
        match(run.serviceLog, /warn memory: pictures could be swapped out to \/dev\/ubdc/);
        match(
          await readFile(join(results, "refused"), "utf8"),
          /swapped out .*swapoff \/dev\/ubdc/s,
        );
      },
      { deadlineMs: 1_700_000 },
    );
});

const settingsOf = (format: "MJPG" | "YUYV") =>
  `${zeroSettings({ ...size, fps, format }).replace(
    "detect: {",
    `detect: { zones: [{ name: ${zone}, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]] }],`,
  )}log: debug\n# ${network}\n`;

async function readShot(footage: CountedFootage, index: number): Promise<Buffer> {
  const shot = footage.shots[index];
  if (!shot) throw new Error(`there is no picture ${index}`);
  const bytes = await readFile(footage.pictures);
  return bytes.subarray(shot.offset, shot.offset + shot.length);
}
