import type { ThumbnailDetails } from "../../protocol/sealed/details.ts";
import type { Frame, Rect } from "../camera/camera.ts";

export type Thumbnail = { kind: "thumbnail"; bytes: Uint8Array } & ThumbnailDetails;

const frameWidth = 640;
const personWidth = 320;
/** Around the person, so that one sees where they stand. */
const marginShare = 0.2;

/** How good a picture of this person would be, to compare with others: sure of it, and near. */
export function worth({ score, box }: { score: number; box: Rect }): number {
  return score * Math.sqrt(Math.max(0, box.width * box.height));
}

/**
 * The whole picture and, where the person's box is given, the person. Releases nothing of the
 * caller's. Rejects when the picture cannot be decoded or the slab is full.
 */
export async function takeThumbnails(frame: Frame, person?: Rect): Promise<Thumbnail[]> {
  const whole = await take(frame, "frame", { quality: 75, maxWidth: frameWidth });
  const crop = person && widen(person, frame);
  if (!crop || crop.width < 2 || crop.height < 2) return [whole];
  return [await take(frame, "person", { quality: 85, maxWidth: personWidth, crop }), whole];
}

async function take(
  frame: Frame,
  what: "person" | "frame",
  spec: Parameters<Frame["jpeg"]>[0],
): Promise<Thumbnail> {
  const jpeg = await frame.jpeg(spec);
  try {
    const { width, height } = jpeg;
    const bytes = jpeg.copy();
    return { kind: "thumbnail", what, bytes, width, height, capturedUs: frame.capturedUs };
  } finally {
    jpeg.release();
  }
}

/** The box with its margin, whole pixels, within the picture. */
export function widen(box: Rect, frame: { width: number; height: number }): Rect {
  const [mx, my] = [box.width * marginShare, box.height * marginShare];
  const clamp = (value: number, limit: number) => Math.min(Math.max(0, value), limit);
  const x = Math.floor(clamp(box.x - mx, frame.width));
  const y = Math.floor(clamp(box.y - my, frame.height));
  const right = Math.ceil(clamp(box.x + box.width + mx, frame.width));
  const bottom = Math.ceil(clamp(box.y + box.height + my, frame.height));
  return { x, y, width: right - x, height: bottom - y };
}
