import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { type Mailbox, openMailbox } from "../../src/protocol/wire/client.ts";
import { encodeDoorList } from "../../src/protocol/wire/door.ts";
import { mailboxOf, type Name } from "../../src/protocol/wire/name.ts";
import { signRequest } from "../../src/protocol/wire/request.ts";
import { startServer } from "./mailbox.ts";
import { type BenchOptions, type Line, line, median, rounded } from "./measure.ts";

const partBytes = 1024 * 1024;
const places = [
  { where: "disk", folder: tmpdir() },
  { where: "tmpfs", folder: "/dev/shm" },
] as const;

/**
 * The relay over loopback, with the real client's HTTP: puts of parts against a bare node:http
 * server that writes each to a file with the same two fsyncs; listings of a thousand names behind a
 * bound while the mailbox grows; resident memory over many puts.
 */
export async function* benchRelay({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  for (const { where, folder } of places) yield await benchPut(where, folder, quick);
  yield* benchList(quick);
  yield await benchMemory(quick);
}

type World = Awaited<ReturnType<typeof openWorld>>;

async function openWorld(parent: string) {
  const folder = await mkdtemp(join(parent, "obscura-bench-"));
  const relay = await startServer({ kind: "relay", folder: join(folder, "relay") });
  const root = ed25519Signer(randomBytes(32));
  const camera = ed25519Signer(randomBytes(32));
  const mailbox = mailboxOf(root.publicKey, nodeSuite);
  const http = openHttp();
  const as = ({ publicKey: key, sign }: typeof root): Mailbox =>
    openMailbox({
      ...{ url: `http://127.0.0.1:${relay.port}`, mailbox, key, sign, suite: nodeSuite },
      ...{ send: http.send, nowMs: Date.now },
    });
  const doors = [{ key: camera.publicKey, rights: new Set(["append", "read"] as const) }];
  const { bytes } = encodeDoorList(
    { root: root.publicKey, version: 1, minimumAgeMs: 0, doors },
    { sign: root.sign, suite: nodeSuite },
  );
  await as(root).put({ name: { kind: "door" }, bytes });
  return {
    ...{ folder, mailbox, camera, http, relay, as },
    id: toHex(mailbox),
    async [Symbol.asyncDispose]() {
      http.close();
      await relay[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

/** An object with its name and its signed head, made before the clock runs. */
function prepare({ mailbox, camera, relay }: World, bytes: Uint8Array, number: number) {
  const sha512 = createHash("sha512").update(bytes).digest();
  const [clip, hash] = [new Uint8Array(16).fill(7), toHex(sha512.subarray(0, 32))];
  const digits = String(number).padStart(10, "0");
  const path = `/${toHex(mailbox)}/part/0000000001/${toHex(clip)}/${digits}/${hash}`;
  const authority = `127.0.0.1:${relay.port}`;
  const headers = signRequest({ method: "PUT", authority, path, query: "?" }, sha512, {
    ...{ sign: camera.sign, key: camera.publicKey, createdMs: Date.now() },
  });
  return { path, headers, body: bytes };
}

async function benchPut(where: string, parent: string, quick: boolean): Promise<Line> {
  await using world = await openWorld(parent);
  await using bare = await startServer({ kind: "bare", folder: join(world.folder, "bare") });
  const [rounds, each] = quick ? [1, 2] : [12, 12];
  const base = { method: "PUT", mostBytes: 4096, timeoutMs: 60_000 };
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round <= rounds; round++) {
    const puts = Array.from({ length: each }, (_, i) =>
      prepare(world, randomBytes(partBytes), round * each + i),
    );
    const time = async (url: string) => {
      const start = performance.now();
      for (const { path, headers, body } of puts) {
        const { status } = await world.http.send({ ...base, url: url + path, headers, body });
        if (status !== 201) throw new Error(`a put was answered ${status}`);
      }
      return performance.now() - start;
    };
    // In turns, so that what else the machine does falls on both; the first round compiles.
    const [relayUrl, bareUrl] = [world.relay, bare].map(({ port }) => `http://127.0.0.1:${port}`);
    const first = round % 2 === 0;
    const bareMs = first ? await time(bareUrl ?? "") : Number.NaN;
    const relayMs = await time(relayUrl ?? "");
    const bareTook = first ? bareMs : await time(bareUrl ?? "");
    if (round === 0) continue;
    ours.push(relayMs);
    theirs.push(bareTook);
  }
  return line("relay", `put of parts of 1 MiB to ${where}, one after the other`, {
    value: rounded(median(theirs.map((ms, i) => ms / (ours[i] ?? Number.NaN)))),
    unit: "speed of the relay over that of the bare server",
    ...(where === "disk" ? { aim: { least: 0.8 } } : {}),
    against:
      "node:http that writes what comes to a file, fsync of file and folder, no check at all",
    relayMsEach: rounded(median(ours) / each, 2),
    bareMsEach: rounded(median(theirs) / each, 2),
    digestMsEach: digestMs(),
    rounds,
  });
}

/** What of it is SHA-512, which no relay can do without. */
function digestMs(): number {
  const bytes = randomBytes(partBytes);
  const times = Array.from({ length: 20 }, () => {
    const start = performance.now();
    createHash("sha512").update(bytes).digest();
    return performance.now() - start;
  });
  return rounded(median(times), 2);
}

async function* benchList(quick: boolean): AsyncGenerator<Line, void> {
  await using world = await openWorld("/dev/shm");
  const counts = quick ? [10, 100] : [10, 1000, 100_000];
  const camera = world.as(world.camera);
  const name = (sequence: number): Name => {
    const hash = createHash("sha512").update(String(sequence)).digest().subarray(0, 32);
    return { kind: "entry", incarnation: 1, sequence, hash: new Uint8Array(hash) };
  };
  let there = 0;
  let smallest = Number.NaN;
  for (const count of counts) {
    await layEntries(world, there, count, name);
    there = count;
    const times: number[] = [];
    for (let i = 0; i < (quick ? 5 : 300); i++) {
      // The last ten, as a phone asks that has seen the others; anywhere in the log costs the same.
      const after = `entry/0000000001/${String(Math.floor(count * 0.9)).padStart(16, "0")}`;
      const start = performance.now();
      const page = await camera.list({ under: "entry/", after, limit: 1 });
      times.push(performance.now() - start);
      if (page.length !== 1) throw new Error(`a page of ${page.length}`);
    }
    const listMs = median(times.slice(times.length / 10));
    if (Number.isNaN(smallest)) smallest = listMs;
    yield line("relay", `list after a bound, of ${count} objects`, {
      value: rounded(listMs / smallest),
      unit: `time of a page over that of ${counts[0]} objects`,
      aim: { most: 2 },
      against: `the same with ${counts[0]} objects`,
      pageMs: rounded(listMs, 2),
    });
  }
}

/** Files as the relay lays them, without its fsyncs: a hundred thousand puts are another's bench. */
async function layEntries(
  { folder, id }: World,
  from: number,
  to: number,
  nameOf: (sequence: number) => Name,
): Promise<void> {
  const root = join(folder, "relay", "mailboxes", id.slice(0, 2), id, "entry", "0000000001");
  for (let sequence = from; sequence < to; sequence++) {
    const digits = String(sequence).padStart(16, "0");
    const name = nameOf(sequence);
    const shard = join(root, digits.slice(0, 12), digits.slice(0, 14));
    if (sequence === from || sequence % 100 === 0) await mkdir(shard, { recursive: true });
    const hash = name.kind === "entry" ? toHex(name.hash) : "";
    const file = await open(join(shard, `${digits}.${hash}`), "w");
    await file.writeFile("sealed");
    await file.close();
  }
}

async function benchMemory(quick: boolean): Promise<Line> {
  await using world = await openWorld("/dev/shm");
  const base = { method: "PUT", mostBytes: 4096, timeoutMs: 60_000 };
  const url = `http://127.0.0.1:${world.relay.port}`;
  const bytes = randomBytes(partBytes);
  const put = async (count: number, from: number) => {
    for (let i = 0; i < count; i++) {
      bytes.writeUInt32BE(from + i);
      const { path, headers, body } = prepare(world, bytes, from + i);
      await world.http.send({ ...base, url: url + path, headers, body });
      if (i % 50 === 49) await world.as(world.camera).list({ under: "part/" });
    }
  };
  const [warm, many] = quick ? [5, 20] : [200, 2000];
  await put(warm, 0);
  const before = await world.relay.residentMB();
  await put(many, warm);
  const after = await world.relay.residentMB();
  return line("relay", `resident memory after ${many} more parts of 1 MiB`, {
    value: rounded(after - before, 1),
    unit: "MB more than before, of the relay alone",
    aim: { most: 32 },
    against: `the same relay after ${warm} parts`,
    residentMB: rounded(after, 0),
  });
}
