import * as assert from "uvu/assert";
import { fake, outcome, plugCamera, type Session, sessionOf } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

type Plugged = ReturnType<typeof plugCamera>;
type Stage = Session & { camera: Plugged; handle: number; pending: Promise<unknown>[] };

/** How each state is reached. `handle` is a picture that is held all the while. */
const states: Record<string, (stage: Stage) => Promise<void>> = {
  idle: async () => {},
  opening: async (stage) => {
    stage.pending.push(outcome(() => stage.open()));
  },
  streaming: async (stage) => {
    await stage.open();
    stage.camera.push();
    await stage.picture();
  },
  stopping: async (stage) => {
    await stage.open();
    stage.pending.push(stage.capture.stop());
  },
  stopped: async (stage) => {
    await stage.open();
    await stage.capture.stop();
  },
  unplugged: async (stage) => {
    await stage.open();
    fake.unplug(stage.camera.path);
    await stage.ended();
    fake.replug(stage.camera.path);
  },
  failed: async (stage) => {
    stage.camera.fail("VIDIOC_STREAMON", "EIO");
    assert.is(await outcome(() => stage.open()), "stalled");
  },
  closing: async (stage) => {
    await stage.open();
    stage.pending.push(stage.capture.close());
  },
  "closing while opening": async (stage) => {
    stage.pending.push(
      outcome(() => stage.open()),
      stage.capture.close(),
    );
  },
  closed: async (stage) => {
    await stage.open();
    await stage.capture.close();
  },
};

const grey = { format: "GREY", width: 8, height: 8, capturedUs: 1, sequence: 0 };
const operations: Record<string, (stage: Stage) => unknown> = {
  open: (stage) => stage.open(),
  stop: ({ capture }) => capture.stop(),
  close: ({ capture }) => capture.close(),
  "close twice": ({ capture }) => Promise.all([capture.close(), capture.close()]),
  controls: ({ capture }) => capture.controls(),
  put: ({ capture }) => capture.put(new Uint8Array(64), grey),
  copy: ({ capture, handle }) => capture.copy(handle),
  retain: ({ capture, handle }) => capture.retain(handle),
  release: ({ capture, handle }) => capture.release(handle),
  luma: ({ capture, handle }) => capture.luma(handle, { width: 4, height: 4 }),
  jpeg: ({ capture, handle }) => capture.jpeg(handle, { quality: 80 }),
  tensor: ({ capture, handle }) =>
    capture.tensor(handle, {
      width: 8,
      height: 8,
      order: "RGB",
      mean: [0, 0, 0],
      deviation: [1, 1, 1],
      pad: 0,
    }),
  usage: ({ capture }) => capture.usage(),
};

/** What is not "ok". A closed capture answers "gone" to all but these. */
const alwaysWell = new Set(["stop", "close", "close twice", "release", "usage"]);
function expected(state: string, operation: string): string {
  if (state.startsWith("clos")) return alwaysWell.has(operation) ? "ok" : "gone";
  if (operation === "open") {
    return ["opening", "streaming", "stopping"].includes(state) ? "misuse" : "ok";
  }
  if (operation === "controls") return state === "streaming" ? "ok" : "gone";
  return "ok";
}

