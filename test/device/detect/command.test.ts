import { execFile, spawn } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { redPicture, tinyModels } from "../../fakes/detector.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const run = promisify(execFile);
const module = new URL("../../../src/device/detect/command.js", import.meta.url).href;
const program = `import { runDetect } from ${JSON.stringify(module)};
process.exitCode = await runDetect(process.argv.slice(1));`;

type Ended = { code: number | null; out: string; err: string };
type Line = {
  file: string;
  frame?: number;
  width?: number;
  height?: number;
  persons?: { box: { x: number; y: number; width: number; height: number }; score: number }[];
  error?: string;
};

/** Runs `obscura-camera detect` with the tiny detector in a process of its own. */
const detect = (models: string, ...args: string[]) => detectWith({}, models, ...args);

async function detectWith(
  env: NodeJS.ProcessEnv,
  models: string,
  ...args: string[]
): Promise<Ended> {
  const precision = ["--precision", "fp32", "--models", models];
  const child = spawn(
    process.execPath,
    ["--input-type=module", "-e", program, "--", ...precision, ...args],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } },
  );
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, out, err };
}

const linesOf = (out: string) =>
  out
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line) as Line);

/** A binary PPM, which ffmpeg reads: 256 × 128 with red squares of one network cell. */
async function writePicture(path: string, xs: readonly number[]) {
  const reds = xs.map((x) => ({ x, y: 48, width: 16, height: 16 }));
  await writeFile(
    path,
    Buffer.concat([Buffer.from("P6\n256 128\n255\n"), redPicture(256, 128, reds)]),
  );
}

