import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { testFilm } from "../fakes/film.ts";
import { suite } from "../lib/suite.ts";
import { pairedWorld, phone } from "./world.ts";

const film = await testFilm();

/** What may befall the two files that hold the keys, each for itself. */
const harms: ((home: string) => Promise<void>)[] = [
  (home) => rm(join(home, "key")),
  (home) => writeFile(join(home, "key"), "short"),
  async (home) => writeFile(join(home, "key"), (await readFile(join(home, "key"))).fill(7, 0, 4)),
  async (home) => rm(join(home, await vaultIn(home))),
  async (home) => writeFile(join(home, await vaultIn(home)), "none"),
  async (home) => {
    const vault = join(home, await vaultIn(home));
    await writeFile(vault, (await readFile(vault)).fill(0, 500, 510));
  },
];

async function vaultIn(home: string): Promise<string> {
  return (await readdir(home)).find((name) => name.startsWith("vault.")) ?? "";
}

suite("restore", (test) => {
  test(
    "whatever happened to the keys: it says what to do, and that does it",
    async () => {
      await using world = await pairedWorld();
      const { id } = await world.camera.record({ film });
      const file = join(world.path, "keys.backup");
      assert.is((await phone(world.home, "backup", file)).code, 0);
      const other = join(world.path, "other");
      assert.is((await phone(other, "restore", file)).code, 0);
      // Behind the first save, of which a vault alone is as good as nothing.
      assert.is((await phone(other, "restore", file, "--force")).code, 0);
      for (const harm of harms) {
        await harm(other);
        const broken = await phone(other, "clips", "--from", world.outbox);
        assert.is(broken.code, 1);
        assert.match(broken.err, /restore FILE --force/);
        const asked = await phone(other, "restore", file);
        assert.match(asked.err, /there are keys here already/);
        const forced = await phone(other, "restore", file, "--force");
        assert.is(forced.code, 0, forced.err);
        assert.match((await phone(other, "clips", "--from", world.outbox)).out, id.slice(0, 12));
      }
    },
    { deadlineMs: 600_000 },
  );
});
