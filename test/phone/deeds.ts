import { Failure } from "../../src/base/pure/failure.ts";
import { inRange, type Link } from "../../src/phone/link.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import type { Kept, Objects } from "../fakes/camera.ts";

// What the keeper of a mailbox does while somebody looks into it.

export type All = ReadonlyMap<string, Kept>;
export type Deed =
  | { deed: "honest" }
  /** As it was once. */
  | { deed: "old"; moment: number }
  | { deed: "unlisted" | "withheld" | "flipped"; picks: readonly number[] }
  /** Boxes alone: what phones say to the camera and to each other. */
  | { deed: "deaf" }
  | { deed: "replayed"; picks: readonly [number, number] }
  /** The mailbox of the other camera. */
  | { deed: "swapped" }
  /** No answer after so many. */
  | { deed: "broken off"; after: number }
  /** Says that it keeps what is put, and keeps nothing. */
  | { deed: "forgetful" };

export function drawDeed(random: (below: number) => number, moments: number): Deed {
  const picks = () => Array.from({ length: 1 + random(3) }, () => random(1 << 20));
  switch (random(11)) {
    case 0:
    case 1:
      return { deed: "honest" };
    case 2:
      return { deed: "old", moment: random(moments) };
    case 3:
      return { deed: "unlisted", picks: picks() };
    case 4:
      return { deed: "replayed", picks: [random(1 << 20), random(1 << 20)] };
    case 5:
      return { deed: "flipped", picks: picks() };
    case 6:
      return { deed: "broken off", after: random(25) };
    case 7:
      return random(2) === 0 ? { deed: "swapped" } : { deed: "forgetful" };
    case 8:
      return { deed: "deaf" };
    default:
      return { deed: "withheld", picks: picks() };
  }
}

export type View = {
  readonly served: ReadonlyMap<string, Kept>;
  readonly listed: ReadonlyMap<string, Kept>;
};

export function viewOf(deed: Deed, truth: All, moments: readonly All[], other: All): View {
  const served = new Map(truth);
  const listed = new Map(truth);
  const names = [...truth.keys()].filter((name) => /^(entry|part)\//.test(name));
  const pick = (n: number) => names[n % names.length] ?? "";
  switch (deed.deed) {
    case "honest":
    case "broken off":
    case "forgetful":
      break;
    case "old": {
      const old = moments[deed.moment] ?? truth;
      return { served: old, listed: old };
    }
    case "swapped":
      return { served: other, listed: other };
    case "unlisted":
      for (const n of deed.picks) listed.delete(pick(n));
      break;
    case "withheld":
      for (const n of deed.picks) {
        served.delete(pick(n));
        listed.delete(pick(n));
      }
      break;
    case "deaf":
      for (const name of truth.keys()) {
        if (!name.startsWith("box/")) continue;
        served.delete(name);
        listed.delete(name);
      }
      break;
    case "flipped":
      for (const n of deed.picks) {
        const kept = served.get(pick(n));
        if (!kept) continue;
        const bytes = new Uint8Array(kept.bytes);
        const at = n % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (n & 7));
        served.set(pick(n), { ...kept, bytes });
      }
      break;
    case "replayed": {
      const [to, from] = deed.picks.map(pick);
      const [good, bad] = [served.get(to ?? ""), served.get(from ?? "")];
      if (good && bad) served.set(to ?? "", { name: good.name, bytes: bad.bytes });
    }
  }
  return { served, listed };
}

/** A phone's way into the mailbox while its keeper does that. */
export function linkTo(deed: Deed, { served, listed }: View, objects: Objects): Link {
  let asked = 0;
  const count = () => {
    asked += 1;
    if (deed.deed === "broken off" && asked > deed.after)
      throw new Failure("gone", "no whole answer");
  };
  const keeps = deed.deed !== "forgetful";
  const names = [...listed.values()].map(({ name }) => name);
  const put = new Map<string, Kept>();
  return {
    ...{ where: "memory", kind: "folder" },
    list: async (range = {}) => {
      count();
      return inRange([...names, ...[...put.values()].map(({ name }) => name)], range);
    },
    get: async (name) => {
      count();
      return (served.get(printName(name)) ?? put.get(printName(name)))?.bytes;
    },
    put: async (object) => {
      count();
      if (!keeps) return;
      objects.all.set(printName(object.name), object);
      put.set(printName(object.name), object);
    },
    remove: async (name) => {
      count();
      if (keeps) objects.all.delete(printName(name));
    },
  };
}