suite("capture", (test) => {
  for (const personality of ["uvc", "libcamera"] as const) {
    for (const [state, reach] of Object.entries(states)) {
      test(`${personality}, ${state}: each operation does as it should, and leaves nothing`, async () => {
        for (const [operation, run] of Object.entries(operations)) {
          const camera = plugCamera({ personality });
          await using session = sessionOf(camera);
          const handle = session.capture.put(new Uint8Array(64), grey).handle;
          const stage = Object.assign(session, {
            camera,
            handle,
            pending: [] as Promise<unknown>[],
          });
          await reach(stage);
          const got = await outcome(() => run(stage));
          assert.is(got, expected(state, operation), `${operation} while ${state}`);
          await Promise.all(stage.pending);
          await session.capture.close();
          const { opens, mapped, streaming } = camera.state();
          assert.equal({ opens, mapped, streaming }, { opens: 0, mapped: 0, streaming: false });
          assert.is(session.capture.usage().frames, 0);
        }
      });
    }
  }

  test("an opening that is stopped half-way is refused, and can be tried again", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    const opening = outcome(() => session.open());
    await session.capture.stop();
    assert.is(await opening, "gone");
    assert.is(camera.state().opens, 0);
    await session.open();
    camera.push();
    await session.picture();
  });

  test("opened and closed a hundred times, nothing is left", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    for (let round = 0; round < 100; round++) {
      await session.open();
      camera.push();
      session.capture.release((await session.picture(round + 1)).handle);
      await session.capture.stop();
    }
    assert.is(camera.state().opens, 0);
    assert.is(camera.state().mapped, 0);
    assert.is(session.capture.usage().usedBytes, 0);
  });

  test("closed while pixel work is under way: each job ends, well or refused", async () => {
    let refused = 0;
    for (let round = 0; round < 10; round++) {
      const camera = plugCamera();
      await using session = sessionOf(camera, { slabBytes: 1 << 22 });
      const { handle } = session.capture.put(new Uint8Array(640 * 480), {
        ...grey,
        width: 640,
        height: 480,
      });
      const post = (length: number) =>
        Array.from({ length }, (_, i) =>
          outcome(() =>
            i % 2
              ? session.capture.jpeg(handle, { quality: 80 })
              : session.capture.luma(handle, { width: 80, height: 60 }),
          ),
        );
      const jobs = post(40);
      if (round % 2) {
        // The others may be over too, however long this took to hear of the first.
        await jobs[0];
        jobs.push(...post(20));
      }
      await session.capture.close();
      const ends = new Set(await Promise.all(jobs));
      assert.ok(
        [...ends].every((end) => end === "ok" || end === "gone"),
        [...ends].join(),
      );
      if (ends.has("gone")) refused += 1;
    }
    // In one or another this thread may have stood still just before it closed.
    assert.ok(refused > 0);
  });

  test("a released frame stays whole for the job that works on it", async () => {
    await using session = sessionOf(plugCamera());
    const { capture } = session;
    const { handle } = capture.put(new Uint8Array(64).fill(77), grey);
    const job = capture.luma(handle, { width: 2, height: 2 });
    capture.release(handle);
    assert.is(await outcome(() => capture.copy(handle)), "ok", "the job holds it");
    assert.equal([...(await job)], [77, 77, 77, 77]);
    assert.is(await outcome(() => capture.copy(handle)), "misuse");
    assert.is(capture.usage().frames, 0);
  });

  test("too many pixel jobs at once are refused, not queued without end", async () => {
    await using session = sessionOf(plugCamera());
    const { capture } = session;
    const { handle } = capture.put(new Uint8Array(64), grey);
    // Each takes longer than it takes to ask for it, on any machine.
    const ends = await Promise.all(
      Array.from({ length: 500 }, () =>
        outcome(() => capture.luma(handle, { width: 512, height: 512 })),
      ),
    );
    assert.ok(ends.filter((end) => end === "ok").length >= 64);
    assert.ok(ends.includes("busy"));
    capture.release(handle);
    assert.is(capture.usage().frames, 0);
  });

  test("what a callback throws is an uncaught exception, and the camera streams on", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    let count = 0;
    const caught: unknown[] = [];
    const keep = (error: unknown) => caught.push(error);
    process.on("uncaughtException", keep);
    try {
      const wish = { source: camera.path, width: 64, height: 48, fps: 15 };
      await session.capture.open(
        wish,
        ({ handle }) => {
          session.capture.release(handle);
          count++;
          throw new Error(`picture ${count}`);
        },
        () => {},
      );
      for (let i = 1; i <= 3; i++) {
        camera.push();
        while (count < i) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } finally {
      process.off("uncaughtException", keep);
    }
    assert.equal(
      caught.map((error) => (error as Error).message),
      ["picture 1", "picture 2", "picture 3"],
    );
  });

  test("closed from inside the picture's own callback", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    let closing: Promise<void> | undefined;
    const wish = { source: camera.path, width: 64, height: 48, fps: 15 };
    await session.capture.open(
      wish,
      () => {
        closing ??= session.capture.close();
      },
      () => {},
    );
    camera.push();
    camera.push();
    while (!closing) await new Promise((resolve) => setTimeout(resolve, 1));
    await closing;
    assert.is(camera.state().opens, 0);
  });

  test("a capture that was forgotten is collected with its slab and its thread", async () => {
    const collected = new Set<number>();
    const registry = new FinalizationRegistry((number: number) => collected.add(number));
    for (let number = 0; number < 8; number++) {
      const session = sessionOf(plugCamera());
      const { handle } = session.capture.put(new Uint8Array(64), grey);
      await session.capture.luma(handle, { width: 2, height: 2 });
      registry.register(session.capture, number);
    }
    for (let round = 0; round < 2000 && collected.size < 7; round++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok(collected.size >= 7, `${collected.size} of 8`);
  });
});
