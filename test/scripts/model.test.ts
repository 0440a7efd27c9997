import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, get } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { InferenceSession, Tensor } from "onnxruntime-node";
import * as assert from "uvu/assert";
import { buildGraph, type Calibration, sliceHeads } from "../../scripts/model/convert.ts";
import { encodeModel } from "../../scripts/model/onnx.ts";
import { readArchive, type Source } from "../../scripts/model/source.ts";
import { takeFiles } from "../../scripts/model/tar.ts";
import { readNetwork } from "../../scripts/model/tfjs.ts";
import { buildTiny } from "../../scripts/model/tiny.ts";
import { findMissing, type Installable } from "../../scripts/model.ts";
import { type Failure, isFailure } from "../../src/base/pure/failure.ts";
import { modelsFolder } from "../fakes/detector.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

process.env.ORT_DISABLE_TELEMETRY = "1"; // as device/detect/model.ts does
const run = promisify(execFile);

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isFailure(error), `a Failure, not ${error}`);
  return error as Failure;
}

const digest = (algorithm: string, bytes: Uint8Array) => createHash(algorithm).update(bytes);

/** A package of three files made by the system's tar, and what npm would say of it. */
async function packed(folder: string): Promise<{ archive: Buffer; source: Source }> {
  const models = join(folder, "package/models");
  await mkdir(models, { recursive: true });
  const wanted = { "a.json": '{"a": 1}', "a.bin": "x".repeat(1537) };
  for (const [name, text] of Object.entries(wanted)) await writeFile(join(models, name), text);
  await writeFile(join(folder, "package/other"), Buffer.alloc(100_000, 7));
  const { stdout } = await run("tar", ["-c", "--format=ustar", "-C", folder, "package"], {
    encoding: "buffer",
    maxBuffer: 2 ** 24,
  });
  const archive = gzipSync(stdout);
  const integrity = `sha512-${digest("sha512", archive).digest("base64")}`;
  const files = Object.entries(wanted).map(([name, text]) => ({
    path: `package/models/${name}`,
    sha256: digest("sha256", Buffer.from(text)).digest("hex"),
    bytes: text.length,
  }));
  return { archive, source: { package: "a", version: "1.0.0", integrity, files } };
}

const read = (archive: Uint8Array, source: Source) =>
  readArchive(Readable.from([archive]), source, undefined, () => {});

/** A graph in TensorFlow.js's form: pad, convolve (HWIO), add, leak, and a head to cut at. */
function tfjs() {
  const list = (...i: number[]) => ({ list: { i: i.map(String) } });
  const slide = {
    strides: list(1, 2, 2, 1),
    padding: { s: btoa("VALID") },
    dilations: list(1, 1, 1, 1),
  };
  const still = { ...slide, strides: list(1, 1, 1, 1) };
  const dim = [1, 3, 32, 32].map((size) => ({ size: String(size) }));
  const node = (op: string, name: string, input: string[] = [], attr: object = {}) => ({
    ...{ op, name, input, attr },
  });
  const graph = [
    node("Placeholder", "x", [], { shape: { shape: { dim } } }),
    node("Pad", "padded", ["x", "pads"]),
    node("Transpose", "t1", ["padded", "toNhwc"]),
    node("Conv2D", "c1", ["t1", "w1"], slide),
    node("Add", "a1", ["c1", "b1"]),
    node("Transpose", "t2", ["a1", "toNchw"]),
    node("LeakyRelu", "leaky", ["t2"], { alpha: { f: 0.1 } }),
    node("Transpose", "t3", ["leaky", "toNhwc"]),
    node("Conv2D", "c2", ["t3", "w2"], still),
    node("Add", "head", ["c2", "b2"]),
  ];
  const weights: { name: string; shape: number[]; dtype: string; values: number[] }[] = [
    { name: "pads", shape: [4, 2], dtype: "int32", values: [0, 0, 0, 0, 1, 1, 1, 1] },
    { name: "toNhwc", shape: [4], dtype: "int32", values: [0, 2, 3, 1] },
    { name: "toNchw", shape: [4], dtype: "int32", values: [0, 3, 1, 2] },
    {
      ...{ name: "w1", shape: [3, 3, 3, 2], dtype: "float32" },
      values: Array.from({ length: 54 }, (_, i) => Math.sin(i) / 4),
    },
    { name: "b1", shape: [2], dtype: "float32", values: [0.5, -0.25] },
    {
      ...{ name: "w2", shape: [1, 1, 2, 3], dtype: "float32" },
      values: [1, 2, 3, 4, 5, 6],
    },
    { name: "b2", shape: [3], dtype: "float32", values: [0, 10, 20] },
  ];
  const bin = Buffer.concat(
    weights.map(({ dtype, values }) =>
      Buffer.from((dtype === "int32" ? Int32Array : Float32Array).from(values).buffer),
    ),
  );
  const manifest = weights.map(({ name, shape, dtype }) => ({ name, shape, dtype }));
  const file = { modelTopology: { node: graph }, weightsManifest: [{ weights: manifest }] };
  return { file, bin, weights };
}

