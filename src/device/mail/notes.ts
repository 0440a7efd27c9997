import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { fromText, toText } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { isFailure } from "../../base/pure/failure.ts";
import { newTray, printTray, readTray, type Tray } from "../visit/visit.ts";

// What of the tray outlives a stop.

export type Notes = {
  readonly tray: Tray;
  /** Durable when it resolves; what changed meanwhile is written with it. */
  save(): Promise<void>;
  /** What the camera's log was told last of who is written to; empty for nobody. */
  told(): Promise<string>;
  tell(text: string): Promise<void>;
  close(): Promise<void>;
};

const waitingFile = "waiting";
const toldFile = "told";

/** Opens the folder `mail` of a state folder; without one (a card that failed) nothing is kept. */
export async function openNotes(state: string | undefined, clock: Clock): Promise<Notes> {
  if (state === undefined) {
    const nothing = async () => {};
    return { tray: newTray(), save: nothing, told: async () => "", tell: nothing, close: nothing };
  }
  const folder = await openDurable(join(state, "mail"));
  const tray = read(await text(folder, waitingFile), clock);
  return {
    tray,
    save: () => folder.write(waitingFile, fromText(print(tray, clock))),
    told: () => text(folder, toldFile),
    tell: (said) => folder.write(toldFile, fromText(said)),
    close: () => folder.close(),
  };
}

async function text(folder: DurableFolder, name: string): Promise<string> {
  try {
    return toText(await folder.read(name));
  } catch (error) {
    if (!isFailure(error, "absent", "corrupt")) throw error;
    return "";
  }
}

function print(tray: Tray, clock: Clock): string {
  return JSON.stringify({ version: 1, ...printTray(tray, clock) });
}

function read(written: string, clock: Clock): Tray {
  try {
    return readTray(JSON.parse(written), clock);
  } catch {
    return newTray();
  }
}
