import { equal, is, match, ok } from "uvu/assert";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import type { Observation, Order } from "./guest/observe.ts";
import { observe, vivid } from "./observe.ts";

const machine = await findMachine();
const device = "/dev/video0";
const bytes = {
  YUYV: 640 * 360 * 2,
  NV12: (640 * 360 * 3) / 2,
  RGB3: 640 * 360 * 3,
  GREY: 640 * 360,
};
const control = (name: string, value = 1) => `v4l2-ctl -d ${device} -c ${name}=${value}`;
const driver = "/sys/bus/platform/drivers/vivid";

type Wish = Partial<Omit<Order, "camera">> & { camera?: Partial<Order["camera"]> };
const watch = (more: Wish = {}) =>
  observe(machine, [vivid], {
    frames: 40,
    forMs: 90_000,
    ...more,
    camera: {
      ...{ source: device, width: 640, height: 360, fps: 15, format: "YUYV" },
      slabBytes: 12 << 20,
      ...more.camera,
    },
  });

/** The pictures go on after the fault, and what went wrong was said with its system call. */
function recovered(seen: Observation, syscall: string, errno: string): void {
  is(seen.failed, undefined);
  ok(seen.seen.length >= 40);
  const said = seen.events.find((event) => event.failure?.syscall?.includes(syscall));
  is(said?.failure?.errno, errno, JSON.stringify(seen.events));
  ok((said?.afterFrames ?? 0) < seen.seen.length);
}

