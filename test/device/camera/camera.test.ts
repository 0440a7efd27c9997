import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import type { Failure } from "../../../src/base/pure/failure.ts";
import {
  type Camera,
  type CameraEvent,
  type CameraOptions,
  type Frame,
  listCameras,
  loadAddon,
  openCamera,
} from "../../../src/device/camera/camera.ts";
import { addon, fake, outcome, plugCamera } from "../../lib/fake.ts";
import { type Define, suite } from "../../lib/suite.ts";

type World = {
  camera: Camera;
  events: CameraEvent[];
  stop: AbortController;
  kinds(): string;
  event(kind: CameraEvent["kind"]): Promise<CameraEvent>;
} & AsyncDisposable;

async function open(
  options: Partial<CameraOptions> & { source: string },
  over = addon,
): Promise<World> {
  const stop = new AbortController();
  const events: CameraEvent[] = [];
  const camera = await openCamera(
    {
      slabBytes: 1 << 20,
      width: 64,
      height: 48,
      clock: systemClock,
      signal: stop.signal,
      onEvent: (event) => events.push(event),
      ...options,
    },
    over,
  );
  const event = async (kind: CameraEvent["kind"]) => {
    for (;;) {
      const found = events.find((each) => each.kind === kind);
      if (found) return found;
      await wait(1);
    }
  };
  return {
    camera,
    events,
    stop,
    event,
    kinds: () => events.map(({ kind }) => kind).join(" "),
    [Symbol.asyncDispose]: () => camera.close(),
  };
}

async function take(camera: Camera, count: number): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of camera.frames) {
    frames.push(frame);
    if (frames.length === count) break;
  }
  return frames;
}

const failureOf = async (call: () => Promise<unknown>): Promise<Failure> => {
  try {
    await call();
  } catch (error) {
    return error as Failure;
  }
  throw new Error("did not fail");
};

/** What every camera does: the fake one, and the real one that OBSCURA_TEST_CAMERA names. */
function common(test: Define, name: string, over: typeof addon, source: () => string): void {
  const size = over === addon ? {} : { width: 640, height: 480, slabBytes: 24 << 20 };
  const start = () => open({ ...size, source: source() }, over);

  test(`${name}: is listed by its stable name, with formats`, async () => {
    const at = source();
    const all = await listCameras(over);
    const found = all.find((info) => info.source === at || info.path === at);
    assert.ok(found, `${at} is not among ${all.map((info) => info.source).join(", ")}`);
    assert.is(found?.unusable, undefined);
    assert.ok(found?.formats.some(({ usable, sizes }) => usable && sizes.length > 0));
  });

  test(`${name}: pictures flow, in order, in time, and the slab empties`, async () => {
    const beforeUs = systemClock.monotonicUs();
    await using world = await start();
    const { camera } = world;
    let last: Frame | undefined;
    for (const frame of await take(camera, 12)) {
      if (last && !frame.corrupt) {
        assert.ok(frame.sequence > last.sequence);
        assert.ok(frame.capturedUs > last.capturedUs);
      }
      assert.ok(frame.capturedUs >= beforeUs && frame.capturedUs <= systemClock.monotonicUs());
      assert.equal([frame.width, frame.height], [camera.width, camera.height]);
      if (!frame.corrupt) assert.is((await frame.luma({ width: 16, height: 9 })).length, 144);
      frame.release();
      last = frame;
    }
    await wait(50);
    assert.ok(camera.slab().frames <= 5);
  });

  test(`${name}: a slow reader loses older pictures and is told how many`, async () => {
    await using world = await start();
    const [first] = await take(world.camera, 1);
    // In pieces: in one of them the machine may stand still.
    for (let i = 0; i < 15; i++) await wait(100);
    assert.ok(world.camera.slab().frames <= 6);
    const [next] = await take(world.camera, 1);
    assert.ok(next && first);
    assert.is(next.dropped, next.sequence - first.sequence - 1);
    assert.ok(next.dropped > 0);
    first.release();
    next.release();
  });

  test(`${name}: ends with its signal; what is held stays good until close`, async () => {
    await using world = await start();
    const [held] = await take(world.camera, 1);
    setTimeout(() => world.stop.abort(), 20);
    for await (const frame of world.camera.frames) frame.release();
    assert.is(held?.copy().length, held?.byteLength);
    await Promise.all([world.camera.close(), world.camera.close()]);
    assert.is(await outcome(() => held?.copy()), "gone");
    held?.release();
    assert.is(world.camera.slab().frames, 0);
  });

  test(`${name}: opened and closed again and again`, async () => {
    for (let round = 0; round < 5; round++) {
      await using world = await start();
      for (const frame of await take(world.camera, 2)) frame.release();
    }
  });

  test(`${name}: a second opening finds it busy`, async () => {
    await using world = await start();
    assert.is(
      (await failureOf(() => open({ ...size, source: world.camera.source }, over))).kind,
      "busy",
    );
    for (const frame of await take(world.camera, 2)) frame.release();
  });

  test(`${name}: wrong controls are told and do not stop it`, async () => {
    await using world = await open(
      { ...size, source: source(), controls: { no_such_thing: 1 } },
      over,
    );
    assert.match(
      (await world.event("problem")).failure?.message ?? "",
      /no_such_thing|locked|swap/,
    );
    for (const frame of await take(world.camera, 2)) frame.release();
  });
}

