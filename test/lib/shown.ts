import encodeQR from "qr";
import type { Size } from "./footage.ts";

/** How a code is held before a lens. */
export type Shown = {
  /** The code's own width, in widths of the picture. */
  share?: number;
  /** Turned away from the lens around an upright line, in degrees. */
  tilt?: number;
  /** Standard deviation of the blur, in pixels. */
  blur?: number;
  /** Luma of black and of white. */
  dark?: number;
  light?: number;
  /** Most by which a pixel's luma is off. */
  noise?: number;
};

/** What a camera sees of a telephone that shows this text as a QR code, before a wall with a pattern. */
export function showCode(text: string, { width, height }: Size, shown: Shown = {}): Uint8Array {
  const { share = 0.5, tilt = 0, blur = 0, dark = 20, light = 230, noise = 4 } = shown;
  const border = 4;
  const dots = encodeQR(text, "raw", { ecc: "low", border });
  const side = (share * width * dots.length) / (dots.length - 2 * border);
  const [sine, cosine] = [Math.sin((tilt * Math.PI) / 180), Math.cos((tilt * Math.PI) / 180)];
  // A lens as webcams have: as far away as 1.2 times the picture's width.
  const focus = 1.2 * width;
  const wallAt = (x: number, y: number) => 0.35 + 0.2 * Math.sin(x / 37) * Math.cos(y / 23);
  /** Share of white, of 0 (black) to 1; undefined beside the code. */
  const whiteAt = (px: number, py: number): number | undefined => {
    const x = (px - width / 2) / focus;
    const u = x / (cosine - x * sine);
    const v = ((py - height / 2) / focus) * (1 + u * sine);
    const column = Math.floor(((u * focus) / side + 0.5) * dots.length);
    const row = Math.floor(((v * focus) / side + 0.5) * dots.length);
    const dot = dots[row]?.[column];
    return dot === undefined ? undefined : dot ? 0 : 1;
  };
  const seen = new Float32Array(width * height);
  const parts = [1 / 6, 3 / 6, 5 / 6];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let white = whiteAt(x, y);
      if (white === undefined) white = wallAt(x, y);
      else {
        let sum = 0;
        for (const dy of parts) for (const dx of parts) sum += whiteAt(x + dx, y + dy) ?? 1;
        white = sum / 9;
      }
      seen[y * width + x] = dark + (light - dark) * white;
    }
  }
  const across = blurred(seen, { width, height }, blur, 1);
  const soft = blurred(across, { width, height }, blur, width);
  let state = 1;
  return Uint8Array.from(soft, (value) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.max(0, Math.min(255, value + (state / 2 ** 31 - 1) * noise));
  });
}

function blurred(from: Float32Array, size: Size, deviation: number, step: number): Float32Array {
  if (deviation === 0) return from;
  const reach = Math.ceil(3 * deviation);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * deviation ** 2)),
  );
  const whole = weights.reduce((sum, one) => sum + one, 0);
  const along = step === 1 ? size.width : size.height;
  return from.map((_, at) => {
    const here = step === 1 ? at % size.width : Math.floor(at / size.width);
    let sum = 0;
    for (const [i, weight] of weights.entries()) {
      const there = Math.max(0, Math.min(along - 1, here + i - reach));
      sum += weight * (from[at + (there - here) * step] ?? 0);
    }
    return sum / whole;
  });
}

/** The conditions that the lens is tried in. */
export const conditions: Readonly<Record<string, Shown>> = {
  sharp: {},
  dim: { dark: 8, light: 40 },
  "tilted 30 degrees": { tilt: 30 },
  blurred: { blur: 1.8 },
  "a quarter of the width": { share: 0.25 },
  "a quarter of the width, tilted": { share: 0.25, tilt: 30 },
};

/** A grey picture as a camera of this format delivers it: YUYV. */
export function asYuyv(luma: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 * luma.length).fill(128);
  for (const [i, value] of luma.entries()) bytes[2 * i] = value;
  return bytes;
}
