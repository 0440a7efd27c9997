import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import type { Change, States } from "../../../src/device/local/board.ts";
import type { VisitEvent } from "../../../src/device/mqtt/mqtt.ts";
import { whyNobody } from "../../lib/footage.ts";
import { call, listen } from "../../lib/local.ts";
import { freePort, until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { expectedStates, holdsPicture } from "../../lib/topics.ts";
import { visitFilm } from "../../lib/visitor.ts";
import { quickFolder } from "../../lib/world.ts";

const dist = new URL("../../../", import.meta.url).pathname;
const camera = join(dist, "src/device/main.js");
const phone = join(dist, "src/phone/cli.js");
const execute = promisify(execFile);
const node = (...args: string[]) => execute(process.execPath, args);
const patienceMs = 150_000;

const why = await whyNobody();

suite("device/local service", (test) => {
  test(
    "a camera without relay and broker, in the local network: from its start to its end",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const film = await visitFilm(folder.path);
      const state = at("camera");
      const mine = ["--home", at("home")];
      await node(camera, "identity", "--state", state, "-o", at("c"));
      await node(phone, ...mine, "adopt", at("c"), "-o", at("o"));
      await node(camera, "adopt", "--state", state, at("o"));
      const port = await freePort();
      const settings = [
        "version: 1",
        "detect: { separateVisitS: 2, zones: [{name: all, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}] }",
        "record: { preRollS: 1, postRollS: 1 }",
        `local: { port: ${port}, host: 127.0.0.1, announce: false }`,
      ];
      await writeFile(at("camera.yaml"), settings.join("\n"));
      const checked = await node(camera, "run", "--check-config", "--config", at("camera.yaml"));
      assert.match(checked.stdout, /no mistake/);
      const args = ["run", "--source", film, "--state", state, "--config", at("camera.yaml")];
      const child = spawn(process.execPath, [camera, ...args, "--json"]);
      let said = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          said += text;
        });
      }
      const closed = once(child, "close");
      const wait = (what: string, isSo: () => boolean) =>
        until(what, isSo, { patienceMs, told: () => said.slice(-4000) });
      const bytes: Buffer[] = [];
      const ask = async (path: string, asked: Parameters<typeof call>[2] = {}) => {
        const reply = await call(port, path, asked);
        bytes.push(reply.body);
        return reply;
      };
      try {
        await wait("listening", () => said.includes("listening"));
        // Pictures come only when the model is read: whoever asks before that is told so.
        const health: number[] = [];
        const startMs = performance.now();
        while (health.at(-1) !== 200) {
          health.push((await ask("/health")).status);
          assert.ok(performance.now() - startMs < patienceMs, said.slice(-4000));
          await systemClock.sleep(200);
        }
        assert.ok(
          health.slice(0, -1).every((status) => status === 503),
          health.join(),
        );

        assert.is((await ask("/v1/states")).status, 401);
        // Made while it runs.
        const { stdout } = await node(camera, "local", "token", "house", "--state", state);
        const token = stdout.trim();
        const headers = { authorization: `Bearer ${token}` };
        let reply = await ask("/v1/states", { headers });
        while (reply.status === 401) {
          await systemClock.sleep(1000);
          reply = await ask("/v1/states", { headers });
        }
        const { states, zones } = JSON.parse(reply.body.toString());
        const expected = expectedStates(["all"], []);
        for (const name of expected.filter((one) => !one.startsWith("zone/"))) {
          assert.ok(name in states, name);
        }
        assert.equal(Object.keys(zones), ["all"]);

        const stream = listen(port, headers);
        const visits = () => stream.of("visit").map(({ data }) => data as VisitEvent);
        await wait("a visit is over and sealed", () =>
          visits().some(({ event_type, sealed }) => event_type === "clip" && sealed),
        );
        const of = (name: string) =>
          stream.of("state").filter(({ data }) => (data as Change).name === name);
        // By a change, or already so when the stream began.
        const first = stream.of("states")[0]?.data as States;
        const values = (name: string) => [
          first.states[name],
          ...of(name).map(({ data }) => (data as Change).value),
        ];
        for (const name of ["person", "motion", "recording"]) {
          await wait(name, () => values(name).includes(true));
        }
        assert.ok(values("count").some((value) => Number(value) > 0));
        const numbers = visits().map(({ number }) => number);
        assert.equal(
          numbers,
          numbers.map((_, i) => (numbers[0] ?? 1) + i),
        );
        const metrics = (await ask("/metrics", { headers })).body.toString();
        assert.match(metrics, /^obscura_camera_visits_total [1-9]/m);
        assert.match(metrics, /^obscura_camera_pictures_stale 0$/m);

        // A phone without any way to the camera but this one: it seals, somebody carries it here.
        for (let isWhole = false; !isWhole; ) {
          await rm(at("copy"), { recursive: true, force: true });
          // What the camera is writing, or lets go of, may be gone from under who copies.
          isWhole = await cp(join(state, "outbox"), at("copy"), { recursive: true }).then(
            () => true,
            (error) => {
              if (error.code !== "ENOENT") throw error;
              return false;
            },
          );
        }
        await node(phone, ...mine, "--from", at("copy"), "settings", "name", "Back door");
        const boxes = (await readdir(at("copy"))).filter((name) => name.startsWith("box."));
        assert.is(boxes.length, 1);
        const box = await readFile(join(at("copy"), boxes[0] ?? ""));
        const type = { "content-type": "application/octet-stream" };
        const post = (body: Uint8Array) =>
          ask("/v1/commands", { method: "POST", headers: type, body });
        assert.is((await post(box.subarray(1))).status, 403);
        assert.is((await post(box)).status, 202);
        const all = JSON.parse((await ask("/v1/states", { headers })).body.toString());
        assert.is(all.name, "Back door");

        // And by itself: what it asks for goes to the camera, what came of it is read there.
        const near = ["--address", `127.0.0.1:${port}`];
        const asks = (...args: string[]) => node(phone, ...mine, ...args, ...near);
        const set = await asks("settings", "name", "Side door", "--wait", "120");
        assert.is(set.stdout, "name is Side door\n");
        const listed = JSON.parse((await asks("clips", "--json")).stdout);
        assert.ok(listed.clips.length > 0, JSON.stringify(listed));
        const picture = at("now.jpg");
        await asks("snapshot", "-o", picture, "--wait", "120");
        assert.is((await readFile(picture)).subarray(0, 3).toString("hex"), "ffd8ff");
        const armed = await asks("arm", "away", "--wait", "120").catch((error) => error);
        assert.match(armed.stderr, /gives no change of the alarm: this camera has no alarm/);
        assert.match((await asks("log")).stdout, /has looked: snapshot/);
        const [clip] = listed.clips;
        await asks("export", clip.id, "-o", at("near.mp4"));
        assert.is((await readFile(at("near.mp4"))).subarray(4, 8).toString(), "ftyp");
        const strange = await node(
          phone,
          "--home",
          at("strange"),
          "adopt",
          at("c"),
          "-o",
          at("o2"),
        );
        assert.match(strange.stdout, /check word/);
        const other = await node(phone, "--home", at("strange"), "log", ...near).catch(
          (error) => error,
        );
        assert.match(other.stderr, /no key that the camera lets in/);

        child.kill("SIGTERM");
        await wait("the stream's end", () => stream.isOver);
        await closed;
        assert.is(child.exitCode, 0, said.slice(-4000));
        assert.equal(of("availability").at(-1)?.data, { name: "availability", value: "offline" });
        assert.is(visits().at(-1)?.event_type === "new", false, "a visit that never ended");
        for (const told of [...bytes, Buffer.from(JSON.stringify(stream.told))]) {
          assert.not(holdsPicture(told));
        }
        assert.not(said.includes(token), "in the log");
        const from = ["--from", join(state, "outbox")];
        const { stdout: log } = await node(phone, ...mine, ...from, "log");
        const noted = log.split("\n").filter((line) => line.includes("in the local network"));
        assert.is(noted.length, 1, log);
        assert.ok(noted[0]?.includes(`127.0.0.1 port ${port}`));
        const sum = bytes.reduce((all, one) => all + one.length, 0);
        console.log(
          `\nmeasured: local: ${bytes.length} answers of ${sum} bytes, ${stream.told.length} blocks of the stream`,
        );
      } finally {
        if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
        await closed;
      }
    },
    { skip: why, deadlineMs: 1_000_000 },
  );
});
