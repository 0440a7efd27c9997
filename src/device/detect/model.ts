import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Failure } from "../../base/pure/failure.ts";
import type { Frame, Rect } from "../camera/camera.ts";
import type { Detection } from "./boxes.ts";
import { choosePrecision } from "./choice.ts";
import type { Answer, Found, Question, Setup } from "./inference.ts";
import { type Precision, readEntry, type Size, sizeFor, verifyFile } from "./manifest.ts";

export type { Detection } from "./boxes.ts";
export type { Precision, Size } from "./manifest.ts";

export type FindOptions = {
  /** Least score, 0.01..0.99. */
  threshold: number;
  /** Look only here; boxes are in pixels of the whole frame all the same. */
  crop?: Rect;
  /** The network's picture; multiples of 32. Default: the model's size, or its crop size. */
  size?: Size;
  /** More of this frame will be asked for: see Frame. */
  finest?: number;
};
/**
 * A person detector, ready to look. Frames go in, boxes come out; the work is done on the pixel
 * thread and on a thread of its own, never on the event loop. Looks asked for while one is under
 * way wait their turn, so whoever wants the newest frame asks for one at a time.
 */
export type PersonModel = {
  readonly id: string;
  readonly precision: Precision;
  readonly input: Size;
  /** The network's picture for crops. */
  readonly crop: Size;
  /** The model's own least score. */
  readonly threshold: number;
  /** Boxes of one person overlap more than this (IoU). */
  readonly overlap: number;
  /** The listed size that fits pictures of this shape (width ÷ height) best. */
  sizeFor(aspect: number): Size;
  /** Running average of the inference alone, at the size of `input`; 0 before the first. */
  inferenceMs(): number;
  /**
   * Best first. Does not release the frame.
   *
   * @throws Failure corrupt (the frame cannot be decoded), gone (closed, or its thread died)
   */
  find(frame: Frame, options: FindOptions): Promise<Detection[]>;
  close(): Promise<void>;
};
export type ModelOptions = {
  /** Where manifest.json and the model's files lie. */
  folder: string;
  id?: string;
  /** "auto" times both once and remembers which is faster and sees the same. */
  precision?: Precision | "auto";
  /** Processors for one look. Default: what leaves one for the rest, at most four. */
  threads?: number;
  /** Width ÷ height of the frames to come; chooses the input size unless `size` is given. */
  aspect: number;
  size?: Size;
  /** Where "auto" remembers its choice. Default: choice.json in the folder. */
  choiceFile?: string;
};

const smoothing = 0.2;

type Waiting = {
  resolve(answer: Found): void;
  reject(failure: Failure): void;
};

/**
 * @throws Failure absent or corrupt, with how to mend it, when the model is not installed whole;
 *   refused when the runtime cannot load it; misuse for an impossible size
 */
