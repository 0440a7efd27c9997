import {
  type Addon,
  type Capture,
  loadAddon,
  type NativePicture,
} from "../../src/device/camera/v4l2.ts";

/** The addon over the fake driver; OBSCURA_TEST_ADDON names another build of it (build-asan). */
export const addon: Addon = loadAddon({
  fake: true,
  folder: process.env.OBSCURA_TEST_ADDON ?? "build",
});

export const fake = (() => {
  if (!addon.fake) throw new Error("the fake variant has no strings");
  return addon.fake;
})();

type Plan = Parameters<typeof fake.plug>[0];
export type FakeCamera = {
  path: string;
  width: number;
  height: number;
  fail(call: string, errno: string, when?: { after?: number; times?: number }): void;
  behave(behaviour: Parameters<typeof fake.behave>[1]): void;
  feed(...pictures: Uint8Array[]): void;
  push(picture?: Parameters<typeof fake.push>[1]): boolean;
  state(): ReturnType<typeof fake.state>;
};

let number = 100;

/** Plugs a camera of its own in: 64 × 48, YUYV unless `plan` says otherwise, pictures when pushed. */
export function plugCamera(plan: Partial<Plan> = {}): FakeCamera {
  const path = plan.path ?? `/dev/video${number++}`;
  const [width, height] = [64, 48];
  fake.plug({
    card: "Fake Camera",
    driver: "fake",
    bus: "usb-fake-1",
    formats: [{ format: "YUYV", sizes: [{ width, height, rates: [30, 15, 5] }] }],
    ...plan,
    path,
  });
  fake.feed(path, [yuyv(width, height, 100)]);
  return {
    path,
    width,
    height,
    fail: (call, errno, when) => void fake.fail(path, call, errno, when),
    behave: (behaviour) => void fake.behave(path, behaviour),
    feed: (...pictures) => void fake.feed(path, pictures),
    push: (picture) => fake.push(path, picture),
    state: () => fake.state(path),
  };
}

export function yuyv(width: number, height: number, grey: number): Uint8Array {
  const bytes = new Uint8Array(width * height * 2).fill(128);
  for (let i = 0; i < bytes.length; i += 2) bytes[i] = grey;
  return bytes;
}

/** A grey slope, so that what was cut, turned or mirrored can be told. */
export function slope(width: number, height: number): Uint8Array {
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return Math.round((x / width) * 160 + (y / height) * 80);
  });
}

/** A real JPEG of a grey picture, made by the addon itself. */
export async function jpegOf(grey: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const capture = new addon.Capture({ slabBytes: 1 << 22 });
  const label = { format: "GREY", width, height, capturedUs: 1, sequence: 0 };
  const { handle } = capture.put(grey, label);
  const picture = await capture.jpeg(handle, { quality: 90 });
  const bytes = Uint8Array.from(capture.copy(picture.handle));
  await capture.close();
  return bytes;
}

/** An open capture that keeps what comes, closed and looked over for leaks with `await using`. */
export type Session = {
  capture: Capture;
  pictures: NativePicture[];
  ends: (Error & { kind: string; syscall?: string; errno?: string })[];
  open(wish?: { format?: string; width?: number; height?: number }): ReturnType<Capture["open"]>;
  /** Waits until so many pictures came. */
  picture(count?: number): Promise<NativePicture>;
  ended(): Promise<Session["ends"][number]>;
} & AsyncDisposable;

export function sessionOf(
  camera: Pick<FakeCamera, "path" | "width" | "height">,
  options: Partial<ConstructorParameters<typeof Capture>[0]> = {},
): Session {
  const capture = new addon.Capture({ slabBytes: 1 << 20, ...options });
  const pictures: NativePicture[] = [];
  const ends: Session["ends"] = [];
  let wake = () => {};
  const until = async (done: () => boolean) => {
    while (!done())
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  };
  return {
    capture,
    pictures,
    ends,
    open: (wish = {}) =>
      capture.open(
        { source: camera.path, width: camera.width, height: camera.height, fps: 15, ...wish },
        (picture) => {
          pictures.push(picture);
          wake();
        },
        (error) => {
          ends.push(error as Session["ends"][number]);
          wake();
        },
      ),
    async picture(count = 1) {
      await until(() => pictures.length >= count);
      return pictures[count - 1] as NativePicture;
    },
    async ended() {
      await until(() => ends.length > 0);
      return ends[0] as Session["ends"][number];
    },
    async [Symbol.asyncDispose]() {
      await capture.close();
    },
  };
}

/** The kind of the error that a call throws or rejects with; "ok" when it does neither. */
export async function outcome(call: () => unknown): Promise<string> {
  try {
    await call();
    return "ok";
  } catch (error) {
    return (error as { kind?: string }).kind ?? String(error);
  }
}
