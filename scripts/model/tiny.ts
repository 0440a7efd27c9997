import { writeFile } from "node:fs/promises";
import { encodeModel, type Initializer, type OnnxGraph, type OnnxNode } from "./onnx.ts";

// A network of two kilobytes with the detector's face, for tests without its weights: a cell of
// 8 x 8 pixels that is pure red is a person of 32 x 32 around it. Red, so that a test sees swapped
// channels; its input is BGR from 0 to 1.

const bins = 11;
const channels = 1 + 4 * bins;
const strides = [8, 16, 32];
const side = 2; // in strides
const sharp = 40;

/** The tiny network; `node dist/scripts/model/tiny.js` writes models/tiny.onnx. */
export function buildTiny(): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const initializers: Initializer[] = [];
  for (const stride of strides) {
    const name = `stride${stride}`;
    const weight = new Float32Array(channels * 3);
    const bias = new Float32Array(channels);
    bias[0] = -10;
    if (stride === strides[0]) weight.set([-20, -20, 20]);
    for (let edge = 0; edge < 4; edge++) bias[1 + edge * bins + side] = sharp;
    initializers.push(
      { name: `${name}.weight`, type: "float32", shape: [channels, 3, 1, 1], data: weight },
      { name: `${name}.bias`, type: "float32", shape: [channels], data: bias },
    );
    const window = { kernel_shape: [stride, stride], strides: [stride, stride] };
    nodes.push(
      { op: "AveragePool", inputs: ["image"], output: `${name}.mean`, attributes: window },
      {
        op: "Conv",
        inputs: [`${name}.mean`, `${name}.weight`, `${name}.bias`],
        output: name,
        attributes: { kernel_shape: [1, 1] },
      },
    );
  }
  return {
    name: "tiny",
    inputs: [{ name: "image", shape: [1, 3, "height", "width"] }],
    outputs: strides.map((stride) => ({
      name: `stride${stride}`,
      shape: [1, channels, `height${stride}`, `width${stride}`],
    })),
    nodes,
    initializers,
  };
}

if (process.argv[1]?.endsWith("model/tiny.js"))
  await writeFile("models/tiny.onnx", encodeModel(buildTiny()));