suite("detect command", (test) => {
  test("the runtime's telemetry is off: nothing is kept of who looked at what", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const home = join(folder.path, "home");
    await mkdir(home);
    const picture = join(folder.path, "one.ppm");
    await writePicture(picture, [64]);
    const env = { HOME: home, XDG_CACHE_HOME: "", ORT_DISABLE_TELEMETRY: undefined };
    const { code, err } = await detectWith(env, models.path, picture);
    assert.is(code, 0, err);
    assert.equal(await readdir(home, { recursive: true }), []);
  });

  test("a pipe that nobody writes is refused and not waited for; a JPEG without its end is read", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const [pipe, cut] = ["pipe.jpg", "cut.jpg"].map((name) => join(folder.path, name));
    await run("mkfifo", [pipe ?? ""]);
    const whole = await readFile(
      new URL("../../../../models/pictures/coffee.jpg", import.meta.url),
    );
    await writeFile(cut ?? "", whole.subarray(0, whole.length - 2));
    const { code, out } = await detect(models.path, "--json", pipe ?? "", cut ?? "");
    assert.is(code, 1);
    const [first, second] = linesOf(out);
    assert.match(first?.error ?? "", /not a file/);
    assert.is(second?.error, undefined);
    assert.is(second?.width, 600);
  });

  test("a JPEG that breaks off is not looked at, whether it has an end or not", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const whole = await readFile(
      new URL("../../../../models/pictures/coffee.jpg", import.meta.url),
    );
    const half = whole.subarray(0, whole.length / 2);
    const files = [half, Buffer.concat([half, Buffer.from([0xff, 0xd9])])].map(async (bytes, i) => {
      const file = join(folder.path, `${i}.jpg`);
      await writeFile(file, bytes);
      return file;
    });
    const { code, out } = await detect(models.path, "--json", ...(await Promise.all(files)));
    assert.is(code, 1);
    const lines = linesOf(out);
    assert.is(lines.length, 2);
    for (const { error } of lines) assert.match(error ?? "", /not the picture they claim to be/);
  });

  test("one line a picture, in order, bad files among them; exit code 1 tells of those", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const at = (name: string) => join(folder.path, name);
    await writePicture(at("one.ppm"), [96]);
    await writePicture(at("two.ppm"), [32, 192]);
    await writePicture(at("none.ppm"), []);
    await writeFile(at("bad.jpg"), "no picture");
    const names = ["one.ppm", "bad.jpg", "two.ppm", "absent.png", "none.ppm"];
    const { code, out, err } = await detect(models.path, "--json", ...names.map(at));
    assert.is(code, 1, err);
    const lines = linesOf(out);
    assert.equal(
      lines.map(({ file }) => file),
      names.map(at),
    );
    assert.equal(
      lines.map(({ persons }) => persons?.length),
      [1, undefined, 2, undefined, 0],
    );
    assert.equal(Object.keys(lines[0] ?? {}), ["file", "width", "height", "persons"]);
    assert.equal(Object.keys(lines[1] ?? {}), ["file", "error"]);
    const person = lines[0]?.persons?.[0];
    assert.ok(person && person.score > 0.9);
    const { x, y, width, height } = person.box;
    assert.ok(Math.abs(x - 72) < 1 && Math.abs(y - 24) < 1, JSON.stringify(person));
    assert.ok(Math.abs(width - 64) < 1 && Math.abs(height - 64) < 1);
    assert.is(lines[0]?.width, 256);
    assert.is((await detect(models.path, "--json", at("one.ppm"))).code, 0);
  });

  test("a video's frames are numbered by the video", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    for (let i = 0; i < 6; i++)
      await writePicture(join(folder.path, `${i}.ppm`), i % 2 === 0 ? [96] : []);
    const film = join(folder.path, "film.mkv");
    const { execFileSync } = await import("node:child_process");
    execFileSync("ffmpeg", [
      ...["-v", "error", "-framerate", "10", "-i", join(folder.path, "%d.ppm")],
      ...["-c:v", "ffv1", "-pix_fmt", "bgr0", film],
    ]);
    const all = linesOf((await detect(models.path, "--json", "--fps", "100", film)).out);
    assert.equal(
      all.map(({ frame }) => frame),
      [0, 1, 2, 3, 4, 5],
    );
    assert.equal(
      all.map(({ persons }) => persons?.length),
      [1, 0, 1, 0, 1, 0],
    );
    const some = linesOf((await detect(models.path, "--json", film)).out);
    assert.equal(
      some.map(({ frame }) => frame),
      [0, 2, 4],
      "five a second unless said",
    );
  });

  test("closer looks find who is too small for the whole picture, once", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const file = join(folder.path, "far.ppm");
    // 512 x 256 goes into 128 x 64: one cell is 32 pixels. In tiles of 293 x 147 it is 18.3.
    const reds = [{ x: 60, y: 50, width: 24, height: 24 }];
    const head = Buffer.from("P6\n512 256\n255\n");
    await writeFile(file, Buffer.concat([head, redPicture(512, 256, reds)]));
    const count = async (...more: string[]) =>
      linesOf((await detect(models.path, "--json", ...more, file)).out)[0]?.persons?.length;
    assert.is(await count(), 0);
    assert.is(await count("--crops"), 1);
  });

  test("for people: who is where, and how many at the end", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const file = join(folder.path, "one.ppm");
    await writePicture(file, [96]);
    const { out, err, code } = await detect(models.path, file);
    assert.is(code, 0);
    assert.match(out, /one\.ppm: 1 person\n {2}\d+ % at 72,24, 64 wide, 64 high\n/);
    assert.match(out, /1 persons? in 1 pictures?, 0 files not read\n$/);
    assert.is(err, "", "no progress where there is no terminal");
  });

  test("misuse is told before anything is opened, with exit code 2", async () => {
    for (const args of [
      [],
      ["--threshold", "0", "a.jpg"],
      ["--threshold", "many", "a.jpg"],
      ["--fps", "-1", "a.jpg"],
      ["--input", "100", "a.jpg"],
      ["--jsn", "a.jpg"],
      ["--precision", "int4", "a.jpg"],
    ]) {
      const { code, err, out } = await detect("/nowhere", ...args);
      assert.is(code, 2, args.join(" "));
      assert.match(err, /--help/);
      assert.is(out, "");
    }
    const help = await detect("/nowhere", "--help");
    assert.is(help.code, 0);
    assert.match(help.out, /usage: obscura-camera detect/);
  });

  test("without a model it says how to install one", async () => {
    const { code, err } = await detect("/nowhere", "a.jpg");
    assert.is(code, 1);
    assert.match(err, /npm run model/);
  });

  test("hundreds of files in one call, in order, without growing", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const { modelsFolder } = await import("../../fakes/detector.ts");
    const files = Array.from({ length: 600 }, (_, i) => join(folder.path, `${i}.jpg`));
    for (const file of files) await copyFile(join(modelsFolder, "pictures/coffee.jpg"), file);
    const started = performance.now();
    const { code, out } = await detect(models.path, "--json", ...files);
    const seconds = (performance.now() - started) / 1000;
    assert.is(code, 0);
    assert.equal(
      linesOf(out).map(({ file }) => file),
      files,
    );
    console.log(`\nmeasured: 600 files of 600x400 in ${seconds.toFixed(1)} s with a tiny network`);
  });

  test("a reader that goes away ends it", async () => {
    await using folder = await temporaryFolder();
    await using models = await tinyModels();
    const file = join(folder.path, "one.ppm");
    await writePicture(file, [96]);
    const child = spawn(
      process.execPath,
      [
        ...["--input-type=module", "-e", program, "--", "--json"],
        ...["--precision", "fp32", "--models", models.path],
        ...Array.from({ length: 3000 }, () => file),
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    child.stdout.once("data", () => child.stdout.destroy());
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    assert.is(code, 1);
  });
});
