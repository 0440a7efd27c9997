import { deflateSync } from "node:zlib";

// A picture of dots as PNG: what every phone, printer and viewer shows.

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Black (true) and white dots, each `scale` pixels wide; one bit a pixel. */
export function printPng(dots: readonly (readonly boolean[])[], scale: number): Uint8Array {
  const width = (dots[0]?.length ?? 0) * scale;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(dots.length * scale, 4);
  header[8] = 1; // bits a pixel; the colour type 0 behind it is grey
  const lines = dots.flatMap((row) => {
    const line = Buffer.alloc(1 + Math.ceil(width / 8)); // the first byte: no filter
    for (let x = 0; x < width; x++) {
      if (row[Math.floor(x / scale)]) continue;
      const at = 1 + (x >> 3);
      line[at] = (line[at] ?? 0) | (0x80 >> (x & 7));
    }
    return new Array<Buffer>(scale).fill(line);
  });
  const data = deflateSync(Buffer.concat(lines));
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", data),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), content]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

/** CRC-32 of ISO 3309 as in PNG, annex D; node:zlib has one from Node 20.15 on only. */
function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
