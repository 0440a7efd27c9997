import { spawn } from "node:child_process";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import * as assert from "uvu/assert";
import { addon, plugCamera, slope } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

const library = JSON.stringify(new URL("../lib/fake.js", import.meta.url).href);

/** Opens a camera, holds frames, posts pixel jobs, and then does `end`. */
const program = (path: string, end: string) => `
  import { addon, plugCamera } from ${library};
  const path = ${JSON.stringify(path)};
  if (!addon.fake.state(path).calls) plugCamera({ path });
  addon.fake.behave(path, { fps: 200 });
  const capture = new addon.Capture({ slabBytes: 1 << 22 });
  const grey = { format: "GREY", width: 640, height: 480, capturedUs: 1, sequence: 0 };
  const { handle } = capture.put(new Uint8Array(640 * 480), grey);
  const wish = { source: path, width: 64, height: 48, fps: 15 };
  const ignore = () => {};
  const jobs = () => {
    for (let i = 0; i < 20; i++) capture.jpeg(handle, { quality: 80 }).catch(ignore);
  };
  let count = 0;
  const seen = () => {
    if (++count % 3 === 0) jobs();
    if (count === 5) { ${end} }
  };
  await capture.open(wish, seen, ignore);
`;

suite("threads", (test) => {
  test("works in a worker thread, and is torn down with it at any moment", async () => {
    for (let round = 0; round < 6; round++) {
      const camera = plugCamera();
      const end =
        round % 2
          ? "process.exit(3)"
          : "(await import('node:worker_threads')).parentPort.postMessage('seen')";
      const text = program(camera.path, end).replace("const seen = ()", "const seen = async ()");
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
      if (round % 2) {
        assert.equal(await once(worker, "exit"), [3]);
      } else {
        await once(worker, "message");
        await worker.terminate();
      }
      const { opens, mapped, streaming } = camera.state();
      assert.equal({ opens, mapped, streaming }, { opens: 0, mapped: 0, streaming: false });
    }
  });

  test("torn down while it opens", async () => {
    for (let round = 0; round < 5; round++) {
      const camera = plugCamera();
      const opening = program(camera.path, "").replace("await capture.open", "capture.open");
      const text = `${opening}process.exit(0);`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
      assert.equal(await once(worker, "exit"), [0]);
      assert.is(camera.state().opens, 0);
    }
  });

  test("a process ends cleanly with everything open, and by itself when nothing is under way", async () => {
    const ends: [string, number][] = [
      ["process.exit(7)", 7],
      ["capture.stop()", 0],
      ["capture.close()", 0],
      ["setTimeout(() => { throw new Error('boom') })", 1],
    ];
    for (const [end, code] of ends) {
      const text = program("/dev/video50", end);
      const child = spawn(process.execPath, ["--input-type=module", "-e", text], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      let errors = "";
      child.stderr.on("data", (data) => {
        errors += data;
      });
      assert.equal(await once(child, "close"), [code, null], `${end}: ${errors}`);
    }
  });

  test("the fake libcamera ends the process when its rules are broken", async () => {
    // Else the suites over it would prove nothing.
    const text = `
      import { addon, plugCamera } from ${library};
      const camera = plugCamera({ personality: "libcamera", formats: [{ format: "YUYV", sizes: [] }] });
      const capture = new addon.Capture({ slabBytes: 1 << 20 });
      await capture.open({ source: camera.path, width: 64, height: 48, fps: 15 }, () => {}, () => {});
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", text], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (data) => {
      errors += data;
    });
    const [code, signal] = await once(child, "close");
    assert.match(errors, /never listed/);
    assert.ok(code !== 0 || signal !== null);
  });

  test("two captures in two threads do not disturb each other", async () => {
    const camera = plugCamera();
    const worker = new Worker(
      new URL(
        `data:text/javascript,${encodeURIComponent(program(camera.path, "capture.close()"))}`,
      ),
    );
    const ended = once(worker, "exit");
    const capture = new addon.Capture({ slabBytes: 1 << 20 });
    const grey = { format: "GREY", width: 64, height: 48, capturedUs: 1, sequence: 0 };
    const { handle } = capture.put(slope(64, 48), grey);
    for (let i = 0; i < 50; i++) await capture.luma(handle, { width: 8, height: 6 });
    await ended;
    await capture.close();
  });
});
