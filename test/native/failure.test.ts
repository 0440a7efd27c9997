import * as assert from "uvu/assert";
import { addon, fake, jpegOf, outcome, plugCamera, sessionOf, slope, yuyv } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

type Thrown = Error & { kind: string; syscall?: string; errno?: string; hint?: string };
const thrown = async (call: () => Promise<unknown>): Promise<Thrown> => {
  try {
    await call();
  } catch (error) {
    return error as Thrown;
  }
  throw new Error("did not fail");
};

/** Each call on the way to a stream, how often it happens there, and what its failure means. */
const openings: [call: string, times: number, errno: string, kind: string][] = [
  ["open", 1, "EACCES", "denied"],
  ["open", 1, "EPERM", "denied"],
  ["open", 1, "EBUSY", "busy"],
  ["open", 1, "ENXIO", "absent"],
  ["VIDIOC_QUERYCAP", 1, "ENODEV", "absent"],
  ["VIDIOC_S_FMT", 1, "EBUSY", "busy"],
  ["VIDIOC_S_FMT", 1, "EINVAL", "refused"],
  ["VIDIOC_S_FMT", 1, "ENODEV", "gone"],
  ["VIDIOC_REQBUFS", 1, "EBUSY", "busy"],
  ["VIDIOC_REQBUFS", 1, "ENOMEM", "full"],
  ["VIDIOC_QUERYBUF", 4, "EINVAL", "refused"],
  ["mmap", 4, "ENOMEM", "full"],
  ["mmap", 4, "EPERM", "denied"],
  ["VIDIOC_STREAMON", 1, "EIO", "stalled"],
  ["VIDIOC_STREAMON", 1, "ENOSPC", "refused"],
  ["VIDIOC_STREAMON", 1, "ENODEV", "gone"],
];

