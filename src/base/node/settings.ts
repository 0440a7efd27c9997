import * as yaml from "yaml";
import { toText } from "../pure/bytes.ts";
import { explain, Failure, isFailure } from "../pure/failure.ts";
import { readNamed } from "./program.ts";

/** One setting: how its value is read, what it should be (for people), and what it is for. */
export type Setting<T> = {
  /** The value, or undefined when what is written is not `expected`. */
  readonly read: (written: unknown) => T | undefined;
  readonly expected: string;
  readonly default: T;
  readonly about: string;
  /** In place of a wrong value that is not to be shown. */
  readonly shown?: (written: unknown) => string | undefined;
  /** All that it can be, where that is a list. */
  readonly of?: readonly (string | number | boolean)[];
  /** Names it once had, as full paths; they are read on, with a notice. */
  readonly formerly?: readonly string[];
};
// biome-ignore lint/suspicious/noExplicitAny: a schema mixes settings of every type
type AnySetting = Setting<any>;
export type Schema = { readonly [key: string]: AnySetting | Schema };
export type Values<S> = {
  -readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : Values<S[K]>;
};

export type Source = { file: string; text: string };

type About = { about: string; formerly?: readonly string[] };

export function number(
  options: About & { default: number; min: number; max: number; whole?: boolean },
): Setting<number> {
  const { min, max, whole } = options;
  return {
    ...options,
    expected: `${whole ? "a whole number" : "a number"} from ${min} to ${max}`,
    read: (value) =>
      typeof value === "number" && value >= min && value <= max && (!whole || value % 1 === 0)
        ? value
        : undefined,
  };
}

export function choice<const T extends string | number | boolean>(
  options: About & { default: T; of: readonly T[] },
): Setting<T> {
  return {
    ...options,
    expected: `one of ${options.of.join(", ")}`,
    read: (value) => options.of.find((item) => item === value),
  };
}

export function text(options: About & { default: string; limit: number }): Setting<string> {
  const line = new RegExp(`^[^\\x00-\\x1f\\x7f-\\x9f]{0,${options.limit}}$`);
  return {
    ...options,
    expected: `a line of at most ${options.limit} characters`,
    read: (value) => (typeof value === "string" && line.test(value) ? value : undefined),
  };
}

const isSetting = (entry: AnySetting | Schema): entry is AnySetting =>
  typeof entry.read === "function";

function* walk(schema: Schema, path = ""): Generator<[path: string, setting: Setting<unknown>]> {
  for (const [key, entry] of Object.entries(schema)) {
    if (isSetting(entry)) yield [path + key, entry];
    else yield* walk(entry, `${path}${key}.`);
  }
}

/** Levenshtein distance, for the nearest right spelling. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** ". Did you mean X?" where a known name is near, else nothing. */
export function nearest(path: string, known: readonly string[]): string {
  const last = (name: string) => name.split(".").at(-1) ?? "";
  const far = (name: string) => Math.min(distance(path, name), distance(last(path), last(name)));
  const [best] = known.toSorted((a, b) => far(a) - far(b) || distance(path, a) - distance(path, b));
  return best && far(best) <= Math.ceil(path.length / 3) ? `. Did you mean ${best}?` : "";
}

function complaint({ code, message, pos }: yaml.YAMLError, text: string): string {
  if (code === "MULTIPLE_DOCS") return "more than one document";
  if (code !== "DUPLICATE_KEY") return message.split(/ at line \d/)[0] ?? "";
  return `${/^[^\s:]*/.exec(text.slice(pos[0]))} stands there a second time`;
}

/**
 * Reads a YAML settings file against its schema. Every mistake is named at once with file, line,
 * key, what was expected and the nearest right spelling, in one Failure("misuse").
 * The file says `version: N` of its format; a missing one means `version`, a newer one is refused.
 */
