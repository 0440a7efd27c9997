import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { testFilm } from "../fakes/film.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { pairedWorld, phone, phoneIn } from "./world.ts";

const film = await testFilm();
const slow = { deadlineMs: 600_000 };

suite("obscura-phone's words", (test) => {
  test(
    "help, version and misuse",
    async () => {
      await using folder = await temporaryFolder();
      const home = join(folder.path, "home");
      const help = await phone(home, "--help");
      assert.is(help.code, 0);
      assert.match(help.out, /exit codes: 0 well, 1 failed, 2 misuse, 3/);
      assert.match((await phone(home, "--version")).out, /^\d+\.\d+\.\d+\n$/);
      const none = [
        "cameras",
        "clips",
        "snapshot",
        "window",
        "disarm",
        "verify",
        "phones",
        "add-phone",
      ];
      const one = [
        "adopt",
        "remove-phone",
        "erase",
        "backup",
        "restore",
        "recovery-kit",
        "arm",
        "privacy",
      ];
      const misuses = [
        ...[[], ["fly"], ["clips", "--fly"], ["settings", "a", "b", "c"], ["recovery-kit", "fly"]],
        ...[
          ["arm", "both"],
          ["privacy", "true"],
          ["arm", "Home"],
        ],
        ...none.map((command) => [command, "extra"]),
        ...one.flatMap((command) => [[command], [command, "a", "b", "c"]]),
        ...["export", "delete", "thumbnail"].flatMap((many) => [[many], [many, "a", "--all"]]),
        ["pair", "--lan", "--bluetooth", "obscura:link"],
        ...["pair", "join"].flatMap((by) => [[by], [by, "a", "b"], [by, "obscura-no:link"]]),
      ];
      for (const args of misuses) {
        const { code, out, err } = await phone(home, ...args);
        assert.is(code, 2, args.join(" "));
        assert.is(out, "");
        assert.match(err, /^obscura-phone: /);
      }
      const paper = join(folder.path, "paper");
      await writeFile(paper, "01 whatever was on it\n");
      assert.is((await phone(home, "recovery-kit", "use", paper)).code, 2);
      const keyless = await phone(home, "clips", "--from", folder.path);
      assert.is(keyless.code, 1);
      assert.match(keyless.err, /no keys here yet.*adopt/s);
    },
    slow,
  );

  test(
    "times are those of the user's zone, over the end and the beginning of summer time",
    async () => {
      await using world = await pairedWorld();
      const hours = [
        "2026-03-08T06:30Z",
        "2026-03-08T07:30Z",
        "2026-11-01T05:30Z",
        "2026-11-01T06:30Z",
      ];
      for (const hour of hours) {
        world.camera.wallMs = Date.parse(hour);
        await world.camera.record({ film });
      }
      const timesIn = async (zone: string) => {
        const { out, err } = await phoneIn(zone, world.home, "clips", "--from", world.outbox);
        const times = out.match(/20\d\d-\d\d-\d\d \d\d:\d\d/g);
        return times?.join(", ") ?? err;
      };
      // An hour that is not there, and one that is there twice: in the order in which they came.
      assert.is(
        await timesIn("America/New_York"),
        "2026-03-08 01:30, 2026-03-08 03:30, 2026-11-01 01:30, 2026-11-01 01:30",
      );
      assert.is(
        await timesIn("Asia/Kolkata"),
        "2026-03-08 12:00, 2026-03-08 13:00, 2026-11-01 11:00, 2026-11-01 12:00",
      );
    },
    slow,
  );

  test(
    "a folder that is no camera's outbox is named as such",
    async () => {
      await using world = await pairedWorld();
      await world.camera.record({ film });
      assert.is((await world.run("verify")).code, 0);
      for (const command of ["verify", "clips", "phones"]) {
        const { code, err } = await phone(world.home, command, "--from", world.path);
        assert.is(code, 1, command);
        assert.match(err, /nothing in \S+ tells whose objects.* Is it a camera's outbox/, command);
      }
      // Of a camera that is named nothing there is a loss.
      const empty = ["verify", "--from", world.path, "--camera", "Front door"];
      assert.is((await phone(world.home, ...empty)).code, 3);
    },
    slow,
  );
});
