import { cp, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

// What runs on a board, and nothing else: no compiler, no test, no phone, no package that only they
// need, and of the detector's runtime only this machine's.

const root = new URL("../../", import.meta.url).pathname;

type Lock = { packages: Record<string, { dev?: boolean; link?: boolean }> };

/** Folders of the packages that programs need when they run, in node_modules. */
export function packagesOf(lock: Lock): string[] {
  return Object.entries(lock.packages)
    .filter(([path, { dev, link }]) => path.startsWith("node_modules/") && !dev && !link)
    .map(([path]) => path)
    .filter((path) => !path.startsWith("node_modules/@types/"));
}

const runtime = "node_modules/onnxruntime-node";
const addon = "node_modules/v4l2-camera";

/** Writes the tree to `target`, anew. */
export async function writeTree(target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  const copy = async (from: string, to = from, keep: (path: string) => boolean = () => true) => {
    await mkdir(join(target, to, ".."), { recursive: true });
    await cp(join(root, from), join(target, to), { recursive: true, filter: (path) => keep(path) });
  };
  const lock: Lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8"));
  const platforms = /\/bin\/napi-v\d+\/(?:(?!linux)\w+|linux\/(\w+))(?:\/|$)/;
  const isOurs = (path: string) => {
    const found = platforms.exec(path);
    return !found || found[1] === process.arch;
  };
  for (const path of packagesOf(lock))
    await copy(path, path, path === runtime ? isOurs : undefined);
  // In a checkout this is a link.
  await copy("native/package.json", join(addon, "package.json"));
  const built = "build/Release/v4l2_camera.node";
  await copy(join("native", built), join(addon, built));
  const isProgram = (path: string) => !path.endsWith(".d.ts") && !/\.map$|\/src\/phone$/.test(path);
  await copy("dist/src", "dist/src", isProgram);
  for (const name of await readdir(join(root, "models"))) {
    if (/^pictures$|\.(onnx|json|md)$/.test(name) && name !== "tiny.onnx")
      await copy(join("models", name));
  }
  for (const name of ["package.json", "LICENSE", "BOARD.md", "RELAY.md", "board"]) await copy(name);
}

if (process.argv[1]?.endsWith("scripts/tree.js")) {
  const [target] = process.argv.slice(2);
  if (target === undefined) throw new Error("usage: node dist/scripts/tree.js TARGET");
  await writeTree(target);
}
