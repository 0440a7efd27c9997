import { Failure } from "../../src/base/pure/failure.ts";

const blockBytes = 512;
/** More than any file worth taking out; a header that claims more is not believed. */
const longestBytes = 64 * 2 ** 20;

const decoder = new TextDecoder();

/** Text of a header field up to its first NUL. */
function field(block: Uint8Array, at: number, length: number): string {
  const bytes = block.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The header's own checksum: the sum of its bytes with the checksum field read as spaces. */
function sumOf(block: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < blockBytes; i++) sum += i >= 148 && i < 156 ? 32 : (block[i] ?? 0);
  return sum;
}

/**
 * Takes a few files out of a tar archive (ustar, as npm packs it) that streams by; the rest is
 * skipped as it comes, so memory holds only what was asked for.
 *
 * @param wanted full paths inside the archive ("package/models/a.json")
 * @returns the bytes by path; a path that is not in the archive is missing in the map
 * @throws Failure("corrupt") with stage "tar" when the stream is no tar archive or is cut short
 */
export async function takeFiles(
  archive: AsyncIterable<Uint8Array>,
  wanted: ReadonlySet<string>,
): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  const header = new Uint8Array(blockBytes);
  let headerFill = 0;
  let skip = 0; // bytes of the present entry still to be passed over, padding included
  let target: Uint8Array | undefined; // where the present entry's bytes go, if it is wanted
  let targetFill = 0;

  const openEntry = () => {
    if (header.every((byte) => byte === 0)) return; // the end is marked by empty blocks
    const claimed = Number.parseInt(field(header, 148, 8).trim(), 8);
    if (claimed !== sumOf(header)) throw cut("a header does not add up");
    const size = Number.parseInt(field(header, 124, 12).trim() || "0", 8);
    if (!Number.isSafeInteger(size) || size < 0) throw cut("a size is no number");
    const prefix = field(header, 345, 155);
    const path = (prefix ? `${prefix}/` : "") + field(header, 0, 100);
    const kind = field(header, 156, 1);
    skip = Math.ceil(size / blockBytes) * blockBytes;
    if (!wanted.has(path) || (kind !== "0" && kind !== "")) return;
    if (size > longestBytes) throw cut(`${path} claims ${size} bytes`);
    target = new Uint8Array(size);
    targetFill = 0;
    found.set(path, target);
  };

  for await (const chunk of archive) {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const count = Math.min(skip, chunk.length - at);
        if (target && targetFill < target.length) {
          const part = chunk.subarray(at, at + Math.min(count, target.length - targetFill));
          target.set(part, targetFill);
          targetFill += part.length;
        }
        skip -= count;
        at += count;
        if (skip === 0) target = undefined;
        continue;
      }
      const count = Math.min(blockBytes - headerFill, chunk.length - at);
      header.set(chunk.subarray(at, at + count), headerFill);
      headerFill += count;
      at += count;
      if (headerFill === blockBytes) {
        headerFill = 0;
        openEntry();
      }
    }
  }
  if (skip > 0 || headerFill > 0) throw cut("it is cut short");
  return found;
}

function cut(why: string): Failure {
  return new Failure("corrupt", `the package is no readable tar archive: ${why}`, { stage: "tar" });
}
