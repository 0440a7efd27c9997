import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { ClipSealer } from "../../../src/protocol/sealed/clip.ts";
import { isSealed } from "../../../src/protocol/sealed/sealed.ts";
import { kemPair, ready } from "../../../src/protocol/sealed/sodium.ts";
import { opening, sealingSuite, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

suite("sealed", (test) => {
  test("what makes the brand is in no declaration that another project sees", async () => {
    const declared = await readFile(
      new URL("../../../src/protocol/sealed/sealed.d.ts", import.meta.url),
      "utf8",
    );
    assert.match(declared, /isSealed/);
    assert.not.match(declared, /branded|export declare class/);
    assert.match(declared, /#private/);
  });

  test("a copy of a sealed object with other bytes is none", () => {
    const camera = signer();
    const part = new ClipSealer({
      ...{ camera: camera.key, incarnation: 0, membership: 1, opening },
      recipients: [{ publicKey: kemPair().publicKey, shared: false }],
      ...{ sign: camera.sign, suite: sealingSuite },
    }).flush();
    assert.ok(part && isSealed(part));
    assert.not.ok(isSealed({ ...part, bytes: new Uint8Array(3) }));
    assert.not.ok(isSealed(null));
    // @ts-expect-error the types say the same
    const forged: typeof part = { ...part, bytes: new Uint8Array(3) };
    assert.not.ok(isSealed(forged));
  });
});
