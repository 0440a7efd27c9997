import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { until } from "./mosquitto.ts";

// What tells the house, with an alarm, in a process of its own: what detection would say is written into its
// standard input.

/** The house's own sensor. */
export const door = "zigbee2mqtt/front door";

const module = (path: string) => new URL(`../../src/${path}`, import.meta.url).href;
const program = `
import { createInterface } from "node:readline";
import { openLog } from ${JSON.stringify(module("base/node/log.js"))};
import { systemClock } from ${JSON.stringify(module("base/node/time.js"))};
import { readConfig } from ${JSON.stringify(module("device/config.js"))};
import { openHome } from ${JSON.stringify(module("device/home.js"))};
const [, state, file] = process.argv;
const say = (line) => process.stdout.write(JSON.stringify(line) + "\\n");
const home = await openHome({
  config: await readConfig(file), state, version: "0.1.0", clock: systemClock,
  keyring: { identity: { hash: new Uint8Array(32) } },
  outbox: { kind: "folder", bytes: () => 0 }, limitBytes: 2 ** 30,
  health: {
    now: () => ({ recording: false, watched: false, problem: undefined }),
    fault: (about, text) => text && say({ fault: about, text }),
  },
  uplink: { status: () => [], holds: () => false }, clockTrusted: () => true,
  heat: () => ({ temperature: undefined, throttled: undefined }),
  mode: () => ({ privacy: false, detection: true, threshold: 0.4, profile: "none" }),
  onOrder: async () => say({ order: true }),
  note: async (statement) => say({ note: statement }),
  onProblem: (error) => say({ problem: String(error) }),
  emit: (event) => say({ event }),
  logs: (stage) => openLog(stage, "debug", (line) => say({ log: line })),
});
say({ up: true });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "motion") home.motion();
  else home.incident(JSON.parse(line));
}
await home.close();
`;

type Line = Record<string, unknown> & { note?: { kind: string; what?: string } };
export type Camera = {
  readonly lines: Line[];
  said(): string;
  tell(line: string): void;
  kill(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type Settings = {
  code?: string;
  discovery?: "device" | "component";
  enabled?: boolean;
  localPort?: number;
};

/** A camera called `abc`; the state is below `folder`. */
export async function openCamera(
  folder: string,
  url: string,
  { code = "", discovery = "device", enabled = true, localPort = 0 }: Settings = {},
): Promise<Camera> {
  const file = join(folder, "camera.yaml");
  await writeFile(
    file,
    `mqtt: {url: "${url}", id: abc, discovery: ${discovery}}
local: {port: ${localPort}, host: 127.0.0.1, announce: false}
detect:
  zones: [{name: door, polygon: [[0, 0], [1, 0], [1, 1]]}]
alarm:
  enabled: ${enabled}
  code: "${code}"
  exitS: 1
  entryS: 1
  warnS: 1
  sirenS: 60
  zones: [{zone: door, weight: 45}]
  sensors:
    - {name: front door, topic: ${door}, field: contact, counts: false, weight: 60}
    - {name: hall camera, topic: obscura/hall/person, counts: "ON", weight: {away: 100, home: 0}, instant: true}
`,
  );
  const args = ["--input-type=module", "-e", program, "--", join(folder, "state"), file];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  const lines: Line[] = [];
  let rest = "";
  let err = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts.map((part) => JSON.parse(part)));
  });
  const closed = once(child, "close");
  const said = () => `${lines.map((line) => JSON.stringify(line)).join("\n")}\n${err}`;
  await until("up", () => lines.some(({ up }) => up) || child.exitCode !== null, { told: said });
  assert.is(child.exitCode, null, said());
  return {
    ...{ lines, said },
    tell: (line) => void child.stdin?.write(`${line}\n`),
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
    async [Symbol.asyncDispose]() {
      child.stdin?.end();
      await closed;
      assert.is(err, "", "on standard error");
    },
  };
}