suite("vivid, a real driver", (define) => {
  if (machine.kind === "none") return define.skip("everything", machine.why);
  const test = (name: string, body: () => void | Promise<void>) =>
    define(name, body, { deadlineMs: 1_200_000 });
  const lumas = new Map<string, number[]>();

  for (const format of ["YUYV", "NV12", "RGB3", "GREY"] as const)
    test(`${format}: whole pictures, in order, at the driver's times`, async () => {
      const found = await watch({
        camera: { format },
        before: control("osd_text_mode", 2),
        luma: { width: 64, height: 36 },
      });
      is(found.failed, undefined);
      equal([found.opened?.format, found.opened?.width, found.opened?.height], [format, 640, 360]);
      is(found.seen.length, 40);
      for (const [i, frame] of found.seen.entries()) {
        equal([frame.format, frame.byteLength, frame.corrupt], [format, bytes[format], false]);
        const earlier = found.seen[i - 1];
        if (!earlier) continue;
        is(frame.sequence, earlier.sequence + 1 + frame.dropped);
        ok(frame.capturedUs > earlier.capturedUs);
      }
      // One picture may come late on a busy machine; all of them together may not.
      const span = (found.seen.at(-1)?.sequence ?? 0) - (found.seen[0]?.sequence ?? 0);
      const spanUs = (found.seen.at(-1)?.capturedUs ?? 0) - (found.seen[0]?.capturedUs ?? 0);
      const everyMs = spanUs / 1000 / span;
      ok(Math.abs(everyMs - 1000 / 15) < 3, `a picture every ${everyMs} ms`);
      const lost = found.seen.slice(1).reduce((sum, frame) => sum + frame.dropped, 0);
      console.log(`measured: vivid ${format} 640×360 at 15: 40 pictures, ${lost} lost`);
      lumas.set(format, found.luma ?? []);
    });

  test("each format shows the same test card", () => {
    const full = (luma: number[]) => luma.map((value) => ((value - 16) * 255) / 219);
    const card = full(lumas.get("YUYV") ?? []);
    is(card.length, 64 * 36);
    const far = (luma: number[]) => luma.filter((value, i) => Math.abs(value - (card[i] ?? 0)) > 4);
    // Between two bars a pixel may fall to either side.
    ok(far(full(lumas.get("NV12") ?? [])).length < 64, "NV12, limited range as YUYV");
    ok(far(lumas.get("RGB3") ?? []).length < 64, "RGB3, full range");
    // The driver weighs colours otherwise for grey; eight bars fall from light to dark all the same.
    const bars = Array.from({ length: 8 }, (_, i) => lumas.get("GREY")?.[64 * 18 + 8 * i + 4] ?? 0);
    equal(
      bars,
      bars.toSorted((a, b) => b - a),
    );
    ok((bars[0] ?? 0) > 180 && bars[7] === 0, `${bars}`);
  });

  for (const [name, syscall] of [
    ["inject_vidioc_streamon_error", "STREAMON"],
    ["inject_vidioc_reqbufs_error", "REQBUFS"],
  ] as const)
    test(`${name}: the camera does not open, and says which call failed`, async () => {
      const found = await watch({ before: control(name) });
      const said = found.failed ?? found.events.find((event) => event.failure)?.failure;
      match(said?.syscall ?? "", syscall);
      is(said?.errno, "EINVAL");
      ok(said?.kind !== "untyped");
    });

  test("inject_vidioc_qbuf_error: a buffer refused once costs nothing", async () => {
    const inject = control("inject_vidioc_qbuf_error");
    const found = await watch({
      // That the fault is real: a program that asks once fails.
      before: `${inject} --stream-mmap=4 --stream-count=1 2>&1`,
      steps: [8, 16, 24].map((after) => ({ after, run: inject })),
    });
    match(found.steps[0] ?? "", /VIDIOC_QBUF.*Invalid argument/);
    is(found.failed, undefined);
    ok(found.seen.length >= 40);
    equal(
      found.events.map((event) => event.kind),
      ["opened"],
    );
    ok(found.seen.every((frame) => !frame.corrupt));
  });

  test("inject_v4l2_buf_flag_error: that picture is marked corrupt, the next is not", async () => {
    const found = await watch({
      steps: [{ after: 8, run: control("inject_v4l2_buf_flag_error") }],
    });
    is(found.failed, undefined);
    const marked = found.seen.filter((frame) => frame.corrupt);
    is(marked.length, 1);
    is(found.seen.at(-1)?.corrupt, false);
  });

  test("inject_fatal_streaming_error: said, and streaming starts again", async () => {
    const found = await watch({
      steps: [{ after: 8, run: control("inject_fatal_streaming_error") }],
    });
    recovered(found, "DQBUF", "EIO");
  });

  test("disconnect: the device answers again, so the pictures come again", async () => {
    const found = await watch({ steps: [{ after: 8, run: control("disconnect") }] });
    is(found.failed, undefined);
    ok(found.seen.length >= 40);
    const gone = found.events.find((event) => event.kind === "gone");
    ok(gone && gone.afterFrames < found.seen.length, JSON.stringify(found.events));
  });

  test("wrap_sequence_number: the count goes on through its end", async () => {
    const found = await watch({
      before: control("wrap_sequence_number"),
      ...{ frames: 150, forMs: 120_000 },
    });
    is(found.failed, undefined);
    is(found.seen.length, 150);
    const sequences = found.seen.map(({ sequence }) => sequence);
    ok(Math.max(...sequences) > 2 ** 32 - 200 && Math.min(...sequences) < 100, "it wrapped");
    for (const [i, frame] of found.seen.entries()) {
      const earlier = found.seen[i - 1];
      if (earlier) is((frame.sequence - earlier.sequence) >>> 0, 1 + frame.dropped);
    }
  });

  test("wrap_timestamp: pictures come, in the order of their times", async () => {
    const found = await watch({ before: control("wrap_timestamp") });
    is(found.failed, undefined);
    is(found.seen.length, 40);
    for (const [i, { capturedUs }] of found.seen.entries()) {
      ok(capturedUs > (found.seen[i - 1]?.capturedUs ?? 0), `${capturedUs} at ${i}`);
    }
  });

  test("percentage_of_dropped_buffers: every lost picture is counted", async () => {
    const found = await watch({ before: control("percentage_of_dropped_buffers", 50) });
    is(found.seen.length, 40);
    const [first, last] = [found.seen[0], found.seen.at(-1)];
    const lost = found.seen.slice(1).reduce((sum, frame) => sum + frame.dropped, 0);
    is((last?.sequence ?? 0) - (first?.sequence ?? 0) + 1, 40 + lost);
    ok(lost > 10, `${lost} lost at 50 %`);
    console.log(`measured: vivid told to lose half: 40 pictures seen, ${lost} counted as lost`);
  });

  test("unplugged while streaming: gone with ENODEV, and back with its controls", async () => {
    const found = await watch({
      camera: { controls: { brightness: 200 } },
      steps: [
        {
          after: 10,
          run: `echo vivid.0 >${driver}/unbind; sleep 2; echo vivid.0 >${driver}/bind`,
        },
        { after: 30, run: `v4l2-ctl -d ${device} -C brightness` },
      ],
    });
    recovered(found, "DQBUF", "ENODEV");
    const gone = found.events.find((event) => event.failure);
    is(gone?.kind, "gone");
    ok(found.events.some((event) => event.kind === "opened" && event.afterFrames > 0));
    const times = found.seen.map((frame) => frame.capturedUs);
    equal(
      times,
      times.toSorted((a, b) => a - b),
    );
    ok(
      found.steps.some((text) => text.includes("brightness: 200")),
      found.steps.join(),
    );
  });

  test("unplugged for good: the camera is closed in the gap, at once", async () => {
    const found = await watch({
      steps: [{ after: 10, run: `echo vivid.0 >${driver}/unbind` }],
      forMs: 15_000,
    });
    is(found.failed, undefined);
    ok(found.seen.length >= 10);
    const gone = found.events.find((event) => event.kind === "gone");
    ok(gone !== undefined, JSON.stringify(found.events));
    // What had been taken by then may follow, and no more.
    ok(found.seen.length < gone.afterFrames + 30, `${found.seen.length} pictures`);
  });

  test("a device that is not there", async () => {
    const found = await watch({ camera: { source: "/dev/video7" }, forMs: 3000 });
    equal([found.failed?.kind, found.failed?.errno], ["absent", "ENOENT"]);
  });

  test("a device that somebody else streams from", async () => {
    const found = await watch({
      // It prints a sign for each picture.
      before: `v4l2-ctl -d ${device} --stream-mmap=4 --stream-count=100000 >/tmp/other 2>&1 & until grep -q '<' /tmp/other; do sleep 0.1; done`,
      forMs: 5000,
    });
    equal([found.failed?.kind, found.failed?.errno], ["busy", "EBUSY"]);
  });

  test("a device that one may not open names the group that may", async () => {
    const found = await observe(
      machine,
      [vivid],
      {
        camera: { source: device, slabBytes: 12 << 20 },
        ...{ frames: 1, forMs: 3000 },
      },
      { asUser: 65534, prepare: `chgrp video ${device}; chmod 660 ${device}; chmod 777 /results` },
    );
    equal([found.failed?.kind, found.failed?.errno], ["denied", "EACCES"]);
    match(found.failed?.hint ?? "", "video");
  });

  test("a size the driver does not have is refused or replaced, never lied about", async () => {
    const found = await watch({ camera: { width: 333, height: 77 }, frames: 5 });
    if (found.failed) is(found.failed.kind, "refused");
    else
      for (const frame of found.seen) {
        equal([frame.width, frame.height], [found.opened?.width, found.opened?.height]);
        is(frame.byteLength, frame.width * frame.height * 2);
      }
  });
});
