import { parse as parseYaml } from "yaml";
import { settingsFile } from "../base/node/program.ts";
import {
  choice,
  number,
  printSettings,
  readSettings,
  type Setting,
  sourceOf,
  text,
  type Values,
} from "../base/node/settings.ts";
import { Failure } from "../base/pure/failure.ts";
import { settingNames } from "../protocol/sealed/action.ts";
import { mostRelays } from "../protocol/sealed/pairing.ts";
import { parseRelay } from "../protocol/wire/client.ts";
import { alarmFaults, alarmSchema } from "./alarm/alarm.ts";
import { doubleZones, masks, readList, zones } from "./areas.ts";
import { brokerFaults, brokerUrl } from "./broker.ts";
import { linePattern } from "./button.ts";
import type { CameraOptions } from "./camera/camera.ts";
import { lanFaults, lanSettings } from "./lan.ts";
import { secretFile, shownLogin } from "./login.ts";
import { mailFaults, mailSchema } from "./mailserver.ts";
import { allowedOrders } from "./order.ts";
import { type Places, placed, placesIn } from "./places.ts";
import { profilesOf } from "./profile.ts";
import { pushSchema } from "./push/push.ts";

/** The format of the settings file. It rises when an old file could be misread. */
const version = 1;

const relayUrls: Setting<"adopted" | "none" | readonly string[]> = {
  default: "adopted",
  about: "where the owner's mailbox is: as the adoption says, nowhere, or these relays",
  expected: `adopted, none, or a list of at most ${mostRelays} addresses such as https://relay.example:8443`,
  read: (value) => {
    if (value === "adopted" || value === "none") return value;
    return readList(value, mostRelays, (item) => {
      try {
        if (typeof item !== "string") return undefined;
        parseRelay(item);
        return item;
      } catch {
        return undefined;
      }
    });
  },
  shown: shownLogin,
};

const controls: Setting<Record<string, number>> = {
  default: {},
  about: "camera controls by the names `obscura-camera cameras` shows, set at each opening",
  expected: "names with whole numbers, such as power_line_frequency: 1",
  read: (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    const entries = Object.entries(value);
    const good = entries.every(
      ([name, n]) => /^[a-z0-9_]{1,64}$/.test(name) && Number.isInteger(n),
    );
    return good && entries.length <= 64 ? (value as Record<string, number>) : undefined;
  },
};

const button: Setting<string> = {
  default: "",
  about:
    "a button between this GPIO line and ground: a press lets a phone pair, ten seconds erase all",
  expected: "a chip and a line such as gpiochip0/17, or nothing",
  read: (value) =>
    typeof value === "string" && (value === "" || linePattern.test(value)) ? value : undefined,
};

const word = (about: string, preset: string, steps: number): Setting<string> => ({
  ...{ about, default: preset },
  expected: `${preset === "" ? "nothing, or " : ""}letters, digits, _ and -, 32 at most${steps > 1 ? `; up to ${steps} such with / between` : ""}`,
  read: (value) => {
    const names = typeof value === "string" ? value.split("/") : [];
    const isRight = names.every((name) => /^[A-Za-z0-9_-]{1,32}$/.test(name));
    const isOne = names.length >= 1 && names.length <= steps && isRight;
    return isOne || (value === "" && preset === "") ? (value as string) : undefined;
  },
});
const file = (about: string) => text({ default: "", limit: 4096, about });

const threshold = number({
  ...{ default: 0.4, min: 0.01, max: 0.99, about: "least score of a person" },
});
const preRollS = number({ default: 5, min: 0, max: 30, about: "seconds kept from before" });
const postRollS = number({ default: 5, min: 0, max: 60, about: "seconds kept after" });
/** None of these needs a new start. */
const profiles = profilesOf({
  ...{ "detect.threshold": threshold, "detect.zones": zones },
  ...{ "record.preRollS": preRollS, "record.postRollS": postRollS },
});

