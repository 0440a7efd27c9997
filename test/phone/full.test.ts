import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { equal, is, match } from "uvu/assert";
import { testFilm } from "../fakes/film.ts";
import { fillUp, openDisk, whyNoDisk } from "../lib/disk.ts";
import { suite } from "../lib/suite.ts";
import { pairedWorld, phone } from "./world.ts";

const noDisk = await whyNoDisk();
const mebibytes = 4;

suite("phone's disk full", (test) => {
  const what =
    "under the keys, and where a film shall go: it says so, and all is well when there is room";
  if (noDisk) {
    test.skip(what, noDisk);
    return;
  }
  test(
    what,
    async () => {
      await using world = await pairedWorld();
      await using disk = await openDisk(mebibytes);
      const film = await testFilm({ seconds: 1 });
      const { id } = await world.camera.record({ film });
      const other = await world.camera.record({ film });
      const home = join(disk.path, "home");
      await cp(world.home, home, { recursive: true });
      const run = (...args: string[]) => phone(home, ...args, "--from", world.outbox);
      const file = join(disk.path, "film.mp4");
      const commands = [
        ["clips"],
        ["delete", other.id],
        ["export", id, "-o", file],
        ["backup", join(disk.path, "keys")],
      ];
      const free = fillUp(disk);
      for (const args of commands) {
        const { code, out, err } = await (args[0] === "backup"
          ? phone(home, ...args)
          : run(...args));
        is(code, 1, args[0]);
        is(out, "");
        match(err, /^obscura-phone: no room for \S+\. Free some space\n$/, args[0]);
      }
      free();
      equal((await readdir(disk.path)).sort(), ["home"]);
      for (const args of commands) {
        const { code, err } = await (args[0] === "backup" ? phone(home, ...args) : run(...args));
        is(code, 0, `${args[0]}: ${err}`);
      }
      equal((await readdir(disk.path)).sort(), ["film.mp4", "home", "keys"]);
      const { code, out } = await run("verify");
      is(code, 0, out);
      match(out, new RegExp(`${id.slice(0, 12)} .*whole`));
      match(out, new RegExp(`${other.id.slice(0, 12)} .*deleted`));
    },
    { deadlineMs: 400_000 },
  );
});
