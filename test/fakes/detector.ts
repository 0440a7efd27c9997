import { createHash } from "node:crypto";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Rect } from "../../src/device/camera/camera.ts";
import { temporaryFolder } from "../lib/world.ts";

const here = new URL("../../../models/", import.meta.url).pathname;

/** The folder of the real models; its weights may not be installed. */
export const modelsFolder = here;

/** A models folder whose detector is tiny.onnx: a red cell of 8 × 8 is a person of 32 × 32. */
export async function tinyModels(): Promise<{ path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  await copyFile(join(here, "tiny.onnx"), join(folder.path, "tiny.onnx"));
  const bytes = await readFile(join(here, "tiny.onnx"));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const file = { file: "tiny.onnx", sha256, bytes: bytes.length };
  const tiny = {
    id: "tiny",
    files: { fp32: file, int8: file },
    input: {
      name: "image",
      order: "BGR",
      mean: [0, 0, 0],
      deviation: [255, 255, 255],
      pad: 0,
      multiple: 32,
      sizes: [
        { width: 128, height: 96 },
        { width: 128, height: 64 },
      ],
      crop: { width: 64, height: 64 },
    },
    output: { heads: [8, 16, 32].map((stride) => ({ name: `stride${stride}`, stride })), bins: 11 },
    thresholds: { score: 0.4, overlap: 0.3 },
    pictures: [],
  };
  const manifest = { format: 1, default: "tiny", models: [tiny] };
  await writeFile(join(folder.path, "manifest.json"), JSON.stringify(manifest));
  return folder;
}

/** An RGB picture, grey 64 with red rectangles. */
export function redPicture(width: number, height: number, reds: readonly Rect[]): Uint8Array {
  const bytes = new Uint8Array(width * height * 3).fill(64);
  for (const { x, y, width: w, height: h } of reds)
    for (let row = y; row < y + h; row++)
      for (let column = x; column < x + w; column++)
        bytes.set([255, 0, 0], (row * width + column) * 3);
  return bytes;
}
