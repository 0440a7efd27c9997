import { spawnSync } from "node:child_process";
import { equal, is } from "uvu/assert";
import { openClocks } from "../lib/clocks.ts";
import { openLedger, printStates, settle } from "../lib/ledger.ts";
import { suite } from "../lib/suite.ts";
import { eventually, isUp, openTrio, whos } from "../lib/trio.ts";
import { quickFolder } from "../lib/world.ts";

const yearMs = 365.25 * 86_400_000;
/** A board without a battery begins here. */
const in1970Ms = 60_000 - Date.now();

suite("clocks", (test) => {
  const why = spawnSync("g++", ["--version"]).status === 0 ? undefined : "there is no g++";
  test(
    "of camera, relay and phone set by years to and fro while they run, and over their starts: clips go on to come, nothing is lost",
    async () => {
      await using folder = await quickFolder();
      const clocks = openClocks(folder.path);
      const { trio, relay: first } = await openTrio({
        ...{ keys: 200, by: clocks.by },
        // Short, so that a clock that counts for age would take something away.
        relay: { settings: "quota: { headroomMiB: 0, retentionDays: 1 }\n" },
      });
      await using _ = trio;
      const endless = { clips: 1e9, fragments: 3, fragmentBytes: 5000, paceMs: 50 };
      const ledger = openLedger();
      let relay = first;
      let camera = trio.courier(endless);
      await camera.until(isUp);
      const follower = trio.start("phone", "--home", trio.folders.phone, "clips", "--follow");
      const relayed = () => new Set(camera.lines.filter((line) => line.startsWith("relayed")));
      /** A clip that begins from now on comes to the relay and is seen by the phone, twice over. */
      const works = async (what: string) => {
        const before = relayed().size;
        await eventually(`${what}: nothing comes to the relay`, () =>
          relayed().size > before + 4 ? true : undefined,
        );
        const [, clip = ""] = [...relayed()].at(-1)?.split(" ") ?? [];
        await eventually(`${what}: the phone does not see it`, async () => {
          const { code, out, err } = await trio.phone("clips");
          // While a clip is recorded the log may be ahead of its parts, or behind them.
          if (code === 3 && !/^lie +(?! |unlogged)/m.test(out)) return undefined;
          is(code, 0, `${what}: ${err}`);
          return out.includes(clip.slice(0, 12)) ? true : undefined;
        });
      };
      await works("all clocks are right");
      let settings = 0;
      for (const who of whos) {
        for (const aheadMs of [10 * yearMs, in1970Ms, 0]) {
          clocks.set(who, aheadMs);
          settings += 1;
          await works(`${who} by ${Math.round(aheadMs / yearMs)} years`);
        }
      }
      // Started anew with the clock anywhere, each by itself and all against each other.
      for (const [camerasMs, relaysMs, phonesMs] of [
        [in1970Ms, 0, 0],
        [-3 * yearMs, 7 * yearMs, -11 * yearMs],
        [0, 0, 0],
      ] as const) {
        ledger.take(camera.lines);
        is((await camera.end("SIGTERM")).code, 0);
        is((await relay.end("SIGTERM")).code, 0);
        clocks.set("camera", camerasMs);
        clocks.set("relay", relaysMs);
        clocks.set("phone", phonesMs);
        settings += 3;
        relay = trio.relay();
        await relay.until(isUp);
        camera = trio.courier(endless);
        await camera.until(isUp);
        await works(`started with ${camerasMs}, ${relaysMs}, ${phonesMs}`);
      }
      const followed = await follower.end("SIGTERM");
      is(followed.code, 0, `the phone that followed ended: ${followed.err}`);
      await camera.end("SIGTERM");
      ledger.take(camera.lines);
      camera = trio.courier({ clips: 1 });
      await camera.until(/^sent/m);
      const states = await settle(trio, ledger);
      equal([...states.keys()], ["whole"]);
      is((await camera.end("SIGTERM")).code, 0);
      is((await trio.check()).code, 0);
      console.log(
        `\nmeasured: clocks set ${settings} times by up to 56 years: ${ledger.relayed.size} parts, 0 lost; clips: ${printStates(states)}`,
      );
    },
    { deadlineMs: 900_000, skip: why },
  );
});
