import { readFile } from "node:fs/promises";
import { openSlab } from "../../src/device/camera/camera.ts";
import { openModel, type Precision } from "../../src/device/detect/model.ts";

// The child process of bench/detect.ts: what a process with one detector holds after a while, in
// MB, without the pictures it looks at.

const size = { width: 1280, height: 720 };
const looks = 30;

async function residentMb(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1000;
}

const [folder = "models", precision = "fp32"] = process.argv.slice(2);
const nodeMb = await residentMb();
const model = await openModel({ folder, precision: precision as Precision, aspect: 16 / 9 });
const bytes = new Uint8Array(size.width * size.height * 3).fill(90);
const slabBytes = 4 * 2 ** 20;
const slab = openSlab({ slabBytes });
const label = { format: "RGB3", ...size, capturedUs: 0, sequence: 0 } as const;
const frame = slab.put(bytes, label);
for (let look = 0; look < looks; look++) {
  await model.find(frame, { threshold: 0.4 });
  for (const x of [0, 300, 600])
    await model.find(frame, { threshold: 0.4, crop: { x, y: 100, width: 400, height: 400 } });
}
const pictureMb = (bytes.length + slabBytes) / 1e6;
console.log(JSON.stringify({ nodeMb, residentMb: (await residentMb()) - pictureMb }));
await model.close();
await slab.close();
