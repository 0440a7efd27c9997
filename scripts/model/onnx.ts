import { concat, fromText } from "../../src/base/pure/bytes.ts";

// The part of ONNX's protobuf schema (onnx/onnx.proto, IR version 8) that a detector needs, written
// field by field in one order, so that the same graph always gives the same bytes.

const irVersion = 8;
const opsetVersion = 13;

export type ElementType = "float32" | "uint8" | "int8" | "int32";
const elementCode = { float32: 1, uint8: 2, int8: 3, int32: 6 } as const;

/** One named constant. `data` holds the elements in row-major order, little-endian as in memory. */
export type Initializer = {
  name: string;
  type: ElementType;
  shape: readonly number[];
  data: Float32Array | Uint8Array | Int8Array | Int32Array;
};
export type Attribute = number | string | readonly number[] | { float: number };
export type OnnxNode = {
  op: string;
  inputs: readonly string[]; // "" stands for an optional input left out
  output: string;
  attributes?: Readonly<Record<string, Attribute>>;
};
/** A dimension by number, or by name when it is chosen at run time. */
export type Dimension = number | string;
export type Tensor = { name: string; shape: readonly Dimension[] };
export type OnnxGraph = {
  name: string;
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  nodes: readonly OnnxNode[];
  initializers: readonly Initializer[];
};

/** The graph as the bytes of an .onnx file. */
export function encodeModel(graph: OnnxGraph): Uint8Array {
  return concat([
    integer(1, irVersion),
    text(2, "obscura"),
    bytes(7, encodeGraph(graph)),
    bytes(8, concat([text(1, ""), integer(2, opsetVersion)])),
  ]);
}

function encodeGraph(graph: OnnxGraph): Uint8Array {
  return concat([
    ...graph.nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, graph.name),
    ...graph.initializers.map((constant) => bytes(5, encodeInitializer(constant))),
    ...graph.inputs.map((tensor) => bytes(11, encodeTensor(tensor))),
    ...graph.outputs.map((tensor) => bytes(12, encodeTensor(tensor))),
  ]);
}

function encodeNode(node: OnnxNode): Uint8Array {
  return concat([
    ...node.inputs.map((input) => text(1, input)),
    text(2, node.output),
    text(3, node.output),
    text(4, node.op),
    ...Object.entries(node.attributes ?? {}).map(([name, value]) =>
      bytes(5, encodeAttribute(name, value)),
    ),
  ]);
}

function encodeAttribute(name: string, value: Attribute): Uint8Array {
  const kind = (code: number) => integer(20, code);
  if (typeof value === "number") return concat([text(1, name), integer(3, value), kind(2)]);
  if (typeof value === "string") return concat([text(1, name), text(4, value), kind(3)]);
  if ("float" in value) return concat([text(1, name), float(2, value.float), kind(1)]);
  return concat([text(1, name), ...value.map((one) => integer(8, one)), kind(7)]);
}

function encodeInitializer({ name, type, shape, data }: Initializer): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return concat([
    ...shape.map((dimension) => integer(1, dimension)),
    integer(2, elementCode[type]),
    text(8, name),
    bytes(9, raw),
  ]);
}

function encodeTensor({ name, shape }: Tensor): Uint8Array {
  const dimensions = shape.map((dimension) =>
    bytes(1, typeof dimension === "number" ? integer(1, dimension) : text(2, dimension)),
  );
  const type = concat([integer(1, elementCode.float32), bytes(2, concat(dimensions))]);
  return concat([text(1, name), bytes(2, bytes(1, type))]);
}

function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return Uint8Array.from(out);
}

function integer(field: number, value: number): Uint8Array {
  return concat([varint(field * 8), varint(value)]);
}

function float(field: number, value: number): Uint8Array {
  return concat([varint(field * 8 + 5), new Uint8Array(Float32Array.of(value).buffer)]);
}

function bytes(field: number, value: Uint8Array): Uint8Array {
  return concat([varint(field * 8 + 2), varint(value.length), value]);
}

function text(field: number, value: string): Uint8Array {
  return bytes(field, fromText(value));
}
