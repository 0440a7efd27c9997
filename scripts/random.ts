import { createHash } from "node:crypto";
import sodium from "libsodium-wrappers";

/**
 * Everything libsodium draws until it is disposed of comes from `seed`: sealing with chosen
 * randomness, which production code has no way to ask for.
 */
export function fixedRandom(seed: string): Disposable {
  const library = (sodium as unknown as { libsodium: { getRandomValue(): number } }).libsodium;
  const before = library.getRandomValue;
  let block = Buffer.alloc(0);
  let count = 0;
  library.getRandomValue = () => {
    if (block.length < 4) {
      block = createHash("sha512").update(`${seed} ${count++}`).digest();
    }
    const value = block.readUInt32LE(0);
    block = block.subarray(4);
    return value;
  };
  return {
    [Symbol.dispose]: () => {
      library.getRandomValue = before;
    },
  };
}
