import type { Setting } from "../base/node/settings.ts";
import type { Point } from "./camera/camera.ts";
import { doublesIn, type Fault } from "./places.ts";

// Parts of the picture, as the settings name them: what is never seen, and where somebody counts.

export type Zone = { name: string; polygon: Point[] };

function readPolygon(value: unknown): Point[] | undefined {
  if (!Array.isArray(value) || value.length < 3 || value.length > 32) return undefined;
  const inPicture = (n: unknown): n is number => typeof n === "number" && n >= 0 && n <= 1;
  const points = value.map((pair: unknown) => {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined;
    const [x, y] = pair;
    return inPicture(x) && inPicture(y) ? { x, y } : undefined;
  });
  return points.every((point) => point !== undefined) ? points : undefined;
}

export function readList<T>(value: unknown, limit: number, read: (item: unknown) => T | undefined) {
  if (!Array.isArray(value) || value.length > limit) return undefined;
  const items = value.map(read);
  return items.every((item): item is T => item !== undefined) ? items : undefined;
}

const polygonText =
  "[x, y] points from 0 to 1, x from the left and y from the top, 3 to 32 of them";

export const masks: Setting<Point[][]> = {
  default: [],
  about: "what the camera must never see; blackened before anything else looks at a picture",
  expected: `a list of at most 16 polygons, each a list of ${polygonText}`,
  read: (value) => readList(value, 16, readPolygon),
};

export const zones: Setting<Zone[]> = {
  default: [],
  about:
    "where a person counts, by the feet, each with a name of its own; none means the whole picture",
  expected: `a list of at most 16 of {name, polygon}, the name letters, digits, _ and -, 32 at most, the polygon a list of ${polygonText}`,
  read: (value) =>
    readList(value, 16, (item): Zone | undefined => {
      if (typeof item !== "object" || item === null || !("name" in item) || !("polygon" in item)) {
        return undefined;
      }
      if (Object.keys(item).length !== 2) return undefined;
      const polygon = readPolygon(item.polygon);
      const isNamed = typeof item.name === "string" && /^[a-z0-9_-]{1,32}$/i.test(item.name);
      return polygon && isNamed ? { name: item.name as string, polygon } : undefined;
    }),
};

/**
 * Two zones of one name are one zone to all that hears of them. Files have them, and go on to mean that: a
 * camera that an upgrade stopped would be worse. New ones, from a phone, are refused.
 */
export function doubleZones(config: {
  detect: { zones: readonly Zone[] };
  profiles: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}): Fault[] {
  const lists: [steps: string[], zones: unknown][] = [
    [["detect", "zones"], config.detect.zones],
    ...Object.entries(config.profiles).map(([profile, set]): (typeof lists)[number] => [
      ["profiles", profile, "detect.zones"],
      set["detect.zones"],
    ]),
  ];
  return lists.flatMap(([steps, written]) => {
    const names = ((written ?? []) as readonly Pick<Zone, "name">[]).map(({ name }) => name);
    return doublesIn(names).map((i) => ({
      of: [[...steps, i]],
      text: `${steps.join(".")} has ${names[i]} twice, which are one zone: give one another name`,
    }));
  });
}