suite("camera", (test) => {
  common(test, "fake", addon, () => {
    const camera = plugCamera();
    camera.behave({ fps: 60 });
    return camera.path;
  });
  common(test, "fake libcamera", addon, () => {
    const camera = plugCamera({ personality: "libcamera" });
    camera.behave({ fps: 60 });
    return camera.path;
  });
  const real = process.env.OBSCURA_TEST_CAMERA;
  if (real) common(test, `real ${real}`, loadAddon(), () => real);
  else test.skip("real camera", "OBSCURA_TEST_CAMERA names none");

  test("unplugged and plugged in under another number: found by name, controls set again", async () => {
    const byId = "/dev/v4l/by-id/usb-Fake_A-video-index0";
    const camera = plugCamera({
      byId,
      controls: [{ name: "Power Line Frequency", type: "menu", most: 2, menu: ["0", "50", "60"] }],
    });
    camera.behave({ fps: 60 });
    await using world = await open({ source: camera.path, controls: { power_line_frequency: 1 } });
    assert.is(world.camera.source, byId);
    await world.camera.controls?.set("power_line_frequency", 2);
    for (const frame of await take(world.camera, 2)) frame.release();
    fake.unplug(camera.path);
    await world.event("gone");
    world.events.length = 0;
    fake.replug(camera.path, "/dev/video77");
    await world.event("opened");
    assert.is(fake.state("/dev/video77").controls["Power Line Frequency"], 2);
    for (const frame of await take(world.camera, 2)) frame.release();
    assert.is(world.camera.source, byId);
  });

  test("waits longer each time, spread, and at most 12.5 s", async () => {
    const clock = new ManualClock();
    const sleeps: number[] = [];
    const sleep = clock.sleep.bind(clock);
    clock.sleep = (ms, signal) => {
      if (!signal?.aborted) sleeps.push(ms);
      return sleep(ms, signal);
    };
    const camera = plugCamera();
    await using world = await open({ source: camera.path, clock });
    sleeps.length = 0;
    fake.unplug(camera.path);
    await world.event("gone");
    for (let round = 0; round < 10; round++) {
      while (sleeps.length <= round) await wait(1);
      clock.advance(13_000);
    }
    for (const [round, ms] of sleeps.slice(0, 10).entries()) {
      const mean = Math.min(250 * 2 ** round, 10_000);
      assert.ok(ms >= 0.75 * mean && ms <= 1.25 * mean, `${round}: ${ms}`);
    }
    assert.is(world.kinds().match(/problem/g)?.length ?? 0, 1, "the same reason is told once");
    fake.replug(camera.path);
    world.events.length = 0;
    while (world.events.length === 0) {
      clock.advance(13_000);
      await wait(2);
    }
    assert.is(world.kinds(), "opened");
  });

  test("a stream that hangs is opened again; one that was closed is not", async () => {
    const clock = new ManualClock();
    const camera = plugCamera();
    await using world = await open({ source: camera.path, clock });
    camera.push();
    for (const frame of await take(world.camera, 1)) frame.release();
    clock.advance(4_900);
    await wait(20);
    assert.is(world.kinds(), "opened");
    clock.advance(200);
    clock.advance(5_000);
    const { failure } = await world.event("stalled");
    assert.is(failure?.kind, "stalled");
    world.events.length = 0;
    while (!world.kinds().includes("opened")) {
      clock.advance(400);
      await wait(1);
    }
    await world.camera.close();
    world.events.length = 0;
    clock.advance(60_000);
    await wait(20);
    assert.is(world.kinds(), "");
    assert.is(camera.state().opens, 0);
  });

  test("a fatal error of the driver while streaming is mended", async () => {
    const camera = plugCamera();
    camera.behave({ fps: 60 });
    await using world = await open({ source: camera.path });
    camera.fail("VIDIOC_DQBUF", "EIO");
    await world.event("stalled");
    world.events.length = 0;
    await world.event("opened");
    for (const frame of await take(world.camera, 3)) frame.release();
  });

  test("damaged pictures: told once for each run of them", async () => {
    const camera = plugCamera();
    await using world = await open({ source: camera.path });
    for (const error of [false, true, true, false, true]) {
      camera.push({ error });
      const [frame] = await take(world.camera, 1);
      assert.is(frame?.corrupt, error);
      frame?.release();
    }
    assert.is(world.kinds(), "opened corrupt corrupt");
  });

  test("closed while it waits for the camera, while it opens, and after an abort", async () => {
    const camera = plugCamera();
    camera.behave({ fps: 60 });
    for (const how of ["waiting", "aborted", "at once"]) {
      await using world = await open({ source: camera.path });
      if (how === "waiting") {
        fake.unplug(camera.path);
        await world.event("gone");
      }
      if (how === "aborted") world.stop.abort();
      await world.camera.close();
      for await (const _ of world.camera.frames) assert.unreachable();
      assert.is(camera.state().opens, 0);
      fake.replug(camera.path);
    }
  });

  test("an abort before or during the first opening rejects with its reason", async () => {
    const camera = plugCamera();
    for (const early of [true, false]) {
      const stop = new AbortController();
      if (early) stop.abort(new Error("enough"));
      const opening = openCamera(
        { source: camera.path, slabBytes: 1 << 20, clock: systemClock, signal: stop.signal },
        addon,
      );
      if (!early) stop.abort(new Error("enough"));
      assert.match((await failureOf(() => opening)).message, /enough/);
      assert.is(camera.state().opens, 0);
    }
  });

  test("auto takes the first camera that can be used, and says what is in the way", async () => {
    fake.reset();
    assert.is((await failureOf(() => open({ source: "auto" }))).kind, "absent");
    plugCamera({ path: "/dev/video1", kind: "output" });
    assert.is((await failureOf(() => open({ source: "auto" }))).kind, "absent");
    plugCamera({ path: "/dev/video2", card: "imx219", formats: [{ format: "RG10", sizes: [] }] });
    const raw = await failureOf(() => open({ source: "auto" }));
    assert.equal([raw.kind, raw.hint?.includes("libcamerify obscura-camera")], ["refused", true]);
    const busy = plugCamera({ path: "/dev/video3" });
    const free = plugCamera({ path: "/dev/video4" });
    busy.fail("VIDIOC_S_FMT", "EBUSY", { times: 9 });
    await using world = await open({ source: "auto" });
    assert.is(world.camera.source, free.path);
  });

  test("what cannot be opened at first rejects, with nothing left behind", async () => {
    assert.is((await failureOf(() => open({ source: "/dev/video98" }))).kind, "absent");
    assert.is((await failureOf(() => open({ source: "/no/such/file.mp4" }))).kind, "absent");
    const camera = plugCamera();
    camera.fail("VIDIOC_S_FMT", "EACCES");
    const { kind, hint, syscall, errno } = await failureOf(() => open({ source: camera.path }));
    assert.equal([kind, syscall, errno], ["denied", "VIDIOC_S_FMT", "EACCES"]);
    assert.match(hint ?? "", /group video/);
    assert.is(camera.state().opens, 0);
  });

  test("rotated by a quarter, width and height change places", async () => {
    const camera = plugCamera();
    await using world = await open({ source: camera.path, rotate: 270 });
    camera.push();
    const [frame] = await take(world.camera, 1);
    assert.equal([world.camera.width, world.camera.height], [48, 64]);
    assert.equal([frame?.width, frame?.height], [48, 64]);
    frame?.release();
  });
});
