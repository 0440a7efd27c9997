import { createHash } from "node:crypto";
import { type IncomingHttpHeaders, request as requestHttp } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import type { Fault } from "../../src/base/node/durable.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { encodeBeacon } from "../../src/protocol/wire/beacon.ts";
import { type Mailbox, openMailbox } from "../../src/protocol/wire/client.ts";
import { type Door, encodeDoorList } from "../../src/protocol/wire/door.ts";
import { type Ask, printAsk } from "../../src/protocol/wire/mailbox.ts";
import { mailboxOf, type Name } from "../../src/protocol/wire/name.ts";
import { signRequest } from "../../src/protocol/wire/request.ts";
import { digest } from "../../src/protocol/wire/signature.ts";
import { type Config, readConfig } from "../../src/relay/config.ts";
import { openRelay, type Relay, type RelayOptions } from "../../src/relay/relay.ts";
import { quickFolder } from "./world.ts";

export type Signer = ReturnType<typeof ed25519Signer>;
const signer = (seed: number): Signer => ed25519Signer(new Uint8Array(32).fill(seed));

/** Everybody who has a key, and a stranger. `rest` share one mailbox. */
export const who = {
  root: signer(0x22),
  camera: signer(0x11),
  owner: signer(0x33),
  viewer: signer(0x34),
  guest: signer(0x35),
  stranger: signer(0x36),
};
export type Who = keyof typeof who;
export const mailbox: Uint8Array = mailboxOf(who.root.publicKey, nodeSuite);
/** The clip that the guest may see. */
export const clip: Uint8Array = new Uint8Array(16).fill(0xc1);

export function doorList({
  version = 1,
  minimumAgeMs = 0,
  without = [],
  untilMs = Date.now() + 3_600_000,
  root = who.root,
}: {
  version?: number;
  minimumAgeMs?: number;
  without?: Who[];
  untilMs?: number;
  root?: Signer;
} = {}): Uint8Array {
  const all: [Who, Omit<Door & { rights: unknown }, "key"> | object][] = [
    ["camera", { rights: new Set(["append"]) }],
    ["owner", { rights: new Set(["read", "box", "delete"]) }],
    ["viewer", { rights: new Set(["read", "box"]) }],
    ["guest", { share: { clip, untilMs } }],
  ];
  const doors = all
    .filter(([name]) => !without.includes(name))
    .map(([name, rest]) => ({ key: who[name].publicKey, ...rest }) as Door)
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const list = { root: root.publicKey, version, minimumAgeMs, doors };
  return encodeDoorList(list, { sign: root.sign, suite: nodeSuite }).bytes;
}

export function beacon(version: number, by: Signer = who.camera, incarnation = 1): Uint8Array {
  const head = { sequence: 1, hash: new Uint8Array(32).fill(1) };
  return encodeBeacon(
    {
      ...{ camera: by.publicKey, version, incarnation, head },
      ...{ uptimeMs: 1, wallMs: 1, trusted: true },
    },
    { sign: by.sign, suite: nodeSuite },
  ).bytes;
}

export type Put = { name: Name; bytes: Uint8Array };
/** Objects as a relay sees them: bytes under a name that ends in their hash. */
export function part(number: number, bytes: Uint8Array, of: Uint8Array = clip): Put {
  const hash = digest(nodeSuite, bytes);
  return { name: { kind: "part", incarnation: 1, clip: of, number, hash }, bytes };
}
export function entry(sequence: number, bytes = Buffer.from(`entry ${sequence}`)): Put {
  const hash = digest(nodeSuite, bytes);
  return { name: { kind: "entry", incarnation: 1, sequence, hash }, bytes: new Uint8Array(bytes) };
}
export function box(by: Who, sequence: number): Put {
  const bytes = new Uint8Array(Buffer.from(`box ${by} ${sequence}`));
  const hash = digest(nodeSuite, bytes);
  return { name: { kind: "box", writer: who[by].publicKey, sequence, hash }, bytes };
}

export const sha512 = (bytes: Uint8Array | string): Uint8Array =>
  new Uint8Array(createHash("sha512").update(bytes).digest());

/** A signed request's parts, for tests that send it in a way of their own. */
export function signed(
  by: Who,
  method: string,
  ask: Ask,
  authority: string,
  {
    body = new Uint8Array(),
    createdMs = Date.now(),
    to = mailbox,
    prefix = "",
  }: { body?: Uint8Array; createdMs?: number; to?: Uint8Array; prefix?: string } = {},
): { path: string; headers: Record<string, string> } {
  const { path, query } = printAsk(to, ask);
  const target = { method, authority, path: prefix + path, query };
  const { sign, publicKey: key } = who[by];
  const headers = signRequest(target, sha512(body), { sign, key, createdMs });
  return {
    path: prefix + path + (query === "?" ? "" : query),
    headers: { host: authority, ...headers },
  };
}

export type Reply = { status: number; headers: IncomingHttpHeaders; body: Buffer; stage?: string };

