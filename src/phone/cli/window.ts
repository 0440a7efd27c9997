import encodeQr from "qr";
import { nodeSuite } from "../../base/node/crypto.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { inviteSecretBytes, printInvite } from "../../protocol/sealed/invite.ts";
import { verifyIdentity } from "../../protocol/sealed/pairing.ts";
import { random } from "../../protocol/sealed/sodium.ts";
import { statements } from "../journal.ts";
import type { Arguments } from "./arguments.ts";
import { haveDoneFresh } from "./fresh.ts";
import type { Voice } from "./out.ts";
import type { Say, World } from "./world.ts";

const defaultWaitMs = 60_000;

/**
 * `obscura-phone window`: has the camera open a window for pairing, and shows the link of it. The secret
 * in it is drawn here and goes to the camera sealed; nothing keeps it but the camera until it closes.
 */
export async function openWindow(
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  const { vault, camera } = world;
  const secret = random(inviteSecretBytes);
  const { found } = await haveDoneFresh(
    world,
    (nonce) => ({ kind: "window", nonce, secret }),
    (journal, { number }) =>
      statements(journal, "window").find(
        ({ statement }) =>
          statement.number === number && equal(statement.phone, vault.content.phoneKey),
      )?.statement,
    { what: "window", endMs: performance.now() + (given.waitMs ?? defaultWaitMs), voice },
  );
  voice.progress("");
  const identity = verifyIdentity(camera.identity, nodeSuite).hash;
  const link = printInvite({ identity, secret, addresses: found.addresses });
  if (given.json) say("", { camera: toHex(camera.id), link });
  else {
    voice.print(`${encodeQr(link.toUpperCase(), "ascii")}\n${link}\n`);
    voice.warn(
      "open for ten minutes, or until a phone was here. On a phone of an owner, such as this:",
    );
    voice.warn("obscura-phone pair LINK --wifi NAME gives the camera another network");
  }
  return 0;
}