function network(change: (file: ReturnType<typeof tfjs>["file"]) => void = () => {}) {
  const { file, bin } = tfjs();
  change(file);
  return readNetwork(Buffer.from(JSON.stringify(file)), bin, ["head"]);
}

/** The same computed slowly and plainly, at one place of the output. */
function expected(x: Float32Array, side: number, row: number, column: number): number[] {
  const { weights } = tfjs();
  const values = (name: string) => weights.find((one) => one.name === name)?.values ?? [];
  const [w1, b1, w2, b2] = [values("w1"), values("b1"), values("w2"), values("b2")];
  const middle = [0, 1].map((o) => {
    let sum = b1[o] ?? 0;
    for (let ky = 0; ky < 3; ky++)
      for (let kx = 0; kx < 3; kx++)
        for (let i = 0; i < 3; i++) {
          const [y, xx] = [row * 2 + ky - 1, column * 2 + kx - 1];
          if (y < 0 || xx < 0 || y >= side || xx >= side) continue;
          sum += (x[(i * side + y) * side + xx] ?? 0) * (w1[((ky * 3 + kx) * 3 + i) * 2 + o] ?? 0);
        }
    return sum >= 0 ? sum : sum * 0.1;
  });
  return [0, 1, 2].map(
    (o) => (middle[0] ?? 0) * (w2[o] ?? 0) + (middle[1] ?? 0) * (w2[3 + o] ?? 0) + (b2[o] ?? 0),
  );
}

const heads = [{ layer: "head", output: "stride2" }];
const pattern = (side: number) =>
  Float32Array.from({ length: 3 * side * side }, (_, i) => Math.cos(i * 0.37));

async function infer(bytes: Uint8Array, side: number) {
  const session = await InferenceSession.create(bytes);
  const image = new Tensor("float32", pattern(side), [1, 3, side, side]);
  const { stride2 } = await session.run({ image });
  await session.release();
  return stride2 as Tensor;
}

