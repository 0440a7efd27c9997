import { execFile } from "node:child_process";
import {
  chmod,
  cp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { openCommand } from "../../src/protocol/sealed/command.ts";
import { verifyTombstone } from "../../src/protocol/sealed/tombstone.ts";
import { fromFileName } from "../../src/protocol/wire/name.ts";
import { testFilm } from "../fakes/film.ts";
import { nodeSuite, pattern } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { pairedWorld, phone } from "./world.ts";

const run = promisify(execFile);
const film = await testFilm();

/** What ffprobe says of a film: seconds, pictures, and where its index lies. */
async function probe(file: string) {
  const { stdout } = await run("ffprobe", [
    ...["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,codec_name"],
    ...["-show_entries", "format=duration", "-of", "json", file],
  ]);
  const { streams, format } = JSON.parse(stdout);
  const bytes = await readFile(file);
  return {
    pictures: Number(streams[0].nb_read_frames),
    seconds: Number(format.duration),
    indexFirst: bytes.indexOf("moov") < bytes.indexOf("mdat"),
    fragmented: bytes.includes("moof"),
  };
}

const slow = { deadlineMs: 600_000 };

suite("obscura-phone", (test) => {
  test(
    "adopting makes keys once, in a tight folder, and warns of their loss",
    async () => {
      await using world = await pairedWorld();
      const { home, adopted, word } = world;
      assert.match(adopted.out, new RegExp(`check word ${word}`));
      assert.match(adopted.err, /losing the only copy loses every/);
      assert.is((await stat(home)).mode & 0o777, 0o700);
      for (const file of await readdir(home)) {
        assert.is((await stat(join(home, file))).mode & 0o777, 0o600, file);
      }
      assert.is((await stat(world.ownerFile)).mode & 0o777, 0o600);
      const again = await phone(home, "adopt", world.cameraFile, "-o", world.ownerFile, "--json");
      assert.is(again.code, 0);
      assert.not.match(again.err, /losing/);
      const phones = JSON.parse((await phone(home, "phones", "--json")).out);
      assert.is(phones.cameras.length, 1);
      assert.is(phones.cameras[0].oneTimeKeys, 2020);
      assert.equal(phones.cameras[0].phones[0].name, "Ada");
      assert.ok(phones.cameras[0].phones[0].own);
      await chmod(home, 0o755);
      assert.match((await phone(home, "phones")).err, /open to other users/);
      assert.is((await stat(home)).mode & 0o777, 0o700);
    },
    slow,
  );

  test(
    "a recorded clip is listed, plays anywhere, and its picture comes out",
    async () => {
      await using world = await pairedWorld();
      const jpeg = pattern(5000);
      const { id } = await world.camera.record({ film, thumbnail: jpeg, persons: 2 });
      await world.camera.beacon();

      const heard = await world.run("cameras");
      assert.is(heard.code, 0, heard.err);
      assert.ok(heard.out.includes(` ${world.outbox} `), heard.out);
      const nowhere = join(world.path, "nowhere");
      assert.is((await phone(world.home, "cameras", "--from", nowhere)).code, 1);
      const listed = await world.run("clips");
      assert.is(listed.code, 0, listed.err);
      assert.match(
        listed.out,
        new RegExp(`${id.slice(0, 12)} +2023-11-14 22:13:\\d\\d +3.0 s +2 +door +whole`),
      );
      const json = JSON.parse((await world.run("clips", "--json")).out);
      assert.is(json.clips[0].id, id);
      assert.is(json.clips[0].seconds, 3);
      assert.ok(json.well, JSON.stringify(json.faults));

      const out = join(world.path, "one.mp4");
      const exported = await world.run("export", id.slice(0, 8), "-o", out, "--json");
      assert.is(exported.code, 0, exported.err);
      const [file] = JSON.parse(exported.out).files;
      assert.is(file.whole, true);
      assert.is(file.persons, 2);
      const probed = await probe(out);
      assert.is(probed.pictures, 30);
      assert.ok(Math.abs(probed.seconds - 3) < 0.11, String(probed.seconds));
      assert.ok(probed.indexFirst && !probed.fragmented);

      const picture = join(world.path, "one.jpg");
      assert.is((await world.run("thumbnail", id, "-o", picture)).code, 0);
      assert.is(Buffer.compare(await readFile(picture), jpeg), 0);
      const told = await world.run("log");
      assert.match(told.out, /the camera started/);
      assert.match(told.out, /clip [0-9a-f]{12} began\n/);
      const verified = await world.run("verify");
      assert.is(verified.code, 0, verified.out);
      assert.match(verified.out, /no lie and no loss found/);
    },
    slow,
  );

  test(
    "the pictures that are exported are those that were recorded",
    async () => {
      await using world = await pairedWorld();
      const { id } = await world.camera.record({ film });
      const out = join(world.path, "out.mp4");
      await world.run("export", id, "-o", out);
      const before = join(world.path, "before.mp4");
      await writeFile(before, Buffer.concat([film.init, ...film.fragments]));
      const hash = async (path: string) =>
        (await run("ffmpeg", ["-v", "error", "-i", path, "-f", "framemd5", "-"])).stdout
          .split("\n")
          .filter((line) => line !== "" && !line.startsWith("#"))
          .map((line) => line.split(",").at(-1)?.trim());
      assert.equal(await hash(out), await hash(before));
    },
    slow,
  );

  test(
    "a clip that was cut off exports up to its last durable part",
    async () => {
      await using world = await pairedWorld();
      const cut = { ...film, fragments: film.fragments.slice(0, 4) };
      const { id } = await world.camera.record({ film: cut, end: "cut-off" });
      const open = await world.camera.record({ film: cut, end: "open" });
      const verified = await world.run("verify", "--json");
      assert.is(verified.code, 0, verified.out);
      const states = JSON.parse(verified.out).clips.map((one: { state: string }) => one.state);
      assert.equal(states, ["cut off", "unfinished"]);
      const folder = join(world.path, "all");
      const all = await world.run("export", "--all", "-o", folder, "--json");
      assert.is(all.code, 0, all.err);
      const { files } = JSON.parse(all.out);
      assert.equal(
        files.map((file: { clip: string }) => file.clip),
        [id, open.id],
      );
      for (const { file, whole } of files) {
        assert.is(whole, false);
        assert.is((await probe(file)).pictures, 20);
      }
    },
    slow,
  );

  test(
    "a clip that was cut off before its first picture keeps nobody from the others",
    async () => {
      await using world = await pairedWorld();
      const begun = { ...film, fragments: [] };
      const empty = await world.camera.record({ film: begun, end: "cut-off" });
      const { id } = await world.camera.record({ film });
      const folder = join(world.path, "all");
      const all = await world.run("export", "--all", "-o", folder, "--json");
      assert.is(all.code, 0, all.err);
      assert.match(all.err, new RegExp(`clip ${empty.id.slice(0, 12)}: there is no picture in it`));
      const { files, failed } = JSON.parse(all.out);
      assert.equal([files.length, files[0].clip, failed], [1, id, 0]);
      const named = await world.run("export", empty.id, "-o", folder);
      assert.is(named.code, 1);
      assert.match(named.err, /it ends before its first/);
    },
    slow,
  );

  test(
    "a snapshot, which has no video, is exported as the picture that it is",
    async () => {
      await using world = await pairedWorld();
      const jpeg = pattern(4000);
      const still = { init: new Uint8Array(), fragments: [] };
      const { id } = await world.camera.record({ film: still, thumbnail: jpeg });
      const whole = await world.camera.record({ film, thumbnail: jpeg });
      for (const [command, asked, made] of [
        ["export", "one.mp4", "one.jpg"],
        ["export", "two.jpg", "two.jpg"],
        ["thumbnail", "three.jpg", "three.jpg"],
      ] as const) {
        const { code, err } = await world.run(command, id, "-o", join(world.path, asked));
        assert.is(code, 0, err);
        assert.is(Buffer.compare(await readFile(join(world.path, made)), jpeg), 0, command);
      }
      assert.is((await world.run("thumbnail", id, "-o", join(world.path, "f.JPEG"))).code, 0);
      assert.is(Buffer.compare(await readFile(join(world.path, "f.JPEG")), jpeg), 0);
      // What would be a folder of that name is nothing that anybody wants.
      const before = await readdir(world.path);
      for (const [what, out] of [
        [["thumbnail", id], "one.png"],
        [["export", whole.id], "one.mkv"],
        [["export", whole.id], "-"],
        [["export", "--all"], "all.mp4"],
      ] as const) {
        const { code, err } = await world.run(
          ...what,
          "-o",
          out === "-" ? out : join(world.path, out),
        );
        assert.is(code, 2, err);
        assert.match(err, /a folder was expected/);
      }
      assert.equal(await readdir(world.path), before);
      const all = join(world.path, "all");
      const exported = await world.run("export", "--all", "-o", all, "--json");
      assert.is(exported.code, 0, exported.err);
      const names = (await readdir(all)).map((name) => name.slice(-16)).sort();
      assert.equal(names, [`${id.slice(0, 12)}.jpg`, `${whole.id.slice(0, 12)}.mp4`].sort());
    },
    slow,
  );

  test(
    "clips sealed to a day key and to the restart key open too",
    async () => {
      await using world = await pairedWorld();
      await world.camera.record({ film, key: "day" });
      await world.camera.record({ film, key: "restart" });
      const { clips } = JSON.parse((await world.run("clips", "--json")).out);
      assert.equal(
        clips.map(({ state }: { state: string }) => state),
        ["whole", "whole"],
      );
    },
    slow,
  );

  test(
    "deleting sends a tombstone, destroys the key and waits for the camera",
    async () => {
      await using world = await pairedWorld();
      const { camera, outbox } = world;
      const { id } = await camera.record({ film });
      const kept = await camera.record({ film });
      await world.run("clips");
      const deleted = await world.run("delete", id);
      assert.is(deleted.code, 0, deleted.err);
      assert.match(deleted.out, /the command to delete it waits in its box/);

      const file = (await readdir(outbox)).find((name) => name.startsWith("box.")) ?? "";
      const name = fromFileName(file);
      const expected = { camera: camera.signer.publicKey, incarnation: 0 };
      const bytes = await readFile(join(outbox, file));
      const command = openCommand(bytes, [camera.receiving], expected, nodeSuite);
      assert.ok(command?.action.kind === "tombstone" && name.kind === "box");
      const { tombstone } = command.action;
      const { clip, keyIds } = verifyTombstone(tombstone, camera.signer.publicKey, nodeSuite);
      assert.is(Buffer.from(clip).toString("hex"), id);
      assert.is(keyIds.length, 1);

      const after = await world.run("clips");
      assert.match(after.out, /deleted here, waits for the camera/);
      const gone = await world.run("export", id);
      assert.is(gone.code, 1);
      assert.match(gone.err, /its key is destroyed/);
      assert.is((await world.run("export", kept.id, "-o", world.path)).code, 0);
      // Said again it is sent again, with a higher number.
      assert.is((await world.run("delete", id)).code, 0);
      assert.is((await readdir(outbox)).filter((one) => one.startsWith("box.")).length, 2);
      await camera.say({ kind: "tombstone-done", tombstone });
      assert.match((await world.run("clips")).out, / deleted, not final: Ada has not confirmed\n/);
    },
    slow,
  );

  test(
    "a backup brings the keys back on another machine, and says what that means",
    async () => {
      await using world = await pairedWorld();
      const { id } = await world.camera.record({ film });
      const file = join(world.path, "keys.backup");
      const saved = await phone(world.home, "backup", file);
      assert.is(saved.code, 0, saved.err);
      assert.is((await stat(file)).mode & 0o777, 0o600);
      const other = join(world.path, "other");
      const restored = await phone(other, "restore", file);
      assert.is(restored.code, 0, restored.err);
      assert.match(restored.err, /one-time keys that were destroyed .* are back/);
      const listed = await phone(other, "clips", "--from", world.outbox);
      assert.match(listed.out, new RegExp(id.slice(0, 12)));
      assert.is((await phone(other, "restore", file)).code, 1);
      assert.is((await phone(other, "restore", file, "--force")).code, 0);
      await writeFile(file, (await readFile(file)).fill(0, 2000, 2010));
      const spoilt = await phone(other, "restore", file, "--force");
      assert.is(spoilt.code, 1);
      assert.match(spoilt.err, `${file} is damaged`);
      assert.is((await phone(other, "clips", "--from", world.outbox)).code, 0);
    },
    slow,
  );

  test(
    "a stranger's phone opens nothing, and says whose key is missing",
    async () => {
      await using world = await pairedWorld();
      await using strange = await pairedWorld();
      await world.camera.record({ film });
      const seen = await phone(
        strange.home,
        "clips",
        "--from",
        world.outbox,
        "--camera",
        "Front door",
      );
      assert.is(seen.code, 0);
      assert.match(seen.err, /something is wrong here/);
      const all = await phone(strange.home, "export", "--all", "--from", world.outbox);
      assert.is(all.code, 1);
      assert.match(all.err, /was not adopted by this phone/);
    },
    slow,
  );

  test(
    "a copy of the folder with odd files in it does as well",
    async () => {
      await using world = await pairedWorld();
      await world.camera.record({ film });
      const copy = join(world.path, "copy");
      await cp(world.outbox, copy, { recursive: true });
      await writeFile(join(copy, ".unfinished-entry"), "");
      await writeFile(join(copy, "journal.json"), "{}");
      // A pipe that nobody writes to, under a name that is asked for though it is not listed.
      await run("mkfifo", [join(copy, "beacon")]);
      const verified = await phone(world.home, "verify", "--from", copy);
      assert.is(verified.code, 0, verified.out);
    },
    slow,
  );

  test(
    "pipes, links and endless files in the place of objects stall nothing and pass for nothing",
    async () => {
      await using world = await pairedWorld();
      await world.camera.record({ film });
      const copy = join(world.path, "copy");
      await cp(world.outbox, copy, { recursive: true });
      await symlink(copy, join(world.path, "link"));
      const [part = "", other = ""] = (await readdir(copy)).filter((one) =>
        one.startsWith("part."),
      );
      const at = join(copy, part);
      const bytes = await readFile(at);
      const faults = async () => {
        const { code, out, err } = await phone(
          world.home,
          "verify",
          "--from",
          join(world.path, "link"),
          "--json",
        );
        assert.ok(out.startsWith("{"), err);
        return [code, ...JSON.parse(out).faults.map((one: { kind: string }) => one.kind)];
      };
      assert.equal(await faults(), [0]);
      await rm(at);
      await run("mkfifo", [at]);
      assert.equal((await faults()).slice(0, 2), [3, "withheld"]);
      await rm(at);
      await symlink(join(copy, other), at);
      assert.equal((await faults()).slice(0, 2), [3, "withheld"]);
      await rm(at);
      await writeFile(at, bytes);
      await truncate(at, 2 ** 40);
      assert.is((await faults())[0], 3);
    },
    slow,
  );
});
