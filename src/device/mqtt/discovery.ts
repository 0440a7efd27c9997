import type { Alarm } from "../alarm/alarm.ts";
import type { OrderName } from "../order.ts";
import { alarmEvent, alarmTypes } from "./alarms.ts";
import { type Command, commands, commandTopic } from "./commands.ts";
import {
  type Condition,
  event,
  eventTypes,
  type Shown,
  type StateName,
  states,
  type Topic,
  zoneTopic,
} from "./topics.ts";

// What Home Assistant is told of the topics, so that it shows them without being set up: one message
// for the whole device, or one for each of its parts, both retained.

export type Form = "device" | "component" | "off";
type Component = { platform: string } & Record<string, unknown>;
/** By the name that each has within the device, for good: Home Assistant tells them apart by it. */
export type Components = Record<string, Component>;

export type Device = {
  /** Of the camera, as in its topics. */
  id: string;
  /** What topics begin with, up to the camera's id. */
  base: string;
  name: string;
  version: string;
  zones: readonly string[];
  conditions: readonly Condition[];
  /** What the house may ask for. */
  allowed: readonly OrderName[];
  profiles: readonly string[];
  /** How its alarm panel is; undefined without one. */
  panel: Alarm["panel"] | undefined;
};

/** Visits can start automations also where `event` entities are not known, as in openHAB. */
const triggers = ["new", "end"] as const;
const alarmTriggers = ["warning", "pending", "siren", "quiet"] as const;
const origin = "obscura-camera";

/**
 * With `_` between, a part of camera `a_zone_b` would be called what one of camera `a` is called that has a zone
 * `b`. Neither ids nor names of parts have a full stop.
 */
const isAmbiguous = (id: string) => /_zone(_|$)|_(alarm|last|set)$/.test(id);

/** All that this camera has to show. */
export function componentsOf(device: Device): Components {
  const { id, base, zones, conditions, allowed } = device;
  const unique = (name: string) => `obscura_${id}${isAmbiguous(id) ? "." : "_"}${name}`;
  const components: Components = {};
  const offered: readonly Command<unknown>[] = allowed.map((name) => commands[name]);
  for (const [state, { only, shown }] of entries()) {
    if (!shown || (only && !conditions.includes(only))) continue;
    if (offered.some((command) => command.state === state)) continue;
    const topic = (zone: string) => `${base}/${state.replace("+", zone)}`;
    if (!state.includes("+")) {
      components[state] = show(shown, "", unique(state), topic(""));
      continue;
    }
    const what = state.endsWith("count") ? "count" : "person";
    for (const zone of zones) {
      const name = zoneTopic(what, zone).replaceAll("/", "_");
      components[name] = show(shown, zone, unique(name), topic(zone));
    }
  }
  for (const name of allowed) {
    // Another name than the state's: what is shown in its place may have been of another platform.
    components[`set_${name}`] = offer(commands[name], device, {
      unique: unique(`set_${name}`),
      topic: `${base}/${commandTopic(name)}`,
    });
  }
  const version = `${base}/version`;
  components.update = {
    ...{ platform: "update", unique_id: unique("update"), name: "Update", qos: 1 },
    ...{ device_class: "firmware", entity_category: "diagnostic", state_topic: version },
    // No cloud is asked what is newest: of what the camera knows, that is what it runs.
    value_template: "{{ {'installed_version': value, 'latest_version': value} | tojson }}",
  };
  const stream = `${base}/${event.topic}`;
  components.event = {
    ...{ platform: "event", unique_id: unique("event"), name: "Visit", device_class: "motion" },
    ...{ event_types: [...eventTypes], state_topic: stream, qos: 1 },
  };
  if (conditions.includes("alarm")) {
    const topic = `${base}/${alarmEvent}`;
    components.alarm_event = {
      ...{ platform: "event", unique_id: unique("alarm_event"), name: "Alarm did" },
      ...{ event_types: [...alarmTypes], state_topic: topic, qos: 1 },
    };
    for (const type of alarmTriggers) {
      components[`trigger_alarm_${type}`] = {
        ...{ platform: "device_automation", automation_type: "trigger", topic, qos: 1 },
        ...{ type: `alarm_${type}`, subtype: "alarm", payload: type },
        value_template: "{{ value_json.event_type }}",
      };
    }
  }
  for (const type of triggers) {
    components[`trigger_${type}`] = {
      ...{ platform: "device_automation", automation_type: "trigger", topic: stream, qos: 1 },
      ...{ type: `visit_${type}`, subtype: "visit", payload: type },
      value_template: "{{ value_json.event_type }}",
    };
  }
  return components;
}

const entries = () => Object.entries(states) as unknown as [StateName, Topic<unknown>][];

