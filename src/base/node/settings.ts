import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
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
  return {
    ...options,
    expected: `text of at most ${options.limit} characters, in one line`,
    read: (value) => {
      const isRight = typeof value === "string" && value.length <= options.limit;
      return isRight && !/\p{Cc}/u.test(value) ? value : undefined;
    },
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
  const cost = (name: string) => Math.min(distance(path, name), distance(last(path), last(name)));
  const best = known.toSorted(
    (a, b) => cost(a) - cost(b) || distance(path, a) - distance(path, b),
  )[0];
  return best && cost(best) <= Math.ceil(path.length / 3) ? `. Did you mean ${best}?` : "";
}

/**
 * Reads a YAML settings file against its schema. Every mistake is named at once with file, line,
 * key, what was expected and the nearest right spelling, in one Failure("misuse").
 * The file says `version: N` of its format; a missing one means `version`, a newer one is refused.
 */
export function readSettings<S extends Schema>(
  source: { file: string; text: string },
  schema: S,
  { version, onNotice }: { version: number; onNotice?: ((line: string) => void) | undefined },
): Values<S> {
  const { file } = source;
  const lines = new LineCounter();
  const document = parseDocument(source.text, { lineCounter: lines, uniqueKeys: true });
  const lineOf = (node: unknown) => lines.linePos((node as Node | undefined)?.range?.[0] ?? 0).line;
  const faults = document.errors.map(
    (error) => `${file}:${error.linePos?.[0].line ?? 1}: ${error.message.split("\n")[0]}`,
  );
  const settings = new Map(walk(schema));
  const former = new Map(
    [...settings].flatMap(([path, { formerly }]) => (formerly ?? []).map((old) => [old, path])),
  );
  const sections = new Set([...settings.keys(), ...former.keys()].flatMap(parentsOf));
  const known = [...settings.keys(), ...sections];
  const found = new Map<string, unknown>();

  const visit = (node: unknown, path: string): void => {
    if (isScalar(node) && node.value === null) return;
    if (!isMap(node)) {
      faults.push(`${file}:${lineOf(node)}: ${path || "the file"} should hold settings by name`);
      return;
    }
    for (const { key, value } of node.items) {
      const name = path ? `${path}.${key}` : String(key);
      const target = former.get(name) ?? name;
      const setting = settings.get(target);
      const at = `${file}:${lineOf(key)}`;
      if (name === "version") {
        const written: unknown = (value as Node).toJS(document);
        if (typeof written !== "number" || written < 1 || written > version || written % 1 !== 0) {
          faults.push(`${at}: version is ${written}; this program reads version 1 to ${version}`);
        }
      } else if (setting) {
        const written: unknown = value === null ? null : (value as Node).toJS(document);
        const read = setting.read(written);
        if (read === undefined) {
          const meant = nearest(String(written), (setting.of ?? []).map(String));
          const told = typeof written === "number" ? written : JSON.stringify(written);
          const is = setting.shown?.(written) ?? told;
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
  if (faults.length > 0) throw new Failure("misuse", faults.join("\n"));
  return fill(schema, found, "") as Values<S>;
}

const longest = { what: "a settings file", mostBytes: 64 * 1024 };

/**
 * The settings of `file`, or the defaults when no file is named. Throws as `readSettings`, also when the
 * file cannot be read.
 */
export async function loadSettings<S extends Schema>(
  file: string | undefined,
  schema: S,
  options: { version: number; onNotice?: ((line: string) => void) | undefined },
): Promise<Values<S>> {
  if (file === undefined) return readSettings({ file: "defaults", text: "" }, schema, options);
  const text = await readNamed(file, longest)
    .then(toText)
    .catch((cause) => {
      const why = isFailure(cause, "corrupt") ? `${file}: not UTF-8 text` : explain(cause);
      throw new Failure("misuse", why, { cause });
    });
  return readSettings({ file, text }, schema, options);
}

function parentsOf(path: string): string[] {
  const parts = path.split(".");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("."));
}

function fill(schema: Schema, found: Map<string, unknown>, path: string): Record<string, unknown> {
  const entries = Object.entries(schema).map(([key, entry]) => {
    const name = path + key;
    if (!isSetting(entry)) return [key, fill(entry, found, `${name}.`)];
    return [key, found.has(name) ? found.get(name) : entry.default];
  });
  return Object.fromEntries(entries);
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
