import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import type { VisitEvent } from "../../../src/device/mqtt/visits.ts";
import { whyNobody } from "../../lib/footage.ts";
import {
  type Listener,
  listen,
  makeUsers,
  startMosquitto,
  until,
  whyNoBroker,
} from "../../lib/mosquitto.ts";
import { relayWorld } from "../../lib/relay.ts";
import { suite } from "../../lib/suite.ts";
import { expectedStates, faultOf } from "../../lib/topics.ts";
import { visitFilm } from "../../lib/visitor.ts";
import { quickFolder } from "../../lib/world.ts";

const dist = new URL("../../../", import.meta.url).pathname;
const camera = join(dist, "src/device/main.js");
const phone = join(dist, "src/phone/cli.js");
const execute = promisify(execFile);
const call = (...args: string[]) => execute(process.execPath, args);
const patienceMs = 150_000;

const why = (await whyNobody()) ?? (await whyNoBroker());

suite("device/mqtt service", (test) => {
  test(
    "a camera's life with a real broker: started anew, both, killed, and stopped",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const film = await visitFilm(folder.path);
      await using relay = await relayWorld({ isEmpty: true });
      const state = at("camera");
      await call(camera, "identity", "--state", state, "-o", at("c"));
      const url = `http://${relay.authority}`;
      await call(phone, "--home", at("home"), "adopt", at("c"), "-o", at("o"), "--relay", url);
      await call(camera, "adopt", "--state", state, at("o"));

      // A camera may write what topics.md says, and read what it has to, and no more.
      const secret = "never-in-a-log-4711";
      const lines = await makeUsers(folder.path, {
        porch: {
          password: secret,
          rights: [
            ...["readwrite obscura/porch/#", "readwrite homeassistant/device/obscura_porch/config"],
            ...["read homeassistant/+/obscura_porch/+/config", "read homeassistant/status"],
          ],
        },
        house: { password: "house", rights: ["readwrite #"] },
      });
      await writeFile(at("login"), `porch\n${secret}\n`, { mode: 0o600 });
      await using broker = await startMosquitto(folder.path, { lines, isForgetful: false });
      const session = { clean: false, clientId: "house", protocolVersion: 4 as const };
      const login = { username: "house", password: "house" };
      await using house = await listen(broker.url, { ...session, ...login });
      const settings = [
        "version: 1",
        "detect: { separateVisitS: 2, zones: [{name: all, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}] }",
        "record: { preRollS: 1, postRollS: 1 }",
        `mqtt: { id: porch, credentials: ${at("login")} }`,
      ];
      await writeFile(at("camera.yaml"), settings.join("\n"));
      let said = "";
      const start = () => {
        const args = ["run", "--source", film, "--state", state, "--config", at("camera.yaml")];
        const child = spawn(process.execPath, [camera, ...args, "--mqtt", broker.url, "--json"], {
          // What mqtt.js is built on would write payloads and passwords to who asks for it by this.
          env: { ...process.env, DEBUG: "*" },
        });
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8").on("data", (text: string) => {
            said += text;
          });
        }
        return child;
      };
      const base = "obscura/porch";
      const events = (from = 0) =>
        house.messages
          .slice(from)
          .filter(({ topic }) => topic === `${base}/event`)
          .map(({ payload }) => JSON.parse(payload.toString()) as VisitEvent);
      const wait = (what: string, isSo: () => boolean) =>
        until(what, isSo, { patienceMs, told: () => `${said.slice(-4000)}\n${summary(house)}` });
      const end = async (child: ChildProcess, how: NodeJS.Signals) => {
        const closed = once(child, "close");
        child.kill(how);
        return await closed;
      };
      const has = (type: string, from = 0) => events(from).find((one) => one.event_type === type);

      const first = start();
      let second: ChildProcess | undefined;
      try {
        const over = () =>
          events().find(({ event_type, delivered }) => event_type === "clip" && delivered);
        await wait("a visit is over, sealed and at the relay", () => over() !== undefined);
        const whole = events().filter(({ id }) => id === over()?.id);
        const [visit] = whole;
        assert.ok(visit);
        assert.is(visit.event_type, "new");
        assert.ok(whole.some(({ event_type }) => event_type === "end"));
        await wait("an update", () => has("update") !== undefined);
        assert.ok(visit.persons.length > 0 && visit.zones.join() === "all");
        assert.match(whole.at(-1)?.clip ?? "", /^[0-9a-f]{32}$/);
        for (const topic of ["person", "motion", "recording", "zone/all/person"]) {
          assert.ok(house.of(`${base}/${topic}`).includes("ON"), `${topic} was never ON`);
          assert.is(house.of(`${base}/${topic}`)[0], "OFF", topic);
        }
        const beforeRestart = house.messages.length;
        await broker.stop();
        await broker.start();
        await wait("all said again", () => isComplete(house, base, beforeRestart));
        await wait("the next visit", () => has("new", beforeRestart) !== undefined);

        // Killed while somebody is there: the broker says so, and the next start that nobody is.
        await wait("somebody there", () => house.at(`${base}/person`) === "ON");
        await end(first, "SIGKILL");
        await wait("gone", () => house.at(`${base}/availability`) === "offline");
        const beforeStart = house.messages.length;
        second = start();
        await wait("back", () => house.at(`${base}/availability`) === "online");
        const said = house.messages.slice(beforeStart);
        const person = said.find(({ topic }) => topic === `${base}/person`);
        assert.is(person?.payload.toString(), "OFF");
        assert.ok(isComplete(house, base, beforeStart));
        await wait("somebody again", () => has("new", beforeStart) !== undefined);
        assert.is.not(has("new", beforeStart)?.run, visit.run);
        assert.is.not(has("new", beforeStart)?.id, visit.id);

        // Both at once; then it is stopped as it should be.
        await broker.stop(true);
        const beforeBoth = house.messages.length;
        const runs = new Set(events().map(({ run }) => run));
        await end(second, "SIGTERM");
        assert.is(second.exitCode, 0, "a broker that is away kept it from its end");
        await broker.start();
        second = start();
        await wait("all there", () => isComplete(house, base, beforeBoth));
        // A broker that was killed says again what it was not sure of: that is of an earlier run.
        await wait("one more visit", () => events().some(({ run }) => !runs.has(run)));
        await end(second, "SIGTERM");
        await wait("goodbye", () => house.at(`${base}/availability`) === "offline");
        // What was under way when it ended is said once more behind that.
        for (const topic of ["person", "zone/all/person", "motion", "recording"]) {
          await wait(`${topic} is not stuck`, () => house.at(`${base}/${topic}`) === "OFF");
        }
        await wait("nobody is counted", () => house.at(`${base}/count`) === "0");
        // On a busy machine its clip is told after it.
        const last = events().at(-1)?.id;
        await wait("the end of the last visit is said", () =>
          events().some((one) => one.id === last && one.event_type === "end"),
        );
      } finally {
        for (const child of [first, second]) {
          if (child && child.exitCode === null && child.signalCode === null) {
            await end(child, "SIGKILL");
          }
        }
      }
      // Owners read in the log what is let out of the seal: once, over all these starts.
      const { stdout: log } = await call(phone, "--home", at("home"), "log");
      const noted = log.split("\n").filter((line) => line.includes("told to the MQTT broker"));
      assert.is(noted.length, 1, log);
      assert.ok(noted[0]?.includes(broker.url));
      const where = { base, node: "obscura_porch", prefix: "homeassistant" };
      const wrong = house.messages.flatMap(
        (message) => faultOf(message, { ...where, form: "device" }) ?? [],
      );
      assert.equal(wrong, []);
      assert.equal(lost(events()), [], "gaps and disorder");
      for (const text of [secret, ...events().map(({ id }) => id.slice(8))]) {
        const told = said.split("\n").filter((line) => !line.startsWith("{"));
        assert.not(
          told.some((line) => line.includes(text)),
          "in the log",
        );
      }
      console.log(`\nmeasured: mqtt: ${summary(house)}`);
    },
    { skip: why, deadlineMs: 1_000_000 },
  );
});

const isComplete = (house: Listener, base: string, from: number) => {
  const topics = new Set(house.messages.slice(from).map(({ topic }) => topic));
  return expectedStates(["all"], ["relay"]).every((name) => topics.has(`${base}/${name}`));
};

/** Per start of the camera: numbers that are missing, or in the wrong place. */
function lost(events: readonly VisitEvent[]): string[] {
  const runs = new Map<string, number[]>();
  for (const { run, number } of events) {
    const numbers = runs.get(run) ?? [];
    if (!numbers.includes(number)) numbers.push(number);
    runs.set(run, numbers);
  }
  return [...runs].flatMap(([run, numbers]) =>
    numbers.every((number, i) => number === i + 1) ? [] : [`${run}: ${numbers.join()}`],
  );
}

function summary(house: Listener): string {
  const longest = Math.max(...house.messages.map(({ payload }) => payload.length));
  const topics = new Set(house.messages.map(({ topic }) => topic)).size;
  return `${house.messages.length} messages on ${topics} topics, the longest of ${longest} bytes`;
}
