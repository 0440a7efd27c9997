import { readFile, writeFile } from "node:fs/promises";
import * as assert from "uvu/assert";

// HOSTILE.md: what was found, written by the tests themselves and held against what stands there.

const document = new URL("../../../HOSTILE.md", import.meta.url).pathname;

/** What somebody does, what it leads to, and what is said about it. */
export type Row = { does: string; code?: number; says: readonly string[] };

/** What differs from run to run is left out. */
function plain(text: string): string {
  return text
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, "http://…")
    .replace(/clip [0-9a-f]{12}/g, "clip …")
    .replace(/\b[0-9a-f]{32,64}\b/g, "…")
    .replace(/(\/…)+/g, "/…")
    .replace(/\|/g, "\\|");
}

/** Holds a section of the document against these rows; with OBSCURA_WRITE=1 writes it first. */
export async function tell(section: string, rows: readonly Row[]): Promise<void> {
  const lines = rows.map(({ does, code, says }) => {
    const said = [...new Set(says.map(plain))].join("<br>") || "nothing: it makes no difference";
    return `| ${does} | ${code === undefined ? "" : `${code} | `}${said} |\n`;
  });
  const text = lines.join("");
  const begin = `<!-- ${section} -->\n`;
  const end = `<!-- end of ${section} -->`;
  const whole = await readFile(document, "utf8");
  const [from, to] = [whole.indexOf(begin) + begin.length, whole.indexOf(end)];
  assert.ok(from >= begin.length && to >= from, `HOSTILE.md has no section ${section}`);
  const head = whole.slice(from, to).split("\n").slice(0, 2).join("\n");
  const next = `${whole.slice(0, from)}${head}\n${text}\n${whole.slice(to)}`;
  if (process.env.OBSCURA_WRITE) await writeFile(document, next);
  else assert.is(whole, next, "HOSTILE.md is not what was found: run it with OBSCURA_WRITE=1");
}
