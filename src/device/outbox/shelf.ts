import type { Page } from "../../protocol/wire/mailbox.ts";
import type { Kept } from "./contents.ts";

// What lies there in the order of its names, so that a page of it costs what is on the page, however much there
// is. In memory alone: a pointer for each object.

export type Shelf = {
  add(kept: Kept): void;
  drop(files: readonly string[]): void;
  /** At most so many of what belongs on the page, by name in text order. */
  page(page: Pick<Page, "under" | "after">, most: number): Kept[];
};

/** A dot of a file's name stands for a slash, and comes before all else as that does: the order is the same. */
const fileOf = (name: string) => name.replaceAll("/", ".");

export function openShelf(all: Iterable<Kept>): Shelf {
  let order = [...all].sort((a, b) => (a.file < b.file ? -1 : 1));
  /** The first that is not before this. */
  const placeOf = (file: string) => {
    let [from, to] = [0, order.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((order[middle]?.file ?? "") < file) from = middle + 1;
      else to = middle;
    }
    return from;
  };
  return {
    add(kept) {
      const at = placeOf(kept.file);
      order.splice(at, order[at]?.file === kept.file ? 1 : 0, kept);
    },
    drop(files) {
      const gone = new Set(files);
      order = order.filter(({ file }) => !gone.has(file));
    },
    page(page, most) {
      const [under, after] = [fileOf(page.under), fileOf(page.after)];
      let at = Math.max(placeOf(under), placeOf(after));
      if (order[at]?.file === after) at += 1;
      const found: Kept[] = [];
      for (; found.length < most; at += 1) {
        const kept = order[at];
        if (!kept?.file.startsWith(under)) break;
        found.push(kept);
      }
      return found;
    },
  };
}