export async function openModel(options: ModelOptions): Promise<PersonModel> {
  const { folder, aspect } = options;
  const threads = options.threads ?? defaultThreads();
  const entry = await readEntry(folder, options.id);
  const input = options.size ?? sizeFor(entry, aspect);
  checkSize(input, entry.input.multiple);
  const asked = options.precision ?? "auto";
  const precision =
    asked === "auto"
      ? await choosePrecision({
          folder,
          entry,
          size: input,
          threads,
          ...(options.choiceFile ? { file: options.choiceFile } : {}),
        })
      : asked;
  const file = await verifyFile(folder, entry, precision);
  const { heads, bins } = entry.output;
  const { overlap } = entry.thresholds;
  const setup: Setup = { file, threads, input: entry.input.name, heads, bins, overlap };

  const waiting = new Map<number, Waiting>();
  const spare = new Map<number, Float32Array[]>(); // tensors by length, between looks
  let death: Failure | undefined;
  let averageMs = 0;
  let lastId = 0;
  // onnxruntime keeps a device's id and a diary of its runs in the user's cache, and sends them.
  process.env.ORT_DISABLE_TELEMETRY = "1";
  const worker = new Worker(new URL("./inference.js", import.meta.url), {
    workerData: setup,
    resourceLimits: { maxYoungGenerationSizeMb: 4 }, // it makes little, and lives long
    execArgv: [], // what node was told about the main script is not for this one
  });
  const left = new Promise((resolve) => worker.once("exit", resolve));
  const die = (failure: Failure) => {
    death ??= failure;
    for (const one of waiting.values()) one.reject(death);
    waiting.clear();
  };
  const keep = (data: Float32Array) => {
    const list = spare.get(data.length) ?? [];
    list.push(data);
    spare.set(data.length, list);
  };
  await new Promise<void>((resolve, reject) => {
    worker.on("message", (answer: Answer) => {
      if (!("data" in answer)) {
        if (answer.fault === undefined) return resolve();
        return reject(
          new Failure("refused", `the person detector cannot be loaded: ${answer.fault}`, {
            stage: "session",
          }),
        );
      }
      keep(answer.data);
      const one = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ("fault" in answer)
        one?.reject(new Failure("refused", `the person detector failed: ${answer.fault}`));
      else one?.resolve(answer);
    });
    worker.on("error", (cause) => {
      const failure = new Failure("gone", `the detector's thread died: ${cause.message}`, {
        cause,
      });
      die(failure);
      reject(failure);
    });
    worker.on("exit", () => {
      const failure = new Failure("gone", "the person detector is closed");
      die(failure);
      reject(failure);
    });
  }).catch(async (error) => {
    await worker.terminate();
    throw error;
  });

  const ask = (question: Omit<Question, "id">) =>
    new Promise<Found>((resolve, reject) => {
      if (death) return reject(death);
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ ...question, id }, [question.data.buffer as ArrayBuffer]);
    });

  return {
    id: entry.id,
    precision,
    input,
    crop: entry.input.crop,
    threshold: entry.thresholds.score,
    overlap,
    sizeFor: (other) => sizeFor(entry, other),
    inferenceMs: () => averageMs,
    async find(frame, { threshold, crop, size, finest }) {
      if (death) throw death;
      const network = size ?? (crop ? entry.input.crop : input);
      checkSize(network, entry.input.multiple);
      const { width, height } = network;
      const { order, mean, deviation, pad } = entry.input;
      const into = spare.get(3 * width * height)?.pop() ?? new Float32Array(3 * width * height);
      const spec = { width, height, order, mean, deviation, pad, into };
      const tensor = await frame
        .tensor({ ...spec, ...(crop ? { crop } : {}), ...(finest ? { finest } : {}) })
        .catch((error) => {
          keep(into);
          throw error;
        });
      const seen = crop ?? { x: 0, y: 0, width: frame.width, height: frame.height };
      const { data, scale, offsetX, offsetY } = tensor;
      const bounds = {
        left: offsetX,
        top: offsetY,
        right: offsetX + seen.width * scale,
        bottom: offsetY + seen.height * scale,
      };
      const answer = await ask({ data, width, height, threshold, bounds });
      if (width === input.width && height === input.height)
        averageMs += averageMs === 0 ? answer.runMs : (answer.runMs - averageMs) * smoothing;
      const found: Detection[] = [];
      for (let at = 0; at < answer.boxes.length; at += 5) {
        const [left = 0, top = 0, right = 0, bottom = 0, score = 0] = answer.boxes.subarray(
          at,
          at + 5,
        );
        const box = {
          x: (left - offsetX) / scale + seen.x,
          y: (top - offsetY) / scale + seen.y,
          width: (right - left) / scale,
          height: (bottom - top) / scale,
        };
        found.push({ box, score });
      }
      return found;
    },
    async close() {
      die(new Failure("gone", "the person detector is closed"));
      // Not terminated: the runtime aborts the process when its thread goes in the midst of a run.
      worker.postMessage("close");
      await left;
    },
  };
}

function defaultThreads(): number {
  const processors = availableParallelism();
  return processors <= 2 ? processors : Math.min(4, processors - 1);
}

function checkSize({ width, height }: Size, multiple: number): void {
  const isFit = (side: number) =>
    Number.isInteger(side) && side >= multiple && side <= 2048 && side % multiple === 0;
  if (!isFit(width) || !isFit(height))
    throw new Failure("misuse", `${width}x${height} is no input size of the detector`, {
      hint: `Width and height must be multiples of ${multiple}, such as 416x256`,
    });
}
