import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { type Frame, openSlab, type Slab } from "../camera/camera.ts";
import type { Detection } from "./boxes.ts";
import { openModel, type Size } from "./model.ts";
import { type Picture, readPictures } from "./pictures.ts";
import { findInTiles } from "./tiles.ts";

export const detectHelp = `usage: obscura-camera detect [options] FILE...

Prints the persons in images, and in each analysed frame of videos: what the service would see in a
single frame, without its motion gate and tracker. Boxes are in pixels of the original, upright as a
viewer shows it, and square. Exit code 0 when every file could be read, 1 when not, 2 for misuse.

  --json            one JSON object a line: file, frame (of a video, from 0), width, height, persons;
                    or file and error
  --threshold N     least score of a person, 0.01 to 0.99 (default: the model's, 0.4)
  --fps N           frames analysed for each second of video (default 5)
  --crops           look closer at overlapping parts too: finds smaller persons, takes five times
                    as long
  --precision P     fp32, int8 or auto (default: the faster one that agrees)
  --input WxH       the network's picture, multiples of 32 (default: by the picture's shape)
  --models DIR      where the installed models lie
`;

type Options = {
  files: string[];
  json: boolean;
  threshold: number | undefined;
  fps: number;
  crops: boolean;
  precision: "fp32" | "int8" | "auto";
  size: Size | undefined;
  folder: string;
};
type Line =
  | { file: string; picture: Picture; persons: Detection[] }
  | { file: string; failure: unknown };

/** models/ beside the compiled program, wherever it is called from. */
export const installedModels = fileURLToPath(new URL("../../../../models", import.meta.url));
const slabBytes = 64 * 2 ** 20;
/** Pictures decoded ahead of the one that is looked at. */
const ahead = 2;

/** `obscura-camera detect`: prints what it finds, and returns the exit code. */
export async function runDetect(argv: readonly string[]): Promise<number> {
  let options: Options | undefined;
  try {
    options = parse(argv);
    if (!options) {
      process.stdout.write(detectHelp);
      return 0;
    }
    return await detectAll(options);
  } catch (error) {
    console.error(explain(error));
    if (!isFailure(error, "misuse")) return 1;
    console.error("obscura-camera detect --help tells more.");
    return 2;
  }
}

async function detectAll(options: Options): Promise<number> {
  const { files, json, fps } = options;
  let isUnread = false; // whoever reads the lines may go away, as head does
  process.stdout.on("error", () => {
    isUnread = true;
  });
  const eyes = await openEyes(options);
  const draw = progressOn(process.stderr);
  const count = { pictures: 0, persons: 0, failed: 0 };
  const write = async (line: Line) => {
    if ("failure" in line) {
      // Of how it was called, not of this file.
      if (isFailure(line.failure, "misuse")) throw line.failure;
      count.failed++;
    } else {
      count.pictures++;
      count.persons += line.persons.length;
    }
    if (!isUnread && !process.stdout.write(`${json ? toJson(line) : toText(line)}\n`))
      await Promise.race([once(process.stdout, "drain"), once(process.stdout, "close")]);
  };
  const queue: Promise<Line>[] = [];
  try {
    for (const [at, file] of files.entries()) {
      try {
        for await (const picture of readPictures(file, { fps })) {
          const where = picture.index === undefined ? "" : `, frame ${picture.index}`;
          draw(`${at + 1} of ${files.length}: ${file}${where}`);
          queue.push(eyes.look(file, picture));
          if (queue.length > ahead) await write(await (queue.shift() as Promise<Line>));
          if (isUnread) return 1;
        }
      } catch (failure) {
        queue.push(Promise.resolve({ file, failure }));
      }
    }
    for (const line of queue.splice(0)) await write(await line);
  } finally {
    draw("");
    await Promise.allSettled(queue);
    await eyes.close();
  }
  if (!json)
    console.log(
      `${count.persons} persons in ${count.pictures} pictures, ${count.failed} files not read`,
    );
  return count.failed > 0 ? 1 : 0;
}

