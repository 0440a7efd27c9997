import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { recording, startSealer } from "../lib/sealing.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";
import { phone, type Said } from "./world.ts";

const program = new URL("../../src/device/main.js", import.meta.url).pathname;

/** Runs obscura-camera as a person does. */
function camera(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err });
    });
  });
}

suite("adopting again", (test) => {
  test(
    "by both programs: more keys are taken once, in their order, by their owner only",
    async () => {
      await using home = await quickFolder();
      const at = (name: string) => join(home.path, name);
      const state = at("camera");
      const well = async (said: Promise<Said>) => {
        const { code, out, err } = await said;
        assert.is(code, 0, err);
        return out;
      };
      const hand = (name: string, owner = "phone", keys = "2") =>
        well(phone(at(owner), "adopt", at("camera.json"), "-o", at(name), "--keys", keys));
      const take = (name: string) => camera("adopt", at(name), "--state", state);
      const clips = async () => {
        const { out, err } = await phone(
          at("phone"),
          "clips",
          "--from",
          join(state, "outbox"),
          "--json",
        );
        assert.ok(out.startsWith("{"), err);
        return JSON.parse(out).clips.map((one: { state: string }) => one.state);
      };
      const record = async (count: number) => {
        const { sealer, stop } = await startSealer(state);
        for (let i = 0; i < count; i++) await sealer.clip(recording(1));
        await stop();
      };
      await well(camera("identity", "-o", at("camera.json"), "--state", state));
      await hand("1.json");
      assert.match(await well(take("1.json")), /with 2 one-time keys/);
      await record(1);
      await hand("2.json");
      await hand("3.json");
      // A batch that is left out is well; going back to it is not.
      assert.match(await well(take("3.json")), /with 4 one-time keys/);
      await well(take("3.json"));
      for (const name of ["2.json", "1.json"]) {
        const { code, err } = await take(name);
        assert.is(code, 1);
        assert.match(err, /does not follow/);
      }
      await hand("strange.json", "stranger");
      const strange = await take("strange.json");
      assert.is(strange.code, 1);
      assert.match(strange.err, /has an owner already/);
      await record(4);
      assert.equal(await clips(), Array(5).fill("whole"));

      // The log's notebook is lost: keys for the new incarnation come when the phone has seen it.
      await rm(join(state, "journal"), { recursive: true });
      await hand("4.json");
      await record(1);
      assert.match((await take("4.json")).err, /incarnation/);
      assert.equal(await clips(), Array(6).fill("whole"));
      await hand("5.json");
      await well(take("5.json"));
      await record(1);
      assert.equal(await clips(), Array(7).fill("whole"));
      const { out } = await phone(at("phone"), "verify", "--from", join(state, "outbox"));
      assert.match(out, /no lie and no loss found/);
      // An empty file is none.
      await writeFile(at("none.json"), (await readFile(at("5.json"))).subarray(0, 100));
      assert.is((await take("none.json")).code, 1);
    },
    { deadlineMs: 600_000 },
  );
});
