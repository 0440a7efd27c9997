import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { equal, is, ok, throws } from "uvu/assert";
import { type Canary, CanarySearch, searchFiles, windowsOf } from "./canary.ts";
import { suite } from "./suite.ts";
import { temporaryFolder } from "./world.ts";

const canary = (bytes: Uint8Array = randomBytes(32), kind = "key"): Canary => ({ kind, bytes });

function find(canaries: Canary[], bytes: Uint8Array, pieceBytes = bytes.length) {
  const search = new CanarySearch(canaries);
  for (let at = 0; at < bytes.length; at += pieceBytes)
    search.add(bytes.subarray(at, at + pieceBytes));
  return search.findings;
}

suite("canary search", (test) => {
  test("finds each form at every alignment, and says where", () => {
    const bytes = randomBytes(32);
    const noise = randomBytes(100);
    const forms: Record<string, (before: number) => Buffer> = {
      raw: () => bytes,
      base64: (before) =>
        Buffer.from(Buffer.concat([randomBytes(before), bytes, noise]).toString("base64")),
      base64url: (before) =>
        Buffer.from(Buffer.concat([randomBytes(before), bytes, noise]).toString("base64url")),
      hex: () => Buffer.from(bytes.toString("hex")),
      HEX: () => Buffer.from(bytes.toString("hex").toUpperCase()),
    };
    for (const [form, make] of Object.entries(forms))
      for (let before = 0; before < 7; before++) {
        const found = find([canary(bytes)], Buffer.concat([noise, make(before), noise]));
        equal(found.hits, { key: 1 }, `${form} after ${before}`);
        const [first] = found.first;
        // Where it has none of the two digits in which they differ, one is the other.
        const as = Object.keys(found.forms).join();
        ok(as === form.toLowerCase() || (form === "base64url" && as === "base64"), as);
        if (form === "raw") is(first?.at, 100);
      }
  });

  test("counts each occurrence once, however the bytes are cut into pieces", () => {
    const [one, two] = [canary(), canary(randomBytes(64), "luma")];
    const all = Buffer.concat([
      ...[one.bytes, randomBytes(61), two.bytes, two.bytes, randomBytes(7), one.bytes],
    ]);
    for (const pieceBytes of [1, 3, 31, 32, 33, 64, 65, all.length]) {
      const { hits, bytes } = find([one, two], all, pieceBytes);
      equal([hits, bytes], [{ key: 2, luma: 2 }, all.length], `pieces of ${pieceBytes}`);
    }
  });

  test("what stands after much emptiness is found, and where", () => {
    const one = canary();
    for (const empty of [4095, 4096, 4097, 12_288, 70_001]) {
      const all = Buffer.concat([
        randomBytes(9),
        Buffer.alloc(empty),
        one.bytes,
        Buffer.alloc(9000),
      ]);
      for (const pieceBytes of [1000, 4096, all.length]) {
        const { hits, bytes, first } = find([one], all, pieceBytes);
        equal([hits, bytes, first[0]?.at], [{ key: 1 }, all.length, 9 + empty], `${empty}`);
      }
    }
  });

  test("half a canary is none, and neither is noise", () => {
    const one = canary();
    const cut = Buffer.concat([one.bytes.subarray(0, 31), randomBytes(1), one.bytes.subarray(1)]);
    // Neither the byte that the first half lacks, nor the one that the second does.
    cut[31] = [0, 1, 2].find((value) => ![one.bytes[0], one.bytes[31]].includes(value)) ?? 0;
    equal(find([one], cut).hits, {});
    const many = Array.from({ length: 2000 }, () => canary());
    const started = performance.now();
    const { hits, bytes } = find(many, randomBytes(16 << 20), 1 << 20);
    const seconds = (performance.now() - started) / 1000;
    equal(hits, {});
    console.log(
      `\nmeasured: canary search: ${Math.round(bytes / 2 ** 20 / seconds)} MiB/s for 2000 canaries in all their forms`,
    );
  });

  test("windows are varied, in order, and as many as asked", () => {
    const flat = new Uint8Array(4096).fill(128);
    equal(windowsOf("luma", flat), []);
    const picture = Buffer.concat([flat, randomBytes(4096), flat, randomBytes(4096)]);
    const found = windowsOf("luma", picture, { stepBytes: 1024 });
    ok(found.length >= 6 && found.length <= 10, `${found.length}`);
    is(find(found, picture).hits.luma, found.length);
    is(windowsOf("luma", picture, { stepBytes: 64, most: 3 }).length, 3);
  });

  test("what is too plain, and an empty list, are refused", () => {
    throws(() => new CanarySearch([canary(new Uint8Array(32))]), /too plain/);
    throws(() => new CanarySearch([canary(randomBytes(7))]), /too plain/);
    throws(() => new CanarySearch([]), /nothing to look for/);
  });

  test("files are searched each for itself; nothing to look through is no success", async () => {
    await using folder = await temporaryFolder();
    const one = canary();
    const path = (name: string) => join(folder.path, name);
    await writeFile(path("a"), Buffer.concat([randomBytes(5), one.bytes.subarray(0, 16)]));
    await writeFile(path("b"), Buffer.concat([one.bytes.subarray(16), one.bytes]));
    const found = await searchFiles([one], [path("a"), path("b")]);
    equal([found.hits, found.bytes], [{ key: 1 }, 5 + 16 + 16 + 32]);
    await writeFile(path("empty"), "");
    const refused = await searchFiles([one], [path("empty")]).catch((error) => String(error));
    ok(String(refused).includes("nothing to look through"));
  });
});
