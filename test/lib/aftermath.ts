import { readdir } from "node:fs/promises";
import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { fromFileName } from "../../src/protocol/wire/name.ts";
import type { Opened, Owner } from "./owner.ts";
import { faultsOf } from "./sealing.ts";

/**
 * What must hold after kills and a start, by `check` and by the owner's own eyes: each durable part
 * is there and opens, or its clip is named as lost; none is doubled, no key was used twice, each clip
 * has one beginning and one end in the log, and the log is one chain.
 *
 * @param durable "CLIP NUMBER" of every part that was said to be durable
 */
export async function checkSealed(
  { state, outbox, owner }: { state: string; outbox: string; owner: Owner },
  durable: readonly string[],
  limitBytes: number,
): Promise<{ clips: Map<string, Opened>; cutOff: number }> {
  assert.equal(await faultsOf(state, { limitBytes }), []);
  const lines = (await owner.readLog(outbox)).map(({ body }) => body.statement);
  const named = <K extends string>(kind: K) => lines.filter((line) => line.kind === kind);
  const idOf = (line: object) => toHex((line as { clip: Uint8Array }).clip);
  const started = named("clip-started").map(idOf);
  const ended = named("clip-ended").map(idOf);
  const lost = lines.flatMap((line) => (line.kind === "lost" ? line.clips.map(idOf) : []));
  assert.is(new Set(started).size, started.length, "a clip was started twice");
  assert.equal([...ended].sort(), [...started].sort(), "each clip that was started has one end");

  const kept = new Map<string, number[]>();
  for (const file of await readdir(outbox)) {
    const name = fromFileName(file);
    if (name.kind !== "part") continue;
    const clip = toHex(name.clip);
    kept.set(clip, [...(kept.get(clip) ?? []), name.number]);
  }
  for (const line of durable) {
    const [clip = "", number] = line.split(" ");
    const isThere = kept.get(clip)?.includes(Number(number)) ?? false;
    assert.ok(isThere || lost.includes(clip), `part ${line} was durable and is gone`);
  }
  const keys = new Set<string>();
  const clips = new Map<string, Opened>();
  for (const clip of kept.keys()) {
    const opened = await owner.openClip(outbox, clip);
    const end = lines.find((line) => line.kind === "clip-ended" && idOf(line) === clip);
    if (end?.kind !== "clip-ended") throw new Error(`clip ${clip} has no end in the log`);
    assert.is(opened.last, end.last.number, "the last part is the one that the log names");
    if (end.reason !== "cut-off") assert.is(opened.whole, true);
    assert.not.ok(keys.has(opened.keyId), "a key was used twice");
    keys.add(opened.keyId);
    clips.set(clip, opened);
  }
  const cutOff = lines.filter((line) => line.kind === "clip-ended" && line.reason === "cut-off");
  return { clips, cutOff: cutOff.length };
}
