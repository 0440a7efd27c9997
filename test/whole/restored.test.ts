import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { equal, is, match, ok } from "uvu/assert";
import { openLedger, printStates, settle } from "../lib/ledger.ts";
import { suite } from "../lib/suite.ts";
import { eventually, isUp, openTrio, type Verified, type Who } from "../lib/trio.ts";

suite("restored", (test) => {
  test(
    "an older copy of the camera's card, of the phone's home and of the relay's folder put back: each is seen for what it is, and what was deleted stays so",
    async () => {
      const { trio, relay: first } = await openTrio({ keys: 60 });
      await using _ = trio;
      const ledger = openLedger();
      const copyOf = (who: Who) => join(trio.path, "copies", who);
      const copy = (who: Who) => cp(trio.folders[who], copyOf(who), { recursive: true });
      const putBack = async (who: Who) => {
        await rm(trio.folders[who], { recursive: true });
        await cp(copyOf(who), trio.folders[who], { recursive: true });
      };
      const record = async (clips: number) => {
        const camera = trio.courier({ clips, fragments: 4, fragmentBytes: 10_000 });
        await camera.until(/^sent/m);
        ledger.take(camera.lines);
        return camera;
      };
      /** The phone finds so many clips, all of them whole but for those that it deleted. */
      const finds = (clips: number) =>
        eventually(`${clips} clips, and nothing wrong`, async () => {
          const found = await trio.verify();
          const isDone = ({ id, state, final }: Verified["clips"][number]) =>
            ledger.deleted.has(id) ? state === "deleted" && final === true : state === "whole";
          const isAll = found.clips.length === clips && found.clips.every(isDone);
          return found.code === 0 && isAll ? found : undefined;
        });
      const remove = async (clip: string) => {
        const { code, err } = await trio.phone("delete", clip);
        is(code, 0, err);
        ledger.deleted.set(clip, true);
      };
      /** From the camera's outbox as it once was: all that the phone needs is its key. */
      const opensFromCopy = (clip: string) => {
        const from = ["--from", join(copyOf("camera"), "outbox")];
        return trio.phone("thumbnail", clip, ...from, "-o", join(trio.path, `${clip}.jpg`));
      };

      let camera = await record(3);
      const { clips: early } = await finds(3);
      const [one = "", two = "", three = ""] = early.map(({ id }) => id);
      is((await camera.end("SIGTERM")).code, 0);
      await copy("camera");
      camera = await record(3);
      await finds(6);
      await remove(one);
      await finds(6);

      // The card: the log goes on in a new incarnation, and what it lacks is fetched.
      await camera.end("SIGKILL");
      const newest = (await trio.verify()).head?.sequence ?? 0;
      await putBack("camera");
      camera = await record(2);
      equal(camera.lines[0], "ready 2");
      const { incarnations } = await finds(8);
      is(incarnations.length, 1);
      const [opened] = incarnations;
      equal(opened, { incarnation: 2, sequence: newest + 2, reason: "the log was behind" });
      match(
        (await trio.phone("verify")).out,
        /incarnation 2 from entry \d+ on: the log was behind/,
      );
      // What it sealed to the restart key meanwhile is over when it has taken new keys.
      await camera.until(/done action=supply/);
      await finds(8);
      is((await camera.end("SIGTERM")).code, 0);
      const checked = await trio.check();
      is(checked.code, 0, checked.out);

      // The phone's home: it opens what it may, and learns anew what it had deleted.
      is((await first.end("SIGTERM")).code, 0);
      await copy("relay");
      await copy("phone");
      let relay = trio.relay();
      await relay.until(isUp);
      camera = await record(3);
      await finds(11);
      await remove(two);
      await finds(11);
      is((await opensFromCopy(two)).code, 1);
      await putBack("phone");
      is((await opensFromCopy(two)).code, 0, "a copy from before may open it until it hears of it");
      await finds(11);
      for (const clip of [one, two]) {
        const { code, err } = await opensFromCopy(clip);
        is(code, 1);
        match(err, /deleted/);
      }
      is((await opensFromCopy(three)).code, 0);

      // The relay's folder: the phone names it, and the camera makes it good.
      is((await relay.end("SIGTERM")).code, 0);
      await putBack("relay");
      relay = trio.relay();
      await relay.until(isUp);
      const back = await trio.verify();
      is(back.code, 3);
      ok(back.bad.some((text) => /^the log ends at \d+, and this phone saw up to \d+$/.test(text)));
      is((await opensFromCopy(two)).code, 1);
      is((await camera.end("SIGTERM")).code, 0);
      camera = await record(1);
      await finds(12);
      const states = await settle(trio, ledger);
      is((await camera.end("SIGTERM")).code, 0);
      is((await trio.check()).code, 0);
      console.log(
        `\nmeasured: card, home and relay's folder put back: of ${ledger.durable.size} parts 0 lost, 0 doubled; clips: ${printStates(states)}; ` +
          `the relay's older folder is named: ${back.bad.join("; ")}`,
      );
    },
    { deadlineMs: 1_200_000 },
  );
});
