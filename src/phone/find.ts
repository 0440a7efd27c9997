import { Reader, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { decodePart } from "../protocol/wire/part.ts";
import { kinds, readEnvelope } from "../protocol/wire/signature.ts";
import type { Link } from "./link.ts";
import { type CameraKeys, shortId, type Vault } from "./vault.ts";

/** How many objects are asked for whose they are. */
const mostAsked = 16;

/**
 * The camera whose objects lie behind `link`: the one that is named, else the one that the objects
 * themselves name, else the only one there is. Which one it is proves nothing yet.
 */
export async function findCamera(
  vault: Vault,
  link: Link,
  named: string | undefined,
): Promise<CameraKeys> {
  const { cameras } = vault.content;
  if (named !== undefined) return nameCamera(vault, named);
  const names = [
    ...(await link.list({ under: "entry/", limit: mostAsked })),
    ...(await link.list({ under: "part/", limit: mostAsked })),
  ];
  let strange: Uint8Array | undefined;
  for (const name of names) {
    const bytes = await link.get(name);
    const id = bytes && cameraOf(bytes);
    const camera = id && vault.camera(id);
    if (camera) return camera;
    strange ??= id;
  }
  if (strange) {
    throw new Failure("denied", `camera ${shortId(strange)} was not adopted by this phone`, {
      hint: known(cameras),
    });
  }
  const [first, ...more] = cameras;
  // One whose log is known has put something where its objects lie.
  const isEmpty = names.length === 0 && first?.head !== undefined;
  if (first && more.length === 0 && !isEmpty) return first;
  throw new Failure("absent", `nothing in ${link.where} tells whose objects these are`, {
    hint: `Is it a camera's outbox, or a copy of one? Then say --camera. ${known(cameras)}`,
  });
}

/** The camera that is named, by its name or the beginning of its id; without one the only one. */
export function nameCamera(vault: Vault, named: string | undefined): CameraKeys {
  const { cameras } = vault.content;
  const found = cameras.filter(
    ({ id, name }) =>
      named === undefined || name === named || toHex(id).startsWith(named.toLowerCase()),
  );
  const [first, ...more] = found;
  if (first && more.length === 0) return first;
  const what = named === undefined ? "there are" : `"${named}" names`;
  throw new Failure("misuse", `${what} ${found.length} cameras`, {
    hint: `${found.length > 1 && named === undefined ? "Say --camera. " : ""}${known(cameras)}`,
  });
}

/** Parts and entries begin alike: envelope, then the camera's key. */
function cameraOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    const kind = bytes[2] === kinds.part.number ? kinds.part : kinds.entry;
    if (kind === kinds.part) return decodePart(bytes).camera;
    const reader = new Reader(bytes, "entry");
    readEnvelope(reader, kind, 255);
    return reader.take(32);
  } catch {
    return undefined;
  }
}

function known(cameras: readonly CameraKeys[]): string {
  if (cameras.length === 0) return "No camera has been adopted yet";
  return `Known: ${cameras.map(({ id, name }) => `${name || "-"} ${shortId(id)}`).join(", ")}`;
}
