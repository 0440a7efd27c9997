import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { explain, Failure } from "../../base/pure/failure.ts";
import { openSlab, type Slab } from "../camera/camera.ts";
import type { Detection } from "./boxes.ts";
import type { Trial } from "./choice.ts";
import { readJpegHeader } from "./jpeg.ts";
import { type Precision, readEntry, type Size } from "./manifest.ts";
import { openModel, type PersonModel } from "./model.ts";

// The child process of choice.ts: looks at the test pictures with one form of the model.

type Plan = { folder: string; id: string; precision: Precision; size: Size; threads: number };

const rounds = 4;
const threshold = 0.3;

async function look({ folder, id, precision, size, threads }: Plan): Promise<Trial> {
  const entry = await readEntry(folder, id);
  const model = await openModel({ folder, id, precision, threads, size, aspect: 1 });
  // A slab or a model that is left open keeps this process alive.
  const slab = openSlab({ slabBytes: 2 ** 20 });
  try {
    const seen: Detection[][] = [];
    for (let round = 0; round < rounds; round++) {
      for (const [sequence, picture] of entry.pictures.entries()) {
        const persons = await findIn(join(folder, picture), { slab, model, sequence });
        if (round === 0) seen.push(persons);
      }
    }
    return { inferenceMs: model.inferenceMs(), seen };
  } finally {
    await model.close();
    await slab.close();
  }
}

async function findIn(
  path: string,
  { slab, model, sequence }: { slab: Slab; model: PersonModel; sequence: number },
): Promise<Detection[]> {
  const bytes = await readFile(path).catch((cause) => {
    throw new Failure("absent", `the test picture ${path} cannot be read (${cause.code})`, {
      cause,
    });
  });
  const header = readJpegHeader(bytes);
  if (!header) throw new Failure("corrupt", `the test picture ${path} is no JPEG`);
  const { width, height } = header;
  const frame = slab.put(bytes, { format: "MJPG", width, height, capturedUs: 0, sequence });
  try {
    return await model.find(frame, { threshold });
  } finally {
    frame.release();
  }
}

try {
  console.log(JSON.stringify(await look(JSON.parse(process.argv[2] ?? "") as Plan)));
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}
