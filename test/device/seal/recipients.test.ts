import * as assert from "uvu/assert";
import type { Owned } from "../../../src/device/keyring.ts";
import { fallbackOf } from "../../../src/device/seal/journal.ts";
import { chooseForClip, chooseForEpoch } from "../../../src/device/seal/recipients.ts";
import type { Role } from "../../../src/protocol/sealed/membership.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

/** Members that have handed out a restart key and nothing else. */
function owned(roles: readonly Role[]): Owned {
  const phones = roles.map((role, i) => ({ role, phone: new Uint8Array(32).fill(i + 1) }));
  const numbers = { incarnation: 1, batch: 1, firstIndex: 0, firstDay: 0 };
  return {
    membership: { members: phones.map(({ role, phone }) => ({ role, phone, name: role })) },
    supplies: phones.map(({ phone }) => ({
      ...{ phone, ...numbers, oneTime: [], days: [], restart: pattern(1216, 9) },
    })),
  } as unknown as Owned;
}

suite("device/seal/recipients", (test) => {
  test("the one key of a kit is no fallback, that of a phone is", () => {
    const all = owned(["owner", "kit"]);
    const at = { incarnation: 1, day: 0 };
    for (const chosen of [chooseForClip(all, { ...at, spent: {} }), chooseForEpoch(all, at)]) {
      assert.equal(
        chosen.map(({ from }) => from),
        ["restart", "kit"],
      );
      assert.equal(
        chosen.map((key) => fallbackOf(key)?.kind),
        ["fallback-used", undefined],
      );
    }
  });
});
