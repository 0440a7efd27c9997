import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { run, whyNobody } from "../../lib/footage.ts";
import { freePort, listen, startMosquitto, until, whyNoBroker } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { startLife, visitFilm } from "../../lib/visitor.ts";
import { quickFolder } from "../../lib/world.ts";

const dist = new URL("../../../src/", import.meta.url).pathname;
const flow = new URL("../../../../src/device/mqtt/flow.json", import.meta.url).pathname;
const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
const nodeRed = join(cache, "obscura/node-red-4.1.1");
const why =
  (await whyNobody()) ??
  (await whyNoBroker()) ??
  (existsSync(join(nodeRed, ".whole"))
    ? undefined
    : "Node-RED is not installed (scripts/node-red does)");
const patienceMs = 150_000;

/** Our flow as somebody imports it: with the address of their broker in its node, and nothing else changed. */
async function startNodeRed(folder: string, port: number) {
  const editor = await freePort();
  const nodes = JSON.parse(await readFile(flow, "utf8")) as Record<string, unknown>[];
  const own = nodes.map((node) =>
    node.type === "mqtt-broker" ? { ...node, broker: "127.0.0.1", port: String(port) } : node,
  );
  await writeFile(join(folder, "flows.json"), JSON.stringify(own));
  const settings = { uiHost: "127.0.0.1", uiPort: editor, flowFile: "flows.json" };
  await writeFile(
    join(folder, "settings.js"),
    `module.exports = ${JSON.stringify({ ...settings, telemetry: { enabled: false } })};\n`,
  );
  const program = join(nodeRed, "node_modules/node-red/red.js");
  const child = spawn(process.execPath, [program, "--userDir", folder], {
    env: { ...process.env, HOME: folder },
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  await until("Node-RED runs", () => said.includes("Connected to broker"), {
    ...{ patienceMs, told: () => said },
  });
  return {
    said: () => said,
    /** Presses a node's button. */
    async press(id: string) {
      const url = `http://127.0.0.1:${editor}/inject/${id}`;
      assert.is((await fetch(url, { method: "POST" })).status, 200);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    },
  };
}

suite("device/mqtt flow", (test) => {
  test(
    "in a real Node-RED: somebody comes and it says so, and it arms and disarms",
    async () => {
      await using folder = await quickFolder();
      await using broker = await startMosquitto(folder.path);
      await using house = await listen(broker.url);
      await using red = await startNodeRed(folder.path, broker.port);
      const at = (name: string) => join(folder.path, name);
      const state = at("camera");
      const call = (program: string, ...args: string[]) =>
        run(process.execPath, [join(dist, program), ...args]);
      await call("device/main.js", "identity", "--state", state, "-o", at("c"));
      await call("phone/cli.js", "--home", at("home"), "adopt", at("c"), "-o", at("o"));
      await call("device/main.js", "adopt", "--state", state, at("o"));
      const settings = [
        ...["version: 1", "detect: { separateVisitS: 2 }", "mqtt: { id: porch }"],
        "alarm: { enabled: true, exitS: 0, person: 1, motion: 0, sliceS: 1, sirenAt: 50 }",
      ];
      await writeFile(at("camera.yaml"), settings.join("\n"));
      const film = await visitFilm(folder.path);
      const camera = startLife([
        ...["--source", film, "--state", state, "--config", at("camera.yaml")],
        ...["--mqtt", broker.url],
      ]);
      await using _ = { [Symbol.asyncDispose]: () => camera.end("SIGKILL") };
      const told = () => `${red.said().slice(-3000)}\n${camera.said().slice(-3000)}`;
      const wait = (what: string, isSo: () => boolean) => until(what, isSo, { patienceMs, told });
      await wait("a message for people", () => /camera porch,? /.test(red.said()));
      assert.match(red.said(), /(Somebody is|\d persons are) at camera porch/);

      const panel = () => house.at("obscura/porch/alarm");
      await wait("Node-RED knows the alarm", () => red.said().includes("porch: disarmed"));
      await red.press("obscura-away");
      await wait("armed away", () => panel() === "armed_away");
      await red.press("obscura-disarm");
      await wait("disarmed", () => panel() === "disarmed");
      await red.press("obscura-home");
      await wait("armed home", () => panel() === "armed_home");
      await wait("Node-RED was told so", () => red.said().includes("porch: armed_home"));
    },
    { skip: why, deadlineMs: 6 * patienceMs },
  );
});
