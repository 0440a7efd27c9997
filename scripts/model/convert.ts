import { Failure } from "../../src/base/pure/failure.ts";
import type { Initializer, OnnxGraph, OnnxNode } from "./onnx.ts";
import type { Layer, Network } from "./tfjs.ts";

/** A detection head: the layer to cut at, and what its output is called in the converted file. */
export type Head = { layer: string; output: string };
/** How a tensor of 32-bit floats is held in eight bits: value = (u8 - zeroPoint) * scale. */
export type Scale = { scale: number; zeroPoint: number };
export type Calibration = {
  /** By any of the names that the source graph uses for the tensor. */
  activations: Readonly<Record<string, Scale>>;
  /** Convolutions whose weights and outputs stay in floating point. */
  keepFloat: readonly string[];
};

/** Keeps the given output channels of the heads' convolutions, in the given order. */
export function sliceHeads(network: Network, heads: readonly Head[], channels: number[]): Network {
  const named = new Set(heads.map((head) => layerOf(network, head.layer).name));
  const layers = network.layers.map((layer): Layer => {
    if (layer.kind !== "Conv" || !named.has(layer.name)) return layer;
    const [, inputs, height, width] = layer.shape;
    const stride = inputs * height * width;
    const weight = new Float32Array(channels.length * stride);
    const bias = new Float32Array(channels.length);
    for (const [to, from] of channels.entries()) {
      weight.set(layer.weight.subarray(from * stride, (from + 1) * stride), to * stride);
      bias[to] = layer.bias[from] ?? 0;
    }
    return { ...layer, shape: [channels.length, inputs, height, width], weight, bias };
  });
  return { ...network, layers };
}

/**
 * The network as an ONNX graph of free height and width ("image" [1, 3, height, width], both
 * multiples of the largest stride). With `calibration` it is written as static QDQ: every tensor
 * passes QuantizeLinear and DequantizeLinear, which the runtime fuses into integer kernels.
 */
