import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { type Bounds, createDecoder, type Head } from "./boxes.ts";

// A thread of its own, because onnxruntime-node's session.run blocks the thread that calls it for
// the whole inference. Buffers travel to and fro by transfer, so nothing is copied; what leaves is
// boxes only.

export type Setup = {
  file: string;
  threads: number;
  input: string;
  heads: { name: string; stride: number }[];
  bins: number;
  overlap: number;
};
/** `data` is [1, 3, height, width], normalised; it comes back with the answer. */
export type Question = {
  id: number;
  data: Float32Array;
  width: number;
  height: number;
  threshold: number;
  bounds: Bounds;
};
/** `boxes` holds left, top, right, bottom, score of each box in network pixels. */
export type Found = { id: number; data: Float32Array; boxes: Float32Array; runMs: number };
export type Answer =
  | Found
  | { id: number; data: Float32Array; fault: string }
  | { id: -1; fault?: string }; // the session is ready, or cannot be

async function serve(): Promise<void> {
  const port = parentPort;
  if (!port) return;
  const { file, threads, input, heads, bins, overlap } = workerData as Setup;
  const session = await InferenceSession.create(file, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    // Waiting threads must sleep: spinning ones double the time as soon as anything else runs.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
  const decoder = createDecoder({ bins, overlap });
  type Room = { tensors: Record<string, Tensor>; heads: Head[] };
  const rooms = new Map<string, Room>();
  const roomFor = (width: number, height: number): Room => {
    const key = `${width}x${height}`;
    const known = rooms.get(key);
    if (known) return known;
    const made: Room = { tensors: {}, heads: [] };
    for (const { name, stride } of heads) {
      const [w, h] = [width / stride, height / stride];
      const data = new Float32Array((1 + 4 * bins) * w * h);
      made.tensors[name] = new Tensor("float32", data, [1, 1 + 4 * bins, h, w]);
      made.heads.push({ stride, width: w, height: h, data });
    }
    rooms.set(key, made);
    return made;
  };
  const answer = async (question: Question): Promise<Answer> => {
    const { id, data, width, height, threshold, bounds } = question;
    try {
      const room = roomFor(width, height);
      const image = new Tensor("float32", data, [1, 3, height, width]);
      const started = performance.now();
      await session.run({ [input]: image }, room.tensors);
      const runMs = performance.now() - started;
      const count = decoder.decode(room.heads, threshold, bounds);
      return { id, data, boxes: decoder.boxes.slice(0, count * 5), runMs };
    } catch (error) {
      return { id, data, fault: error instanceof Error ? error.message : String(error) };
    }
  };
  let turn = Promise.resolve();
  port.on("message", (question: Question | "close") => {
    turn = turn.then(async () => {
      if (question === "close") {
        await session.release();
        port.close();
        return;
      }
      const reply = await answer(question);
      port.postMessage(reply, [question.data.buffer as ArrayBuffer]);
    });
  });
  port.postMessage({ id: -1 } satisfies Answer);
}

await serve().catch((error) => {
  const fault = error instanceof Error ? error.message : String(error);
  parentPort?.postMessage({ id: -1, fault } satisfies Answer);
});
