import { Failure } from "../../src/base/pure/failure.ts";

// Reads a TensorFlow.js graph model of plain convolutions. TensorFlow's layout switching (a
// Transpose before and after almost every op) and its separate Pad, bias Add and Conv2D nodes are
// artefacts of an earlier conversion: they are folded here into NCHW layers.

export type Layer = { name: string; inputs: string[] } & (
  | {
      kind: "Conv";
      /** Output channels, input channels, height, width. */
      shape: [number, number, number, number];
      weight: Float32Array;
      bias: Float32Array;
      stride: number;
      pad: number;
    }
  | { kind: "LeakyRelu"; alpha: number }
  | { kind: "MaxPool"; size: number; stride: number; pad: number }
  | { kind: "Concat" }
  | { kind: "Resize"; scale: number }
  | { kind: "Add" }
);
export type Network = {
  input: string;
  /** In an order in which each layer comes after its inputs. */
  layers: Layer[];
  /** Every name the file uses for a layer's output (the bias Add, a Transpose), by layer. */
  aliases: Map<string, string[]>;
};

type TfNode = {
  name: string;
  op: string;
  input?: string[];
  attr?: Record<
    string,
    {
      s?: string;
      f?: number;
      b?: boolean;
      list?: { i?: string[] };
      shape?: { dim: Dim[] } | object;
    }
  >;
};
type Dim = { size?: string };
type Weight = { name: string; shape: number[]; dtype: string; quantization?: { dtype: string } };
type TfjsFile = {
  modelTopology: { node: TfNode[] };
  weightsManifest: { weights: Weight[] }[];
};
/** A tensor on its way: which layer made it, how it lies, and what a Pad added around it. */
type Value = { layer: string; nchw: boolean; pad: number; channels: number; size: number };

/**
 * @param outputs names of the nodes to cut at
 * @throws Failure("refused") with stage "graph" when the file uses anything this cannot fold
 */
export function readNetwork(json: Uint8Array, bin: Uint8Array, outputs: string[]): Network {
  const file = JSON.parse(new TextDecoder().decode(json)) as TfjsFile;
  const constants = readConstants(file, bin);
  const nodes = new Map(file.modelTopology.node.map((node) => [node.name, node]));
  const layers: Layer[] = [];
  const byName = new Map<string, Layer>();
  const aliases = new Map<string, string[]>();
  const values = new Map<string, Value>();
  let input = "";

  const constant = (name: string | undefined): Constant => {
    const found = constants.get(name ?? "");
    if (!found) throw refuse(`${name} is not a constant`);
    return found;
  };
  const add = (layer: Layer, value: Omit<Value, "layer">): Value => {
    layers.push(layer);
    byName.set(layer.name, layer);
    aliases.set(layer.name, [layer.name]);
    return { ...value, layer: layer.name };
  };
  const rename = (node: TfNode, value: Value): Value => {
    aliases.get(value.layer)?.push(node.name);
    return value;
  };

  const read = (node: TfNode): Value => {
    const sources = node.input ?? [];
    const from = (at: number): Value => visit(sources[at] ?? "");
    const plain = (at: number): Value => {
      const value = from(at);
      if (value.pad !== 0) throw refuse(`${node.name} takes a padded tensor`);
      return value;
    };
    const { name } = node;
    switch (node.op) {
      case "Placeholder": {
        input = name;
        const shape = node.attr?.shape?.shape;
        const dims = shape && "dim" in shape ? shape.dim.map((d) => Number(d.size)) : [];
        return { layer: name, nchw: true, pad: 0, channels: dims[1] ?? 0, size: dims[2] ?? 0 };
      }
      case "Transpose": {
        const value = from(0);
        const order = constant(sources[1]).data.join();
        if (order !== (value.nchw ? "0,2,3,1" : "0,3,1,2")) throw refuse(`${name} turns oddly`);
        const turned = { ...value, nchw: !value.nchw };
        return value.pad === 0 ? rename(node, turned) : turned;
      }
      case "Pad":
      case "PadV2": {
        const value = plain(0);
        const amounts = constant(sources[1]).data;
        const pad = amounts[4] ?? 0;
        if (!value.nchw || amounts.join() !== [0, 0, 0, 0, pad, pad, pad, pad].join())
          throw refuse(`${name} pads unevenly`);
        return { ...value, pad, size: value.size + 2 * pad };
      }
      case "Conv2D": {
        const value = from(0);
        const kernel = constant(sources[1]);
        const [height = 0, width = 0, inputs = 0, outputs = 0] = kernel.shape;
        const stride = strideOf(node, value);
        if (inputs !== value.channels || height !== width) throw refuse(`${name} does not fit`);
        const weight = new Float32Array(kernel.data.length);
        for (let y = 0, at = 0; y < height; y++)
          for (let x = 0; x < width; x++)
            for (let i = 0; i < inputs; i++)
              for (let o = 0; o < outputs; o++)
                weight[((o * inputs + i) * height + y) * width + x] = kernel.data[at++] ?? 0;
        const size = Math.floor((value.size - height) / stride) + 1;
        return add(
          {
            kind: "Conv",
            name,
            inputs: [value.layer],
            shape: [outputs, inputs, height, width],
            weight,
            bias: new Float32Array(outputs),
            stride,
            pad: value.pad,
          },
          { nchw: false, pad: 0, channels: outputs, size },
        );
      }
      case "Add": {
        const left = plain(0);
        const bias = constants.get(sources[1] ?? "");
        const layer = byName.get(left.layer);
        if (bias && layer?.kind === "Conv") {
          if (bias.data.length !== left.channels) throw refuse(`${name} does not fit`);
          for (let i = 0; i < left.channels; i++) layer.bias[i] = bias.data[i] ?? 0;
          return rename(node, left);
        }
        const right = plain(1);
        if (left.nchw !== right.nchw || left.size !== right.size)
          throw refuse(`${name} does not fit`);
        return add({ kind: "Add", name, inputs: [left.layer, right.layer] }, left);
      }
      case "LeakyRelu": {
        const value = plain(0);
        const alpha = node.attr?.alpha?.f ?? 0.2;
        return add({ kind: "LeakyRelu", name, inputs: [value.layer], alpha }, value);
      }
      case "MaxPool": {
        const value = from(0);
        const size = Number(node.attr?.ksize?.list?.i?.[1]);
        const stride = strideOf(node, value);
        return add(
          { kind: "MaxPool", name, inputs: [value.layer], size, stride, pad: value.pad },
          { ...value, pad: 0, size: Math.floor((value.size - size) / stride) + 1 },
        );
      }
      case "ConcatV2": {
        const parts = sources.slice(0, -1).map((_, at) => plain(at));
        const [first] = parts;
        const axis = constant(sources.at(-1)).data[0];
        if (!first || axis !== 1 || parts.some((p) => !p.nchw || p.size !== first.size))
          throw refuse(`${name} joins oddly`);
        const channels = parts.reduce((sum, part) => sum + part.channels, 0);
        return add(
          { kind: "Concat", name, inputs: parts.map((part) => part.layer) },
          { ...first, channels },
        );
      }
      case "ResizeBilinear": {
        const value = plain(0);
        const [height = 0, width] = constant(sources[1]).data;
        if (value.nchw || height !== width || !node.attr?.half_pixel_centers?.b)
          throw refuse(`${name} scales oddly`);
        const scale = height / value.size;
        return add(
          { kind: "Resize", name, inputs: [value.layer], scale },
          { ...value, size: height },
        );
      }
      default:
        throw refuse(`${name} is a ${node.op}, which is not known here`);
    }
  };
  const visit = (name: string): Value => {
    const done = values.get(name);
    if (done) return done;
    const node = nodes.get(name);
    if (!node) throw refuse(`${name} is missing`);
    const value = read(node);
    values.set(name, value);
    return value;
  };
  for (const output of outputs) visit(output);
  return { input, layers, aliases };
}

