import { request } from "node:http";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { type LocalOptions, openLocal } from "../../src/device/local/local.ts";
import { makeToken } from "../../src/device/local/token.ts";
import type { AlarmEvent } from "../../src/device/mqtt/mqtt.ts";
import { openHoused } from "./housed.ts";
import { until } from "./mosquitto.ts";
import { quickFolder } from "./world.ts";

export type Reply = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
};
export type Call = {
  method?: string;
  headers?: Record<string, string | string[]>;
  body?: Uint8Array;
  /** Another of this machine's addresses, 127.0.0.2 and on. */
  from?: string;
};

/** One request over a connection of its own. Rejects when the connection ends without an answer. */
export function call(port: number, path: string, asked: Call = {}): Promise<Reply> {
  const { method = "GET", headers = {}, body, from } = asked;
  return new Promise((resolve, reject) => {
    const sent = request({
      ...{ host: "127.0.0.1", port, path, method, headers, agent: false },
      ...(from === undefined ? {} : { localAddress: from }),
    });
    sent.on("error", reject);
    sent.on("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0, headers: told } = response;
        resolve({ status: statusCode, headers: told, body: Buffer.concat(pieces) });
      });
    });
    sent.end(body);
  });
}

/** Everything that a test may ask at once, where limits are not what it is about. */
const endless = { perSecond: 1e6, burst: 1e6 };
export const generous = {
  arrivals: { ofAddress: endless, ofAll: endless },
  requests: { ofAddress: endless, ofAll: endless },
  connectionsOfAddress: 1000,
} as const;

/** Where it is not about who is slow, a slow machine is not hung up on. */
export const unhurried = {
  ...{ headMs: 120_000, requestMs: 120_000, answerMs: 120_000, commandMs: 120_000 },
  idleMs: 120_000,
} as const;

/** The interface over the stage that works states out, without a broker, as home.ts joins them. */
export async function openLocalWorld(
  more: Partial<LocalOptions> & { zones?: readonly { name: string }[] } = {},
) {
  const folder = await quickFolder();
  const faults: (string | undefined)[] = [];
  const problems: unknown[] = [];
  const pictures = { ageS: 0, isStale: false };
  let log = "";
  let port = 0;
  const { zones = [{ name: "door" }], ...rest } = more;
  const local = openLocal({
    settings: {
      ...{ port: 0, host: "", names: ["camera.home"], certificate: "", key: "", announce: false },
      ...more.settings,
    },
    ...{ state: folder.path, name: () => "Porch", pictures: () => pictures, clock: systemClock },
    onFault: (text) => faults.push(text),
    onProblem: (error) => problems.push(error),
    onOpen: (at) => {
      port = at;
    },
    log: openLog("local", "debug", (line) => {
      log += line;
    }),
    ...rest,
    bounds: { ...generous, ...more.bounds },
  });
  const house = openHoused("", {}, { zones, onState: local.put, onEvent: local.visit });
  await until("listening", () => port !== 0 || faults.length > 0, { told: () => log });
  const token = await makeToken(folder.path, "test");
  const good = { authorization: `Bearer ${token}` };
  return {
    ...{ local, house, port, token, good, faults, problems, pictures, state: folder.path },
    log: () => log,
    ask: (path: string, asked: Call = {}) => call(port, path, asked),
    /** With the token. */
    read: (path: string, asked: Call = {}) =>
      call(port, path, { ...asked, headers: { ...good, ...asked.headers } }),
    async [Symbol.asyncDispose]() {
      await house[Symbol.asyncDispose]();
      await local.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** One message of what an alarm did. */
export const deedOf = (number: number, more: Partial<AlarmEvent> = {}): AlarmEvent => ({
  ...{ event_type: "armed", run: "0000000a", number, at: "2026-11-23T12:00:00.000Z" },
  ...{ clock_trusted: true, state: "armed_home", mode: "home", by: "command", score: 0 },
  ...{ why: "asked for", contributions: [], others: 0, ...more },
});

/** What takes commands, of a camera that knows nobody's phone. */
export const lentOf = (take: (box: Uint8Array) => Promise<boolean>) => ({
  ...{ take, role: () => undefined },
});

export type Told = { event: string; id: string | undefined; data: unknown };

/** Reads the stream as it comes. */
export function listen(port: number, headers: Record<string, string>, from?: string) {
  const told: Told[] = [];
  let rest = "";
  const state = { status: 0, isOver: false, comments: 0 };
  const sent = request({
    ...{ host: "127.0.0.1", port, path: "/v1/stream", headers, agent: false },
    ...(from === undefined ? {} : { localAddress: from }),
  });
  const over = () => {
    state.isOver = true;
  };
  sent.on("error", over);
  sent.on("close", over);
  sent.on("response", (response) => {
    state.status = response.statusCode ?? 0;
    response.setEncoding("utf8");
    response.on("error", over);
    response.on("end", over);
    response.on("data", (text: string) => {
      rest += text;
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
        const [event, data] = [field("event"), field("data")];
        if (event !== undefined && data !== undefined) {
          told.push({ event, id: field("id"), data: JSON.parse(data) });
        } else if (block.startsWith(":")) state.comments += 1;
      }
    });
  });
  sent.end();
  return Object.assign(state, {
    told,
    of: (event: string) => told.filter((one) => one.event === event),
    close: () => void sent.destroy(),
  });
}
