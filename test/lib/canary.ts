import { type FileHandle, open } from "node:fs/promises";

/** Something that must lie nowhere in the clear. `kind` says what was found, if it was. */
export type Canary = { readonly kind: string; readonly bytes: Uint8Array };

export type Found = { kind: string; form: string; at: number };
export type Findings = {
  /** How much was looked through. */
  bytes: number;
  /** Occurrences by kind, all forms together; a kind that was not found is not there. */
  hits: Record<string, number>;
  /** The same by form: raw, base64, base64url, hex. */
  forms: Record<string, number>;
  /** The first few, for whoever must find out how they got there. */
  first: Found[];
};

/** So many bytes with so many different values occur nowhere by chance: pictures, not patterns. */
const windowBytes = 32;
const leastValues = 12;
const shortestBytes = 8;
const mostTold = 12;

/**
 * Canaries out of something long (a picture's luma, a JPEG, a slice): windows of it at most every
 * `stepBytes`, each varied enough to be told from anything else.
 */
export function windowsOf(
  kind: string,
  bytes: Uint8Array,
  { stepBytes = 4096, most = Number.POSITIVE_INFINITY } = {},
): Canary[] {
  const found: Canary[] = [];
  for (let at = 0; at + windowBytes <= bytes.length && found.length < most; ) {
    const window = bytes.subarray(at, at + windowBytes);
    if (new Set(window).size >= leastValues) {
      found.push({ kind, bytes: window.slice() });
      at += Math.max(stepBytes, windowBytes);
    } else at += 8;
  }
  return found;
}

type Needle = { kind: string; form: string; bytes: Buffer; anchor: number };

/** As it is, as base64 wherever the encoder's groups of three began, and as hexadecimal digits. */
function formsOf({ kind, bytes }: Canary): Needle[] {
  const forms = new Map<string, Buffer>([["raw", Buffer.from(bytes)]]);
  for (let before = 0; before < 3; before++) {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    // Digits that hold bits of what stands before or after it are not the canary's own.
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor(((before + bytes.length) * 8) / 6);
    const own = text.slice(from, to);
    forms.set(`base64+${before}`, Buffer.from(own));
    const url = own.replaceAll("+", "-").replaceAll("/", "_");
    if (url !== own) forms.set(`base64url+${before}`, Buffer.from(url));
  }
  const digits = Buffer.from(bytes).toString("hex");
  forms.set("hex", Buffer.from(digits));
  if (digits !== digits.toUpperCase()) forms.set("HEX", Buffer.from(digits.toUpperCase()));
  return [...forms].map(([form, needle]) => ({
    kind,
    form,
    bytes: needle,
    anchor: anchorIn(needle),
  }));
}

/** Where its four most varied bytes stand: they are what is looked for first. */
function anchorIn(bytes: Uint8Array): number {
  let best = 0;
  let values = 0;
  for (let at = 0; at + 4 <= bytes.length && values < 4; at++) {
    const four = bytes.subarray(at, at + 4);
    const varied = new Set(four).size - (four.includes(0) ? 0.5 : 0);
    if (varied > values) [best, values] = [at, varied];
  }
  return best;
}

const tableBits = 24;
const zeros = Buffer.alloc(4096);
const slotOf = (word: number) => Math.imul(word, 0x9e3779b1) >>> (32 - tableBits);

/**
 * Looks for all canaries, in all their forms, at every byte of what it is given. One search is for
 * one place: `add` its bytes in order, in pieces of any size.
 */
export class CanarySearch {
  readonly findings: Findings = { bytes: 0, hits: {}, forms: {}, first: [] };
  readonly #table = new Uint8Array(1 << (tableBits - 3));
  readonly #needles = new Map<number, Needle[]>();
  #longest = 0;
  #tail: Buffer = Buffer.alloc(0);

  /** @throws Error when a canary is too short to mean anything, or all of one value */
  constructor(canaries: Iterable<Canary>) {
    for (const canary of canaries) {
      const { kind, bytes } = canary;
      if (bytes.length < shortestBytes || new Set(bytes).size < 4)
        throw new Error(`${kind}: ${bytes.length} bytes, too plain to be told from anything else`);
      for (const needle of formsOf(canary)) this.#learn(needle);
    }
    if (this.#longest === 0) throw new Error("there is nothing to look for");
  }

  #learn(needle: Needle): void {
    const word = needle.bytes.readInt32LE(needle.anchor);
    const slot = slotOf(word);
    this.#table[slot >> 3] = (this.#table[slot >> 3] ?? 0) | (1 << (slot & 7));
    const known = this.#needles.get(word) ?? [];
    // One picture's window may be another's too; it counts once.
    if (known.some(({ bytes, kind }) => kind === needle.kind && bytes.equals(needle.bytes))) return;
    this.#needles.set(word, [...known, needle]);
    this.#longest = Math.max(this.#longest, needle.bytes.length);
  }

  add(chunk: Uint8Array): void {
    const begun = this.#tail.length;
    const bytes = Buffer.concat([this.#tail, chunk]);
    const table = this.#table;
    const base = this.findings.bytes - begun;
    let word = 0;
    for (let end = 0; end < bytes.length; end++) {
      // The four bytes that end here, as a little-endian number.
      word = (word >>> 8) | ((bytes[end] as number) << 24);
      if (word === 0) {
        // Disks and memory are mostly empty, and no anchor is.
        if ((end & 4095) === 0)
          while (zeros.equals(bytes.subarray(end + 1, end + 1 + zeros.length))) end += zeros.length;
        continue;
      }
      const slot = slotOf(word);
      if (((table[slot >> 3] as number) & (1 << (slot & 7))) === 0 || end < 3) continue;
      for (const needle of this.#needles.get(word) ?? []) {
        const from = end - 3 - needle.anchor;
        const to = from + needle.bytes.length;
        // What lay in the tail as a whole was counted when it came.
        if (from < 0 || to > bytes.length || to <= begun) continue;
        if (needle.bytes.compare(bytes, from, to) === 0) this.#count(needle, base + from);
      }
    }
    this.findings.bytes += chunk.length;
    this.#tail = Buffer.from(bytes.subarray(Math.max(0, bytes.length - this.#longest + 1)));
  }

  #count({ kind, form }: Needle, at: number): void {
    const { hits, forms, first } = this.findings;
    raise(hits, kind, 1);
    raise(forms, form.replace(/[+].$/, "").toLowerCase(), 1);
    if (first.length < mostTold) first.push({ kind, form, at });
  }
}

function raise(counts: Record<string, number>, name: string, by: number): void {
  counts[name] = (counts[name] ?? 0) + by;
}

const pieceBytes = 8 << 20;

/** Searches files, each for itself, as one place; throws when there is nothing in them. */
export async function searchFiles(
  canaries: readonly Canary[],
  paths: readonly string[],
): Promise<Findings> {
  const sum: Findings = { bytes: 0, hits: {}, forms: {}, first: [] };
  const piece = Buffer.alloc(pieceBytes);
  for (const path of paths) {
    const search = new CanarySearch(canaries);
    const file: FileHandle = await open(path);
    try {
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, pieceBytes);
        if (bytesRead === 0) break;
        search.add(piece.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
    const { bytes, hits, forms, first } = search.findings;
    sum.bytes += bytes;
    for (const [kind, count] of Object.entries(hits)) raise(sum.hits, kind, count);
    for (const [form, count] of Object.entries(forms)) raise(sum.forms, form, count);
    sum.first.push(...first.slice(0, mostTold - sum.first.length));
  }
  if (sum.bytes === 0) throw new Error(`nothing to look through in ${paths.join(", ")}`);
  return sum;
}
