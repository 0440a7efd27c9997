import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { finishErase, markErased } from "../../../src/device/command/command.ts";
import { createKeyring, hasKeys } from "../../../src/device/keyring.ts";
import { startCamera } from "../../lib/commands.ts";
import { makeCamera, recording } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

async function filesOf(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  return all.filter((one) => one.isFile()).map((one) => one.name);
}

suite("erase", (test) => {
  test("nothing happens without a mark; with one the board is as new, however often it is finished", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const running = await startCamera(camera);
    await running.sealer.clip(recording(2));
    await running.stop();
    assert.is(await finishErase(home.path), false);
    assert.ok(await hasKeys(home.path));
    for (const folder of ["network", "home", "alarm", "mail", "push"]) {
      await mkdir(join(home.path, folder));
      await writeFile(join(home.path, folder, "told"), "the name of a place");
    }
    const secret = await readFile(join(home.path, "keys", "camera.key"));
    await markErased(home.path);
    assert.is(await finishErase(home.path), true);
    assert.is(await finishErase(home.path), false);
    assert.is(await hasKeys(home.path), false);
    assert.equal(await filesOf(home.path), []);
    const { identity } = await createKeyring(home.path, "another life");
    assert.not.equal(identity.camera, camera.keyring.identity.camera);
    assert.not.equal(await readFile(join(home.path, "keys", "camera.key")), secret);
  });

  test("broken off in its midst, the next start goes on with it", async () => {
    await using home = await quickFolder();
    await makeCamera(home.path);
    await markErased(home.path);
    // As a kill leaves it behind the keys, and before the rest.
    await writeFile(join(home.path, "keys", "camera.key"), new Uint8Array(64), { mode: 0o600 });
    await mkdir(join(home.path, "outbox"), { recursive: true });
    await writeFile(join(home.path, "outbox", "something"), "x");
    assert.is(await finishErase(home.path), true);
    assert.equal(await filesOf(home.path), []);
  });
});
