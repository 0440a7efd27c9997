import type { Setting } from "../base/node/settings.ts";
import { noProfile } from "./mode.ts";

/** A profile's settings, by their names. */
export type Profiles = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const most = 8;

/** Named sets of settings that the house may choose between; `of` are those that a set may hold. */
export function profilesOf(of: Readonly<Record<string, Setting<unknown>>>): Setting<Profiles> {
  const isSet = (value: unknown) =>
    isObject(value) &&
    Object.entries(value).every(
      ([name, one]) => Object.hasOwn(of, name) && of[name]?.read(one) !== undefined,
    );
  const isName = (name: string) => /^[A-Za-z0-9_-]{1,32}$/.test(name) && name !== noProfile;
  return {
    default: { day: {}, night: { "detect.threshold": 0.3, "record.postRollS": 15 } },
    about:
      "named sets of settings, each in the place of the camera's own while the house has chosen it (mqtt.commands)",
    expected: `at most ${most} names (letters, digits, _ and -, 32 at most, and not ${noProfile}), each with some of ${Object.keys(of).join(", ")}`,
    read: (value) => {
      if (!isObject(value) || Object.keys(value).length > most) return undefined;
      const isRight = Object.entries(value).every(([name, set]) => isName(name) && isSet(set));
      return isRight ? (value as Profiles) : undefined;
    },
  };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