suite("model installer", (test) => {
  test("a package is read whole, in pieces and byte by byte", async () => {
    await using folder = await temporaryFolder();
    const { archive, source } = await packed(folder.path);
    for (const size of [archive.length, 1000, 1]) {
      const pieces = Array.from({ length: Math.ceil(archive.length / size) }, (_, i) =>
        archive.subarray(i * size, (i + 1) * size),
      );
      const files = await readArchive(Readable.from(pieces), source, undefined, () => {});
      assert.equal([...files.keys()].sort(), ["package/models/a.bin", "package/models/a.json"]);
      assert.is(Buffer.from(files.get("package/models/a.json") ?? []).toString(), '{"a": 1}');
      assert.is(files.get("package/models/a.bin")?.length, 1537);
    }
  });

  test("a package with one byte changed, cut short or lengthened is refused", async () => {
    await using folder = await temporaryFolder();
    const { archive, source } = await packed(folder.path);
    assert.is((await read(archive, source)).size, 2);
    for (const at of [5, 200, archive.length - 5]) {
      const changed = Buffer.from(archive);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.ok(await failureOf(read(changed, source)), `byte ${at}`);
    }
    const cut = await failureOf(read(archive.subarray(0, archive.length - 20), source));
    assert.is(cut.kind, "offline", "run it again may mend that");
    const longer = Buffer.concat([archive, Buffer.alloc(10)]);
    assert.is((await failureOf(read(longer, source))).kind, "corrupt");
  });

  test("a whole package with another file in it is refused by that file's hash", async () => {
    await using folder = await temporaryFolder();
    const { archive, source } = await packed(folder.path);
    const [first, ...rest] = source.files;
    assert.ok(first);
    const files = [{ ...first, sha256: "0".repeat(64) }, ...rest];
    const failure = await failureOf(read(archive, { ...source, files }));
    assert.is(failure.stage, "sha256");
    const absent = [{ ...first, path: "package/none" }];
    assert.is((await failureOf(read(archive, { ...source, files: absent }))).stage, "sha256");
    const other = `sha512-${digest("sha512", Buffer.from("x")).digest("base64")}`;
    assert.is((await failureOf(read(archive, { ...source, integrity: other }))).stage, "integrity");
  });

  test("what is no tar archive, or claims too much, is refused in bounded memory", async () => {
    const once = async (bytes: Uint8Array) => takeFiles(Readable.from([bytes]), new Set(["big"]));
    assert.is((await failureOf(once(new Uint8Array(512).fill(1)))).stage, "tar");
    const header = Buffer.alloc(512);
    header.write("big");
    header.write("77777777777", 124); // 8 GiB
    header.write("0", 156);
    header.fill(" ", 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(sum.toString(8).padStart(6, "0"), 148);
    assert.match((await failureOf(once(header))).message, /claims/);
    assert.is((await once(new Uint8Array(1024))).size, 0);
  });

  test("the converted network computes what the graph says, at any size", async () => {
    const bytes = encodeModel(buildGraph(network(), heads));
    for (const side of [32, 64]) {
      const { dims, data } = await infer(bytes, side);
      assert.equal([...dims], [1, 3, side / 2, side / 2]);
      const plane = (side / 2) ** 2;
      for (const [row, column] of [
        [0, 0],
        [3, 7],
        [15, 15],
      ] as const)
        for (const [o, value] of expected(pattern(side), side, row, column).entries()) {
          const got = Number(data[o * plane + (row * side) / 2 + column]);
          assert.ok(Math.abs(got - value) < 1e-4, `${got}, not ${value}`);
        }
    }
  });

  test("sliced heads give the kept channels; int8 gives nearly the same", async () => {
    const whole = await infer(encodeModel(buildGraph(network(), heads)), 32);
    const sliced = sliceHeads(network(), heads, [2, 0]);
    const { dims, data } = await infer(encodeModel(buildGraph(sliced, heads)), 32);
    assert.is(dims[1], 2);
    assert.equal([...data.slice(256, 512)], [...whole.data.slice(0, 256)]);
    assert.equal([...data.slice(0, 256)], [...whole.data.slice(512, 768)]);
    const scale = { scale: 12 / 255, zeroPoint: 128 };
    const calibration: Calibration = {
      activations: { x: scale, a1: scale, leaky: scale },
      keepFloat: ["head"],
    };
    const small = await infer(encodeModel(buildGraph(network(), heads, calibration)), 32);
    const [a, b] = [small.data as Float32Array, whole.data as Float32Array];
    const most = a.reduce((worst, value, at) => Math.max(worst, Math.abs(value - (b[at] ?? 0))), 0);
    assert.ok(most > 1e-6, "it was quantised");
    assert.ok(most < 0.4, `largest difference ${most}`);
    const gap = { ...calibration, activations: { x: scale, a1: scale } };
    assert.throws(() => buildGraph(network(), heads, gap), /no scale/);
  });

  test("what the converter does not know is refused by name", () => {
    const nodes = (file: ReturnType<typeof tfjs>["file"]) => file.modelTopology.node;
    const change = (name: string, what: object) => () =>
      network((file) => Object.assign(nodes(file).find((one) => one.name === name) ?? {}, what));
    assert.throws(change("leaky", { op: "Swish" }), /Swish/);
    assert.throws(change("t1", { input: ["padded", "toNchw"] }), /t1/);
    assert.throws(change("c1", { attr: { padding: { s: btoa("SAME") } } }), /c1/);
    assert.throws(change("a1", { input: ["c1", "b2"] }), /a1/);
    assert.throws(change("t1", { input: ["nowhere", "toNhwc"] }), /nowhere/);
    const { file, bin } = tfjs();
    const json = Buffer.from(JSON.stringify(file));
    assert.throws(() => readNetwork(json, bin.subarray(0, 100), ["head"]), /cut short/);
    assert.throws(() => readNetwork(json, Buffer.concat([bin, bin]), ["head"]), /left over/);
  });

  test("tiny.onnx is what its script writes", async () => {
    const bytes = await readFile(join(modelsFolder, "tiny.onnx"));
    assert.equal(Buffer.from(encodeModel(buildTiny())), bytes);
  });

  test("missing and damaged files are found", async () => {
    await using folder = await temporaryFolder();
    const bytes = Buffer.from("weights");
    await writeFile(join(folder.path, "a"), bytes);
    await writeFile(join(folder.path, "b"), "weightz");
    const sha256 = digest("sha256", bytes).digest("hex");
    const files = Object.fromEntries(
      [
        ["fp32", "a"],
        ["int8", "b"],
      ].map(([p, file]) => [p, { file, sha256, bytes: 7 }]),
    );
    const model = { id: "m", files } as unknown as Installable;
    assert.equal(await findMissing(folder.path, model), ["b"]);
  });

  test("the package comes from npm's registry and by npm's proxy, whole or not at all", async () => {
    await using folder = await temporaryFolder();
    const { archive, source } = await packed(folder.path);
    const seen: string[] = [];
    const registry = createServer((request, response) => {
      const dist = { tarball: `http://registry.test/a.tgz`, integrity: source.integrity };
      const versions = { "1.0.0": { name: "a", version: "1.0.0", dist } };
      const about = { name: "a", "dist-tags": { latest: "1.0.0" }, versions };
      seen.push(request.url ?? "");
      if (request.url?.endsWith("a.tgz")) response.end(archive);
      else response.setHeader("content-type", "application/json").end(JSON.stringify(about));
    });
    await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
    const { port } = registry.address() as { port: number };
    // registry.test is nowhere: whatever does not go through the proxy fails.
    const proxy = createServer((request, response) => {
      const path = new URL(request.url ?? "", "http://registry.test").pathname;
      get(`http://127.0.0.1:${port}${path}`, (inner) => {
        response.writeHead(inner.statusCode ?? 500, inner.headers);
        inner.pipe(response);
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const address = proxy.address() as { port: number };
    const module = new URL("../../scripts/model/source.js", import.meta.url).href;
    const program = `import { fetchFiles } from ${JSON.stringify(module)};
      const files = await fetchFiles(JSON.parse(process.argv[1]), () => {});
      console.log([...files.keys()].join());`;
    const { stdout } = await run(
      process.execPath,
      ["--input-type=module", "-e", program, "--", JSON.stringify(source)],
      {
        env: {
          ...process.env,
          npm_config_registry: "http://registry.test/",
          npm_config_proxy: `http://127.0.0.1:${address.port}`,
          npm_config_noproxy: "",
          npm_config_cache: join(folder.path, "cache"),
        },
      },
    );
    proxy.close();
    registry.close();
    assert.is(stdout.trim().split(",").length, 2);
    assert.is(seen.filter((url) => url.endsWith("a.tgz")).length, 1);
  });

  test("without a registry it says so, with a way out, and leaves nothing", async () => {
    await using folder = await temporaryFolder();
    for (const name of ["manifest.json", "nanodet-int8.json"])
      await cp(join(modelsFolder, name), join(folder.path, name));
    const server = createServer((_, response) => response.writeHead(503).end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const script = new URL("../../scripts/model.js", import.meta.url).pathname;
    const env = {
      ...process.env,
      npm_config_registry: `http://127.0.0.1:${port}/`,
      npm_config_cache: join(folder.path, "cache"),
      npm_config_fetch_retries: "0",
    };
    const error = await run(process.execPath, [script, "--models", folder.path], { env }).then(
      () => undefined,
      (reason: { code: number; stderr: string }) => reason,
    );
    server.close();
    assert.is(error?.code, 1);
    assert.match(error?.stderr ?? "", /could not be installed.*connect/is);
    assert.equal((await findAll(folder.path)).sort(), ["manifest.json", "nanodet-int8.json"]);
  });
});

async function findAll(folder: string): Promise<string[]> {
  const { stdout } = await run("find", [folder, "-maxdepth", "1", "-type", "f", "-printf", "%f\n"]);
  return stdout.trim().split("\n");
}
