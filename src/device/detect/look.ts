import type { Frame, Rect } from "../camera/camera.ts";
import { type Detection, isCut, join, overlapOf } from "./boxes.ts";
import type { PersonModel } from "./model.ts";

/** What a look needs of the person detector. */
export type Finder = Pick<PersonModel, "input" | "crop" | "overlap" | "inferenceMs" | "find">;

export type CropPlan = {
  frame: { width: number; height: number };
  model: Pick<Finder, "input" | "crop">;
  /** What the whole frame showed, surely. */
  sure: readonly Detection[];
  /** What moved, and where somebody was a moment ago; pixels of the frame. */
  regions: readonly Rect[];
  places: readonly Rect[];
  most: number;
  /** Grows with each look: when there is more to look at than can be, all get their turn. */
  turn: number;
};

const explained = 0.5;
const grown = 0.15; // motion reaches a little beyond the box: arms, shadows
const still = 0.3;
const wanted = 2; // a crop should show persons this much larger than the whole frame did
const worthwhile = 1.3;
const slack = 4; // pixels of the network's picture

/**
 * Where to look closer: places first at which somebody was and is not found now, then what moved
 * and no box explains. Small things only, for large ones a crop shows no more than the frame did.
 */
export function planCrops(plan: CropPlan): Rect[] {
  const { frame, model, sure, regions, places, most, turn } = plan;
  const wholeScale = Math.min(model.input.width / frame.width, model.input.height / frame.height);
  const side = Math.min(model.crop.width, model.crop.height);
  const finest = Math.max(1, wanted * wholeScale);
  const lost = places.filter((place) => sure.every(({ box }) => overlapOf(box, place) < still));
  const strange = regions.filter((region) => sure.every(({ box }) => !explains(box, region)));
  const shift = strange.length > 0 ? turn % strange.length : 0;
  const inTurn =
    lost.length + strange.length > most
      ? [...strange.slice(shift), ...strange.slice(0, shift)]
      : strange;

  const crops: Rect[] = [];
  for (const target of [...lost, ...inTurn]) {
    if (crops.length === most) break;
    const needed = 1.5 * Math.max(target.width, target.height);
    const size = Math.floor(
      Math.min(Math.max(side / finest, needed), Math.min(frame.width, frame.height)),
    );
    if (size < needed / 1.4 || side / size < worthwhile * wholeScale) continue;
    if (crops.some((crop) => holds(crop, target))) continue;
    const within = (middle: number, length: number) =>
      Math.round(Math.max(0, Math.min(length - size, middle - size / 2)));
    crops.push({
      x: within(target.x + target.width / 2, frame.width),
      y: within(target.y + target.height / 2, frame.height),
      width: size,
      height: size,
    });
  }
  return crops;
}

function explains(box: Rect, region: Rect): boolean {
  const [x, y] = [box.x - grown * box.width, box.y - grown * box.height];
  const wide = Math.min(x + box.width * (1 + 2 * grown), region.x + region.width);
  const high = Math.min(y + box.height * (1 + 2 * grown), region.y + region.height);
  const common =
    Math.max(0, wide - Math.max(x, region.x)) * Math.max(0, high - Math.max(y, region.y));
  return common >= explained * region.width * region.height;
}

/** True when a crop shows the target with some air around it. */
function holds(crop: Rect, target: Rect): boolean {
  const air = 0.1 * crop.width;
  return (
    target.x >= crop.x + air &&
    target.y >= crop.y + air &&
    target.x + target.width <= crop.x + crop.width - air &&
    target.y + target.height <= crop.y + crop.height - air
  );
}

/**
 * One look at one frame: the whole of it, then closer where something moved that is not explained.
 * Rejects as the model does; does not release the frame.
 */
export async function lookAt(
  frame: Frame,
  options: {
    model: Finder;
    threshold: number;
    /** Boxes below the threshold continue what is known already. */
    least: number;
    regions: readonly Rect[];
    places: readonly Rect[];
    mostCrops: number;
    turn: number;
    /** Nobody is known to be there yet: who moves in the whole frame is told without closer looks. */
    isUrgent: boolean;
  },
): Promise<{ detections: Detection[]; crops: Rect[]; isTelling: boolean }> {
  const { model, threshold, least, regions, places, mostCrops, turn, isUrgent } = options;
  const whole = await model.find(frame, { threshold: least });
  const sure = whole.filter(({ score }) => score >= threshold);
  const isTelling = sure.some(({ box }) => regions.some((region) => explains(box, region)));
  if (mostCrops === 0 || (isUrgent && isTelling))
    return { detections: whole, crops: [], isTelling };
  const crops = planCrops({ frame, model, sure, regions, places, most: mostCrops, turn });
  if (crops.length === 0) return { detections: whole, crops, isTelling };
  // One crop alone needs only its own lines of the picture.
  const shared = crops.length > 1 ? { finest: 1 } : {};
  const closer = await Promise.all(
    crops.map(async (crop) => {
      const found = await model.find(frame, { threshold: least, crop, ...shared });
      // What the crop cut through is only a part of somebody, and its box would be wrong.
      return found.filter(
        ({ box }) => !isCut(box, crop, frame, (slack * crop.width) / model.crop.width),
      );
    }),
  );
  return { detections: join(whole, closer.flat(), model.overlap), crops, isTelling };
}
