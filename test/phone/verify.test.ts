import { copyFile, cp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { toFileName } from "../../src/protocol/wire/name.ts";
import { decodePart, encodePart } from "../../src/protocol/wire/part.ts";
import { testFilm } from "../fakes/film.ts";
import { signer } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { pairedWorld, phone } from "./world.ts";

const film = await testFilm({ seconds: 2 });
const slow = { deadlineMs: 600_000 };

type World = Awaited<ReturnType<typeof pairedWorld>>;
type Found = { code: number; faults: string[]; states: string[]; texts: string[] };

/** Exit code, faults as "severity kind", and the states of the clips by their start. */
async function verify(world: World, folder = world.outbox): Promise<Found> {
  const { code, out, err } = await phone(world.home, "verify", "--from", folder, "--json");
  assert.ok(out.startsWith("{"), err);
  const { faults, clips, well } = JSON.parse(out);
  assert.is(well, code === 0);
  return {
    code,
    faults: faults.map((one: Record<string, string>) => `${one.severity} ${one.kind}`),
    texts: faults.map((one: Record<string, string>) => one.text),
    states: clips.map((one: Record<string, string>) => one.state),
  };
}

async function filesOf(world: World, kind: string): Promise<string[]> {
  return (await readdir(world.outbox)).filter((file) => file.startsWith(kind)).sort();
}

/** Whether the faults that matter are exactly these. */
function isFound(found: Found, ...faults: string[]): void {
  const serious = found.faults.filter((one) => !one.startsWith("note"));
  assert.equal([...new Set(serious)].sort(), faults.sort(), JSON.stringify(found.texts));
  assert.is(found.code, faults.length > 0 ? 3 : 0);
}

suite("verify", (test) => {
  test(
    "the hostile keeper of a folder: each thing it does is named",
    async () => {
      await using world = await pairedWorld();
      const { camera, outbox } = world;
      const first = await camera.record({ film });
      const second = await camera.record({ film });
      await camera.beacon();
      const copy = join(world.path, "copy");
      await cp(outbox, copy, { recursive: true });
      const entries = await filesOf(world, "entry.");
      const path = (file: string) => join(outbox, file);
      const restore = async () => {
        await rm(outbox, { recursive: true });
        await cp(copy, outbox, { recursive: true });
      };
      const part = (clip: typeof first, n: number) => toFileName(clip.parts[n]?.name as never);

      isFound(await verify(world));

      // Withholds an entry in the middle: a gap, and what it said is not known.
      await rm(path(entries[1] as string));
      isFound(await verify(world), "loss gap");
      await restore();

      // Withholds the newest entries: the phone has seen them, and the beacon tells too.
      await rm(path(entries.at(-1) as string));
      const short = await verify(world);
      isFound(short, "loss rollback");
      assert.is(short.texts.filter((text) => text.startsWith("the log ends at")).length, 2);
      assert.equal(short.states, ["whole", "unfinished"]);
      await restore();

      // Withholds a part.
      await rm(path(part(first, 1)));
      const withheld = await verify(world);
      isFound(withheld, "loss withheld");
      assert.equal(withheld.states, ["incomplete", "whole"]);
      await restore();

      // Withholds all of a clip.
      for (const { name } of second.parts) await rm(path(toFileName(name)));
      isFound(await verify(world), "loss withheld");
      await restore();

      // Truncates and flips.
      const bytes = await readFile(path(part(first, 1)));
      await writeFile(path(part(first, 1)), bytes.subarray(0, -1));
      isFound(await verify(world), "loss damaged");
      bytes[1000] = (bytes[1000] ?? 0) ^ 1;
      await writeFile(path(part(first, 1)), bytes);
      isFound(await verify(world), "loss damaged");
      await restore();

      // Swaps two parts of the camera, and serves one clip's part as another's.
      await rename(path(part(first, 1)), path("aside"));
      await copyFile(path(part(first, 2)), path(part(first, 1)));
      isFound(await verify(world), "lie replay");
      await copyFile(path(part(second, 1)), path(part(first, 1)));
      isFound(await verify(world), "lie replay");
      await restore();

      // Serves an old entry under the name of a newer one.
      await copyFile(path(entries[1] as string), path(entries.at(-1) as string));
      isFound(await verify(world), "lie replay", "loss rollback");
      await restore();

      isFound(await verify(world));
    },
    { deadlineMs: 600_000 },
  );

  test(
    "what a thief with the folder, but not the camera's key, forges",
    async () => {
      await using world = await pairedWorld();
      const { camera, outbox } = world;
      const { parts } = await camera.record({ film });
      const real = decodePart(parts[1]?.bytes as Uint8Array);
      const forged = encodePart(real, [real.payload], signer());
      await rm(join(outbox, toFileName(parts[1]?.name as never)));
      await writeFile(join(outbox, toFileName(forged.name)), forged.bytes);
      isFound(await verify(world), "lie forged");
    },
    slow,
  );

  test(
    "a forked log: two branches, two cards with one camera's key",
    async () => {
      await using world = await pairedWorld();
      const { camera, outbox } = world;
      await camera.record({ film });
      await verify(world);
      // The same place again, with another content and the same key.
      const { head } = camera;
      const fork = await camera.say({ kind: "problem", code: "one", text: "one branch" });
      camera.rewind(head);
      await camera.say({ kind: "problem", code: "two", text: "the other" });
      await camera.say({ kind: "problem", code: "three", text: "goes on" });
      const found = await verify(world);
      isFound(found, "lie fork");
      assert.ok(found.texts.some((text) => text.includes("second version")));
      await rm(join(outbox, toFileName(fork.name)));
      isFound(await verify(world));
      // The branch that was shown first comes back alone: the head that was seen is not in it.
      camera.rewind(head);
      const files = await readdir(outbox);
      for (const file of files.filter((one) => Number(one.split(".")[2]) > head.sequence)) {
        if (file.startsWith("entry.")) await rm(join(outbox, file));
      }
      await camera.put(fork);
      isFound(await verify(world), "loss rollback");
    },
    slow,
  );

  test(
    "a clip that the log does not name, parts behind the end, and a second last part",
    async () => {
      await using world = await pairedWorld();
      const { camera } = world;
      const unlogged = await camera.record({ film, log: false });
      isFound(await verify(world), "lie unlogged");
      // A first part alone is all there is when a camera is switched off before its log goes on.
      for (const part of unlogged.parts.slice(1)) await camera.remove(part);
      isFound(await verify(world));
      for (const part of unlogged.parts.slice(0, 1)) await camera.remove(part);
      isFound(await verify(world));
    },
    slow,
  );

  test(
    "clips that the camera lost are named, with a lost clip's count of parts",
    async () => {
      await using world = await pairedWorld();
      const { camera } = world;
      const { id, parts } = await camera.record({ film });
      const clip = Buffer.from(id, "hex");
      await camera.say({
        ...{ kind: "lost", reason: "full", clips: [{ clip, parts: parts.length }] },
      });
      for (const part of parts) await camera.remove(part);
      const found = await verify(world);
      isFound(found, "loss lost");
      assert.equal(found.states, ["lost"]);
      assert.match(found.texts.join(), new RegExp(`${id.slice(0, 12)}.*${parts.length} parts`));
      // What went with age went by the owner's own setting.
      const old = await camera.record({ film });
      const aged = [{ clip: Buffer.from(old.id, "hex"), parts: old.parts.length }];
      await camera.say({ kind: "lost", reason: "expired", clips: aged });
      for (const part of old.parts) await camera.remove(part);
      const later = await verify(world);
      isFound(later, "loss lost");
      assert.ok(
        later.faults.some((one) => one.startsWith("note lost")),
        later.faults.join(),
      );
      assert.equal(later.states, ["lost", "lost"]);
      assert.match(later.texts.join(), new RegExp(`${old.id.slice(0, 12)}.* its time was over`));
    },
    slow,
  );

  test(
    "an unfinished clip is a fault once the camera has gone on without ending it",
    async () => {
      await using world = await pairedWorld();
      const { camera } = world;
      await camera.record({ film, end: "open" });
      isFound(await verify(world));
      await camera.start();
      const found = await verify(world);
      isFound(found, "loss unfinished");
      assert.match(found.texts.join(), /unfinished or withheld/);
    },
    slow,
  );

  test(
    "times before the clock was set are mended by the entry that set it, and marked until then",
    async () => {
      await using world = await pairedWorld();
      const { camera } = world;
      camera.clockTrusted = false;
      camera.wallMs = 0;
      await camera.start();
      await camera.record({ film });
      assert.match((await world.run("clips")).out, /~1970-01-01/);
      const right = Date.UTC(2026, 10, 22, 12, 0, 0);
      const { uptimeMs } = camera;
      camera.wallMs = right;
      camera.clockTrusted = true;
      await camera.say({ kind: "clock-synchronised", beforeMs: 0 });
      const { clips } = JSON.parse((await world.run("clips", "--json")).out);
      // Clip start, clip end and synchronisation are a second apart.
      assert.is(Date.parse(clips[0].start), right - (uptimeMs - (uptimeMs - 2000)));
      assert.ok(clips[0].clockTrusted);
      assert.not.match((await world.run("clips")).out, /~/);
    },
    slow,
  );

  test(
    "a new incarnation is chained to the old, and shown",
    async () => {
      await using world = await pairedWorld();
      const { camera } = world;
      await camera.record({ film });
      camera.incarnation = 1;
      await camera.start();
      await camera.say({ kind: "incarnation-opened", reason: "behind" });
      await camera.record({ film, key: "restart" });
      const found = await verify(world);
      isFound(found);
      assert.equal(found.states, ["whole", "whole"]);
      const { out } = await world.run("verify");
      assert.match(out, /2 incarnations\n +incarnation 1 from entry \d+ on: behind\n/);
      assert.is(toHex(camera.head.hash).length, 64);
    },
    slow,
  );
});
