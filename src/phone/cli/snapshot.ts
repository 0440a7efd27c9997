import { nodeSuite } from "../../base/node/crypto.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { pick } from "../clips.ts";
import { type Journal, statements } from "../journal.ts";
import { sendFleeting } from "../outgoing.ts";
import { withParts } from "../parts.ts";
import type { Arguments } from "./arguments.ts";
import { readLog, waitForLog } from "./ask.ts";
import { exportThumbnails } from "./export.ts";
import type { Voice } from "./out.ts";
import { type Say, surveyWorld, type World } from "./world.ts";

const defaultWaitMs = 60_000;

type Answer<T extends object> = T | { refused: string };

/**
 * `obscura-phone snapshot`: asks for a nonce, has a picture taken with it, waits for both and writes
 * the picture. The camera says in its log who looked.
 */
export async function snapshot(
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  if (given.operands.length > 0) throw new Failure("misuse", "snapshot takes no operand");
  const { vault, camera, link } = world;
  const { phoneKey } = vault.content;
  const end = performance.now() + (given.waitMs ?? defaultWaitMs);
  const rest = () => end - performance.now();
  const send = (action: Parameters<typeof sendFleeting>[0], journal: Journal) =>
    sendFleeting(action, { link, vault, camera, journal, suite: nodeSuite, nowMs: Date.now() });
  const refusedIn = (journal: Journal, number: number) =>
    statements(journal, "command-done").find(
      ({ statement }) =>
        equal(statement.phone, phoneKey) &&
        statement.number === number &&
        statement.refused !== undefined,
    )?.statement.refused;

  const first = await readLog(world);
  const number = await send({ kind: "ask", replaces: 0 }, first);
  voice.progress("waiting for the camera");
  const asked = await waitForLog<Answer<{ nonce: Uint8Array }>>(world, first, rest(), (journal) => {
    const answer = statements(journal, "nonce").find(
      ({ statement }) => equal(statement.phone, phoneKey) && statement.number === number,
    );
    const refused = refusedIn(journal, number);
    return answer
      ? { nonce: answer.statement.nonce }
      : refused !== undefined
        ? { refused }
        : undefined;
  });
  const { nonce } = demand<{ nonce: Uint8Array }>(asked.found, "its leave for a picture");
  const shot = await send({ kind: "snapshot", nonce }, asked.journal);
  voice.progress("waiting for the picture");
  const since = asked.journal.records.at(-1)?.entry.sequence ?? 0;
  const taken = await waitForLog<Answer<{ clip: Uint8Array }>>(
    world,
    asked.journal,
    rest(),
    (journal) => {
      const ended = statements(journal, "watched").find(
        ({ record, statement }) =>
          record.entry.sequence > since &&
          statement.how === "snapshot" &&
          statement.state === "ended" &&
          equal(statement.phone, phoneKey),
      );
      const refused = refusedIn(journal, shot);
      const clip = ended?.statement.clip;
      return clip
        ? { clip }
        : ended || refused !== undefined
          ? { refused: refused ?? "no picture" }
          : undefined;
    },
  );
  const { clip } = demand<{ clip: Uint8Array }>(taken.found, "a picture");
  // Its parts may come after the word of them.
  for (;;) {
    const found = await surveyWorld(world, "new", voice);
    const picture = await withParts(pick(found.clips, toHex(clip)), found.journal, link);
    if (picture.state === "whole" || rest() <= 0) {
      voice.progress("");
      const options = {
        ...{ clips: [picture], all: false, out: given.out },
        ...{ link, camera, suite: nodeSuite, voice },
      };
      const { files, failed } = await exportThumbnails(options, true);
      say(files.map(({ file }) => `${file}\n`).join(""), { files, failed });
      return failed > 0 ? 1 : 0;
    }
    await waitForLog(world, found.journal, Math.min(500, rest()), () => undefined);
  }
}

/** What the camera gave, or why it did not. */
function demand<T extends object>(found: Answer<T> | undefined, what: string): T {
  if (found === undefined) {
    throw new Failure("offline", `the camera did not give ${what} in time`, {
      hint: "Is it running? `obscura-phone cameras` says when it was heard last",
    });
  }
  if ("refused" in found) {
    throw new Failure("refused", `the camera gives no picture: ${found.refused}`);
  }
  return found;
}
