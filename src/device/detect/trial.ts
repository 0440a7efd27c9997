import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { explain, Failure } from "../../base/pure/failure.ts";
import { openSlab } from "../camera/camera.ts";
import type { Detection } from "./boxes.ts";
import type { Trial } from "./choice.ts";
import { readJpegHeader } from "./jpeg.ts";
import { type Precision, readEntry, type Size } from "./manifest.ts";
import { openModel } from "./model.ts";

// The child process of choice.ts: looks at the test pictures with one form of the model.

type Plan = { folder: string; id: string; precision: Precision; size: Size; threads: number };

const rounds = 4;
const threshold = 0.3;

async function look({ folder, id, precision, size, threads }: Plan): Promise<Trial> {
  const entry = await readEntry(folder, id);
  const model = await openModel({ folder, id, precision, threads, size, aspect: 1 });
  const slab = openSlab({ slabBytes: 2 ** 20 });
  const seen: Detection[][] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [sequence, picture] of entry.pictures.entries()) {
      const bytes = await readFile(join(folder, picture));
      const header = readJpegHeader(bytes);
      if (!header) throw new Failure("corrupt", `${picture} is no JPEG`);
      const { width, height } = header;
      const frame = slab.put(bytes, { format: "MJPG", width, height, capturedUs: 0, sequence });
      try {
        const persons = await model.find(frame, { threshold });
        if (round === 0) seen.push(persons);
      } finally {
        frame.release();
      }
    }
  }
  const inferenceMs = model.inferenceMs();
  await model.close();
  return { inferenceMs, seen };
}

try {
  console.log(JSON.stringify(await look(JSON.parse(process.argv[2] ?? "") as Plan)));
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}
