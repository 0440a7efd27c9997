import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { composeFootage } from "../../../scripts/footage.ts";
import { run, whyNobody } from "../../lib/footage.ts";
import { makeCertificates, until } from "../../lib/mosquitto.ts";
import { partsOf, startPost } from "../../lib/smtp.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const dist = new URL("../../../", import.meta.url).pathname;
const camera = join(dist, "src/device/main.js");
const phone = join(dist, "src/phone/cli.js");
const patienceMs = 150_000;

type Ended = { code: number; out: string; err: string };
function call(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err });
    });
  });
}
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await call(...args);
  assert.is(code, 0, err);
  return out;
}

const why = await whyNobody();

suite("device/mail service", (test) => {
  test(
    "somebody comes: a message with a sealed picture, which the owner's phone opens and nobody else",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const { video } = await composeFootage();
      // It goes on when nobody is left, so that a slow camera has time to tell.
      const cut = ["-vf", "trim=8:34,setpts=PTS-STARTPTS"];
      const encode = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "22"];
      await run("ffmpeg", ["-v", "error", "-i", video, ...cut, ...encode, at("film.mp4")]);
      const [state, home] = [at("camera"), at("home")];
      await done(camera, "identity", "--state", state, "-o", at("c"));
      const name = ["--name", "Porch", "--keys", "20"];
      await done(phone, "--home", home, "adopt", at("c"), "-o", at("o"), ...name);
      await done(camera, "adopt", "--state", state, at("o"));

      const { broker: tls } = await makeCertificates(folder.path);
      const secret = "never-in-a-log-4711";
      await using post = await startPost({ tls, users: { porch: secret } });
      await writeFile(at("login"), `porch\n${secret}\n`, { mode: 0o600 });
      const settings = [
        "version: 1",
        "name: Porch",
        "record: { preRollS: 1, postRollS: 1 }",
        "mail:",
        "  host: localhost",
        `  port: ${post.port}`,
        `  credentials: ${at("login")}`,
        `  ca: ${tls.ca}`,
        "  from: camera@example.org",
        "  to: owner@example.org",
      ];
      await writeFile(at("camera.yaml"), settings.join("\n"));
      const args = ["run", "--source", at("film.mp4"), "--state", state, "--json"];
      const child = spawn(process.execPath, [camera, ...args, "--config", at("camera.yaml")]);
      let said = "";
      let seenMs = 0;
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          if (text.includes('"event":"person"')) seenMs ||= performance.now();
          said += text;
        });
      }
      const closed = once(child, "close");
      try {
        const told = () => said.slice(-4000);
        await until("a message came", () => post.messages.length > 0, { patienceMs, told });
        const cameMs = Math.round(performance.now() - seenMs);
        const bytes = post.messages[0]?.raw.length;
        console.log(`measured: mail: ${cameMs} ms after somebody was seen, ${bytes} bytes`);
        // The footage ends, and with it the camera.
        await until("the camera ended", () => child.exitCode !== null, { patienceMs, told });
      } finally {
        if (child.exitCode === null) child.kill("SIGKILL");
        await closed;
      }
      assert.is(child.exitCode, 0, said);
      assert.not(said.includes(secret), "the password is in a log");
      assert.not(said.includes("example.org"), "an address is in a log");
      const { messages } = post;
      const visits = said.match(/"event":"person"/g)?.length ?? 0;
      const sent = messages.length;
      // What came when all was over may be told of at the next start, for the first time or once more.
      const kept = JSON.parse(await readFile(join(state, "mail", "waiting"), "utf8")).visits.length;
      const counts = `${sent} messages for ${visits} visits, of which ${kept} wait`;
      assert.ok(sent <= visits && sent + kept >= visits, counts);
      const [message] = messages;
      assert.ok(message?.isSecure && message.user === "porch");
      const [text, sealed] = partsOf(message.raw);
      const clip = /^Clip: +([0-9a-f]{32})$/m.exec(text?.body.toString() ?? "")?.[1] ?? "";
      assert.match(said, `"clip":"${clip}"`);
      assert.match(text?.body.toString() ?? "", /^Camera: +Porch$/m);
      assert.ok(sealed);
      // A JPEG begins and ends with what is nowhere in it.
      assert.not(sealed.body.includes(Buffer.from([0xff, 0xd8, 0xff, 0xe0])));

      const file = at(`${clip.slice(0, 12)}.obscura`);
      await writeFile(file, sealed.body);
      const open = (...more: string[]) => call(phone, "--home", home, "open", ...more);
      const vault = async () => {
        const names = (await readdir(home)).sort();
        return await Promise.all(names.map((one) => readFile(join(home, one))));
      };
      const before = await vault();
      const person = await open(file, "-o", at("person.jpg"));
      assert.is(person.code, 0, person.err);
      assert.match(person.out, `person.jpg  `);
      assert.match(person.out, `of Porch, `);
      const view = await open(file, "--frame", "--json", "-o", at("view.jpg"));
      const { width, height, name: of } = JSON.parse(view.out);
      assert.ok(width > 0 && height > 0 && of === "Porch");
      for (const picture of ["person.jpg", "view.jpg"]) {
        // Whole, and decoded by somebody else's decoder.
        await run("ffmpeg", ["-v", "error", "-xerror", "-i", at(picture), "-f", "null", "-"]);
      }
      assert.equal(await vault(), before, "opening it changes nothing in the phone");
      const unnamed = await open(file, "-o", at("folder"));
      assert.is((await readdir(at("folder"))).length, 1, unnamed.err);

      // Who is not meant, and what is not whole or not the camera's.
      await done(phone, "--home", at("other"), "adopt", at("c"), "-o", at("o2"));
      const stranger = await call(phone, "--home", at("other"), "open", file);
      assert.is(stranger.code, 1);
      assert.match(stranger.err, /is sealed to other phones/);
      const attempt = async (bytes: Uint8Array) => {
        await writeFile(at("bad"), bytes);
        const { code, out, err } = await open(at("bad"), "-o", at("bad.jpg"));
        assert.is(code, 1, out);
        return err;
      };
      const { body } = sealed;
      assert.match(await attempt(body.subarray(0, 40)), /ends before its first picture/);
      assert.match(await attempt(body.subarray(0, -1)), /ends before its first picture/);
      assert.match(await attempt(Buffer.from("hello")), /is not what a camera sends/);
      assert.match(await attempt(new Uint8Array()), /is not what a camera sends/);
      for (const place of [50, 300, body.length - 3_000, body.length - 5]) {
        const changed = Buffer.from(body);
        changed[place] = (changed[place] ?? 0) ^ 1;
        assert.match(await attempt(changed), /is not as this camera sealed it/);
      }
      const foreign = Buffer.from(body);
      foreign[10] = (foreign[10] ?? 0) ^ 1;
      assert.match(await attempt(foreign), /of no camera that this phone knows/);

      // The clip is the same, and opens all the same; what was told is in the log.
      const outbox = ["--from", join(state, "outbox")];
      const clips = JSON.parse(await done(phone, "--home", home, "clips", "--json", ...outbox));
      assert.ok(
        clips.clips.some((one: { id: string }) => one.id === clip),
        JSON.stringify(clips),
      );
      const log = await done(phone, "--home", home, "log", ...outbox);
      assert.match(log, /visits are told to owner@example\.org by the mail server localhost/);
      // Its key destroyed, what lies at the mail server is shut too.
      await done(phone, "--home", home, "delete", clip, ...outbox);
      const deleted = await open(file, "-o", at("late.jpg"));
      assert.is(deleted.code, 1);
      assert.match(deleted.err, /deleted/);
    },
    { skip: why, deadlineMs: 900_000 },
  );
});
