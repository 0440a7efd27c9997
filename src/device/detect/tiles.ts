import type { Frame, Rect } from "../camera/camera.ts";
import { type Detection, isCut, join } from "./boxes.ts";
import type { FindOptions, PersonModel, Size } from "./model.ts";

/** Tiles share this part of their width and height, so that a far person lies whole in one. */
const shared = 0.25;
/** A picture that the network sees at more than this scale gains nothing from tiles. */
const fineScale = 0.75;
/** What fills more of its tile's height was large enough in the whole frame. */
const tallest = 0.7;
/** Pixels of the network's picture within which a box touches a tile's side. */
const slack = 4;

/**
 * Where to look closer in a single picture of which nothing is known: 2 × 2 tiles that overlap.
 * Empty when the picture is hardly larger than what the network sees of it.
 */
export function tilesOf(frame: Size, network: Size): Rect[] {
  const scale = Math.min(network.width / frame.width, network.height / frame.height);
  if (scale > fineScale) return [];
  const width = Math.ceil(frame.width / (2 - shared));
  const height = Math.ceil(frame.height / (2 - shared));
  const tiles: Rect[] = [];
  for (const y of [0, frame.height - height])
    for (const x of [0, frame.width - width]) tiles.push({ x, y, width, height });
  return tiles;
}

/** Persons of the whole frame and of its tiles, each once, best first. */
export async function findInTiles(
  model: PersonModel,
  frame: Frame,
  options: Omit<FindOptions, "crop">,
): Promise<Detection[]> {
  const network = options.size ?? model.input;
  const whole = await model.find(frame, { ...options, size: network });
  const close: Detection[] = [];
  for (const crop of tilesOf(frame, network)) {
    const pixels = slack / Math.min(network.width / crop.width, network.height / crop.height);
    for (const one of await model.find(frame, { ...options, size: network, crop }))
      if (!isCut(one.box, crop, frame, pixels) && one.box.height < crop.height * tallest)
        close.push(one);
  }
  return join(whole, close, model.overlap);
}
