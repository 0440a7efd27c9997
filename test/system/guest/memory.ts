import { open, readFile } from "node:fs/promises";

/** Enough at a time that reading costs little, and little beside what the guest has. */
const pieceBytes = 1 << 20;

/**
 * Appends what a process holds in memory of its own to a file: heap, stacks, slab; not the files
 * and devices that it has mapped. What runs on meanwhile is copied piece by piece.
 */
export async function copyMemory(pid: number, to: string): Promise<void> {
  const maps = await readFile(`/proc/${pid}/maps`, "utf8");
  const memory = await open(`/proc/${pid}/mem`, "r");
  const out = await open(to, "a");
  const piece = Buffer.alloc(pieceBytes);
  try {
    for (const line of maps.split("\n")) {
      const [, from, end, , inode, name = ""] =
        /^([0-9a-f]+)-([0-9a-f]+) (rw..) \S+ \S+ (\d+)\s*(.*)$/.exec(line) ?? [];
      if (from === undefined || end === undefined || (inode !== "0" && name.startsWith("/dev/")))
        continue;
      const last = Number.parseInt(end, 16);
      for (let at = Number.parseInt(from, 16); at < last; ) {
        // What was never touched, or is going at this moment, cannot be read; the rest can.
        const length = Math.min(pieceBytes, last - at);
        const bytesRead = await memory.read(piece, 0, length, at).then(
          (read) => read.bytesRead,
          () => 0,
        );
        if (bytesRead === 0) break;
        await out.write(piece, 0, bytesRead);
        at += bytesRead;
      }
    }
  } finally {
    await memory.close();
    await out.close();
  }
}