export function readSettings<S extends Schema>(
  source: Source,
  schema: S,
  { version, onNotice }: { version: number; onNotice?: ((line: string) => void) | undefined },
): Values<S> {
  const { file } = source;
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(source.text, { lineCounter: lines, uniqueKeys: true });
  const lineOf = (node: unknown) => lines.linePos((node as yaml.Node)?.range?.[0] ?? 0).line;
  const faults = document.errors.map(
    (error) => `${file}:${error.linePos?.[0].line ?? 1}: ${complaint(error, source.text)}`,
  );
  const one = number({ about: "its format", default: version, min: 1, max: version, whole: true });
  const ours = { ...one, expected: `1 to ${version}, which this program reads` };
  const settings = new Map([["version", ours], ...walk(schema)] as [string, AnySetting][]);
  const former = new Map(
    [...settings].flatMap(([path, { formerly }]) => (formerly ?? []).map((old) => [old, path])),
  );
  const sections = new Set([...settings.keys(), ...former.keys()].flatMap(parentsOf));
  const known = [...settings.keys(), ...sections];
  const found = new Map<string, unknown>();

  // An alias may be of nothing, of itself, or of more than there is memory for.
  yaml.visit(document, {
    Alias(_, alias) {
      faults.push(`${file}:${lineOf(alias)}: *${alias.source} is an alias; write the value itself`);
    },
  });
  const visit = (node: unknown, path: string): void => {
    if (yaml.isScalar(node) && node.value === null) return;
    if (!yaml.isMap(node)) {
      faults.push(`${file}:${lineOf(node)}: ${path || "the file"} should hold settings by name`);
      return;
    }
    for (const { key, value } of node.items) {
      const own = JSON.stringify(String(key)).slice(1, -1);
      const name = path ? `${path}.${own}` : own;
      const target = former.get(name) ?? name;
      const setting = settings.get(target);
      const at = `${file}:${lineOf(key)}`;
      const written: unknown = (value as yaml.Node | null)?.toJS(document) ?? null;
      const told = typeof written === "number" ? String(written) : JSON.stringify(written);
      if (setting) {
        const read = setting.read(written);
        if (read === undefined) {
          const meant = nearest(String(written), (setting.of ?? []).map(String));
          const is = setting.shown?.(written) ?? told.slice(0, 100);
          faults.push(`${at}: ${name} is ${is}; expected ${setting.expected}${meant}`);
        } else if (found.has(target)) {
          faults.push(`${at}: ${name} sets ${target} a second time`);
        } else found.set(target, read);
        if (target !== name) onNotice?.(`${at}: ${name} is called ${target} now`);
      } else if (sections.has(name)) visit(value, name);
      else {
        const beside = known.filter((one) => parentsOf(one).at(-1) === (path || undefined));
        const meant = nearest(name, known) || `; there are ${beside.join(", ")}`;
        faults.push(`${at}: ${name} is not a setting${meant}`);
      }
    }
  };
  if (document.contents !== null && faults.length === 0) visit(document.contents, "");
  if (faults.length > 20) faults.splice(20, Infinity, `and ${faults.length - 20} more mistakes`);
  if (faults.length > 0) throw new Failure("misuse", faults.join("\n"));
  return fill(schema, found, "") as Values<S>;
}

const longest = { what: "a settings file", mostBytes: 64 * 1024 };

/** What `readSettings` reads: `file`, or without one the defaults. Throws Failure "misuse" when it cannot be read. */
export async function sourceOf(file: string | undefined): Promise<Source> {
  if (file === undefined) return { file: "defaults", text: "" };
  const text = await readNamed(file, longest)
    .then(toText)
    .catch((cause) => {
      const why = isFailure(cause, "corrupt") ? `${file}: not UTF-8 text` : explain(cause);
      throw new Failure("misuse", why, { cause });
    });
  return { file, text };
}

function parentsOf(path: string): string[] {
  const parts = path.split(".");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("."));
}

function fill(schema: Schema, found: Map<string, unknown>, path: string): Record<string, unknown> {
  const filled = Object.entries(schema).map(([key, entry]) => {
    const name = path + key;
    if (!isSetting(entry)) return [key, fill(entry, found, `${name}.`)];
    return [key, found.has(name) ? found.get(name) : entry.default];
  });
  return Object.fromEntries(filled);
}

/** Every setting with its default and meaning, as a file that reads back to the defaults. */
export function printSettings(schema: Schema, indent = ""): string {
  let out = "";
  for (const [key, entry] of Object.entries(schema)) {
    if (isSetting(entry)) {
      out += `${indent}# ${entry.about}: ${entry.expected}\n`;
      out += `${indent}${key}: ${JSON.stringify(entry.default)}\n`;
    } else out += `${indent}${key}:\n${printSettings(entry, `${indent}  `)}`;
  }
  return out;
}