function show(shown: Shown, zone: string, unique: string, topic: string): Component {
  const { platform, deviceClass, unit, stateClass, template } = shown;
  return {
    ...{ platform, unique_id: unique, name: shown.name.replace("+", zone) },
    ...{ state_topic: topic, qos: 1 },
    ...(deviceClass ? { device_class: deviceClass } : {}),
    ...(shown.diagnostic ? { entity_category: "diagnostic" } : {}),
    ...(shown.hidden ? { enabled_by_default: false } : {}),
    ...(unit ? { unit_of_measurement: unit } : {}),
    ...(stateClass ? { state_class: stateClass } : {}),
    ...(template ? { value_template: template } : {}),
  };
}

function offer(
  { offered, state }: Command<unknown>,
  device: Device,
  { unique, topic }: { unique: string; topic: string },
): Component {
  const { name, platform, config, more } = offered;
  return {
    ...{ platform, unique_id: unique, name, command_topic: topic, qos: 1 },
    ...(state ? { state_topic: `${device.base}/${state}` } : {}),
    ...(config ? { entity_category: "config" } : {}),
    ...more?.(device),
  };
}

/** Of a device without its parts: what each of them would say anew in the other form. */
function headOf({ id, base, name, version }: Device) {
  return {
    device: {
      ...{ identifiers: [`obscura_${id}`], name, manufacturer: "Obscura" },
      ...{ model: "obscura-camera", sw_version: version },
    },
    origin: { name: origin, sw_version: version },
    availability: [{ topic: `${base}/availability` }],
  };
}

const node = (id: string) => `obscura_${id}`;
const deviceTopic = (prefix: string, id: string) => `${prefix}/device/${node(id)}/config`;

/** Where what was announced lies at the broker, in whichever form. */
export function announcedAt(prefix: string, id: string): string[] {
  return [deviceTopic(prefix, id), `${prefix}/+/${node(id)}/+/config`];
}

/** What is to lie at the broker, by topic. `gone` are parts to be taken away, with their platforms. */
export function announce(
  device: Device,
  { form, prefix, gone = {} }: { form: Form; prefix: string; gone?: Record<string, string> },
): Map<string, string> {
  if (form === "off") return new Map();
  const components = componentsOf(device);
  const head = headOf(device);
  if (form === "device") {
    const farewells = Object.entries(gone).map(([name, platform]) => [name, { platform }]);
    const all = { ...head, components: { ...Object.fromEntries(farewells), ...components } };
    return new Map([[deviceTopic(prefix, device.id), JSON.stringify(all)]]);
  }
  return new Map(
    Object.entries(components).map(([name, { platform, ...rest }]) => {
      const { availability, ...about } = head;
      // A trigger has no state that could be unavailable.
      const more = platform === "device_automation" ? about : { ...about, availability };
      const topic = `${prefix}/${platform}/${node(device.id)}/${name}/config`;
      return [topic, JSON.stringify({ ...rest, ...more })];
    }),
  );
}

/**
 * Said, not retained, where a part lies in one form before it is announced in the other: Home Assistant
 * keeps what was set for it there (MQTT integration, "Migration from single component to device-based
 * discovery"). What lay there is taken away when it has been announced anew.
 */
export const handOver = JSON.stringify({ migrate_discovery: true });

/**
 * Of topics that lie at the broker and are not to lie there, those whose parts go on in the form of now.
 * `before` are the parts that the device was announced with: all of these go on, or none.
 */
export function goingOn(
  left: readonly string[],
  before: Record<string, string>,
  device: Device,
  { form, prefix }: { form: Form; prefix: string },
): string[] {
  if (form === "off") return [];
  const parts = componentsOf(device);
  const isSame = ([name, platform]: [string, string]) => parts[name]?.platform === platform;
  if (form === "component" && !Object.entries(before).every(isSame)) return [];
  const other = announce(device, { prefix, form: form === "device" ? "component" : "device" });
  return left.filter((topic) => other.has(topic));
}

const mostGone = 128;

/**
 * The parts that a device was announced with, with their platforms, of what lies at the broker: a
 * stranger may have written it. What cannot have been ours is passed over.
 */
export function partsOf(payload: Uint8Array): Record<string, string> {
  try {
    const { components } = JSON.parse(new TextDecoder().decode(payload));
    const parts = Object.entries(components as Record<string, { platform?: unknown }>)
      .slice(0, mostGone)
      .map(([name, part]) => [name, part?.platform] as const)
      .filter(([name, platform]) => /^[A-Za-z0-9_-]{1,64}$/.test(name) && isPlatform(platform));
    return Object.fromEntries(parts) as Record<string, string>;
  } catch {
    return {};
  }
}

const platforms: readonly unknown[] = [
  ...["binary_sensor", "sensor", "event", "device_automation", "update"],
  ...["switch", "number", "select", "button", "alarm_control_panel"],
];
const isPlatform = (value: unknown) => platforms.includes(value);
