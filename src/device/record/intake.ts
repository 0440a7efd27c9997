import type { Frame } from "../camera/camera.ts";

export type IntakeOptions = {
  /** Pictures a second that are recorded at most. */
  fps: number;
  /** JPEG quality at which raw pictures are compressed. */
  quality: number;
  /** A JPEG picture at the recording rate; its reference is the receiver's. In order of capture. */
  onPicture(frame: Frame): void;
  /** A picture that should have been recorded and was not: the board could not compress it in time. */
  onMissed(capturedUs: number): void;
  /** The slab has no room: what can be let go should be. */
  onFull(): void;
};

export type Intake = {
  /** Takes its own reference of what it keeps. */
  offer(frame: Frame): void;
  close(): Promise<void>;
};

/** Raw pictures that wait for the pixel thread: each is as large as a dozen compressed ones. */
const mostWaiting = 3;

/** Chooses pictures at the recording rate and compresses those that came raw. */
export function openIntake(options: IntakeOptions): Intake {
  const due = openPace(options.fps);
  let waiting = 0;
  let line = Promise.resolve();
  let closed = false;

  async function compress(raw: Frame): Promise<void> {
    try {
      const jpeg = await squeeze(raw);
      if (closed) jpeg.release();
      else options.onPicture(jpeg);
    } catch {
      options.onMissed(raw.capturedUs);
    } finally {
      waiting--;
      raw.release();
    }
  }

  async function squeeze(raw: Frame): Promise<Frame> {
    try {
      return await raw.jpeg({ quality: options.quality });
    } catch {
      options.onFull();
      return await raw.jpeg({ quality: options.quality });
    }
  }

  return {
    offer(frame) {
      if (closed || frame.corrupt || !due(frame.capturedUs)) return;
      if (frame.format === "MJPG") {
        options.onPicture(frame.retain());
      } else if (waiting >= mostWaiting) {
        options.onMissed(frame.capturedUs);
      } else {
        waiting++;
        const raw = frame.retain();
        line = line.then(() => compress(raw));
      }
    },
    async close() {
      closed = true;
      await line;
    },
  };
}

/**
 * Says which pictures to keep so that no more than `fps` a second remain, evenly, whatever the
 * camera delivers: of its pictures those that lie nearest to an even beat. A camera that is slower
 * than that loses none.
 */
export function openPace(fps: number): (capturedUs: number) => boolean {
  const intervalUs = 1e6 / fps;
  let dueUs: number | undefined;
  let lastUs: number | undefined;
  // Between the camera's own pictures, smoothed; no longer than the beat, so that a gap is no pace.
  let stepUs: number | undefined;
  return (capturedUs) => {
    if (lastUs !== undefined && capturedUs > lastUs) {
      const us = Math.min(capturedUs - lastUs, intervalUs);
      stepUs = stepUs === undefined ? us : stepUs + (us - stepUs) / 8;
    }
    lastUs = capturedUs;
    // One that comes half a step early is nearer than the next will be.
    const earlyUs = (stepUs ?? intervalUs) / 2;
    if (dueUs !== undefined && capturedUs < dueUs - earlyUs) {
      // Time that went back (footage that begins again) starts a new line.
      if (dueUs - capturedUs <= 2 * intervalUs) return false;
      dueUs = undefined;
    }
    const late = dueUs === undefined || capturedUs - dueUs > intervalUs;
    dueUs = (late || dueUs === undefined ? capturedUs : dueUs) + intervalUs;
    return true;
  };
}