suite("camera failures", (test) => {
  for (const personality of ["uvc", "libcamera"] as const) {
    test(`${personality}: each call that can fail while opening is told, undone, and can be repeated`, async () => {
      for (const [call, times, errno, kind] of openings) {
        for (let after = 0; after < times; after++) {
          const camera = plugCamera({ personality });
          await using session = sessionOf(camera);
          camera.fail(call, errno, { after });
          const error = await thrown(() => session.open());
          assert.equal(
            { kind: error.kind, syscall: error.syscall, errno: error.errno },
            { kind, syscall: call, errno },
            `${call} ${errno} after ${after}`,
          );
          assert.is(camera.state().opens, 0, call);
          assert.is(camera.state().mapped, 0, call);
          await session.open();
          camera.push();
          await session.picture();
        }
      }
    });
  }

  test("a buffer that cannot be queued at the start: tried twice, then told", async () => {
    for (let after = 0; after < 4; after++) {
      const camera = plugCamera();
      await using session = sessionOf(camera);
      camera.fail("VIDIOC_QBUF", "EIO", { after });
      assert.is((await thrown(() => session.open())).syscall, "VIDIOC_QBUF");
      assert.is(camera.state().opens, 0);
    }
  });

  test("calls that a camera may refuse without harm", async () => {
    for (const [call, errno] of [
      ["VIDIOC_S_PARM", "EINVAL"],
      ["VIDIOC_S_PARM", "ENOTTY"],
      ["VIDIOC_S_PARM", "EBUSY"],
      ["VIDIOC_ENUM_FRAMEINTERVALS", "ENOTTY"],
      ["VIDIOC_QUERY_EXT_CTRL", "ENOTTY"],
      ["VIDIOC_STREAMOFF", "EIO"],
      ["close", "EIO"],
    ] as const) {
      const camera = plugCamera();
      await using session = sessionOf(camera);
      camera.fail(call, errno, { times: 1000 });
      await session.open();
      assert.equal(await session.capture.controls(), []);
      camera.push();
      await session.picture();
      await session.capture.stop();
      assert.is(camera.state().opens, 0, call);
    }
  });

  test("failures while streaming end the stream once, with the device free", async () => {
    for (const [call, errno, times, kind] of [
      ["VIDIOC_DQBUF", "EIO", 1, "stalled"],
      ["VIDIOC_DQBUF", "ENODEV", 1, "gone"],
      ["VIDIOC_DQBUF", "EINVAL", 1, "refused"],
      ["VIDIOC_DQBUF", "EPIPE", 1, "stalled"],
      ["VIDIOC_QBUF", "EINVAL", 2, "refused"],
      ["VIDIOC_QBUF", "ENODEV", 2, "gone"],
    ] as const) {
      const camera = plugCamera();
      await using session = sessionOf(camera);
      await session.open();
      camera.fail(call, errno, { times });
      camera.push();
      const error = await session.ended();
      assert.equal(
        { kind: error.kind, syscall: error.syscall, errno: error.errno },
        { kind, syscall: call, errno },
      );
      assert.is(camera.state().opens, 0);
      await new Promise((resolve) => setTimeout(resolve, 10));
      assert.is(session.ends.length, 1);
      assert.is(session.pictures.length, 0);
      assert.is(session.capture.usage().frames, 0);
      await session.open();
      camera.push();
      await session.picture();
    }
  });

  test("passing trouble while streaming is survived", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    await session.open();
    camera.fail("VIDIOC_DQBUF", "EAGAIN", { times: 3 });
    camera.push();
    await session.picture(1);
    camera.fail("VIDIOC_QBUF", "EINVAL");
    camera.push();
    await session.picture(2);
    camera.push();
    await session.picture(3);
    assert.is(session.ends.length, 0);
    assert.is(camera.state().queued, 4);
  });

  test("a buffer number that was never given out ends the stream", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    await session.open();
    camera.push({ index: 9 });
    assert.is((await session.ended()).kind, "stalled");
  });

  test("unplugged while streaming: gone, whether pictures wait or not", async () => {
    for (const waiting of [0, 3]) {
      const camera = plugCamera();
      await using session = sessionOf(camera);
      await session.open();
      for (let i = 0; i < waiting; i++) camera.push();
      fake.unplug(camera.path);
      const error = await session.ended();
      assert.equal([error.kind, error.errno], ["gone", "ENODEV"]);
      assert.is(camera.state().opens, 0);
      assert.is((await thrown(() => session.open())).kind, "absent");
      fake.replug(camera.path);
      await session.open();
    }
  });

  test("damaged pictures are marked and survived", async () => {
    const width = 64;
    const height = 48;
    const jpeg = await jpegOf(slope(width, height), width, height);
    const small = await jpegOf(slope(32, 24), 32, 24);
    const without = (change: (bytes: Uint8Array) => void) => {
      const bytes = Uint8Array.from(jpeg);
      change(bytes);
      return bytes;
    };
    const padded = new Uint8Array(jpeg.length + 700);
    padded.set(jpeg);
    const camera = plugCamera({
      formats: [{ format: "MJPG", sizes: [{ width, height, rates: [30] }] }],
    });
    camera.feed(
      jpeg,
      without((bytes) => bytes.fill(0, 0, 2)),
      without((bytes) => bytes.fill(1, bytes.length - 2)),
      small,
      padded,
      new Uint8Array(width * height * 2).fill(9),
    );
    await using session = sessionOf(camera);
    await session.open();
    const cases: [Parameters<typeof camera.push>[0], boolean, number?][] = [
      [{ picture: 0 }, false, jpeg.length],
      [{ picture: 0, error: true }, true, jpeg.length],
      [{ picture: 1 }, true],
      [{ picture: 2 }, true],
      [{ picture: 3 }, true],
      [{ picture: 4 }, false, jpeg.length],
      [{ picture: 5 }, true],
      [{ picture: 0, bytesUsed: 0 }, true, 0],
      [{ picture: 0, bytesUsed: jpeg.length >> 1 }, true],
      [{ picture: 5, bytesUsed: 2 ** 31 }, true, width * height * 2],
      [{ picture: 0 }, false, jpeg.length],
    ];
    for (const [index, [push, corrupt, length]] of cases.entries()) {
      assert.ok(camera.push(push));
      const picture = await session.picture(index + 1);
      assert.is(picture.corrupt, corrupt, `case ${index}`);
      if (length !== undefined) assert.is(picture.byteLength, length, `case ${index}`);
      session.capture.release(picture.handle);
    }
    assert.is(session.ends.length, 0);
    assert.is(session.capture.usage().frames, 0);
  });

  test("raw pictures of another length than the format's are marked", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    await session.open();
    const whole = 64 * 48 * 2;
    for (const [index, [bytesUsed, corrupt, length]] of (
      [
        [whole, false, whole],
        [whole - 1, true, whole - 1],
        [0, true, 0],
        [2 ** 31 - 1, true, whole],
      ] as const
    ).entries()) {
      camera.push({ bytesUsed });
      const picture = await session.picture(index + 1);
      assert.equal([picture.corrupt, picture.byteLength], [corrupt, length]);
      session.capture.release(picture.handle);
    }
  });

  test("no room in the slab: the picture is lost and counted, the next one comes", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera, { slabBytes: 1 << 16 });
    await session.open();
    const fit = Math.floor((1 << 16) / (64 * 48 * 2));
    for (let i = 0; i < fit; i++) {
      camera.push();
      await session.picture(i + 1);
    }
    for (let i = 0; i < 3; i++) camera.push();
    while (camera.state().queued < 4) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.is(session.pictures.length, fit);
    for (const { handle } of session.pictures) session.capture.release(handle);
    camera.push({ skip: 2 });
    assert.is((await session.picture(fit + 1)).dropped, 5);
    assert.is(session.capture.usage().bytes, 1 << 16);
  });

  test("a slab that cannot hold two raw pictures is a misuse, not an endless loss", async () => {
    const [width, height] = [640, 480];
    const camera = plugCamera({ formats: [{ format: "YUYV", sizes: [{ width, height }] }] });
    await using session = sessionOf(camera, { slabBytes: 1 << 20 });
    assert.is(await outcome(() => session.open({ width, height })), "misuse");
    assert.is(camera.state().opens, 0);
  });

  test("lost pictures are counted by the driver's own numbers", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    await session.open();
    for (const skip of [0, 3, 0, 2 ** 31]) camera.push({ skip });
    const pictures = [];
    for (let i = 1; i <= 4; i++) pictures.push(await session.picture(i));
    assert.equal(
      pictures.map(({ dropped }) => dropped),
      [0, 3, 0, 0],
    );
    assert.equal(
      pictures.map(({ sequence }) => sequence),
      [0, 4, 5, 2 ** 31 + 6],
    );
  });

  test("times are of the monotonic clock and never go backwards, whatever the driver says", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    await session.open();
    const nowUs = () => Number(process.hrtime.bigint() / 1000n);
    const stamp = nowUs() - 5000;
    const stamps = [stamp, stamp, stamp - 1000, 0, 2 ** 50, nowUs() - 60_000_000, stamp + 1000];
    let lastUs = 0;
    for (const [index, stampUs] of stamps.entries()) {
      camera.push({ stampUs });
      const { capturedUs } = await session.picture(index + 1);
      if (index === 0) assert.is(capturedUs, stamp);
      assert.ok(capturedUs > lastUs && capturedUs <= nowUs() + 10, `${index}`);
      lastUs = capturedUs;
    }
    camera.behave({ monotonic: false });
    const beforeUs = nowUs();
    camera.push({ stampUs: 5 });
    const { capturedUs } = await session.picture(stamps.length + 1);
    assert.ok(capturedUs >= beforeUs && capturedUs <= nowUs() + 10);
  });

  test("each unusable node says why", async () => {
    const bayer = plugCamera({ card: "ov5647", formats: [{ format: "pBAA", sizes: [] }] });
    const pipeline = plugCamera({ kind: "pipeline" });
    const output = plugCamera({ kind: "output" });
    const planes = plugCamera({ kind: "multiplanar" });
    const read = plugCamera({ kind: "read" });
    const other = plugCamera({ formats: [{ format: "H264", sizes: [] }] });
    const denied = plugCamera();
    denied.fail("open", "EACCES");
    const devices = await addon.list();
    const of = (camera: { path: string }) => {
      const device = devices.find(({ path }) => path === camera.path);
      return {
        ...device,
        kind: device?.unusable?.kind,
        text: `${device?.unusable?.message} ${device?.unusable?.hint}`,
      };
    };
    assert.match(of(bayer).text, /raw sensor.*libcamerify obscura-camera/s);
    assert.match(of(pipeline).text, /libcamerify/);
    assert.match(of(output).text, /not a capture device/);
    assert.match(of(planes).text, /multi-planar/);
    assert.match(of(read).text, /mapped buffers/);
    assert.match(of(other).text, /only H264/);
    assert.is(of(denied).kind, "denied");
    assert.match(of(denied).text, /sudo usermod -aG video/);
    for (const camera of [bayer, pipeline, output, planes, read, other]) {
      assert.is(of(camera).kind, "refused");
      await using session = sessionOf(camera);
      assert.is(await outcome(() => session.open()), "refused");
      assert.is(camera.state().opens, 0);
    }
    assert.equal([of(bayer).captures, of(output).captures], [true, false]);
  });

  test("a format that was not offered is refused, with what is", async () => {
    const camera = plugCamera();
    await using session = sessionOf(camera);
    const error = await thrown(() => session.open({ format: "MJPG" }));
    assert.is(error.kind, "refused");
    assert.match(error.hint ?? "", /YUYV/);
    camera.behave({ answerFormat: "BA81" });
    assert.is((await thrown(() => session.open())).syscall, "VIDIOC_S_FMT");
  });

  test("a second program finds it busy", async () => {
    const camera = plugCamera();
    await using first = sessionOf(camera);
    await using second = sessionOf(camera);
    await first.open();
    const error = await thrown(() => second.open());
    assert.equal([error.kind, error.errno], ["busy", "EBUSY"]);
    await first.capture.stop();
    await second.open();
  });

  test("absent, and not a camera at all", async () => {
    await using session = sessionOf({ path: "/dev/video99", width: 64, height: 48 });
    const error = await thrown(() => session.open());
    assert.equal([error.kind, error.errno], ["absent", "ENOENT"]);
  });

  test("bytes of the driver are copied once and given back in order", async () => {
    const camera = plugCamera({ personality: "libcamera" });
    const pictures = [10, 90, 170, 250].map((grey) => yuyv(64, 48, grey));
    camera.feed(...pictures);
    await using session = sessionOf(camera);
    await session.open();
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 4; i++) camera.push();
      for (let i = 0; i < 4; i++) {
        const { handle } = await session.picture(round * 4 + i + 1);
        const copy = session.capture.copy(handle);
        assert.ok(Buffer.from(pictures[i] ?? []).equals(copy), `${round} ${i}`);
        session.capture.release(handle);
      }
    }
    // Another order would have ended the process: that is what this personality does.
    assert.is(camera.state().calls.VIDIOC_QBUF, 4 + 12 * 4);
  });
});
