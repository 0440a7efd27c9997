import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { composeFootage } from "../../scripts/footage.ts";
import type { Mosquitto } from "../../scripts/mosquitto.ts";
import { alarmEvent } from "../../src/device/mqtt/alarms.ts";
import { commandTopic } from "../../src/device/mqtt/commands.ts";
import { announcedAt } from "../../src/device/mqtt/discovery.ts";
import { type Condition, event } from "../../src/device/mqtt/topics.ts";
import { orderNames } from "../../src/device/order.ts";
import { run } from "./footage.ts";
import { freePort, type Listener, listen, makeUsers, startMosquitto, until } from "./mosquitto.ts";
import { type RelayWorld, relayWorld } from "./relay.ts";
import type { Away } from "./stream.ts";
import { expectedStates } from "./topics.ts";
import { type Life, startLife, visitFilm } from "./visitor.ts";

// A camera, its relay, its owner's phone, a broker that lets nobody do more than he must, and a house that
// hears everything: as the programs that they are.

const dist = new URL("../../", import.meta.url).pathname;
const programs = {
  camera: join(dist, "src/device/main.js"),
  phone: join(dist, "src/phone/cli.js"),
};
const execute = promisify(execFile);
const patienceMs = 300_000;

export const id = "porch";
export const base = `obscura/${id}`;
export const prefix = "homeassistant";
export const zones = ["all", "left"];
export const door = "zigbee2mqtt/front door";
export const code = "0815";
const birth = `${prefix}/status`;
const secret = "never-in-a-log-4711";

