import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { explain, Failure } from "../src/base/pure/failure.ts";
import { openSlab } from "../src/device/camera/camera.ts";
import { openModel, type PersonModel, type Size } from "../src/device/detect/model.ts";
import { readPictures } from "../src/device/detect/pictures.ts";
import { findInTiles } from "../src/device/detect/tiles.ts";
import { type Judged, judge, readTruth, type Score } from "./accuracy/score.ts";
import { lookAsService } from "./accuracy/stage.ts";
import { cacheFolder, findSource } from "./footage/source.ts";

const help = `usage: node dist/scripts/accuracy.js [options]

Measures the installed person detector on a film whose persons are known and prints one JSON object
a line. First every analysed frame by itself, as \`obscura-camera detect\` does: fp32 and int8, without
and with closer looks at tiles. Then the frames that the service looks at, without and with its closer
looks at what moves.

  --film FILE       default: vtest.avi of Debian's opencv-doc
  --truth FILE      lines of frame,person,x,y,width,height (default: vtest-persons.csv in the folder
                    data of OBSCURA_SHARED)
  --fps N           frames analysed for each second of film (default 5)
  --input WxH       the network's picture (default: by the film's shape)
  --precision P     fp32 or int8 only
  --service         only the second part; --single: only the first
  --models DIR      default models
`;

/** As low as the command goes: the precision curve needs the doubtful boxes too. */
const least = 0.01;
/** Of vtest.avi; what the service sees depends on it. */
const filmFps = 10;
const edges = [0, 60, 75, 90, 110];

export type MeasureOptions = {
  film: string;
  truth: string;
  fps: number;
  model: PersonModel;
  crops: boolean;
  size?: Size;
};

/** How well the model sees the film's persons, and how long an inference took, in ms. */
export async function measure(options: MeasureOptions): Promise<Score & { inferenceMs: number }> {
  const { film, fps, model, crops } = options;
  const truth = readTruth(await readFile(options.truth, "utf8"));
  const slab = openSlab({ slabBytes: 16 * 2 ** 20 });
  const judged: Judged[] = [];
  for await (const { bytes, ...about } of readPictures(film, { fps })) {
    const frame = slab.put(bytes, { ...about, capturedUs: 0, sequence: judged.length });
    const size = options.size ?? model.input;
    const look = { threshold: least, size };
    const found = crops ? await findInTiles(model, frame, look) : await model.find(frame, look);
    frame.release();
    judged.push({ truth: truth.get(about.index ?? 0) ?? [], found });
  }
  await slab.close();
  return { ...judge(judged, model.threshold, edges), inferenceMs: model.inferenceMs() };
}

/** Where the truth about vtest.avi lies, if it is there: its licence keeps it out of the project. */
export function truthFile(): string {
  return join(process.env.OBSCURA_SHARED ?? "../shared", "data/vtest-persons.csv");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      film: { type: "string" },
      truth: { type: "string", default: truthFile() },
      fps: { type: "string", default: "5" },
      input: { type: "string" },
      precision: { type: "string" },
      service: { type: "boolean", default: false },
      single: { type: "boolean", default: false },
      models: { type: "string", default: "models" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const film = values.film ?? (await findSource(cacheFolder(), console.error));
  const [width = 0, height = 0] = (values.input ?? "").split("x").map(Number);
  const size = values.input === undefined ? {} : { size: { width, height } };
  for (const precision of ["fp32", "int8"] as const) {
    if (values.precision !== undefined && values.precision !== precision) continue;
    const model = await openModel({ folder: values.models, precision, aspect: 4 / 3, ...size });
    const { width, height } = model.input;
    const about = { model: model.id, precision, input: `${width}x${height}` };
    for (const crops of values.service ? [] : [false, true]) {
      const score = await measure({
        ...{ film, truth: values.truth, fps: Number(values.fps), model, crops },
      });
      console.log(JSON.stringify({ ...about, look: crops ? "tiles" : "whole", ...score }));
    }
    const truth = readTruth(await readFile(values.truth, "utf8"));
    for (const crops of values.single ? [] : [false, true]) {
      const seen = await lookAsService({ film, truth, filmFps, model, crops });
      const score = judge(seen.judged, model.threshold, edges);
      const look = crops ? "service, motion crops" : "service";
      console.log(JSON.stringify({ ...about, look, ...score, crops: seen.crops }));
    }
    await model.close();
  }
  return 0;
}

if (process.argv[1]?.endsWith("scripts/accuracy.js")) {
  process.exitCode = await main().catch((error) => {
    console.error(`Not measured: ${explain(error)}`);
    return error instanceof Failure && error.kind === "misuse" ? 2 : 1;
  });
}
