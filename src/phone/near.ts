import { Failure } from "../base/pure/failure.ts";
import { verifyIdentity } from "../protocol/sealed/pairing.ts";
import { sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { openMailbox } from "../protocol/wire/client.ts";
import { objectType, problemBytes } from "../protocol/wire/mailbox.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { mailboxIdOf } from "./doors.ts";
import type { Link } from "./link.ts";
import { type Line, listAll, patientOf } from "./relay.ts";
import type { CameraKeys } from "./vault.ts";

// The camera itself, in the local network (device/local/local.md): read as a relay is, and handed commands.

/** What a camera's announcement is marked by, and no relay knows. */
export function markedBy(camera: CameraKeys, suite: Suite): Uint8Array {
  return verifyIdentity(camera.identity, suite).hash;
}

const commandMs = 60_000;

/**
 * @param url of the camera's local interface, such as http://192.168.1.5:8480
 * @param phone secret seed of this phone's own key: the camera lets its members in, and knows no doors
 */
export async function openNear(
  url: string,
  camera: CameraKeys,
  { phone, line }: { phone: Uint8Array; line: Line },
): Promise<Link> {
  const { suite, send, nowMs } = line;
  const mailbox = openMailbox({
    ...{ url: `${url}/mailbox`, suite, send, nowMs: () => nowMs() },
    ...{ mailbox: mailboxIdOf(camera, suite), key: signPublicKey(phone) },
    sign: line.signer?.(phone) ?? ((message: Uint8Array) => sign(phone, message)),
  });
  const patient = patientOf(line, url, "camera");
  await patient(() => mailbox.list({ under: "entry/", limit: 1 }));
  return {
    ...{ where: url, kind: "relay" },
    list: (range = {}) => listAll(mailbox, patient, range),
    get: (name) => patient(() => mailbox.get(name)),
    async put({ name, bytes }) {
      // It keeps no doors: a relay gets the list with the first command that reaches one.
      if (name.kind === "door") return;
      if (name.kind !== "box") {
        throw new Failure("misuse", `a camera is not handed a ${name.kind}`);
      }
      await patient(async () => {
        const { status, headers } = await send({
          ...{ method: "POST", url: `${url}/v1/commands`, body: bytes },
          ...{ headers: { "content-type": objectType }, mostBytes: problemBytes },
          timeoutMs: commandMs,
        });
        if (status === 202) return;
        const after = /^\d{1,3}$/.exec(headers["retry-after"] ?? "")?.[0];
        if (status === 403) throw new Failure("refused", "it cannot open what this phone sealed");
        throw new Failure(
          status >= 500 || status === 429 ? "gone" : "corrupt",
          `it says ${status}`,
          {
            ...(after === undefined ? {} : { retryAfterMs: Number(after) * 1000 }),
          },
        );
      });
    },
    wait: async ({ under = "", after = "" }, waitMs, signal) => {
      await mailbox.list({ under, after, limit: 1, waitMs, signal });
    },
  };
}