export type Household = {
  readonly folder: string;
  readonly house: Listener;
  readonly broker: Mosquitto;
  readonly aways: Away[];
  readonly lives: readonly Life[];
  /** How often each thing was asked for by MQTT. */
  readonly asked: Map<string, number>;
  readonly codeFile: string;
  state(name: string): string | undefined;
  ask(name: string, payload: string): Promise<void>;
  /** What the house itself says on a topic of its own. */
  tell(topic: string, payload: string): Promise<void>;
  /** Where the messages are now, to wait for what comes behind. */
  here(): number;
  wait(what: string, isSo: () => boolean): Promise<void>;
  /** Waits until a state said this since `from`. */
  says(name: string, value: string, from: number): Promise<void>;
  /** Waits until a state says this, or has said it since `from`: it may be over when the machine is slow. */
  was(name: string, value: string, from: number): Promise<void>;
  /** Types of a stream's messages since `from`. */
  types(topic: string, from: number): string[];
  phone(...args: string[]): Promise<string>;
  startCamera(): void;
  endCamera(how: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Nobody is answered by the relay from now on, or somebody again. */
  setRelay(isThere: boolean): Promise<void>;
  /** Does what takes somebody away, and waits until all is said again. */
  disturb(away: Pick<Away, "what" | "ends" | "isLong">, act: () => Promise<void>): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Rights of the camera at the broker: each topic of the map by its name, and nothing else. */
function rightsOf(conditions: readonly Condition[]): string[] {
  const states = expectedStates(zones, conditions).map((name) => `readwrite ${base}/${name}`);
  const letters = [event.topic, alarmEvent].map((name) => `write ${base}/${name}`);
  const commands = orderNames.map((name) => `read ${base}/${commandTopic(name)}`);
  const [whole, parts] = announcedAt(prefix, id);
  const shown = [`readwrite ${whole}`, `read ${parts}`];
  return [...states, ...letters, ...commands, ...shown, `read ${birth}`, `read ${door}`];
}

/** The composed footage over and over, longer than any camera here runs. */
async function longFilm(folder: string, minutes: number): Promise<string> {
  const { video } = await composeFootage();
  const film = join(folder, "film.mp4");
  const times = String(Math.ceil((minutes * 60) / 135) + 1);
  await run("ffmpeg", ["-v", "error", "-stream_loop", times, "-i", video, "-c", "copy", film]);
  return film;
}

/** @param minutes for how long somebody comes and goes; less than ten is a film of short visits */
export async function openHousehold(
  folder: string,
  { minutes, conditions }: { minutes: number; conditions: readonly Condition[] },
): Promise<Household> {
  const at = (name: string) => join(folder, name);
  const call = async (program: keyof typeof programs, ...args: string[]) =>
    (await execute(process.execPath, [programs[program], ...args])).stdout;
  const film = minutes < 10 ? await visitFilm(folder) : await longFilm(folder, minutes + 30);
  const relayPort = await freePort();
  const openRelay = () =>
    relayWorld({
      ...{ isEmpty: true, folder: at("relay") },
      settings: `listen: {host: 127.0.0.1, port: ${relayPort}}`,
    });
  await execute("mkdir", [at("relay")]);
  let relay: RelayWorld | undefined = await openRelay();
  const phone = ["--home", at("home")];
  await call("camera", "identity", "--state", at("state"), "-o", at("c"));
  const url = `http://127.0.0.1:${relayPort}`;
  await call("phone", ...phone, "adopt", at("c"), "-o", at("o"), "--relay", url, "--keys", "20");
  await call("camera", "adopt", "--state", at("state"), at("o"));

  const lines = await makeUsers(folder, {
    [id]: { password: secret, rights: rightsOf(conditions) },
    house: { password: "house", rights: ["readwrite #"] },
  });
  await writeFile(at("login"), `${id}\n${secret}\n`, { mode: 0o600 });
  await writeFile(at("code"), `${code}\n`, { mode: 0o600 });
  await writeFile(
    at("camera.yaml"),
    `version: 1
detect:
  separateVisitS: 2
  zones:
    - {name: all, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}
    - {name: left, polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
record: {preRollS: 1, postRollS: 1}
profiles: {dusk: {detect.threshold: 0.45}}
mqtt: {id: ${id}, credentials: ${at("login")}, commands: [privacy, detection, threshold, profile, record]}
alarm:
  enabled: true
  code: ${at("code")}
  exitS: 1
  entryS: 2
  warnS: 2
  sirenS: 5
  windowS: 30
  sliceS: 3
  zones: [{zone: all, weight: {away: 10, home: 0}}]
  motion: {away: 2, home: 0}
  sensors:
    - {name: front door, topic: ${door}, field: contact, counts: false, weight: 45}
`,
  );
  const broker = await startMosquitto(folder, { lines, isForgetful: false });
  // A session that outlasts each of the broker's ends, and hears whether a message is retained.
  const house = await listen(broker.url, {
    ...{ protocolVersion: 5, clean: false, clientId: "house", username: "house" },
    ...{ password: "house", properties: { sessionExpiryInterval: 86_400 } },
  });
  const lives: Life[] = [];
  const aways: Away[] = [];
  const asked = new Map<string, number>();
  const told = () =>
    [
      lives.at(-1)?.said().slice(-3000),
      ...house.messages.slice(-40).map(({ topic, payload }) => `${topic} ${payload}`.slice(0, 200)),
    ].join("\n");
  const wait = (what: string, isSo: () => boolean) => until(what, isSo, { patienceMs, told });
  const since = (name: string, from: number) =>
    house.messages
      .slice(from)
      .filter(({ topic }) => topic === `${base}/${name}`)
      .map(({ payload }) => payload.toString());
  const isComplete = (from: number) => {
    const topics = new Set(house.messages.slice(from).map(({ topic }) => topic));
    const all = [...expectedStates(zones, conditions).map((name) => `${base}/${name}`)];
    return [...all, ...announcedAt(prefix, id).slice(0, 1)].every((topic) => topics.has(topic));
  };
  const tell = async (topic: string, payload: string) => {
    await wait("the house is connected", house.isUp);
    await house.publish(topic, payload);
  };
  return {
    ...{ folder, house, broker, aways, lives, asked, wait, tell, codeFile: at("code") },
    state: (name) => house.at(`${base}/${name}`),
    async ask(name, payload) {
      asked.set(name, (asked.get(name) ?? 0) + 1);
      await tell(`${base}/${name}/set`, payload);
    },
    here: () => house.messages.length,
    says: (name, value, from) =>
      wait(`${name} says ${value}`, () => since(name, from).includes(value)),
    async was(name, value, from) {
      const before = house.messages.slice(0, from);
      const last = before.findLast(({ topic }) => topic === `${base}/${name}`)?.payload.toString();
      const isSo = () => last === value || since(name, from).includes(value);
      await wait(`${name} was ${value}`, isSo);
    },
    types: (topic, from) => since(topic, from).map((text) => JSON.parse(text).event_type),
    phone: (...args) => call("phone", ...phone, ...args),
    startCamera() {
      const args = ["--source", film, "--state", at("state"), "--config", at("camera.yaml")];
      lives.push(startLife([...args, "--mqtt", broker.url]));
    },
    endCamera: async (how) => await lives.at(-1)?.end(how),
    async setRelay(isThere) {
      if (isThere) relay ??= await openRelay();
      else {
        await relay?.[Symbol.asyncDispose]();
        relay = undefined;
      }
    },
    async disturb(away, act) {
      const fromMs = performance.now();
      const from = house.messages.length;
      await act();
      await wait(`all is said again after ${away.what}`, () => isComplete(from) && house.isUp());
      const { length } = house.messages;
      // What was held back while nobody heard comes before what is new.
      const isOnline = () => house.at(`${base}/availability`) === "online";
      await wait(`online after ${away.what}`, isOnline);
      aways.push({ ...away, fromMs, toMs: performance.now() });
      const isNew = () =>
        since(event.topic, length).some((text) => JSON.parse(text).event_type === "new");
      await wait(`the next visit after ${away.what}`, isNew);
    },
    async [Symbol.asyncDispose]() {
      for (const life of lives) await life.end("SIGKILL");
      await house[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
      await relay?.[Symbol.asyncDispose]();
    },
  };
}
