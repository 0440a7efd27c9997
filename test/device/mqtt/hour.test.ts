import { setTimeout as sleep } from "node:timers/promises";
import * as assert from "uvu/assert";
import { readHeat } from "../../../src/device/heat.ts";
import { type Condition, onlyWhen } from "../../../src/device/mqtt/topics.ts";
import { absence, comeToRest, commands, type Errand, restarts } from "../../lib/errands.ts";
import { whyNobody } from "../../lib/footage.ts";
import { generator } from "../../lib/fuzz.ts";
import { base, door, type Household, openHousehold, prefix, zones } from "../../lib/household.ts";
import { type Listener, listen, whyNoBroker } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { faultsOf, readBrokerLog } from "../../lib/witness.ts";
import { quickFolder } from "../../lib/world.ts";

// Everything that a house hears of a camera: its own program on replayed footage, a broker that lets it
// write nothing but the map, phones and the house that ask for things, and all of them ended in each way.
// Each thing happens once. With OBSCURA_HOUR_MINUTES=60 they go on, in an order by chance, for an hour.

const minutes = Number(process.env.OBSCURA_HOUR_MINUTES ?? 0);
const why = (await whyNobody()) ?? (await whyNoBroker());

/** Topics on which the house writes itself. */
const isOurs = (topic: string) =>
  topic === door || topic === `${prefix}/status` || topic === done || topic.endsWith("/set");
const done = "house/done";

/** What lies at the broker, for who comes now. */
async function readRetained({ broker, house }: Household): Promise<Listener["messages"]> {
  await using late = await listen(broker.url, { username: "house", password: "house" });
  await house.publish(done, "now");
  while (late.at(done) === undefined) await sleep(20);
  return late.messages.filter(({ topic }) => !isOurs(topic));
}

/** Everything once; then on and on, in an order by chance, with something of every kind in each round. */
async function live(home: Household): Promise<string[]> {
  const endMs = performance.now() + minutes * 60_000;
  const random = generator(4711);
  const did: string[] = [];
  const go = async (errand: Errand) => {
    if (minutes > 0) console.log(`${new Date().toISOString()} ${errand.name}`);
    await errand.run(home);
    did.push(errand.name);
  };
  // Every third of what is asked for is followed by an end of something.
  const [first, ...others] = restarts;
  if (first) await go(first);
  for (const [i, command] of commands.entries()) {
    await go(command);
    const next = i % 3 === 2 ? others.shift() : undefined;
    if (next) await go(next);
  }
  for (const restart of others) await go(restart);
  if (minutes > 0) await go(absence);
  const all = [...commands, ...restarts].filter(({ isOnce }) => !isOnce);
  while (performance.now() < endMs) {
    const order = all
      .map((errand) => ({ errand, at: random(1_000_000) }))
      .sort((a, b) => a.at - b.at);
    for (const { errand } of order) {
      if (performance.now() > endMs) break;
      await sleep(random(20_000));
      await go(errand);
    }
  }
  return did;
}

suite("device/mqtt hour", (test) => {
  test(
    "every message of a camera's life is one of the map, and none is missing",
    async () => {
      await using folder = await quickFolder();
      const heat = await readHeat();
      const conditions: Condition[] = [
        ...(["relay", "alarm"] as const),
        ...(heat.temperature === undefined ? [] : (["temperature"] as const)),
        ...(heat.throttled === undefined ? [] : (["throttled"] as const)),
      ];
      const startMs = performance.now();
      await using home = await openHousehold(folder.path, { minutes, conditions });
      const first = { what: "the first start" };
      await home.disturb(first, async () => home.startCamera());
      const did = await live(home);
      await comeToRest(home);
      await home.endCamera("SIGTERM");
      assert.is(home.lives.at(-1)?.child.exitCode, 0);
      await home.wait("goodbye", () => home.state("availability") === "offline");

      const log = home.broker.log();
      const [client = ""] = /obscura_[0-9a-f]{12}/.exec(log) ?? [];
      const messages = home.house.messages.filter(({ topic }) => !isOurs(topic));
      const isTrusted = home.state("clock_trusted") === "ON";
      const absent: Record<string, string> = {
        [`clock_trusted ${isTrusted ? "OFF" : "ON"}`]: "this machine's clock does not change",
        ...(conditions.includes("throttled") ? { "throttled ON": "no heat is made here" } : {}),
      };
      const hour = {
        ...{ messages, aways: home.aways, zones, conditions, absent },
        ...{ retained: await readRetained(home), published: readBrokerLog(log, client) },
        where: { base, node: "obscura_porch", prefix, form: "device" as const },
      };
      assert.ok(hour.published.length > 0, "the broker's log says nothing of the camera");
      const faults = faultsOf(hour);
      const isNew = ({ payload }: (typeof messages)[number]) =>
        payload.includes('"event_type":"new"');
      const visits = messages.filter((one) => one.topic === `${base}/event` && isNew(one)).length;
      const longest = Math.max(...messages.map(({ payload }) => payload.length));
      const asked = [...home.asked.values()].reduce((sum, one) => sum + one, 0);
      const ends = did.filter((name) => restarts.some((one) => one.name === name)).length;
      const there = `${Math.round((performance.now() - startMs) / 60_000)} minutes`;
      const none = ["temperature", "throttled"] as const;
      const unseen = [
        ...none
          .filter((name) => !conditions.includes(name))
          .map((name) => `${name} (${onlyWhen[name]})`),
        ...Object.entries(absent).map(([what, reason]) => `${what} (${reason})`),
      ];
      console.log(
        `\nmeasured: mqtt: in ${there} ${messages.length} messages on ${new Set(messages.map(({ topic }) => topic)).size} topics, the longest of ${longest} bytes; ` +
          `${visits} visits, ${ends} restarts, ${asked} commands by MQTT; not in this run: ${unseen.join(", ")}`,
      );
      assert.equal(faults, []);
    },
    { skip: why, deadlineMs: (minutes + 18) * 60_000 },
  );
});
