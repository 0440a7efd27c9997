import { nodeSuite } from "../../base/node/crypto.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { pick } from "../clips.ts";
import { statements } from "../journal.ts";
import { withParts } from "../parts.ts";
import type { Arguments } from "./arguments.ts";
import { waitForLog } from "./ask.ts";
import { exportThumbnails } from "./export.ts";
import { haveDoneFresh } from "./fresh.ts";
import type { Voice } from "./out.ts";
import { type Say, surveyWorld, type World } from "./world.ts";

const defaultWaitMs = 60_000;

/**
 * `obscura-phone snapshot`: has a picture taken, waits for it and writes it. The camera says in its
 * log who looked.
 */
export async function snapshot(
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  const { vault, camera, link } = world;
  const endMs = performance.now() + (given.waitMs ?? defaultWaitMs);
  const taken = await haveDoneFresh<{ clip: Uint8Array }>(
    world,
    (nonce) => ({ kind: "snapshot", nonce }),
    (journal, { since }) => {
      const ended = statements(journal, "watched").find(
        ({ record, statement }) =>
          record.entry.sequence > since &&
          statement.how === "snapshot" &&
          statement.state === "ended" &&
          equal(statement.phone, vault.content.phoneKey),
      );
      if (!ended) return undefined;
      const { clip } = ended.statement;
      return clip ? { clip } : { refused: "no picture" };
    },
    { what: "picture", endMs, voice },
  );
  const { clip } = taken.found;
  // Its parts may come after the word of them.
  for (;;) {
    const found = await surveyWorld(world, "new", voice);
    const picture = await withParts(pick(found.clips, toHex(clip)), found.journal, link);
    const restMs = endMs - performance.now();
    if (picture.state === "whole" || restMs <= 0) {
      voice.progress("");
      const options = {
        ...{ clips: [picture], all: false, out: given.out },
        ...{ link, camera, suite: nodeSuite, voice },
      };
      const { files, failed } = await exportThumbnails(options, true);
      say(files.map(({ file }) => `${file}\n`).join(""), { files, failed });
      return failed > 0 ? 1 : 0;
    }
    await waitForLog(world, found.journal, Math.min(500, restMs), () => undefined);
  }
}
