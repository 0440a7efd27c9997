import { nodeSuite } from "../../base/node/crypto.ts";
import { equal } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Action } from "../../protocol/sealed/action.ts";
import { type Journal, statements } from "../journal.ts";
import { sendFleeting } from "../outgoing.ts";
import { readLog, waitForLog } from "./ask.ts";
import type { Voice } from "./out.ts";
import type { World } from "./world.ts";

/** What came of a command, or why nothing did. */
type Answer<T extends object> = T | { refused: string };

/**
 * Has the camera do what must be fresh: asks for a nonce, sends what `make` makes of it, and waits for what
 * `find` finds in the entries after it. Throws Failure "offline" when it did not come before `endMs` (of
 * performance.now), "refused" with the camera's reason. `what` is for people: what was asked for.
 */
export async function haveDoneFresh<T extends object>(
  world: World,
  make: (nonce: Uint8Array) => Action,
  find: (journal: Journal, sent: { number: number; since: number }) => Answer<T> | undefined,
  { what, endMs, voice }: { what: string; endMs: number; voice: Voice },
): Promise<{ journal: Journal; found: T }> {
  const { vault, camera, link } = world;
  const { phoneKey } = vault.content;
  const send = (action: Action, journal: Journal) =>
    sendFleeting(action, { link, vault, camera, journal, suite: nodeSuite, nowMs: Date.now() });
  const demand = <A extends object>(answer: Answer<A> | undefined, wanted: string): A => {
    if (answer === undefined) {
      throw new Failure("offline", `the camera did not give ${wanted} in time`, {
        hint: "Is it running? `obscura-phone cameras` says when it was heard last",
      });
    }
    if (!("refused" in answer)) return answer;
    throw new Failure("refused", `the camera gives no ${what}: ${answer.refused}`);
  };
  const wait = async <A extends object>(
    first: Journal,
    number: number,
    look: (journal: Journal) => Answer<A> | undefined,
  ) =>
    await waitForLog(world, first, endMs - performance.now(), (journal) => {
      const found = look(journal);
      if (found) return found;
      const refused = refusedIn(journal, phoneKey, number);
      return refused === undefined ? undefined : { refused };
    });

  const first = await readLog(world);
  const number = await send({ kind: "ask", replaces: 0 }, first);
  voice.progress("waiting for the camera");
  const asked = await wait<{ nonce: Uint8Array }>(
    first,
    number,
    (journal) =>
      statements(journal, "nonce").find(
        ({ statement }) => equal(statement.phone, phoneKey) && statement.number === number,
      )?.statement,
  );
  const { nonce } = demand<{ nonce: Uint8Array }>(asked.found, `its leave for a ${what}`);
  const since = asked.journal.records.at(-1)?.entry.sequence ?? 0;
  const sent = { number: await send(make(nonce), asked.journal), since };
  voice.progress(`waiting for the ${what}`);
  const done = await wait<T>(asked.journal, sent.number, (journal) => find(journal, sent));
  return { journal: done.journal, found: demand<T>(done.found, `a ${what}`) };
}

function refusedIn(journal: Journal, phone: Uint8Array, number: number): string | undefined {
  return statements(journal, "command-done").find(
    ({ statement }) => equal(statement.phone, phone) && statement.number === number,
  )?.statement.refused;
}
