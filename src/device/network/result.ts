import type { DurableFolder } from "../../base/node/durable.ts";
import { isFailure } from "../../base/pure/failure.ts";
import {
  bytes,
  type Checked,
  flag,
  integer,
  object,
  oneOf,
  optional,
  parse,
  print,
  text,
} from "../../protocol/sealed/json.ts";
import { requestIdBytes } from "../../protocol/sealed/network.ts";

// How the last attempt to join a network ended: whoever asked for it could not be told meanwhile, for
// the radio was elsewhere. No password is in it.

const file = "result";
const longestBytes = 4096;
const check = object({
  version: integer(1, 1),
  ssid: bytes(1, 32),
  /** Of the profile that was tried. */
  uuid: text(64),
  /** Rises with each attempt. */
  attempt: integer(1),
  /** Which request of a phone it answers, if it was one (protocol/sealed/network.md). */
  request: optional(bytes(requestIdBytes)),
  /** Not there while it is under way. */
  verdict: optional(
    oneOf(
      "joined",
      "wrong-password",
      "no-such-network",
      "no-address",
      "turned-away",
      "unfit",
      "interrupted",
    ),
  ),
  /** Where it is reached, when it joined. */
  address: optional(text(64)),
  /** Whether what was in force before is so again; not there when it joined. */
  isRestored: optional(flag),
});

export type Result = Omit<Checked<typeof check>, "version">;

/** The last one, if it can be read. */
export async function readResult(folder: Pick<DurableFolder, "read">): Promise<Result | undefined> {
  try {
    const { version: _, ...result } = parse(await folder.read(file), longestBytes, file, check);
    return result;
  } catch (error) {
    if (isFailure(error, "absent", "corrupt")) return undefined;
    throw error;
  }
}

/** Durable when it resolves. */
export async function writeResult(folder: DurableFolder, result: Result): Promise<void> {
  const record = { version: 1, ...result };
  await folder.write(file, print(record, longestBytes, "result", check));
}