export function exchange(
  port: number,
  {
    method,
    path,
    headers,
    body,
  }: { method: string; path: string; headers: Record<string, string>; body?: Uint8Array },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = requestHttp(
      { host: "127.0.0.1", port, method, path, headers, agent: false },
      async (response) => {
        const pieces: Buffer[] = [];
        try {
          for await (const piece of response) pieces.push(piece);
        } catch (error) {
          return reject(error);
        }
        const whole = Buffer.concat(pieces);
        const isProblem = response.headers["content-type"] === "application/problem+json";
        const stage = isProblem ? JSON.parse(whole.toString()).stage : undefined;
        const { statusCode: status = 0 } = response;
        resolve({ status, headers: response.headers, body: whole, ...(stage ? { stage } : {}) });
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

export type RelayWorld = AsyncDisposable & {
  relay: Relay;
  folder: string;
  authority: string;
  lines: string[];
  /** The mailbox through the real client, over real HTTP. */
  as(by: Who, nowMs?: () => number): Mailbox;
  ask(
    by: Who,
    method: string,
    ask: Ask,
    options?: { body?: Uint8Array; createdMs?: number },
  ): Promise<Reply>;
  /** Ends this relay and starts another over the same folder. */
  restart(): Promise<void>;
};

/** A relay of this process over a folder of its own; with the usual door list unless `isEmpty`. */
export async function relayWorld(
  options: {
    settings?: string;
    isEmpty?: boolean;
    minimumAgeMs?: number;
    clock?: Clock;
    fault?: Fault;
    folder?: string;
    periods?: RelayOptions["periods"];
    outside?: RelayOptions["outside"];
  } = {},
): Promise<RelayWorld> {
  const home = options.folder === undefined ? await quickFolder() : undefined;
  const folder = options.folder ?? home?.path ?? "";
  const config = await settingsOf(options.settings);
  const lines: string[] = [];
  const start = () =>
    openRelay({
      ...{ folder, config, clock: options.clock ?? systemClock, fault: options.fault },
      log: openLog("relay", "debug", (line) => lines.push(line)),
      ...(options.periods ? { periods: options.periods } : {}),
      ...(options.outside ? { outside: options.outside } : {}),
    });
  let relay = await start();
  const http = openHttp();
  const world: RelayWorld = {
    get relay() {
      return relay;
    },
    folder,
    lines,
    get authority() {
      return `127.0.0.1:${relay.port}`;
    },
    as: (by, nowMs = () => (options.clock ?? systemClock).wallMs()) =>
      openMailbox({
        ...{ url: `http://${world.authority}${config.prefix}`, mailbox, nowMs, send: http.send },
        ...{ key: who[by].publicKey, sign: who[by].sign, suite: nodeSuite },
      }),
    ask: (by, method, ask, more = {}) =>
      exchange(relay.port, {
        ...{ method, ...signed(by, method, ask, world.authority, more) },
        ...(more.body ? { body: more.body } : {}),
      }),
    async restart() {
      await relay.close();
      relay = await start();
    },
    async [Symbol.asyncDispose]() {
      http.close();
      await relay.close();
      await home?.[Symbol.asyncDispose]();
    },
  };
  if (!options.isEmpty) {
    const { minimumAgeMs = 0 } = options;
    await world.as("root").put({ name: { kind: "door" }, bytes: doorList({ minimumAgeMs }) });
  }
  return world;
}

/** Settings for tests: any free port, no metrics, and what the test says. */
export async function settingsOf(text = ""): Promise<Config> {
  const { writeFile } = await import("node:fs/promises");
  await using folder = await quickFolder();
  const file = `${folder.path}/relay.yaml`;
  await writeFile(file, text);
  const config = await readConfig(file);
  config.listen = { host: "127.0.0.1", port: config.listen.port === 8470 ? 0 : config.listen.port };
  if (!text.includes("metrics:")) config.metrics.port = 0;
  if (!text.includes("headroomMiB")) config.quota.headroomMiB = 0;
  return config;
}

/**
 * Sends bytes as they are and gives everything that comes back until the connection ends, or `endMs` after
 * so many answers: long where it is to end.
 */
export async function speak(
  world: RelayWorld,
  pieces: (string | Uint8Array)[],
  {
    endMs = 400,
    half = false,
    answers = 1,
  }: { endMs?: number; half?: boolean; answers?: number } = {},
): Promise<{ text: string; wasClosed: boolean }> {
  const socket = connect(world.relay.port, "127.0.0.1");
  let text = "";
  let wasClosed = false;
  socket.setEncoding("latin1").on("data", (data: string) => {
    text += data;
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      wasClosed = true;
      resolve();
    });
  });
  const answered = new Promise<void>((resolve) => {
    socket.on("data", () => {
      if (statuses(text).length >= answers) resolve();
    });
  });
  for (const piece of pieces) socket.write(piece);
  if (half) socket.end();
  await Promise.race([closed, answered, sleep(30_000, undefined, { ref: false })]);
  await Promise.race([closed, sleep(endMs, undefined, { ref: false })]);
  const outcome = { text, wasClosed };
  socket.destroy();
  return outcome;
}

/** A signed request as text, with fields added, left out or replaced. */
export function head(
  world: RelayWorld,
  by: Who,
  method: string,
  ask: Parameters<typeof signed>[2],
  {
    body = new Uint8Array(),
    fields = {},
    more = [],
  }: { body?: Uint8Array; fields?: Record<string, string | undefined>; more?: string[] } = {},
): string {
  const { path, headers } = signed(by, method, ask, world.authority, { body });
  const length = method === "PUT" ? { "content-length": String(body.length) } : {};
  const all = Object.entries({ ...headers, ...length, ...fields });
  const lines = all.filter(([, value]) => value !== undefined).map((field) => field.join(": "));
  return `${[`${method} ${path} HTTP/1.1`, ...lines, ...more].join("\r\n")}\r\n\r\n`;
}

/** Until what was asked before this has been heard: a relay hears one request after the other. */
export async function heardBy({ list }: Pick<Mailbox, "list">): Promise<void> {
  for (let i = 0; i < 20; i++) await list({ limit: 1 });
}

/** Of every answer in what came back. */
export const statuses = (text: string) =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => Number(m[1]));
