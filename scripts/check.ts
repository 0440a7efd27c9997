import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/** What the types cannot say of the house; ARCHITECTURE.md gives the reasons. */

export type Source = { path: string; text: string };

const lineLimits: [RegExp, number][] = [
  [/\.(cc|h)$/, 300],
  [/\.ts$/, 400],
];
const baseLimits = { files: 15, lines: 1700 };
const homeless = new Set(["utils", "helpers", "common", "manager", "types", "index"]);

/** The paths a TypeScript file imports: relative ones resolved against the root, others as named. */
export function importsOf({ path, text }: Source): string[] {
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s)?["']([^"']+)["']|import\(\s*["']([^"']+)["']/g;
  return [...text.matchAll(pattern)].map((match) => {
    const name = match[1] ?? match[2] ?? "";
    return name.startsWith(".") ? join(dirname(path), name) : name;
  });
}

const countLines = (text: string) => text.split("\n").length - 1;
const stageOf = (path: string) => /^src\/(?:device|relay|phone)\/([^/]+)\//.exec(path)?.[1];

function findRing(graph: Map<string, string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, trail: string[]): string[] | undefined => {
    const at = trail.indexOf(file);
    if (at >= 0) return [...trail.slice(at), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const ring = visit(next, [...trail, file]);
      if (ring) return ring;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const ring = visit(file, []);
    if (ring) return ring;
  }
  return undefined;
}

/** Every broken rule as one line; empty when the house is in order. */
export function findFaults(sources: readonly Source[]): string[] {
  const faults: string[] = [];
  const graph = new Map<string, string[]>();
  for (const source of sources) {
    const { path, text } = source;
    const lines = countLines(text);
    const limit = lineLimits.find(([ending]) => ending.test(path))?.[1] ?? Number.POSITIVE_INFINITY;
    if (lines > limit) faults.push(`${path}: ${lines} lines, at most ${limit}`);
    if (!path.endsWith(".ts") || path.startsWith("native/")) continue;
    const name = path.split("/").at(-1)?.replace(/\.ts$/, "") ?? "";
    if (homeless.has(name)) faults.push(`${path}: a file is named after what it holds`);

    const imports = importsOf(source);
    if (!path.startsWith("src/")) continue;
    graph.set(
      path,
      imports.filter((target) => target.startsWith("src/")),
    );
    for (const target of imports) {
      if (/^libsodium/.test(target) && path !== "src/protocol/sealed/sodium.ts") {
        faults.push(`${path}: only protocol/sealed/sodium.ts imports libsodium`);
      }
      if (target === "v4l2-camera" && path !== "src/device/camera/v4l2.ts") {
        faults.push(`${path}: only device/camera/v4l2.ts loads the addon`);
      }
      if (/^(scripts|test)\//.test(target)) faults.push(`${path}: src imports ${target}`);
      const stage = stageOf(target);
      const isFace = target.endsWith(`/${stage}/${stage}.ts`);
      if (stage && stage !== stageOf(path) && !isFace) {
        faults.push(`${path}: reaches past ${stage}/${stage}.ts into ${target}`);
      }
    }
  }
  const ring = findRing(graph);
  if (ring) faults.push(`imports run in a ring: ${ring.join(" → ")}`);
  const base = sources.filter(
    ({ path }) => path.startsWith("src/base/") && !path.endsWith(".d.ts"),
  );
  const baseLines = base.reduce((sum, { text }) => sum + countLines(text), 0);
  if (base.length > baseLimits.files || baseLines > baseLimits.lines) {
    faults.push(
      `src/base: ${base.length} files, ${baseLines} lines, at most ${baseLimits.files} and ${baseLimits.lines}`,
    );
  }
  return faults;
}

async function readSources(root: string): Promise<Source[]> {
  const sources: Source[] = [];
  for (const folder of ["src", "native", "scripts", "test"]) {
    for (const entry of await readdir(join(root, folder), {
      recursive: true,
      withFileTypes: true,
    })) {
      const path = relative(root, join(entry.parentPath, entry.name));
      const isBuilt = /(^|\/)(build|node_modules)/.test(path);
      if (!entry.isFile() || isBuilt || !/\.(ts|cc|h)$/.test(path)) continue;
      sources.push({ path, text: await readFile(join(root, path), "utf8") });
    }
  }
  return sources;
}

if (process.argv[1]?.endsWith("scripts/check.js")) {
  const sources = await readSources(process.cwd());
  const faults = findFaults(sources);
  for (const fault of faults) console.error(fault);
  console.log(`${sources.length} files, ${faults.length} faults`);
  process.exitCode = faults.length > 0 || sources.length === 0 ? 1 : 0;
}
