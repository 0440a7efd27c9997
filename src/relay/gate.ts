import { equal } from "../base/pure/bytes.ts";
import { type DoorList, findDoor, type Right } from "../protocol/wire/door.ts";
import { type Ask, printClip } from "../protocol/wire/mailbox.ts";
import { mailboxOf, type Name } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";

// Who may do what: the table of protocol/wire/door.md, and nothing else.

/** "aged": only what is older than the owner's minimum age. */
export type Verdict = "yes" | "aged" | "no";

/**
 * Whether the key that signed may do it. `list` is the mailbox's door list, if it has one; the root
 * key needs none, since the mailbox is named after it.
 */
export function decide(
  { mailbox, ask }: { mailbox: Uint8Array; ask: Ask },
  key: Uint8Array,
  list: DoorList | undefined,
  { suite, nowMs }: { suite: Suite; nowMs: number },
): Verdict {
  if (equal(mailboxOf(key, suite), mailbox)) return decideForRoot(ask, key);
  const door = list && findDoor(list, key, nowMs);
  if (!door) return "no";
  if ("share" in door) return isOfClip(ask, door.share.clip) ? "yes" : "no";
  const verdicts = [...door.rights].map((right) => decideFor(right, ask, key));
  return verdicts.includes("yes") ? "yes" : verdicts.includes("aged") ? "aged" : "no";
}

function decideForRoot(ask: Ask, key: Uint8Array): Verdict {
  switch (ask.act) {
    case "get":
    case "list":
    case "delete-clip":
      return "yes";
    case "put":
      return ask.name.kind === "door" || isBoxOf(ask.name, key) ? "yes" : "no";
    case "delete":
      return ask.name.kind === "door" ? "no" : "yes";
    case "push":
      return "no";
  }
}

function decideFor(right: Right, ask: Ask, key: Uint8Array): Verdict {
  switch (right) {
    case "append":
      return decideForCamera(ask);
    case "read":
      return ask.act === "get" || ask.act === "list" ? "yes" : "no";
    case "box":
      return (ask.act === "put" || ask.act === "delete") && isBoxOf(ask.name, key) ? "yes" : "no";
    case "delete": {
      const isKept = ask.act === "delete" && isFixed(ask.name);
      return (ask.act === "delete" || ask.act === "delete-clip") && !isKept ? "yes" : "no";
    }
  }
}

function decideForCamera(ask: Ask): Verdict {
  switch (ask.act) {
    case "list":
      return "yes";
    case "put":
      return ask.name.kind === "door" || ask.name.kind === "box" ? "no" : "yes";
    case "get":
      return ask.name.kind === "part" ? "no" : "yes";
    case "delete":
      return ask.name.kind === "part" ? "aged" : "no";
    case "delete-clip":
      return "aged";
    case "push":
      return "yes";
  }
}

const isFixed = (name: Name) => name.kind === "beacon" || name.kind === "door";
const isBoxOf = (name: Name, key: Uint8Array) => name.kind === "box" && equal(name.writer, key);

function isOfClip(ask: Ask, clip: Uint8Array): boolean {
  if (ask.act === "get") return ask.name.kind === "part" && equal(ask.name.clip, clip);
  if (ask.act !== "list") return false;
  // Of any incarnation: what stands behind its ten digits.
  const at = "part/0000000000".length;
  const isPart = ask.page.under.startsWith("part/");
  return (
    isPart && ask.page.under.slice(at).startsWith(printClip({ incarnation: 0, clip }).slice(at))
  );
}
