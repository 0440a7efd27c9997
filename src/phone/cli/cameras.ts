import { nodeSuite } from "../../base/node/crypto.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import { type Beacon, verifyBeacon } from "../../protocol/wire/beacon.ts";
import { findCamera } from "../find.ts";
import { heardOf } from "../heard.ts";
import type { Link } from "../link.ts";
import { type Line, openFirstRelay } from "../relay.ts";
import { type CameraKeys, shortId, type Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { openFolder } from "./folder.ts";
import type { Voice } from "./out.ts";
import { printTable, printTime } from "./show.ts";
import type { Say } from "./world.ts";

type Row = {
  camera: CameraKeys;
  relay: string | undefined;
  state: "heard" | "silent" | "never" | "unreachable" | "forged" | "no relay";
  atMs: number | undefined;
  text: string;
};

/**
 * `obscura-phone cameras`: all that are known, and when each was heard through its relay; or the one
 * whose folder is named, and when it was heard there.
 */
export async function cameras(
  { from, relays, camera: named }: Arguments,
  vault: Vault,
  line: Line,
  voice: Voice,
  say: Say,
): Promise<void> {
  const nowMs = Date.now();
  const lookThere = async (folder: string) => {
    const link = await openFolder(folder);
    const camera = await findCamera(vault, link, named);
    return [await look(camera, folder, async () => link, nowMs)];
  };
  const lookAtRelays = async (camera: CameraKeys) => {
    const urls = relays ?? camera.relays;
    return await look(camera, urls[0], () => openFirstRelay(urls, camera, line), nowMs);
  };
  const rows =
    from === undefined
      ? await Promise.all(vault.content.cameras.map(lookAtRelays))
      : await lookThere(from);
  await vault.saveIfTouched();
  const hasKit = ({ kits = 0 }: CameraKeys) => kits > 0;
  const isWithout = (camera: CameraKeys) =>
    rows.some((row) => hasKit(row.camera)) && !hasKit(camera);
  const text = printTable([
    ["CAMERA", "ID", "RELAY", "LAST HEARD", "STATE"],
    ...rows.map(({ camera, relay, atMs, text }) => [
      camera.name || "-",
      shortId(camera.id),
      relay ?? "-",
      printTime(atMs, true),
      isWithout(camera) ? `${text}. No recovery kit covers it` : text,
    ]),
  ]);
  if (rows.some(({ camera }) => isWithout(camera))) {
    voice.warn("a kit covers the cameras that took it: `obscura-phone recovery-kit renew PAPER`");
  }
  say(rows.length === 0 ? "no camera yet: `obscura-phone pair LINK`\n" : text, {
    cameras: rows.map(({ camera, relay, state, atMs, text }) => ({
      ...{ id: toHex(camera.id), name: camera.name, state, text, relays: camera.relays },
      ...(relay === undefined ? {} : { relay }),
      ...(atMs === undefined ? {} : { heard: new Date(atMs).toISOString() }),
      waiting: camera.outgoing.length,
      kit: hasKit(camera),
    })),
  });
}

async function look(
  camera: CameraKeys,
  first: string | undefined,
  open: () => Promise<Link>,
  nowMs: number,
): Promise<Row> {
  const none = { camera, relay: first, atMs: undefined };
  if (first === undefined) return { ...none, state: "no relay", text: "no relay: see --from" };
  try {
    const link = await open();
    const bytes = await link.get({ kind: "beacon" });
    let beacon: Beacon | undefined;
    try {
      beacon = bytes && verifyBeacon(bytes, camera.id, nodeSuite);
    } catch (error) {
      return { ...none, relay: link.where, state: "forged", text: explain(error) };
    }
    const { state, atMs, text } = heardOf(beacon, nowMs);
    const lies = (link.faults ?? []).filter(({ severity }) => severity === "lie");
    const [lie] = lies;
    return { camera, relay: link.where, state, atMs, text: lie ? `${text}. ${lie.text}` : text };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { ...none, state: "unreachable", text: explain(error) };
  }
}
