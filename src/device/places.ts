import * as yaml from "yaml";
import type { Source } from "../base/node/settings.ts";

// Where settings are written, for who complains of one after they were read.

/** A setting by its path, such as mail.host, or steps into it: names, and numbers from 0 in a list. */
export type Written = string | readonly (string | number)[];

/** File and line of the first of these that stands there; of the file alone where none does. */
export type Places = (...of: readonly Written[]) => string;

/** What of the settings cannot go together, and by which of them it is found. */
export type Fault = { of: readonly Written[]; text: string };

export const placed = ({ of, text }: Fault, places: Places): string => `${places(...of)}: ${text}`;

/** `source` has been read as settings: it holds no mistake of YAML, nor an alias. */
export function placesIn({ file, text }: Source): Places {
  return (...of) => {
    const lines = new yaml.LineCounter();
    const { contents } = yaml.parseDocument(text, { lineCounter: lines });
    const at = of.map((one) => find(contents, one)).find((node) => node !== undefined);
    return at ? `${file}:${lines.linePos(at.range?.[0] ?? 0).line}` : file;
  };
}

/** The name of a setting, or an item of a list, as it stands in the file. */
function find(contents: unknown, of: Written): yaml.Node | undefined {
  let [at, inside]: [unknown, unknown] = [undefined, contents];
  for (const step of typeof of === "string" ? of.split(".") : of) {
    const pair = yaml.isMap(inside)
      ? inside.items.find(({ key }) => String(key) === step)
      : undefined;
    const item = yaml.isSeq(inside) ? inside.items[Number(step)] : undefined;
    [at, inside] = [pair?.key ?? item, pair?.value ?? item];
  }
  return yaml.isNode(at) ? at : undefined;
}

/** Where in a list of names one stands that stood there before: for each such name the second place. */
export function doublesIn(names: readonly string[]): number[] {
  const isSecond = (name: string, i: number) =>
    names.slice(0, i).filter((n) => n === name).length === 1;
  return names.flatMap((name, i) => (isSecond(name, i) ? [i] : []));
}