export const schema = {
  name: text({ default: "camera", limit: 64, about: "what the phone calls this camera" }),
  privacy: choice({
    default: false,
    of: [false, true],
    about: "the lens is shut: nothing is seen, recorded or shown, and the house cannot open it",
  }),
  camera: {
    source: text({
      default: "auto",
      limit: 4096,
      about: "a device (/dev/v4l/by-id/…), a video file to replay, or auto for the first camera",
    }),
    width: number({ default: 1280, min: 64, max: 4096, whole: true, about: "pixels" }),
    height: number({ default: 720, min: 64, max: 4096, whole: true, about: "pixels" }),
    fps: number({ default: 15, min: 1, max: 60, about: "pictures a second asked of the camera" }),
    format: choice({
      default: "auto",
      of: ["auto", "MJPG", "YUYV", "NV12", "RGB3", "GREY"],
      about: "the camera's pixel format",
    }),
    rotate: choice({ default: 0, of: [0, 90, 180, 270], about: "degrees clockwise to upright" }),
    flip: choice({ default: false, of: [true, false], about: "mirror left and right" }),
    masks,
    controls,
    slabMiB: number({
      default: 64,
      min: 8,
      max: 512,
      whole: true,
      about:
        "locked memory for pictures: at most half for the pre-roll, the rest for those under way",
    }),
  },
  detect: {
    threshold,
    input: choice({
      default: "auto",
      of: ["auto", "256x160", "320x192", "416x256", "416x320", "640x384"],
      about: "the model's picture; larger sees farther and costs more",
    }),
    precision: choice({
      default: "auto",
      of: ["auto", "fp32", "int8"],
      about: "auto times both once and keeps the faster that agrees",
    }),
    threads: number({ default: 2, min: 1, max: 8, whole: true, about: "processors for a look" }),
    crops: choice({
      default: true,
      of: [true, false],
      about: "look closer at what moves far away; off on a Pi Zero 2 W",
    }),
    separateVisitS: number({
      default: 5,
      min: 1,
      max: 600,
      about: "seconds without a person after which the next one is a new visit",
    }),
    zones,
  },
  record: {
    fps: number({ default: 15, min: 1, max: 60, about: "pictures a second kept in a clip" }),
    ...{ preRollS, postRollS },
    longestS: number({
      default: 180,
      min: 10,
      max: 3600,
      about: "seconds after which a clip ends and the next follows without a gap",
    }),
    preRollMiB: number({
      default: 24,
      min: 1,
      max: 256,
      about: "memory for the pre-roll; half the slab at most",
    }),
  },
  outbox: {
    limitMiB: number({
      default: 2048,
      min: 64,
      max: 1_000_000,
      whole: true,
      about: "room for sealed clips; the oldest goes first, and the log says so",
    }),
    headroomMiB: number({
      default: 256,
      min: 0,
      max: 100_000,
      whole: true,
      about: "room left free on the card for everything else",
    }),
    retentionDays: number({
      default: 0,
      min: 0,
      max: 3650,
      whole: true,
      about:
        "days that the camera ran after which a clip goes from the card; 0 keeps it while there is room",
    }),
  },
  relay: {
    urls: relayUrls,
    kbitPerS: number({
      default: 0,
      min: 0,
      max: 10_000_000,
      whole: true,
      about: "a cap for what is sent to all relays together, in kbit/s; 0 is none",
    }),
  },
  mqtt: {
    url: brokerUrl,
    credentials: secretFile("a file of two lines, user and password, that only its owner may read"),
    ca: file("PEM file of who vouches for the broker; empty for whom this system trusts"),
    certificate: file("PEM file that this camera shows to the broker; empty for none"),
    key: file("PEM file of its key, that only its owner may read"),
    prefix: word("what topics begin with", "obscura", 4),
    id: word("what follows it; empty for twelve digits of this camera's own", "", 1),
    commands: allowedOrders,
    discovery: choice({
      default: "device",
      of: ["device", "component", "off"],
      about:
        "what Home Assistant is told: the whole device in one message, as it is from 2024.11 on; each of its parts, which openHAB reads too; or nothing",
    }),
    discoveryPrefix: word("what Home Assistant's topics begin with", "homeassistant", 4),
  },
  profiles,
  alarm: alarmSchema,
  local: lanSettings,
  mail: mailSchema,
  push: pushSchema,
  light: text({
    default: "",
    limit: 64,
    about: "the LED of /sys/class/leds that shows how the camera is; empty for none",
  }),
  button,
  improv: choice({
    default: "encrypted",
    of: ["encrypted", "plain", "off"],
    about:
      "whether apps that speak Improv may bring a camera that nobody owns into a Wi-Fi network while it waits for phones by Bluetooth; plain lets radios that listen read its password",
  }),
  log: choice({
    default: "info",
    of: ["debug", "info", "warn", "error"],
    about: "least level that is written",
  }),
};

export type Config = Values<typeof schema>;

