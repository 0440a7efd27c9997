import type { Alarm } from "../alarm/alarm.ts";
import type { OrderName, Orders } from "../order.ts";
import type { StateName } from "./topics.ts";

// What the house may ask for by MQTT: every command there is, in one map, as topics.ts has what is said.
// topics.md is for people; a test holds both equal.

/** Of who offers a command. */
export type Offerer = {
  base: string;
  profiles: readonly string[];
  /** How its panel is; undefined without an alarm. */
  panel: Alarm["panel"] | undefined;
};

/** How Home Assistant offers a command (discovery.ts). */
export type Offered = {
  name: string;
  platform: "switch" | "number" | "select" | "button" | "alarm_control_panel";
  /** Among what sets the device up, not among what it is used by. */
  config?: true;
  /** More keys of the platform. */
  more?(device: Offerer): Record<string, unknown>;
};

export type Command<T> = {
  /** For people. */
  payload: string;
  about: string;
  /** The topic that says what came of it. It is shown by what is offered here, where that is allowed. */
  state?: StateName;
  offered: Offered;
  /** Bytes of a payload. */
  most: number;
  /** Undefined when a payload is none of this command. It is somebody's text: it goes to no log. */
  read(payload: string): T | undefined;
};

const flag = {
  payload: "`ON` or `OFF`",
  most: 3,
  read: (payload: string) => (payload === "ON" ? true : payload === "OFF" ? false : undefined),
};
/** A number as JSON has it, without an exponent; also one that was reckoned: 0.5700000000000001. */
const decimal = (payload: string) =>
  /^(0|[1-9]\d{0,4})(\.\d{1,20})?$/.test(payload) ? Number(payload) : undefined;
const within = (value: number | undefined, least: number, most: number) =>
  value !== undefined && value >= least && value <= most ? value : undefined;

/** By the words of Home Assistant's panel. */
const actions = {
  ARM_HOME: "arm_home",
  ARM_AWAY: "arm_away",
  DISARM: "disarm",
  TRIGGER: "trigger",
} as const;
const actionOf = (name: unknown): Orders["alarm"]["command"] | undefined =>
  typeof name === "string" && Object.hasOwn(actions, name)
    ? actions[name as keyof typeof actions]
    : undefined;

function readAlarm(payload: string): Orders["alarm"] | undefined {
  const command = actionOf(payload);
  if (command) return { command, code: undefined };
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { action, code, ...rest } = value as Record<string, unknown>;
  const meant = actionOf(action);
  // A keypad that was left empty says null, or nothing; one of digits may send a number.
  const given =
    code === null || code === "" ? undefined : typeof code === "number" ? `${code}` : code;
  const isRight = given === undefined || typeof given === "string";
  if (!meant || !isRight || Object.keys(rest).length > 0) return undefined;
  return { command: meant, code: given as string | undefined };
}

/** What Home Assistant has to know of a panel whose code is checked here. */
function describePanel({ base, panel }: Offerer): Record<string, unknown> {
  const { code, codeToArm } = panel ?? { code: "none", codeToArm: false };
  return {
    supported_features: ["arm_home", "arm_away", "trigger"],
    json_attributes_topic: `${base}/last_alarm`,
    ...{ code_arm_required: codeToArm, code_disarm_required: code !== "none" },
    code_trigger_required: false,
    ...(code === "none"
      ? {}
      : {
          code: code === "digits" ? "REMOTE_CODE" : "REMOTE_CODE_TEXT",
          command_template: "{{ {'action': action, 'code': code} | tojson }}",
        }),
  };
}

const thresholds = { min: 0.01, max: 0.99 };
export const recordS = { preset: 15, least: 1, most: 300 };

/** Below `PREFIX/ID/`, each as `NAME/set`. */
export const commands: { readonly [K in OrderName]: Command<Orders[K]> } = {
  privacy: {
    ...flag,
    about: "shuts the lens, or opens it: nothing is seen, recorded or shown meanwhile",
    state: "privacy",
    offered: { name: "Privacy", platform: "switch" },
  },
  detection: {
    ...flag,
    about: "looks for persons, or does not",
    state: "detection",
    offered: { name: "Detection", platform: "switch", config: true },
  },
  threshold: {
    payload: `a number, ${thresholds.min} to ${thresholds.max}`,
    about: "least score of a person, until the next `profile`",
    state: "threshold",
    offered: {
      ...{ name: "Threshold", platform: "number", config: true },
      more: () => ({ ...thresholds, step: 0.01, mode: "slider" }),
    },
    most: 24,
    read: (payload) => {
      const threshold = within(decimal(payload), thresholds.min, thresholds.max);
      return threshold === undefined ? undefined : Number(threshold.toFixed(6));
    },
  },
  profile: {
    payload: "the name of one of `profiles`, or `none`",
    about: "takes this set of settings in the place of the camera's",
    state: "profile",
    offered: {
      ...{ name: "Profile", platform: "select", config: true },
      more: ({ profiles }) => ({ options: ["none", ...profiles] }),
    },
    most: 32,
    read: (payload) => (/^[A-Za-z0-9_-]{1,32}$/.test(payload) ? payload : undefined),
  },
  record: {
    payload: `\`PRESS\`, or whole seconds, ${recordS.least} to ${recordS.most}`,
    about: `records for ${recordS.preset} s, or as long as that says, whoever is there`,
    offered: { name: "Record now", platform: "button" },
    most: 5,
    read: (payload) => {
      if (payload === "PRESS") return recordS.preset;
      const seconds = within(decimal(payload), recordS.least, recordS.most);
      return Number.isInteger(seconds) ? seconds : undefined;
    },
  },
  alarm: {
    payload:
      '`ARM_HOME`, `ARM_AWAY`, `DISARM` or `TRIGGER`; with a code JSON, `{"action": "DISARM", "code": "…"}`',
    about: "arms the alarm, disarms it, or calls for help",
    state: "alarm",
    offered: { name: "Alarm", platform: "alarm_control_panel", more: describePanel },
    // A template may write each character of a code as twelve.
    most: 512,
    read: readAlarm,
  },
  alarm_test: {
    payload: "`PRESS`",
    about: "asks for the short warning, to try it",
    offered: { name: "Test alarm", platform: "button", config: true },
    most: 5,
    read: (payload) => (payload === "PRESS" ? true : undefined),
  },
};

export const commandNames = Object.keys(commands) as readonly OrderName[];
export const commandTopic = (name: OrderName): string => `${name}/set`;

/** The command whose topic this is. */
export function commandOf(topic: string): OrderName | undefined {
  return commandNames.find((name) => commandTopic(name) === topic);
}
