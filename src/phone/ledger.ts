import { concat, equal, Reader, toHex, Writer } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { type Body, decodeBody, encodeBody, type Statement } from "../protocol/sealed/body.ts";
import { derive, random } from "../protocol/sealed/sodium.ts";
import type { ReadEntry } from "./entries.ts";
import { type CameraKeys, sealSlices, unwrapVault, type Vault } from "./vault.ts";

// What a phone has read of a camera's log, so that it need not be fetched, verified and opened again.
// It is a copy of what the relay has, without any key: losing it costs time and nothing else.

/** Where the pages of a ledger lie, by name; sealed, so whoever keeps them learns their sizes only. */
export type Shelf = {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
};

/** Entries on a page; the last page is written again as it fills. */
const pageEntries = 512;
const saltBytes = 32;
const flags = { opens: 1, read: 2, unknown: 4 } as const;

export type LedgerOptions = {
  readonly shelf: Shelf;
  readonly vault: Vault;
  readonly camera: CameraKeys;
};

/**
 * The log from where its reading began, as far as it lies on the shelf and hangs together; nothing when
 * it is not the log whose head the vault holds.
 */
export async function loadLedger(options: LedgerOptions): Promise<ReadEntry[]> {
  const { shelf, camera } = options;
  const entries: ReadEntry[] = [];
  for (let page = 0; ; page++) {
    const sealed = await shelf.read(pageName(camera, page));
    const read = sealed && openPage(sealed, page, options);
    if (!read) break;
    for (const entry of read) {
      const before = entries.at(-1);
      if (before && entry.sequence !== before.sequence + 1) return entries;
      if (before && !equal(entry.previous, before.hash)) return entries;
      entries.push(entry);
    }
    if (read.length < pageEntries) break;
  }
  const { head } = camera;
  const known = head && entries[head.sequence - (entries[0]?.sequence ?? 0)];
  return known && !equal(known.hash, head.hash) ? [] : entries;
}

/** Puts `entries` there, of which the first `known` are there already. */
export async function saveLedger(
  entries: readonly ReadEntry[],
  known: number,
  options: LedgerOptions,
): Promise<void> {
  if (entries.length === known) return;
  const first = Math.floor(Math.min(known, entries.length) / pageEntries);
  for (let page = first; page * pageEntries < entries.length; page++) {
    const part = entries.slice(page * pageEntries, (page + 1) * pageEntries);
    await options.shelf.write(pageName(options.camera, page), sealPage(part, page, options));
  }
}

function pageName({ id }: CameraKeys, page: number): string {
  return `log.${toHex(id).slice(0, 16)}.${page}`;
}

/** A key for one writing of one page. */
function keyOf({ vault, camera }: LedgerOptions, page: number, salt: Uint8Array): Uint8Array {
  const number = new Writer().u32(page).done();
  return derive(vault.content.phone, "obscura/1/phone/ledger", camera.id, number, salt);
}

function sealPage(entries: readonly ReadEntry[], page: number, options: LedgerOptions): Uint8Array {
  const salt = random(saltBytes);
  const plain = concat(entries.map(encodeRead));
  return concat([salt, sealSlices(keyOf(options, page, salt), plain)]);
}

/** Undefined for a page that is damaged, or that an older program wrote otherwise. */
function openPage(
  bytes: Uint8Array,
  page: number,
  options: LedgerOptions,
): ReadEntry[] | undefined {
  try {
    const salt = bytes.subarray(0, saltBytes);
    const key = keyOf(options, page, salt);
    const plain = unwrapVault({ key, sealed: bytes.subarray(saltBytes) });
    const reader = new Reader(plain, "ledger");
    const entries: ReadEntry[] = [];
    while (reader.remaining > 0) entries.push(decodeRead(reader, options.camera));
    return entries;
  } catch (error) {
    if (isFailure(error, "corrupt", "refused")) return undefined;
    throw error;
  }
}

function encodeRead(entry: ReadEntry): Uint8Array {
  const { body, opens } = entry;
  const kind = !body ? 0 : body.statement.kind === "unknown" ? flags.unknown : flags.read;
  const writer = new Writer()
    .u8((opens ? flags.opens : 0) | kind)
    .u32(entry.incarnation)
    .u64(entry.sequence)
    .raw(entry.previous)
    .raw(entry.hash)
    .u32(entry.membership)
    .u32(entry.epoch)
    .u64(entry.uptimeMs);
  if (body?.statement.kind === "unknown") {
    writer
      .u64(body.wallMs)
      .u8(body.clockTrusted ? 1 : 0)
      .u8(body.statement.number);
  } else if (body) {
    writer.bytes32(encodeBody(body as Body & { statement: Statement }));
  }
  return writer.done();
}

function decodeRead(reader: Reader, { id: camera }: CameraKeys): ReadEntry {
  const flag = reader.u8();
  const [incarnation, sequence] = [reader.u32(), reader.u64()];
  const [previous, hash] = [reader.take(32).slice(), reader.take(32).slice()];
  const [membership, epoch, uptimeMs] = [reader.u32(), reader.u32(), reader.u64()];
  const body = readBody(reader, flag);
  return {
    ...{ camera, incarnation, sequence, previous, hash, membership, epoch, uptimeMs, body },
    opens: (flag & flags.opens) !== 0,
    trouble: body ? undefined : "unreadable",
  };
}

function readBody(reader: Reader, flag: number): Body | undefined {
  if (flag & flags.read) return decodeBody(reader.bytes32(64 * 1024), false);
  if ((flag & flags.unknown) === 0) return undefined;
  const [wallMs, trusted, number] = [reader.u64(), reader.u8(), reader.u8()];
  return { wallMs, clockTrusted: trusted === 1, statement: { kind: "unknown", number } };
}