export function buildGraph(
  network: Network,
  heads: readonly Head[],
  calibration?: Calibration,
): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const initializers: Initializer[] = [];
  const outputs = new Map(heads.map((head) => [layerOf(network, head.layer).name, head.output]));
  const floats = new Set(calibration?.keepFloat.map((name) => layerOf(network, name).name));
  const tensors = new Map<string, string>(); // what the consumers of a layer read

  const constant = (initializer: Initializer): string => {
    initializers.push(initializer);
    return initializer.name;
  };
  const float = (name: string, shape: readonly number[], data: Float32Array) =>
    constant({ name, type: "float32", shape, data });
  const scaleOf = (layer: string): Scale | undefined => {
    if (!calibration) return undefined;
    const names = [layer, ...(network.aliases.get(layer) ?? [])];
    const known = names.map((name) => calibration.activations[name]).find((scale) => scale);
    if (!known) throw refuse(`no scale is known for ${layer}`);
    return known;
  };
  /** Passes a tensor through eight bits and remembers what its consumers read. */
  const publish = (layer: string, tensor: string) => {
    const scale = scaleOf(layer);
    if (!scale) return tensors.set(layer, tensor);
    const pair = [
      float(`${tensor}.scale`, [], Float32Array.of(scale.scale)),
      constant({
        name: `${tensor}.zero`,
        type: "uint8",
        shape: [],
        data: Uint8Array.of(scale.zeroPoint),
      }),
    ];
    nodes.push({ op: "QuantizeLinear", inputs: [tensor, ...pair], output: `${tensor}.q` });
    nodes.push({
      op: "DequantizeLinear",
      inputs: [`${tensor}.q`, ...pair],
      output: `${tensor}.dq`,
    });
    return tensors.set(layer, `${tensor}.dq`);
  };
  const convolution = (layer: Layer & { kind: "Conv" }, name: string): string[] => {
    const { shape, weight, bias } = layer;
    const scale = floats.has(layer.name) ? undefined : scaleOf(layer.inputs[0] ?? "");
    if (!scale)
      return [float(`${name}.weight`, shape, weight), float(`${name}.bias`, [shape[0]], bias)];
    const quantised = quantiseWeights(weight, bias, shape[0], scale.scale);
    const scales = float(`${name}.weight.scale`, [shape[0]], quantised.scales);
    const zeros = constant({
      name: `${name}.weight.zero`,
      type: "int8",
      shape: [shape[0]],
      data: new Int8Array(shape[0]),
    });
    const biasScales = float(`${name}.bias.scale`, [shape[0]], quantised.biasScales);
    const biasZeros = constant({
      name: `${name}.bias.zero`,
      type: "int32",
      shape: [shape[0]],
      data: new Int32Array(shape[0]),
    });
    constant({ name: `${name}.weight.q`, type: "int8", shape, data: quantised.weight });
    constant({ name: `${name}.bias.q`, type: "int32", shape: [shape[0]], data: quantised.bias });
    for (const [what, ...inputs] of [
      [`${name}.weight`, `${name}.weight.q`, scales, zeros],
      [`${name}.bias`, `${name}.bias.q`, biasScales, biasZeros],
    ] as const)
      nodes.push({ op: "DequantizeLinear", inputs, output: what, attributes: { axis: 0 } });
    return [`${name}.weight`, `${name}.bias`];
  };

  publish(network.input, "image");
  for (const layer of network.layers) {
    const output = outputs.get(layer.name) ?? shorten(layer.name);
    const inputs = layer.inputs.map((name) => tensors.get(name) ?? "");
    switch (layer.kind) {
      case "Conv":
        nodes.push({
          op: "Conv",
          inputs: [...inputs, ...convolution(layer, output)],
          output,
          attributes: window(layer.shape[2], layer.stride, layer.pad),
        });
        break;
      case "MaxPool": {
        const attributes = window(layer.size, layer.stride, layer.pad);
        nodes.push({ op: "MaxPool", inputs, output, attributes });
        break;
      }
      case "LeakyRelu":
        nodes.push({
          op: layer.kind,
          inputs,
          output,
          attributes: { alpha: { float: layer.alpha } },
        });
        break;
      case "Concat":
        nodes.push({ op: layer.kind, inputs, output, attributes: { axis: 1 } });
        break;
      case "Resize": {
        const { scale } = layer;
        const scales = float(`${output}.scales`, [4], Float32Array.of(1, 1, scale, scale));
        nodes.push({
          op: "Resize",
          inputs: [...inputs, "", scales],
          output,
          attributes: { coordinate_transformation_mode: "half_pixel", mode: "linear" },
        });
        break;
      }
      case "Add":
        nodes.push({ op: layer.kind, inputs, output });
        break;
    }
    if (outputs.has(layer.name)) tensors.set(layer.name, output);
    else publish(layer.name, output);
  }
  return {
    name: "detector",
    inputs: [{ name: "image", shape: [1, 3, "height", "width"] }],
    outputs: heads.map(({ layer, output }) => {
      const head = layerOf(network, layer);
      const channels = head.kind === "Conv" ? head.shape[0] : 0;
      return { name: output, shape: [1, channels, `${output}_height`, `${output}_width`] };
    }),
    nodes,
    initializers,
  };
}

/** Symmetric s8 weights with one scale for each output channel, and the bias in the product's scale. */
function quantiseWeights(
  weight: Float32Array,
  bias: Float32Array,
  channels: number,
  input: number,
) {
  const per = weight.length / channels;
  const scales = new Float32Array(channels);
  const biasScales = new Float32Array(channels);
  const weights = new Int8Array(weight.length);
  const biases = new Int32Array(channels);
  for (let c = 0; c < channels; c++) {
    let most = 0;
    for (let i = c * per; i < (c + 1) * per; i++) most = Math.max(most, Math.abs(weight[i] ?? 0));
    scales[c] = most > 0 ? most / 127 : 1;
    const scale = scales[c] ?? 1;
    for (let i = c * per; i < (c + 1) * per; i++)
      weights[i] = Math.max(-127, Math.min(127, Math.round((weight[i] ?? 0) / scale)));
    biasScales[c] = scale * input;
    biases[c] = Math.round((bias[c] ?? 0) / (biasScales[c] ?? 1));
  }
  return { weight: weights, scales, bias: biases, biasScales };
}

function window(size: number, stride: number, pad: number) {
  return { kernel_shape: [size, size], pads: [pad, pad, pad, pad], strides: [stride, stride] };
}

function layerOf(network: Network, name: string): Layer {
  const found = network.layers.find((layer) => network.aliases.get(layer.name)?.includes(name));
  if (!found) throw refuse(`it has no layer ${name}`);
  return found;
}

function shorten(name: string): string {
  return name.replace(/^PartitionedCall\//, "").replace("onnx_tf_prefix_", "");
}

function refuse(why: string): Failure {
  return new Failure("refused", `the detector's graph cannot be converted: ${why}`, {
    stage: "graph",
  });
}
