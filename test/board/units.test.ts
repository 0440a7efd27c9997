import { execFile, spawnSync } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { serviceEnvironment } from "../../scripts/environment.ts";
import { checkout } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const run = promisify(execFile);
const board = join(checkout, "board");
/** What each service may be exposed at most, 0 to 10. */
const limits = {
  "obscura-camera.service": 4.0,
  "obscura-relay.service": 2.5,
  "obscura-label.service": 2.5,
};
const has = (program: string) => spawnSync(program, ["--version"]).status === 0;

suite("board/units", (test) => {
  test("the camera's program starts as it does when its memory is measured", async () => {
    const unit = await readFile(join(board, "obscura-camera.service"), "utf8");
    const said = Object.entries(serviceEnvironment).map(([name, value]) => `${name}=${value}`);
    assert.match(unit, `Environment=${said.join(" ")}\n`);
  });

  const exposure = "each service is exposed as little as was promised";
  const verified = "systemd finds nothing wrong with the units";
  if (!has("systemd-analyze")) {
    for (const title of [exposure, verified]) test.skip(title, "there is no systemd-analyze here");
  } else {
    test(exposure, async () => {
      for (const [unit, limit] of Object.entries(limits)) {
        const args = ["security", "--offline=true", "--no-pager", join(board, unit)];
        const { stdout } = await run("systemd-analyze", args);
        const level = Number(/exposure level for .*: ([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
        assert.ok(level <= limit, `${unit}: ${level}, at most ${limit}`);
        console.log(`measured: ${unit}: exposure ${level} of 10`);
      }
    });

    test(verified, async () => {
      await using folder = await quickFolder();
      const current = join(folder.path, "opt/obscura/current");
      const bin = join(current, "bin");
      const units = join(folder.path, "etc/systemd/system");
      await mkdir(bin, { recursive: true });
      await mkdir(units, { recursive: true });
      await symlink(process.execPath, join(bin, "node"));
      await symlink(board, join(current, "board"));
      const drops = join(units, "obscura-camera.service.d");
      await mkdir(drops);
      await copyFile(join(board, "label.conf"), join(drops, "label.conf"));
      for (const name of await readdir(board)) {
        if (!/\.(service|socket|timer|path)$/.test(name)) continue;
        const text = await readFile(join(board, name), "utf8");
        // Verified as they will be, with the programs where they are now.
        await writeFile(
          join(units, name),
          text.replaceAll(/\/opt\/obscura\/current\/(?=bin|board)/g, `${current}/`),
        );
      }
      const names = [
        ...Object.keys(limits),
        "obscura-again@.timer",
        "obscura-label.path",
        "obscura-page.socket",
      ];
      const args = ["verify", "--man=no", ...names.map((name) => join(units, name))];
      const { stdout, stderr } = await run("systemd-analyze", args);
      const ours = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("obscura"));
      assert.equal(ours, []);
    });
  }

  const sysusers = "the users can be made, and the camera's is in the group video";
  if (!has("systemd-sysusers")) test.skip(sysusers, "there is no systemd-sysusers here");
  else
    test(sysusers, async () => {
      await using folder = await quickFolder();
      const etc = join(folder.path, "etc");
      await mkdir(join(etc, "sysusers.d"), { recursive: true });
      for (const part of ["camera", "relay"]) {
        const name = `obscura-${part}`;
        await copyFile(join(board, `${name}.sysusers`), join(etc, "sysusers.d", `${name}.conf`));
      }
      await writeFile(join(etc, "group"), "video:x:44:\n");
      await run("systemd-sysusers", [`--root=${folder.path}`]);
      assert.match(await readFile(join(etc, "passwd"), "utf8"), /^obscura-relay:.*nologin$/m);
      assert.match(await readFile(join(etc, "group"), "utf8"), /^video:x:44:obscura-camera$/m);
    });

  const rules = "udev reads the rules";
  if (spawnSync("udevadm", ["verify", "--help"]).status !== 0) {
    test.skip(rules, "there is no udevadm that verifies (systemd 254) here");
  } else {
    test(rules, async () => {
      await run("udevadm", ["verify", join(board, "obscura-camera.rules")]);
    });
  }
});
