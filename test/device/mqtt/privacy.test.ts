import { type ChildProcess, execFile } from "node:child_process";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { whyNobody } from "../../lib/footage.ts";
import { listen, startMosquitto, until, whyNoBroker } from "../../lib/mosquitto.ts";
import { relayWorld } from "../../lib/relay.ts";
import { suite } from "../../lib/suite.ts";
import { faultOf } from "../../lib/topics.ts";
import { type Life, startLife, visitFilm } from "../../lib/visitor.ts";
import { quickFolder } from "../../lib/world.ts";

const dist = new URL("../../../", import.meta.url).pathname;
const camera = join(dist, "src/device/main.js");
const phone = join(dist, "src/phone/cli.js");
const execute = promisify(execFile);
const call = (...args: string[]) => execute(process.execPath, args);
const patienceMs = 150_000;
const base = "obscura/porch";

/** Processes of this one that have the film open: what stands for the device, and its driver. */
async function readersOf(film: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (target === film) found.push(pid);
    }
  }
  return found;
}

/** KiB of memory that is locked: that of pictures, where the system allows it. */
async function lockedBy({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmLck:\s+(\d+) kB/.exec(status)?.[1]);
}

const why = (await whyNobody()) ?? (await whyNoBroker());

suite("device/mqtt privacy", (test) => {
  test(
    "the house shuts the lens, which stays shut over a kill; it records, tunes and chooses as it may, and owners read all of it",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const film = await visitFilm(folder.path, 12);
      await using relay = await relayWorld({ isEmpty: true });
      const [state, home] = [at("camera"), at("home")];
      await call(camera, "identity", "--state", state, "-o", at("c"));
      const url = `http://${relay.authority}`;
      const named = ["--relay", url, "--name", "Porch", "--keys", "20"];
      await call(phone, "--home", home, "adopt", at("c"), "-o", at("o"), ...named);
      await call(camera, "adopt", "--state", state, at("o"));
      await using broker = await startMosquitto(folder.path);
      await using house = await listen(broker.url);
      const settings = (commands: string) =>
        writeFile(
          at("camera.yaml"),
          [
            "version: 1",
            "detect: { separateVisitS: 2 }",
            "record: { preRollS: 2, postRollS: 1 }",
            "profiles: { dusk: { detect.threshold: 0.45, record.postRollS: 3 } }",
            `mqtt: { id: porch, commands: [${commands}] }`,
          ].join("\n"),
        );
      const args = ["--source", film, "--state", state, "--config", at("camera.yaml")];
      const open = () => startLife([...args, "--mqtt", broker.url]);
      const lives: Life[] = [];
      const begin = () => {
        const life = open();
        lives.push(life);
        return life;
      };
      const wait = (what: string, isSo: () => boolean) =>
        until(what, isSo, {
          patienceMs,
          told: () => `${lives.map((life) => life.said()).join("\n-- \n")}`.slice(-6000),
        });
      const state_ = (name: string) => house.at(`${base}/${name}`);
      const waitFor = (name: string, value: string) =>
        wait(`${name} is ${value}`, () => state_(name) === value);
      const ask = (name: string, payload: string) => house.publish(`${base}/${name}/set`, payload);
      const waitNew = async (name: string, value: string, from: number) =>
        wait(`${name} says ${value} anew`, () =>
          house.messages
            .slice(from)
            .some(
              ({ topic, payload }) => topic === `${base}/${name}` && payload.toString() === value,
            ),
        );

      try {
        await settings("privacy, detection, threshold, profile, record");
        const first = begin();
        await wait("a part of a clip", () => first.count("part") > 0);
        await waitFor("recording", "ON");
        assert.is(state_("privacy"), "OFF");
        assert.ok(
          (await readersOf(film)).length > 0,
          "nobody reads the film: the test sees nothing",
        );

        const lockedKiB = await lockedBy(first.child);
        console.log(`\nmeasured: ${lockedKiB} KiB of pictures' memory are locked before privacy`);

        // In the midst of a visit: all that sees is closed, and what was recorded is sealed.
        const askedMs = performance.now();
        await ask("privacy", "ON");
        await waitFor("privacy", "ON");
        const ms = Math.round(performance.now() - askedMs);
        console.log(
          `measured: privacy is told ${ms} ms after it was asked for, in the midst of a clip`,
        );
        assert.equal(await readersOf(film), []);
        await wait("the clip is told", () => first.count("clip") > 0);
        for (const name of ["person", "recording", "motion"]) await waitFor(name, "OFF");
        await waitFor("count", "0");
        const counts = () =>
          (["camera", "pictures", "person", "part", "clip"] as const).map((kind) =>
            first.count(kind),
          );
        const before = counts();
        // Whoever holds the last picture frees it.
        const freedMs = performance.now() + patienceMs;
        while (lockedKiB > 0 && (await lockedBy(first.child)) > 0) {
          assert.ok(performance.now() < freedMs, "pictures' memory is there yet");
          await sleep(50);
        }
        await ask("record", "PRESS");
        await wait("refused", () =>
          /record\/set: in privacy nothing is recorded/.test(first.said()),
        );
        const snapshot = await call(
          ...[phone, "--home", home, "snapshot", "-o", at("no.jpg"), "--wait", "60"],
        ).then(
          () => "a picture",
          (error) => String(error.stderr),
        );
        assert.match(snapshot, /in privacy the camera shows nothing/);
        await sleep(6_000);
        assert.equal(counts(), before, "something was seen in privacy");
        assert.equal(await readersOf(film), []);
        assert.is(state_("problem"), "OFF", state_("problem_text"));
        await first.end("SIGKILL");

        // It is what it was: the film is not opened, by nobody and for no moment.
        await waitFor("availability", "offline");
        let from = house.messages.length;
        const second = begin();
        let opened = 0;
        const isLooking = { now: true };
        const looking = (async () => {
          while (isLooking.now) {
            opened += (await readersOf(film)).length;
            await sleep(20);
          }
        })();
        await waitNew("availability", "online", from);
        await waitNew("privacy", "ON", from);
        await sleep(4_000);
        isLooking.now = false;
        await looking;
        assert.equal([opened, second.count("camera"), second.count("pictures")], [0, 0, 0]);
        // Twice the same, and a toggle, end as they should.
        await ask("privacy", "ON");
        await ask("privacy", "OFF");
        await ask("privacy", "ON");
        await ask("privacy", "OFF");
        await wait("it sees again", () => second.count("pictures") > 0);
        await waitFor("privacy", "OFF");
        await wait("somebody is found and recorded", () => second.count("part") > 0);

        // Settings of the house, over a start; the owner's word ends them.
        await ask("threshold", "0.62");
        await waitFor("threshold", "0.62");
        await ask("profile", "nobody-knows");
        await wait("refused", () => /profile\/set: there is no such profile/.test(second.said()));
        await ask("profile", "dusk");
        await waitFor("threshold", "0.45");
        await ask("threshold", "0.5");
        await waitFor("threshold", "0.5");
        await second.end("SIGTERM");
        assert.is(second.child.exitCode, 0);
        from = house.messages.length;
        const third = begin();
        await waitNew("availability", "online", from);
        assert.equal([state_("threshold"), state_("profile")], ["0.5", "dusk"]);
        await wait("it sees", () => third.count("pictures") > 0);
        const set = ["settings", "detect.threshold", "0.35", "--wait", "120"];
        await call(phone, "--home", home, ...set);
        await waitFor("threshold", "0.35");
        await waitFor("profile", "none");

        // Nobody is looked for, and somebody presses the button.
        await ask("detection", "OFF");
        await waitFor("detection", "OFF");
        await waitFor("person", "OFF");
        await waitFor("recording", "OFF");
        const [persons, clips] = [third.count("person"), third.count("clip")];
        await ask("record", "3");
        await waitFor("recording", "ON");
        await wait("it is sealed", () => third.count("clip") > clips);
        const clip = third.events.findLast(({ event }) => event === "clip");
        assert.ok(clip?.event === "clip" && clip.reason === "ended", JSON.stringify(clip));
        assert.is(third.count("person"), persons, "somebody was looked for");
        const there = () =>
          third.events.flatMap((one) =>
            one.event === "relayed" && one.clip === clip.clip ? [one.number] : [],
          );
        await wait("all of it is at the relay", () => new Set(there()).size >= clip.parts);
        await call(phone, "--home", home, "export", clip.clip, "-o", at("by-hand.mp4"));
        await ask("detection", "ON");
        await wait("somebody is found again", () => third.count("person") > persons);

        // An owner shuts it from afar: the house cannot open it. What the house shuts an owner opens.
        const sights = third.count("camera");
        const owner = (value: string) =>
          call(phone, "--home", home, "settings", "privacy", value, "--wait", "120");
        await owner("true");
        await waitFor("privacy", "ON");
        assert.equal(await readersOf(film), []);
        await ask("privacy", "OFF");
        await wait("refused", () => /privacy\/set: .*setting of the owner's/.test(third.said()));
        await owner("false");
        await wait("it sees again", () => third.count("camera") === sights + 1);
        await waitFor("privacy", "OFF");
        await ask("privacy", "ON");
        await waitFor("privacy", "ON");
        await owner("false");
        await wait("and again", () => third.count("camera") === sights + 2);

        // What the owner does not allow any more is over, and nothing of it is listened to.
        await ask("privacy", "ON");
        await waitFor("privacy", "ON");
        await third.end("SIGTERM");
        await settings("record");
        from = house.messages.length;
        const fourth = begin();
        await waitNew("privacy", "OFF", from);
        await wait("it sees", () => fourth.count("pictures") > 0);
        await ask("privacy", "ON");
        await ask("threshold", "0.9");
        await ask("record", "1");
        await wait("the one that is allowed", () => fourth.count("clip") > 0);
        assert.equal([state_("privacy"), state_("threshold")], ["OFF", "0.35"]);
        assert.is(fourth.count("privacy"), 0);
        await fourth.end("SIGTERM");
        assert.is(fourth.child.exitCode, 0);
      } finally {
        for (const life of lives) await life.end("SIGKILL");
      }

      const { stdout: log } = await call(phone, "--home", home, "log");
      const asked = log.split("\n").flatMap((line) => {
        const found = /(the house asked by mqtt: .*|(privacy|detection) (was|is) O.*)$/.exec(line);
        return found?.[1] ?? [];
      });
      assert.equal(asked, [
        "the house asked by mqtt: privacy ON",
        "privacy was ON when the camera started",
        ...["OFF", "ON", "OFF"].map((value) => `the house asked by mqtt: privacy ${value}`),
        "the house asked by mqtt: threshold 0.62",
        "the house asked by mqtt: profile dusk",
        "the house asked by mqtt: threshold 0.5",
        "the house asked by mqtt: detection OFF",
        "the house asked by mqtt: record 3",
        "the house asked by mqtt: detection ON",
        "the house asked by mqtt: privacy ON",
        "the house asked by mqtt: privacy ON",
        "privacy is OFF: its settings do not let the house change it",
        "the house asked by mqtt: record 1",
      ]);
      await call(phone, "--home", home, "verify");
      const where = {
        base,
        node: "obscura_porch",
        prefix: "homeassistant",
        form: "device" as const,
      };
      const own = house.messages.filter(({ topic }) => !topic.endsWith("/set"));
      assert.equal(
        own.flatMap((message) => faultOf(message, where) ?? []),
        [],
      );
    },
    { skip: why, deadlineMs: 900_000 },
  );
});
