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
  if (named !== undefined) {
    const found = cameras.filter(
      ({ id, name }) => name === named || toHex(id).startsWith(named.toLowerCase()),
    );
    if (found.length === 1 && found[0]) return found[0];
    throw new Failure("misuse", `"${named}" names ${found.length} cameras`, {
      hint: known(cameras),
    });
  }
  const names = (await link.list()).filter(({ kind }) => kind === "entry" || kind === "part");
  let strange: Uint8Array | undefined;
  for (const name of names.slice(0, mostAsked)) {
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
  if (first && more.length === 0) return first;
  throw new Failure("absent", "nothing here tells whose objects these are", {
    hint: `Say --camera. ${known(cameras)}`,
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
