import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { equal, Reader, toHex } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { OpeningDetails, ThumbnailDetails } from "../../protocol/sealed/details.ts";
import { ClipOpener } from "../../protocol/sealed/opened.ts";
import { keyBytes, kinds, readEnvelope } from "../../protocol/wire/signature.ts";
import { findClipKey } from "../clips.ts";
import type { CameraKeys, Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { place } from "./export.ts";
import { writeWhole } from "./out.ts";
import { printTime } from "./show.ts";
import type { Say } from "./world.ts";

/** What a camera attaches is a tenth of it. */
const mostBytes = 8 * 2 ** 20;

type Opened = {
  /** For people: where it came from. */
  path: string;
  clip: Uint8Array;
  opening: OpeningDetails | undefined;
  pictures: { details: ThumbnailDetails; bytes: Uint8Array }[];
};

/**
 * `obscura-phone open`: writes the picture in a file that a camera sent by mail, the first parts of a
 * clip one behind the other. Asks nobody, and changes nothing in the vault.
 */
export async function open(
  { operands, out, frame }: Arguments,
  vault: Vault,
  say: Say,
): Promise<number> {
  const [path = ""] = operands;
  const bytes = await readNamed(path, { what: "a sealed picture", mostBytes });
  const camera = cameraOf(bytes, vault, path);
  const opened = openParts(bytes, camera, path);
  const { file, width, height, opening } = await writePicture(opened, { frame, out });
  const { wallMs: startMs, clockTrusted } = opening;
  const clip = toHex(opened.clip);
  const name = camera.name || "a camera";
  const time = printTime(startMs, clockTrusted);
  say(`${file}  ${width}x${height}, of ${name}, ${time}, clip ${clip.slice(0, 12)}\n`, {
    ...{ file, width, height, clip, camera: toHex(camera.id), name: camera.name },
    ...{ start: new Date(startMs).toISOString(), clockTrusted },
  });
  return 0;
}

/** Writes the person, or with `frame` the whole view: the newest there is. */
export async function writePicture(
  { clip, opening, pictures, path }: Opened,
  { frame, out }: { frame: boolean; out: string | undefined },
): Promise<{ file: string; width: number; height: number; opening: OpeningDetails }> {
  const wanted = frame ? "frame" : "person";
  const picture = pictures.findLast(({ details }) => details.what === wanted) ?? pictures.at(-1);
  if (!picture || !opening) {
    throw new Failure("absent", `${path} ends before its first picture: it was cut off on its way`);
  }
  const at = { id: clip, startMs: opening.wallMs };
  const file = await place(at, { count: 1, out }, ".jpg", "");
  await writeWhole(file, picture.bytes);
  const { width, height } = picture.details;
  return { file, width, height, opening };
}

/** The camera that the first part names, if this phone knows it; whether that made it is seen later. */
function cameraOf(bytes: Uint8Array, vault: Vault, path: string): CameraKeys {
  let id: Uint8Array;
  try {
    const reader = new Reader(bytes, "part");
    readEnvelope(reader, kinds.part);
    id = reader.take(keyBytes);
  } catch (cause) {
    throw new Failure("corrupt", `${path} is not what a camera sends`, { cause });
  }
  const camera = vault.content.cameras.find((one) => equal(one.id, id));
  if (camera) return camera;
  throw new Failure("denied", `${path} is of no camera that this phone knows`);
}

/** The first parts of a clip one behind the other, held against the camera's signature. */
export function openParts(bytes: Uint8Array, camera: CameraKeys, path: string): Opened {
  let clip: Uint8Array = new Uint8Array();
  const opener = new ClipOpener({
    ...{ camera: camera.id, suite: nodeSuite },
    key: (start) => {
      clip = start.header.clip;
      if (camera.deleted.some((one) => equal(one.clip, clip))) {
        throw new Failure("absent", `${path}: its clip was deleted, and so was its key`);
      }
      const found = findClipKey(start, camera);
      if (!found) throw new Failure("denied", `${path} is sealed to other phones`);
      return { clip: found.key };
    },
  });
  let opening: OpeningDetails | undefined;
  const pictures: Opened["pictures"] = [];
  try {
    for (const event of opener.push(bytes)) {
      if (event.kind === "opening") opening = event.details;
      if (event.kind === "thumbnail") pictures.push(event);
    }
  } catch (cause) {
    if (!isFailure(cause, "corrupt", "refused")) throw cause;
    const text = `${path} is not as this camera sealed it: ${cause.message}`;
    throw new Failure(cause.kind, text, { cause });
  }
  return { path, clip, opening, pictures };
}
