import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { noticeBytes, type Pointer } from "../../protocol/sealed/pointer.ts";
import { printClip } from "../../protocol/wire/mailbox.ts";
import type { Link } from "../link.ts";
import { doubtsOf, type Holder, holdersIn, type Notice, readNotice } from "../notice.ts";
import type { CameraKeys, Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { openBody } from "./ece.ts";
import { openParts, writePicture } from "./open.ts";
import { printTime } from "./show.ts";
import type { Say } from "./world.ts";

/** More than any push service hands on. */
const mostBytes = 64 * 1024;
/** The first picture is in the first parts; a pointer that names more is none of ours. */
const mostParts = 64;

const whats = {
  visit: "somebody is there",
  alarm: "the alarm sounds",
  test: "a test: messages of this camera arrive here",
};

/**
 * `obscura-phone push open`: says what a message says, whether it came before, and what did not come; with
 * --picture fetches the visit's first picture. `connect` opens where a camera's objects lie.
 */
export async function openNotice(
  { operands, picture: file, frame }: Arguments,
  vault: Vault,
  connect: (camera: CameraKeys) => Promise<Link>,
  say: Say,
): Promise<number> {
  const [, path = ""] = operands;
  const content = await readNamed(path, { what: "a message", mostBytes });
  const notice = openAny(bare(content), holdersIn(vault.content), path);
  const { pointer, camera, isAgain, lateMs, missing } = notice;
  const found = file === undefined ? undefined : await fetch(pointer, camera, connect, path);
  const written = found && (await writePicture(found, { frame, out: file }));
  notice.keep();
  if (!isAgain) await vault.save();
  const name = camera.name || pointer.name || "a camera";
  const time = printTime(pointer.wallMs, pointer.clockTrusted);
  const clip = pointer.clip && toHex(pointer.clip);
  const lines = [
    `${name}: ${whats[pointer.what]}, ${time}`,
    ...(pointer.persons === undefined ? [] : [`persons ${pointer.persons}`]),
    ...(clip ? [`clip ${clip.slice(0, 12)}`] : []),
    ...doubtsOf(notice),
    ...(written ? [`${written.file}  ${written.width}x${written.height}`] : []),
  ];
  say(`${lines.join("\n")}\n`, {
    ...{ camera: toHex(camera.id), name, what: pointer.what, number: pointer.number },
    ...{ at: new Date(pointer.wallMs).toISOString(), clockTrusted: pointer.clockTrusted },
    ...(pointer.persons === undefined ? {} : { persons: pointer.persons }),
    ...{ ...(clip ? { clip } : {}), again: isAgain, late: lateMs !== undefined, missing },
    ...(written ? { picture: written.file } : {}),
  });
  return 0;
}

/** Bytes, or base64 of them as some distributors hand them on. */
function bare(content: Uint8Array): Uint8Array {
  const isText = content.every((byte) => byte < 0x80);
  const text = isText ? Buffer.from(content).toString("latin1").trim() : "";
  if (!/^[A-Za-z0-9+/_-]{64,}={0,2}$/.test(text)) return content;
  return new Uint8Array(Buffer.from(text, "base64url"));
}

function openAny(content: Uint8Array, holders: readonly Holder[], path: string): Notice {
  const wrong = (cause: unknown) => {
    if (!isFailure(cause, "corrupt", "refused")) throw cause;
    return new Failure(cause.kind, `${path} is not as a camera sends it: ${cause.message}`, {
      ...{ cause, ...(cause.hint ? { hint: cause.hint } : {}) },
    });
  };
  // As a browser hands it over, opened already.
  const plains = content.length === noticeBytes ? [content] : [];
  try {
    if (plains.length === 0) {
      for (const { push } of holders) {
        const own = push.own && openBody(content, push.own);
        if (own) plains.push(own);
      }
    }
    for (const plain of plains) {
      const found = readNotice(plain, holders, { suite: nodeSuite, nowMs: Date.now() });
      if (found) return found;
    }
  } catch (cause) {
    throw wrong(cause);
  }
  throw new Failure("denied", `${path} is for no subscription whose keys are here`, {
    hint: "What a browser subscribed to that browser alone opens; then give what it was handed",
  });
}

/** The parts up to the first picture, held against the camera's signature. */
async function fetch(
  { clip, picture, incarnation }: Pointer,
  camera: CameraKeys,
  connect: (camera: CameraKeys) => Promise<Link>,
  path: string,
) {
  if (!clip || picture === undefined || picture >= mostParts) {
    throw new Failure("absent", `there is no picture to what ${path} says`);
  }
  const link = await connect(camera);
  const under = printClip({ incarnation, clip });
  const names = await link.list({ under, limit: picture + 1 });
  const parts: Uint8Array[] = [];
  for (const name of names) {
    const part = await link.get(name);
    if (part) parts.push(part);
  }
  if (parts.length <= picture) {
    throw new Failure("absent", `the picture does not lie at ${link.where}`, {
      hint: "Lost, withheld, or at another relay: --relay URL looks there, `verify` into the rest",
    });
  }
  const found = openParts(Buffer.concat(parts), camera, `what lies at ${link.where}`);
  if (equal(found.clip, clip)) return found;
  throw new Failure("corrupt", `what lies at ${link.where} is of another clip`);
}
