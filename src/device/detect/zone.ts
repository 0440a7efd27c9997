import type { Point, Rect } from "../camera/camera.ts";

export type Zone = { name: string; polygon: readonly Point[] };

/** Whether a point lies in a polygon, by how often a ray to the right crosses its border. */
export function isInside({ x, y }: Point, polygon: readonly Point[]): boolean {
  let inside = false;
  let before = polygon.at(-1);
  for (const corner of polygon) {
    if (before && corner.y > y !== before.y > y) {
      const crossing = corner.x + ((y - corner.y) * (before.x - corner.x)) / (before.y - corner.y);
      if (x < crossing) inside = !inside;
    }
    before = corner;
  }
  return inside;
}

/**
 * The zones that a box stands in. The middle of its lower edge counts: that is where the feet are.
 * @param box pixels of the upright picture, whose size is `frame`
 */
export function zonesOf(
  box: Rect,
  frame: { width: number; height: number },
  zones: readonly Zone[],
): string[] {
  // Feet below the picture's edge stand on the edge: else who comes close leaves every zone.
  const feet = {
    x: Math.min(0.9999, Math.max(0, (box.x + box.width / 2) / frame.width)),
    y: Math.min(0.9999, Math.max(0, (box.y + box.height) / frame.height)),
  };
  const within = zones.filter((zone) => isInside(feet, zone.polygon)).map((zone) => zone.name);
  // Polygons of one name are one zone.
  return [...new Set(within)];
}
