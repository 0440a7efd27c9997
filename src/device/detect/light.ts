export type Light = {
  /** picture = scene · gain + offset, as far as the light of the whole picture explains it. */
  gain: number;
  offset: number;
  /** What both make of a middling pixel: steps of it are steps of the light. */
  level: number;
  /** Deviation of pixels from the scene now, apart from the light. */
  grain: number;
  /** Compares a picture with the scene that was learnt. */
  fit(picture: Uint16Array, scene: Float32Array): void;
  /** The scene has just been learnt from the picture. */
  reset(): void;
};

const bins = 1024;
const binsPerUnit = 3;
const leastContrast = 20; // units
const leastPart = 1 / 8;

/**
 * Tells a change of the light from a change of the scene: by the median difference of the scene's
 * dark half and of its bright half, which whoever walks through hardly moves.
 * @param unit values of one step of luma
 */
export function createLight({
  width,
  height,
  unit,
}: {
  width: number;
  height: number;
  unit: number;
}): Light {
  const binSize = unit / binsPerUnit;
  const dark = new Int32Array(bins);
  const bright = new Int32Array(bins);
  let middle = 128 * unit; // between the halves

  const shiftOf = (histogram: Int32Array, count: number) =>
    (rankOf(histogram, count / 2) - bins / 2 + 0.5) * binSize;
  // Half of all values lie within 0.67 deviations of the median.
  const deviationOf = (histogram: Int32Array, count: number) =>
    ((rankOf(histogram, count * 0.75) - rankOf(histogram, count / 4)) * binSize) / 2 / 0.67;

  const light: Light = {
    ...{ gain: 1, offset: 0, level: 0, grain: 0 },
    reset() {
      light.gain = 1;
      light.offset = 0;
      light.level = 0;
    },
    fit(picture, scene) {
      dark.fill(0);
      bright.fill(0);
      let darkCount = 0;
      let brightCount = 0;
      let darkSum = 0;
      let brightSum = 0;
      for (let y = 0; y < height; y += 2) {
        for (let i = y * width; i < (y + 1) * width; i += 2) {
          const before = scene[i] ?? 0;
          const bin = Math.floor(((picture[i] ?? 0) - before) / binSize) + bins / 2;
          const kept = Math.max(0, Math.min(bins - 1, bin));
          if (before < middle) {
            dark[kept] = (dark[kept] ?? 0) + 1;
            darkCount++;
            darkSum += before;
          } else {
            bright[kept] = (bright[kept] ?? 0) + 1;
            brightCount++;
            brightSum += before;
          }
        }
      }
      const all = darkCount + brightCount;
      middle = (darkSum + brightSum) / all;
      const hasDark = darkCount >= all * leastPart;
      const hasBright = brightCount >= all * leastPart;
      const lowShift = hasDark ? shiftOf(dark, darkCount) : shiftOf(bright, brightCount);
      const highShift = hasBright ? shiftOf(bright, brightCount) : lowShift;
      const low = hasDark ? darkSum / darkCount : middle;
      const high = hasBright ? brightSum / brightCount : middle;
      // Halves that hardly differ say nothing about contrast, and would say it loudly.
      const slope = high - low < leastContrast * unit ? 0 : (highShift - lowShift) / (high - low);
      light.gain = 1 + Math.min(1, Math.max(-0.5, slope));
      light.offset = (lowShift + highShift) / 2 - ((light.gain - 1) * (low + high)) / 2;
      light.level = light.offset + (light.gain - 1) * middle;
      // A camera that raises its gain is grainier at once, before any pixel's own noise is learnt.
      light.grain = Math.max(
        hasDark ? deviationOf(dark, darkCount) : 0,
        hasBright ? deviationOf(bright, brightCount) : 0,
      );
    },
  };
  return light;
}

/** The bin that holds the value of a rank. */
function rankOf(histogram: Int32Array, rank: number): number {
  let left = rank;
  for (let bin = 0; bin < histogram.length; bin++) {
    left -= histogram[bin] ?? 0;
    if (left <= 0) return bin;
  }
  return histogram.length - 1;
}
