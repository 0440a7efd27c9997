import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { Failure } from "../../src/base/pure/failure.ts";
import { loadConfig, readConfig } from "../../src/device/config.ts";
import type { Incident } from "../../src/device/detect/detect.ts";
import { type HomeOptions, openHome } from "../../src/device/home.ts";
import { createKeyring } from "../../src/device/keyring.ts";
import type { LanSettings } from "../../src/device/lan.ts";
import { makeToken } from "../../src/device/local/token.ts";
import type { OrderName } from "../../src/device/order.ts";
import type { ServiceEvent } from "../../src/device/report.ts";
import { setBroker } from "../../src/device/vet.ts";
import { call, lentOf } from "../lib/local.ts";
import { freePort, until } from "../lib/mosquitto.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

async function world() {
  const folder = await temporaryFolder();
  const said = { notes: [] as string[], problems: [] as string[], log: "" };
  const events: ServiceEvent[] = [];
  const keyring = await createKeyring(folder.path, "Porch");
  return {
    ...{ path: folder.path, said, events },
    async open(
      url: string,
      more: Partial<HomeOptions> = {},
      { local = {}, commands = [] }: { local?: Partial<LanSettings>; commands?: OrderName[] } = {},
    ) {
      const { config, places } = await loadConfig(undefined);
      Object.assign(config.local, local);
      config.mqtt.commands = commands;
      if (url !== "") setBroker(config, url, places);
      return await openHome({
        ...{ config, state: folder.path, keyring, version: "0.1.0", clock: systemClock },
        outbox: {
          ...{ kind: "folder", bytes: () => 0, objects: () => [], watch: () => () => {} },
          read: () => Promise.reject(new Error("nothing is read")),
        },
        limitBytes: 2 ** 30,
        health: {
          now: () => ({
            ...{ recording: false, watched: false, problem: undefined },
            pictures: { ageS: 0, isStale: false },
          }),
          fault: (_, text) => text && said.problems.push(text),
        },
        uplink: { status: () => [], holds: () => false },
        clockTrusted: () => true,
        heat: () => ({ temperature: undefined, throttled: undefined }),
        mode: () => ({ privacy: false, detection: true, threshold: 0.4, profile: "none" }),
        onOrder: async () => {},
        note: async (statement) => {
          if (statement.kind === "problem") said.notes.push(statement.text);
        },
        onProblem: (error) => said.problems.push(String(error)),
        emit: (event) => events.push(event),
        logs: (stage) =>
          openLog(stage, "debug", (line) => {
            said.log += line;
          }),
        ...more,
      });
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const nowhere = "mqtt://127.0.0.1:9";

suite("device/home", (test) => {
  test("without a broker nobody is told, and nothing is kept", async () => {
    await using at = await world();
    const home = await at.open("");
    home.motion();
    home.window(true);
    await home.close();
    assert.equal(at.said, { notes: [], problems: [], log: "" });
    assert.not((await readdir(at.path)).includes("home"));
  });

  test("that a broker is told shows in the log when it begins, changes and ends, and only then", async () => {
    await using at = await world();
    for (const url of [nowhere, nowhere, "mqtt://127.0.0.1:11", "", "", nowhere]) {
      await (await at.open(url)).close();
    }
    const told = (url: string) => `states and counts are told to the MQTT broker ${url}`;
    const ended = "no MQTT broker is told anything any more";
    const expected = [told(nowhere), told("mqtt://127.0.0.1:11"), ended, told(nowhere)];
    assert.equal(at.said.notes, expected);
    assert.equal(at.said.problems, []);
  });

  test("that the local network is told shows in the log too, each door by itself", async () => {
    await using at = await world();
    const port = await freePort();
    const local = { port, host: "127.0.0.1", announce: false };
    for (const [url, settings] of [
      ...[["", local] as const, ["", local] as const, [nowhere, local] as const],
      ...[[nowhere, {}] as const, ["", {}] as const],
    ]) {
      await (await at.open(url, {}, { local: settings })).close();
    }
    assert.equal(at.said.notes, [
      `states and counts are told to who has a token, in the local network (127.0.0.1 port ${port}), in clear`,
      `states and counts are told to the MQTT broker ${nowhere}`,
      "nothing is told in the local network any more",
      "no MQTT broker is told anything any more",
    ]);
    assert.equal(at.said.problems, []);
  });

  test("without a broker the local interface has it all, under the name that is set", async () => {
    await using at = await world();
    const local = { port: await freePort(), host: "127.0.0.1", announce: false };
    const home = await at.open("", {}, { local });
    const headers = { authorization: `Bearer ${await makeToken(at.path, "test")}` };
    await until("listening", () => at.said.log.includes("listening"));
    const read = async () =>
      JSON.parse((await call(local.port, "/v1/states", { headers })).body.toString());
    assert.equal((await read()).states.motion, false);
    home.motion();
    home.window(true);
    const config = await readConfig(undefined);
    home.set({ ...config, name: "Back door" });
    const all = await read();
    assert.equal([all.name, all.states.motion, all.zones], ["Back door", true, {}]);
    assert.equal(at.events, [], "of a broker nothing is said");
    const boxes: number[] = [];
    home.lend(lentOf(async (box) => boxes.push(box.length) > 0));
    const type = { "content-type": "application/octet-stream" };
    const post = { method: "POST", headers: type, body: Buffer.alloc(7) };
    assert.is((await call(local.port, "/v1/commands", post)).status, 202);
    assert.equal(boxes, [7]);
    await home.close();
    assert.equal(at.said.problems, []);
  });

  test("what the broker may ask for shows in the log too, whenever that changes", async () => {
    await using at = await world();
    const lists: OrderName[][] = [["privacy", "record"], ["privacy", "record"], ["record"], []];
    for (const list of lists) await (await at.open(nowhere, {}, { commands: list })).close();
    const told = `states and counts are told to the MQTT broker ${nowhere}`;
    const may = (list: string) => `${told}, which may ask for ${list}`;
    assert.equal(at.said.notes, [may("privacy, record"), may("record"), told]);
  });

  test("a log that takes nothing is a problem of the camera's; the house is told all the same", async () => {
    await using at = await world();
    const note = async () => {
      throw new Failure("full", "no room");
    };
    const home = await at.open(nowhere, { note });
    await home.close();
    assert.match(at.said.problems.join(), /no room/);
    // Nor is it taken for said.
    await (await at.open(nowhere)).close();
    assert.is(at.said.notes.length, 1);
  });

  test("a broker that is not there, or a mistake of ours, costs nobody anything", async () => {
    await using at = await world();
    const home = await at.open(nowhere);
    while (at.events.length === 0) await systemClock.sleep(10);
    const [event] = at.events;
    assert.ok(event?.event === "broker" && !event.isConnected && event.why);
    home.incident({ kind: "start" } as unknown as Incident);
    assert.match(at.said.log, /error mqtt:/);
    await home.close();
    assert.ok((await readdir(join(at.path, "home"))).includes("told"));
  });
});