/** The model and the memory that pictures lie in while it looks. */
async function openEyes({ folder, precision, size, crops, threshold, fps }: Options) {
  const model = await openModel({ folder, precision, aspect: 4 / 3 });
  const slab = openSlab({ slabBytes });
  let sequence = 0;
  const find = async (picture: Picture): Promise<Detection[]> => {
    const { bytes, ...about } = picture;
    const labelled = { ...about, capturedUs: 0, sequence: sequence++ };
    let own: Slab | undefined; // a picture larger than the slab gets one of its own
    let frame: Frame;
    try {
      frame = slab.put(bytes, labelled);
    } catch (error) {
      if (!isFailure(error, "full")) throw error;
      own = openSlab({ slabBytes: bytes.length + 2 ** 20 });
      frame = own.put(bytes, labelled);
    }
    try {
      const options = {
        threshold: threshold ?? model.threshold,
        size: size ?? model.sizeFor(picture.width / picture.height),
      };
      return crops ? await findInTiles(model, frame, options) : await model.find(frame, options);
    } finally {
      frame.release();
      await own?.close();
    }
  };
  return {
    async look(file: string, picture: Picture): Promise<Line> {
      let first: unknown;
      try {
        return { file, picture, persons: await find(picture) };
      } catch (failure) {
        const mayBeRead = isFailure(failure, "refused", "corrupt");
        if (picture.format !== "MJPG" || !mayBeRead) return { file, failure };
        first = failure;
      }
      try {
        // A JPEG of a kind that libjpeg does not read (CMYK, arithmetic coding), or with more behind its
        // end or without one, as no camera gives them: ffmpeg may.
        for await (const other of readPictures(file, { fps, direct: false }))
          return { file, picture: other, persons: await find(other) };
        return { file, failure: new Failure("refused", "it holds no picture") };
      } catch (failure) {
        // libjpeg says better what is damaged.
        return { file, failure: isFailure(first, "corrupt") ? first : failure };
      }
    },
    async close() {
      await model.close();
      await slab.close();
    },
  };
}

function parse(argv: readonly string[]): Options | undefined {
  const { values, positionals } = parseStrictly(argv);
  if (values.help) return undefined;
  if (positionals.length === 0) throw new Failure("misuse", "detect needs at least one file");
  const number = (name: "threshold" | "fps", min: number, max: number) => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() === "" || !(value >= min && value <= max))
      throw new Failure("misuse", `--${name} must be a number from ${min} to ${max}, not ${text}`);
    return value;
  };
  const precision = values.precision;
  if (precision !== "fp32" && precision !== "int8" && precision !== "auto")
    throw new Failure("misuse", `--precision must be fp32, int8 or auto, not ${precision}`);
  const sides = values.input === undefined ? undefined : /^(\d+)x(\d+)$/.exec(values.input);
  if (sides === null)
    throw new Failure("misuse", `--input must be like 416x256, not ${values.input}`);
  return {
    files: positionals,
    json: values.json,
    threshold: number("threshold", 0.01, 0.99),
    fps: number("fps", 0.01, 1000) ?? 5,
    crops: values.crops,
    precision,
    size: sides ? { width: Number(sides[1]), height: Number(sides[2]) } : undefined,
    folder: values.models,
  };
}

function parseStrictly(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        threshold: { type: "string" },
        fps: { type: "string" },
        crops: { type: "boolean", default: false },
        precision: { type: "string", default: "auto" },
        input: { type: "string" },
        models: { type: "string", default: installedModels },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (cause) {
    throw new Failure("misuse", cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Boxes to a tenth of a pixel, scores to four places: below that is noise. */
function toJson(line: Line): string {
  const { file } = line;
  if ("failure" in line) return JSON.stringify({ file, error: explain(line.failure) });
  const { index, width, height } = line.picture;
  const persons = line.persons.map(({ box, score }) => ({
    box: {
      x: round(box.x, 10),
      y: round(box.y, 10),
      width: round(box.width, 10),
      height: round(box.height, 10),
    },
    score: round(score, 10_000),
  }));
  const frame = index === undefined ? {} : { frame: index };
  return JSON.stringify({ file, ...frame, width, height, persons });
}

function toText(line: Line): string {
  if ("failure" in line) return `${line.file}: not read: ${explain(line.failure)}`;
  const { file, picture, persons } = line;
  const where = picture.index === undefined ? file : `${file}, frame ${picture.index}`;
  if (persons.length === 0) return `${where}: nobody`;
  const list = persons.map(({ box, score }) => {
    const [x, y, width, height] = [box.x, box.y, box.width, box.height].map(Math.round);
    return `\n  ${Math.round(score * 100)} % at ${x},${y}, ${width} wide, ${height} high`;
  });
  return `${where}: ${persons.length} ${persons.length === 1 ? "person" : "persons"}${list.join("")}`;
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}

/** One line that is drawn over itself, on a terminal only. */
function progressOn(stream: NodeJS.WriteStream): (text: string) => void {
  if (!stream.isTTY) return () => {};
  let drawnMs = 0;
  return (text) => {
    if (text && Date.now() - drawnMs < 200) return;
    drawnMs = Date.now();
    stream.write(`\r\x1b[K${text.slice(0, stream.columns - 1)}`);
  };
}
