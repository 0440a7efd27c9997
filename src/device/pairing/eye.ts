import decodeQR from "qr/decode.js";
import type { Log } from "../../base/node/log.ts";
import { isFailure } from "../../base/pure/failure.ts";
import { type LensCode, longestCode, parseLens } from "../../protocol/sealed/lens.ts";
import type { Frame } from "../camera/camera.ts";

// The camera's own eye for codes: grey pictures in, what stands in a code out. No picture is kept.

/** Larger pictures are looked at in this width: finer ones cost time and show no more of a code. */
const mostWidth = 1280;
/** Pictures between two looks may be passed over; a code is held for seconds. */
const lookEveryUs = 200_000;
/** For what the decoder tries beyond its first pass, in one picture. */
const triesMs = 150;

/** The first wanted code of this program that the pictures show; undefined when they end without one. */
export async function watchForCode(
  frames: AsyncIterable<Frame>,
  options: { log: Log; signal: AbortSignal; isWanted(code: LensCode): boolean },
): Promise<LensCode | undefined> {
  const { log, signal, isWanted } = options;
  let nextUs = 0;
  let told = "";
  for await (const frame of frames) {
    try {
      if (signal.aborted) return undefined;
      if (frame.corrupt || frame.capturedUs < nextUs) continue;
      nextUs = frame.capturedUs + lookEveryUs;
      for (const size of sizesOf(frame)) {
        const text = readCode(await frame.luma(size), size);
        if (text === undefined) continue;
        const code = readLens(text);
        if (!(code instanceof Error)) {
          if (isWanted(code)) return code;
        } else if (code.message !== told) {
          log.info(`a code that is of no use here: ${code.message}`);
          told = code.message;
        }
        break;
      }
    } catch (error) {
      // A picture that cannot be decoded is one picture less.
      if (!isFailure(error, "corrupt")) throw error;
    } finally {
      frame.release();
    }
  }
  return undefined;
}

/** As it is, or in `mostWidth`; then half of it, in which noise and blur are less. */
function sizesOf({ width, height }: Frame): { width: number; height: number }[] {
  const scale = Math.min(1, mostWidth / width);
  return [scale, scale / 2].map((by) => ({
    width: Math.max(1, Math.round(width * by)),
    height: Math.max(1, Math.round(height * by)),
  }));
}

/** The text of the first QR code in a grey picture, which is overwritten; undefined when none is read. */
export function readCode(
  luma: Uint8Array,
  { width, height }: { width: number; height: number },
): string | undefined {
  // The decoder takes a grey plane as the first of a planar picture, and looks at no other.
  const data = new Uint8Array(width * height + 2 * Math.ceil(width / 2) * Math.ceil(height / 2));
  data.set(luma);
  try {
    const options = { format: "I420", effort: 3, timeLimit: triesMs } as const;
    const text = decodeQR({ width, height, data }, options);
    return text.length > longestCode ? undefined : text;
  } catch {
    return undefined;
  } finally {
    data.fill(0);
    luma.fill(0);
  }
}

function readLens(text: string): LensCode | Error {
  try {
    return parseLens(text);
  } catch (error) {
    if (isFailure(error, "corrupt", "refused")) return error;
    throw error;
  }
}
