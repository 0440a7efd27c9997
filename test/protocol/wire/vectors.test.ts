import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { printVector } from "../../../scripts/vectors.ts";
import { wireVectors } from "../../../scripts/vectors-wire.ts";
import { suite } from "../../lib/suite.ts";
import { parseVector, readVectors, vectorsFolder } from "../../lib/vectors.ts";

suite("wire vectors", (test) => {
  for (const [object, made] of Object.entries(wireVectors())) {
    test(`${object}: the files are what the script makes today`, async () => {
      const kept = await readVectors(`wire/${object}`);
      const names = (list: readonly { name: string }[]) => list.map(({ name }) => name).sort();
      assert.equal(names(kept), names(made));
      for (const vector of made) {
        const file = kept.find(({ name }) => name === vector.name);
        const { header, bytes } = parseVector(vector.name, printVector(vector));
        assert.equal(file?.header, header, vector.name);
        assert.is(Buffer.compare(file?.bytes ?? Buffer.alloc(0), bytes), 0, vector.name);
      }
    });
  }

  test("no folder of vectors is left without a test", async () => {
    const folders = (await readdir(join(vectorsFolder, "wire"))).sort();
    assert.equal(folders, Object.keys(wireVectors()).sort());
  });
});
