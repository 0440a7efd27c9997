import { type Version, verifyBase } from "../protocol/sealed/membership.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { readJournal } from "./journal.ts";
import type { Link } from "./link.ts";
import type { CameraKeys } from "./vault.ts";

/** The member list in force: as the log has it, or without a log as the adoption made it. */
export async function membersOf(
  camera: CameraKeys,
  link: Link | undefined,
  suite: Suite,
): Promise<{ list: Version; disputes: number }> {
  if (!link) return { list: verifyBase(camera.membership, camera.id, suite), disputes: 0 };
  const { members } = await readJournal({ link, camera, suite });
  return { list: members.head, disputes: members.disputes.length };
}
