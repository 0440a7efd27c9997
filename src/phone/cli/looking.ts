import { nodeSuite } from "../../base/node/crypto.ts";
import { storageStage } from "../../base/node/durable.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import { type Version, verifyBase } from "../../protocol/sealed/membership.ts";
import { findCamera, nameCamera } from "../find.ts";
import type { Journal } from "../journal.ts";
import type { Link } from "../link.ts";
import { type Line, openFirstRelay } from "../relay.ts";
import type { CameraKeys, Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { openFolder } from "./folder.ts";
import type { Voice } from "./out.ts";
import type { Home } from "./store.ts";
import { surveyWorld } from "./world.ts";

/** One camera as it was found just now; without link and log where nothing of it was reached. */
export type Looking = {
  readonly camera: CameraKeys;
  readonly link: Link | undefined;
  readonly journal: Journal | undefined;
  /** The member list in force, as far as this phone knows. */
  readonly list: Version;
  readonly disputes: number;
};

/** With link and log. */
export type Reached = Looking & { readonly link: Link; readonly journal: Journal };

export type LookAtAllOptions = {
  readonly given: Pick<Arguments, "from" | "camera" | "relays">;
  readonly store: Home;
  readonly vault: Vault;
  readonly line: Line;
  readonly voice: Voice;
};

/**
 * Looks at the camera that is named, else at all that are known, and does what is due after a look.
 * One that is not reached is said, and does not keep the others waiting.
 */
export async function lookAtAll(options: LookAtAllOptions): Promise<Looking[]> {
  const { given, vault } = options;
  if (given.from !== undefined) {
    const link = await openFolder(given.from);
    const camera = await findCamera(vault, link, given.camera);
    return [await look(camera, async () => link, options)];
  }
  const cameras =
    given.camera === undefined ? vault.content.cameras : [nameCamera(vault, given.camera)];
  const all: Looking[] = [];
  for (const camera of cameras) {
    const open = () => openFirstRelay(given.relays ?? camera.relays, camera, options.line);
    all.push(await look(camera, open, options));
  }
  return all;
}

export function isReached(looking: Looking): looking is Reached {
  return looking.link !== undefined && looking.journal !== undefined;
}

async function look(
  camera: CameraKeys,
  open: () => Promise<Link>,
  { store, vault, voice, given }: LookAtAllOptions,
): Promise<Looking> {
  try {
    const link = await open();
    const { journal } = await surveyWorld({ store, vault, camera, link }, "new", voice);
    const { head, disputes } = journal.members;
    return { camera, link, journal, list: head, disputes: disputes.length };
  } catch (error) {
    const isAway = isFailure(error, "gone", "offline", "refused", "misuse");
    // This phone's own storage is no camera that is away.
    if (!isAway || error.stage === storageStage) throw error;
    const isKnownToHaveNone = camera.relays.length === 0 && given.relays === undefined;
    if (!isKnownToHaveNone) voice.warn(`${camera.name || "a camera"}: ${explain(error)}`);
    const list = verifyBase(camera.membership, camera.id, nodeSuite);
    return { camera, link: undefined, journal: undefined, list, disputes: 0 };
  }
}