/**
 * The settings of `file`, and where they stand in it; when none is named, of the one that systemd names,
 * or the defaults. `onNotice` is told what is read all the same and hardly meant so.
 * @throws Failure misuse when it cannot be read, and with one line for each mistake
 */
export async function loadConfig(
  named: string | undefined,
  onNotice?: (line: string) => void,
): Promise<{ config: Config; places: Places }> {
  const source = await sourceOf(named ?? settingsFile("camera"));
  const config = readSettings(source, schema, { version, onNotice });
  const places = placesIn(source);
  const { prefix, id } = config.mqtt;
  const names = [...new Set(config.detect.zones.map(({ name }) => name))];
  const own = id === "" ? undefined : `${prefix}/${id}`;
  const faults = [
    ...[...brokerFaults(config.mqtt), ...lanFaults(config.local), ...mailFaults(config.mail)],
    ...alarmFaults(config.alarm, { zones: names, own }),
  ];
  if (faults.length > 0) {
    throw new Failure("misuse", faults.map((fault) => placed(fault, places)).join("\n"));
  }
  for (const fault of doubleZones(config)) onNotice?.(placed(fault, places));
  return { config, places };
}

/** As `loadConfig`, for who has nothing more to say of the file. */
export async function readConfig(named: string | undefined): Promise<Config> {
  return (await loadConfig(named)).config;
}

/** Of what a phone may change, what the camera and the connections to relays are opened by. */
const openedBy: readonly string[] = ["camera.rotate", "camera.flip", "camera.masks", "relay.urls"];

/** Whether the service begins anew to take a setting, which ends a clip that is being recorded. */
export function needsRestart(name: string): boolean {
  return openedBy.includes(name);
}

/**
 * One setting's YAML held against the schema, as JSON in one line. Throws Failure "misuse" for one
 * that may not be set from afar, or a value that is not what is expected.
 */
export function checkRemote(name: string, yaml: string): string {
  if (!settingNames.includes(name)) {
    throw new Failure("misuse", `${name} is not a setting that a phone may change`);
  }
  let value: unknown;
  try {
    value = parseYaml(yaml, { maxAliasCount: 0 });
  } catch (cause) {
    throw new Failure("misuse", `${name} is not YAML`, { cause });
  }
  const json = JSON.stringify(value) ?? "null";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the log takes none
  if (json.length > 4000 || /[\u0000-\u001f\u007f-\u009f]/.test(json)) {
    throw new Failure("misuse", `${name} is too long, or holds control characters`);
  }
  const { relay, detect } = withRemote(readNothing(), { [name]: json });
  const [double] = doubleZones({ detect, profiles: {} });
  if (double) throw new Failure("misuse", double.text);
  if (relay.urls === "none" || relay.urls.length === 0) {
    throw new Failure("misuse", "without a relay no phone could ever change that again");
  }
  return json;
}

/**
 * The configuration with what was set from afar, as JSON by name, in the place of what the file says.
 * Throws Failure "misuse" for a value that is not what is expected.
 */
export function withRemote(config: Config, settings: Readonly<Record<string, string>>): Config {
  const result = structuredClone(config) as unknown as Record<string, unknown>;
  for (const [name, json] of Object.entries(settings)) {
    if (!settingNames.includes(name)) continue;
    const steps = name.split(".");
    const text = steps.reduceRight((inner, step) => `{${JSON.stringify(step)}: ${inner}}`, json);
    const read = readSettings({ file: name, text }, schema, { version });
    const [first = "", second] = steps;
    const from = read as unknown as Record<string, unknown>;
    if (second === undefined) result[first] = from[first];
    else {
      const section = from[first] as Record<string, unknown>;
      (result[first] as Record<string, unknown>)[second] = section[second];
    }
  }
  return result as unknown as Config;
}

function readNothing(): Config {
  return readSettings({ file: "defaults", text: "" }, schema, { version });
}

/** The whole file with every default and what it means. */
export function printConfig(): string {
  return `version: ${version}\n${printSettings(schema)}`;
}

/** How the camera is opened by these settings. */
export function cameraOptions({ camera }: Config): Omit<CameraOptions, "clock" | "signal"> {
  const { source, width, height, fps, rotate, flip, masks, controls, format, slabMiB } = camera;
  return {
    ...{ source, width, height, fps, rotate, flip, masks, controls },
    ...(format === "auto" ? {} : { format }),
    slabBytes: slabMiB * 2 ** 20,
  };
}