/** The stride of a window op that slides evenly over an NHWC tensor without its own padding. */
function strideOf(node: TfNode, value: Value): number {
  const strides = node.attr?.strides?.list?.i ?? [];
  const stride = Number(strides[1]);
  const dilations = node.attr?.dilations?.list?.i ?? ["1"];
  const valid = node.attr?.padding?.s === btoa("VALID");
  if (value.nchw || !valid || strides[2] !== strides[1] || dilations.some((d) => d !== "1"))
    throw refuse(`${node.name} slides oddly`);
  return stride;
}

type Constant = { shape: number[]; data: Float32Array | Int32Array };

function readConstants(file: TfjsFile, bin: Uint8Array): Map<string, Constant> {
  const view = new DataView(bin.buffer, bin.byteOffset, bin.byteLength);
  const constants = new Map<string, Constant>();
  let at = 0;
  for (const { name, shape, dtype, quantization } of file.weightsManifest.flatMap(
    (m) => m.weights,
  )) {
    const count = shape.reduce((product, dimension) => product * dimension, 1);
    const stored = quantization?.dtype ?? dtype;
    const bytes = stored === "float16" ? 2 : 4;
    if (at + count * bytes > bin.length) throw refuse("its weights are cut short");
    const data = dtype === "int32" ? new Int32Array(count) : new Float32Array(count);
    for (let i = 0; i < count; i++, at += bytes) {
      if (stored === "float16") data[i] = fromHalf(view.getUint16(at, true));
      else if (stored === "float32") data[i] = view.getFloat32(at, true);
      else if (stored === "int32") data[i] = view.getInt32(at, true);
      else throw refuse(`${name} is stored as ${stored}`);
    }
    constants.set(name, { shape, data });
  }
  if (at !== bin.length) throw refuse("its weights have bytes left over");
  return constants;
}

/** An IEEE 754 half-precision number. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function refuse(why: string): Failure {
  return new Failure("refused", `the detector's graph cannot be converted: ${why}`, {
    stage: "graph",
  });
}
