import { equal, toHex } from "../../base/pure/bytes.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import type { Journal } from "../journal.ts";
import { shortId } from "../vault.ts";
import { readLog } from "./ask.ts";
import { printTime } from "./show.ts";
import type { Say, World } from "./world.ts";

/** The camera's own housekeeping, which nobody looks for. */
const quiet: readonly Statement["kind"][] = ["receiving-key", "day-closed", "nonce"];

/**
 * `obscura-phone log`: what the camera wrote into its log and this phone can read, the oldest first.
 * Whether the log is whole and true is for `verify`.
 */
export async function log(world: World, say: Say): Promise<number> {
  const journal = await readLog(world);
  const nameOf = namesIn(journal);
  const rows = journal.records.flatMap(({ entry, body, wallMs, clockTrusted }) => {
    const { statement } = body ?? {};
    if (!statement || statement.kind === "unknown" || quiet.includes(statement.kind)) return [];
    const { incarnation, sequence } = entry;
    const { kind } = statement;
    return [{ incarnation, sequence, kind, wallMs, clockTrusted, text: tell(statement, nameOf) }];
  });
  const lines = rows.map(
    ({ wallMs, clockTrusted, text }) => `${printTime(wallMs, clockTrusted)}  ${text}\n`,
  );
  say(lines.join("") || "nothing that this phone can read\n", {
    entries: rows.map(({ wallMs, ...row }) => ({
      ...row,
      ...(wallMs === undefined ? {} : { at: new Date(wallMs).toISOString() }),
    })),
  });
  return 0;
}

/** Every phone that was ever a member, by the name that it had. */
function namesIn({ members }: Journal): (phone: Uint8Array) => string {
  const all = Array.from({ length: members.head.version + 1 }, (_, version) =>
    members.at(version),
  ).flatMap((version) => version?.members ?? []);
  return (phone) => all.findLast((member) => equal(member.phone, phone))?.name ?? shortId(phone);
}

const shortHex = (bytes: Uint8Array) => toHex(bytes).slice(0, 12);

function tell(statement: Statement, nameOf: (phone: Uint8Array) => string): string {
  switch (statement.kind) {
    case "started":
      return `the camera started (${statement.reason}), version ${statement.version}`;
    case "clock-synchronised":
      return "the camera's clock was set";
    case "membership":
      return "another list of phones is in force";
    case "supply-acknowledged": {
      const { phone, nextIndex, endIndex } = statement;
      return `${endIndex - nextIndex} one-time keys of ${nameOf(phone)} are left`;
    }
    case "clip-started":
      return `clip ${shortHex(statement.clip)} began`;
    case "clip-ended":
      return `clip ${shortHex(statement.clip)} ended: ${statement.reason}`;
    case "fallback-used":
      return `no one-time key of ${nameOf(statement.phone)} was left: its ${statement.key} key was used`;
    case "lost": {
      const { clips, reason } = statement;
      return `lost (${reason}): clips ${clips.map(({ clip }) => shortHex(clip)).join(", ")}`;
    }
    case "problem":
      return statement.text;
    case "incarnation-opened":
      return `the log went on in a new life: ${statement.reason}`;
    case "command-done": {
      const { phone, action, refused } = statement;
      const how = refused === undefined ? "carried out" : `refused: ${refused}`;
      return `${action}, asked for by ${nameOf(phone)}: ${how}`;
    }
    case "tombstone-done":
      return "a clip was deleted on the camera";
    case "setting":
      return `${statement.name} is ${statement.value}`;
    case "watched": {
      const { phone, how, state } = statement;
      return `${nameOf(phone)} ${state === "started" ? "looks" : "has looked"}: ${how}`;
    }
    case "tombstone-confirmed":
      return "a phone has destroyed what opened deleted clips";
    case "window":
      return `a window for pairing is open, as ${nameOf(statement.phone)} asked`;
    case "asked":
      return tellAsked(statement);
    case "alarm":
      return `alarm ${statement.what}${statement.mode ? ` (${statement.mode})` : ""}: ${statement.text}`;
    case "push":
      return tellPush(statement, nameOf);
    case "checkpointed":
      return "an owner vouched for the log up to here";
    case "receiving-key":
    case "day-closed":
    case "nonce":
      return "";
  }
}

function tellPush(
  { what, phone, service = "" }: Statement & { kind: "push" },
  nameOf: (phone: Uint8Array) => string,
): string {
  const who = phone ? nameOf(phone) : "a phone";
  switch (what) {
    case "key":
      return "the camera said its key at push services";
    case "added":
      return `${who} is told of visits from now on, by ${service}`;
    case "removed":
      return `${who} is not told by ${service} any more`;
    case "gone":
      return `${who} is not told by ${service} any more: that knows the subscription no longer`;
  }
}

function tellAsked({ what, value, by }: Statement & { kind: "asked" }): string {
  if (by === "start") return `${what} was ${value} when the camera started`;
  if (by === "settings") return `${what} is ${value}: its settings do not let the house change it`;
  return `the house asked by ${by}: ${what} ${value}`;
}
