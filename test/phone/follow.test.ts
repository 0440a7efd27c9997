import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openHttp } from "../../src/base/node/http.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { fromHex } from "../../src/base/pure/bytes.ts";
import { ClipSealer } from "../../src/protocol/sealed/clip.ts";
import { openCommand } from "../../src/protocol/sealed/command.ts";
import { parseInvite } from "../../src/protocol/sealed/invite.ts";
import { verifyIdentity } from "../../src/protocol/sealed/pairing.ts";
import { openMailbox } from "../../src/protocol/wire/client.ts";
import { testFilm } from "../fakes/film.ts";
import { openHostile } from "../lib/hostile.ts";
import { atOnce, inventWhenAsked } from "../lib/lies.ts";
import { relayWorld } from "../lib/relay.ts";
import { nodeSuite, opening, pattern, sealingSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { relayedWorld } from "./relayed.ts";

const film = await testFilm({ seconds: 2 });
const closing = {
  ...{ endUs: opening.startUs + 500_000, durationMs: 500, frames: 5, thinned: [], mostPersons: 1 },
  ...{ bestScore: 0.9, tracks: [], reason: "ended" as const },
};
const slow = { deadlineMs: 600_000 };

type World = Awaited<ReturnType<typeof relayedWorld>>;

/** A camera that carries out commands, as far as a test needs it, until it is stopped. */
function obey({ camera, url }: World, picture: Uint8Array) {
  const http = openHttp();
  const { adopted, request, requestSigner } = camera;
  if (!adopted) throw new Error("not adopted");
  const mailbox = openMailbox({
    ...{ url, mailbox: adopted.mailbox, send: http.send, nowMs: () => Date.now() },
    ...{ key: request, sign: requestSigner.sign, suite: nodeSuite },
  });
  const nonce = pattern(16);
  const done: string[] = [];
  const secrets: Uint8Array[] = [];
  const orders: string[] = [];
  const where = { ip: Uint8Array.of(192, 168, 1, 5), port: 41_234 };
  const over = new AbortController();
  const run = async () => {
    let after = "";
    while (!over.signal.aborted) {
      const page = await mailbox.list({ under: "box/", after, waitMs: 5000, signal: over.signal });
      for (const { name } of page) {
        const bytes = await mailbox.get(name);
        if (name.kind !== "box" || !bytes) continue;
        after = `box/${Buffer.from(name.writer).toString("hex")}/${String(name.sequence).padStart(16, "0")}z`;
        const expected = { camera: camera.signer.publicKey, incarnation: camera.incarnation };
        const command = openCommand(bytes, [camera.receiving], expected, nodeSuite);
        if (!command) continue;
        const { action, phone, number } = command;
        done.push(action.kind);
        if (action.kind === "ask") await camera.say({ kind: "nonce", phone, number, nonce });
        if (action.kind === "snapshot") {
          assert.equal(action.nonce, nonce);
          await camera.say({ kind: "watched", phone, how: "snapshot", state: "started" });
          const { id } = await camera.record({ film, thumbnail: picture });
          const clip = fromHex(id);
          await camera.say({ kind: "watched", phone, how: "snapshot", state: "ended", clip });
        }
        if (action.kind === "window") {
          assert.equal(action.nonce, nonce);
          secrets.push(action.secret);
          const isTaken = secrets.length > 1;
          if (!isTaken) await camera.say({ kind: "window", phone, number, addresses: [where] });
          await camera.say({
            ...{ kind: "command-done", phone, number, action: action.kind },
            ...(isTaken ? { refused: "another program pairs here" } : {}),
          });
        }
        if (action.kind === "alarm") {
          assert.equal(action.nonce, nonce);
          const isNew = !orders.includes(action.order);
          const refused = isNew ? {} : { refused: "this camera has no alarm" };
          orders.push(action.order);
          const deed = { kind: "alarm", what: "arming", mode: "away", by: "command" } as const;
          const text = "asked for; 60 s to leave";
          if (action.order === "arm_away" && isNew) await camera.say({ ...deed, score: 0, text });
          await camera.say({ kind: "command-done", phone, number, action: "alarm", ...refused });
        }
        if (action.kind === "setting") {
          const isWrong = action.value === "9";
          if (!isWrong) {
            const { name, value, replaces } = action;
            await camera.say({ kind: "setting", name, value, version: replaces + 1 });
          }
          await camera.say({
            ...{ kind: "command-done", phone, number, action: action.kind },
            ...(isWrong ? { refused: "a threshold lies between 0 and 1" } : {}),
          });
        }
      }
    }
  };
  const running = run().catch((error) => {
    if (!over.signal.aborted) throw error;
  });
  return {
    ...{ done, secrets, where, orders },
    async [Symbol.asyncDispose]() {
      over.abort();
      await running;
      http.close();
    },
  };
}

suite("obscura-phone over a relay", (test) => {
  test(
    "every command works without a folder, and says when the camera was heard",
    async () => {
      await using world = await relayedWorld();
      const { camera, run, path, url } = world;
      const jpeg = pattern(4000);
      const { id } = await camera.record({ film, thumbnail: jpeg, persons: 2 });
      const before = await run("cameras");
      assert.match(before.out, /Front door +[0-9a-f]{12} +http:\S+ +- +never heard/);
      camera.wallMs = Date.now() - 3 * 60_000;
      await camera.beacon();
      assert.match((await run("cameras")).out, /heard \d+ min ago/);
      const [known] = JSON.parse((await run("cameras", "--json")).out).cameras;
      assert.is(known.state, "heard");
      assert.is(known.relay, url);

      const listed = await run("clips");
      assert.is(listed.code, 0, listed.err);
      assert.match(listed.out, new RegExp(`${id.slice(0, 12)} .* 2.0 s +2 +door +whole`));
      const out = join(path, "one.mp4");
      const exported = await run("export", id.slice(0, 8), "-o", out, "--json");
      assert.is(exported.code, 0, exported.err);
      assert.ok((await readFile(out)).includes("moov"));
      const picture = join(path, "one.jpg");
      assert.is((await run("thumbnail", id, "-o", picture)).code, 0);
      assert.is(Buffer.compare(await readFile(picture), jpeg), 0);
      const verified = await run("verify", "--all-relays");
      assert.is(verified.code, 0, verified.out);
      assert.match(verified.out, /camera heard \d+ min ago/);
      camera.wallMs = Date.now() - 3 * 3_600_000;
      await camera.beacon();
      assert.match((await run("verify")).out, /not heard for 3 h: the relay withholds, or/);

      const deleted = await run("delete", id);
      assert.is(deleted.code, 0, deleted.err);
      assert.match((await run("clips")).out, /deleted here/);
      const strange = await run("clips", "--relay", "http://127.0.0.1:9");
      assert.is(strange.code, 1);
      assert.match(strange.err, /relay http:\/\/127\.0\.0\.1:9: .* Is it running/);
      assert.is((await run("clips", "--camera", "Nobody")).code, 2);
    },
    slow,
  );

  test(
    "verify --all-relays holds the relays against one another",
    async () => {
      await using world = await relayedWorld();
      const { run, camera, url, relay, path } = world;
      const { id } = await camera.record({ film });
      await camera.beacon();
      const copy = join(path, "copy");
      await cp(relay.folder, copy, { recursive: true });
      await using second = await relayWorld({ isEmpty: true, folder: copy });
      const other = `http://${second.authority}`;
      const all = ["verify", "--all-relays", "--relay", url, "--relay"];
      const same = await run(...all, other);
      assert.is(same.code, 0, same.out + same.err);
      assert.ok(same.out.includes(id.slice(0, 12)));
      // From here on one has more than the other.
      await camera.record({ film });
      await camera.beacon();
      assert.is((await run("verify", "--relay", url)).code, 0);
      const less = await run(...all, other);
      assert.is(less.code, 3, less.err);
      for (const what of ["log entries", "parts of clips"]) {
        const lacks = new RegExp(
          `loss +withheld +relay ${other} lacks \\d+ ${what} that ${url} has`,
        );
        assert.match(less.out, lacks);
      }
      // One that does not answer lacks nothing that anybody knows of, and is named.
      const dead = await run(...all, "http://127.0.0.1:9");
      assert.is(dead.code, 0, dead.err);
      assert.match(dead.out, /note +withheld +.*127\.0\.0\.1:9/);
    },
    slow,
  );

  test(
    "settings are sent until the camera answers, a snapshot is taken and written",
    async () => {
      await using world = await relayedWorld();
      const { run, path } = world;
      assert.match((await run("settings")).out, /nothing was set/);
      const early = await run("settings", "detect.threshold", "0.6", "--wait", "1");
      assert.is(early.code, 0, early.err);
      assert.match(early.out, /has not answered yet/);
      assert.match((await run("settings")).out, /detect\.threshold +0\.6 +waits/);
      for (const args of [["detect.threshold"], ["../x", "1"], ["a", "b", "c"], ["name", "x\ny"]]) {
        assert.is((await run("settings", ...args)).code, 2, args.join(" "));
      }
      const near = await run("settings", "detect.treshold", "0.6");
      assert.is(near.code, 2);
      assert.match(near.err, /no setting that a phone may change. Did you mean detect.threshold\?/);
      const far = await run("settings", "fly", "high");
      assert.match(
        far.err,
        /no setting that a phone may change. There are name, privacy, camera.rotate/,
      );
      // Another wish takes the place of one that waits: the camera hears of the last alone.
      assert.match(
        (await run("settings", "detect.threshold", "0.5", "--wait", "1")).out,
        /not answ/,
      );
      const none = await run("snapshot", "--wait", "1");
      assert.is(none.code, 1);
      assert.match(none.err, /did not give its leave.* in time/);
      await using camera = obey(world, pattern(3000));
      while (!camera.done.includes("setting")) await systemClock.sleep(50);
      const set = await run("settings", "detect.threshold", "0.7", "--json");
      assert.is(set.code, 0, set.err);
      assert.is(JSON.parse(set.out).state, "done");
      const shown = await run("settings");
      assert.match(
        shown.out,
        /detect\.threshold +0\.7 +in force/,
        `${set.out}${shown.out}${camera.done}`,
      );
      const refused = await run("settings", "detect.threshold", "9");
      assert.is(refused.code, 1);
      assert.match(refused.err, /refuses detect\.threshold: a threshold lies/);

      const file = join(path, "now.jpg");
      const shot = await run("snapshot", "-o", file);
      assert.is(shot.code, 0, shot.err);
      assert.is(Buffer.compare(await readFile(file), pattern(3000)), 0);

      const opened = await run("window", "--json");
      assert.is(opened.code, 0, opened.err);
      const invite = parseInvite(JSON.parse(opened.out).link);
      assert.equal(invite, {
        identity: verifyIdentity(world.camera.identity, nodeSuite).hash,
        ...{ secret: camera.secrets[0], addresses: [camera.where] },
      });
      const taken = await run("window");
      assert.is(taken.code, 1);
      assert.match(taken.err, /gives no window: another program pairs here/);
      assert.not.equal(camera.secrets[1], camera.secrets[0]);
      const away = await run("arm", "away");
      assert.equal(
        [away.code, away.out],
        [0, "Front door: arming (away): asked for; 60 s to leave\n"],
      );
      const off = await run("disarm", "--json");
      assert.equal([off.code, JSON.parse(off.out).what], [0, null], off.err);
      const without = await run("arm", "away");
      assert.is(without.code, 1);
      assert.match(without.err, /gives no change of the alarm: this camera has no alarm/);
      assert.equal(camera.orders, ["arm_away", "disarm", "arm_away"]);
      const shut = await run("privacy", "on");
      assert.equal([shut.code, shut.out], [0, "privacy is true\n"], shut.err);
      const told = await run("log");
      assert.match(told.out, /alarm arming \(away\): asked for; 60 s to leave/);
      assert.match(told.out, /alarm, asked for by .*: refused: this camera has no alarm/);
      assert.match(told.out, /a window for pairing is open, as .* asked/);
    },
    slow,
  );

  test(
    "clips --follow tells how a clip begins, grows and ends, also over a cut",
    async () => {
      await using world = await relayedWorld();
      const { camera, relay, run } = world;
      const { id: first } = await camera.record({ film });
      const following = world.start("clips", "--follow", "--json");
      const events = () =>
        following.said.out
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line) as { event: string; id: string; parts: number });
      const saw = (event: string, id: string) =>
        following.until(() => events().some((one) => one.event === event && one.id === id));
      await saw("there", first);

      const publicKey = camera.adopted?.supply.oneTime[1];
      assert.ok(publicKey);
      const sealer = new ClipSealer({
        ...{ camera: camera.signer.publicKey, incarnation: 0, membership: 1 },
        ...{ recipients: [{ publicKey, shared: false }], opening },
        ...{ sign: camera.signer.sign, suite: sealingSuite },
      });
      const { clip, headerHash, keyIds } = sealer;
      const id = Buffer.from(clip).toString("hex");
      const put = async (made: (Parameters<typeof camera.put>[0] | undefined)[]) => {
        for (const part of made) if (part) await camera.put(part);
      };
      await camera.say({ kind: "clip-started", clip, headerHash, keyIds: [...keyIds] });
      await put([sealer.flush()]);
      await saw("began", id);
      // Others find the keys free while it waits.
      assert.is((await run("cameras")).code, 0);
      await put(sealer.init(film.init));
      await put(sealer.fragment(film.fragments[0] as Uint8Array));
      await put([sealer.flush()]);
      await saw("grew", id);

      await relay.relay.close();
      await following.until(() => following.said.err.includes("Trying again"));
      await relay.restart();
      await put(sealer.close(closing));
      const { last } = sealer;
      assert.ok(last);
      await camera.say({ kind: "clip-ended", clip, last, reason: "ended" });
      await saw("ended", id);
      assert.match(following.said.err, /back again/);
      const ends = events().filter((one) => one.event === "ended");
      assert.equal(
        ends.map((one) => one.id),
        [id],
      );
      assert.is(await following.stop(), 0);
      const { clips } = JSON.parse((await run("clips", "--json")).out);
      assert.equal(
        clips.map(({ state }: { state: string }) => state),
        ["whole", "whole"],
      );
    },
    slow,
  );

  test(
    "clips --follow does not run for a relay that always says at once that there is news",
    async () => {
      const hostile = await openHostile();
      await using world = await relayedWorld({ alias: hostile.authority });
      const { camera, relay } = world;
      hostile.forwardTo(Number(new URL(`http://${relay.authority}`).port));
      const counts: string[] = [];
      for (const [what, lie] of Object.entries({ atOnce, inventWhenAsked })) {
        const { id } = await camera.record({ film });
        const following = world.start("clips", "--follow", "--json", "--relay", hostile.url);
        await following.until(() => following.said.out.includes(id));
        hostile.forget();
        hostile.lie = lie;
        const waits = () => hostile.asked.filter(({ query }) => query.has("wait")).length;
        // The wait that was under way when the lie began ends in its own time.
        await following.until(() => waits() > 0);
        await systemClock.sleep(12_000);
        counts.push(`${what}: ${waits()} waits, ${hostile.asked.length} requests`);
        // At full speed it is thousands. The rests are 1, 2, 4 and 8 s; each look is a few requests.
        assert.ok(hostile.asked.length < 150, counts.join("; "));
        hostile.lie = undefined;
        const { id: next } = await camera.record({ film });
        await following.until(() => following.said.out.includes(next));
        assert.is(await following.stop(), 0);
      }
      console.log(`\nmeasured: follow against a relay that spins, in 12 s: ${counts.join("; ")}`);
      await hostile.close();
    },
    // Twice: a wait of up to a minute has to end, twelve seconds are looked at, and the phone rests.
    { deadlineMs: 600_000 },
  );
});
