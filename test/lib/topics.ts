import { alarmEvent, alarmFields, isAlarmEvent } from "../../src/device/mqtt/alarms.ts";
import {
  type Command,
  commandNames,
  commands,
  commandTopic,
} from "../../src/device/mqtt/commands.ts";
import { type Form, handOver } from "../../src/device/mqtt/discovery.ts";
import {
  event,
  eventFields,
  eventTypes,
  isEvent,
  onlyWhen,
  type StateName,
  stateOf,
  states,
  type Topic,
} from "../../src/device/mqtt/topics.ts";
import { alarmOrders } from "../../src/device/order.ts";

const entries = () => Object.entries(states) as unknown as [StateName, Topic<unknown>][];
const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

/** The tables of topics.md and HOME.md, as they have to stand there. */
export function printTables(): Record<
  "states" | "event" | "alarm" | "shown" | "commands" | "offered",
  string
> {
  const about = ({ about, only }: Topic<unknown>) =>
    only ? `${about} (${onlyWhen[only]})` : about;
  const all = commandNames.map((name) => [name, commands[name] as Command<unknown>] as const);
  return {
    commands: table(
      ["topic", "payload", "what it does", "what came of it"],
      all.map(([name, { payload, about, state }]) => [
        ...[`\`${commandTopic(name)}\``, payload, about],
        state ? `\`${state}\`` : "",
      ]),
    ),
    offered: table(
      ["in Home Assistant", "is", "with", "does"],
      all.map(([name, { offered, about }]) => [
        ...[offered.name, offered.config ? `${offered.platform}, config` : offered.platform],
        ...[alarmOrders.includes(name) ? "`alarm.enabled`" : `\`${name}\``, about],
      ]),
    ),
    states: table(
      ["topic", "payload", "what it says"],
      entries().map(([name, topic]) => [`\`${name}\``, topic.payload, about(topic)]),
    ),
    event: table(
      ["field", "what it is"],
      Object.entries(eventFields).map(([name, what]) => [`\`${name}\``, what]),
    ),
    alarm: table(
      ["field", "what it is"],
      Object.entries(alarmFields).map(([name, what]) => [`\`${name}\``, what]),
    ),
    shown: table(
      ["in Home Assistant", "is", "says"],
      entries().flatMap(([, topic]) => {
        const { shown } = topic;
        if (!shown) return [];
        const kind = [
          shown.platform === "binary_sensor" ? "on or off" : "sensor",
          ...(shown.diagnostic ? ["diagnostic"] : []),
          ...(shown.hidden ? ["switched off at first"] : []),
        ].join(", ");
        return [[shown.name.replace("+", "*zone*"), kind, about(topic)]];
      }),
    ),
  };
}

export type Message = { topic: string; payload: Buffer; isRetained: boolean };

/** The longest that any message may be: sixteen persons in sixteen zones, and no picture. */
const mostBytes = 16 * 1024;
/** What pictures, films and archives of them begin with. */
const magic: readonly (readonly number[])[] = [
  [0xff, 0xd8, 0xff],
  [0x89, 0x50, 0x4e, 0x47],
  [0x47, 0x49, 0x46, 0x38],
  [...Buffer.from("RIFF")],
  [...Buffer.from("ftyp")],
  [...Buffer.from("moov")],
  [...Buffer.from("mdat")],
  [0x1a, 0x45, 0xdf, 0xa3],
  [0x00, 0x00, 0x00, 0x01, 0x67],
];

/** What is wrong with a message by the map, or nothing. */
export function faultOf(
  { topic, payload, isRetained }: Message,
  where: { base: string; node: string; prefix: string; form: Form },
): string | undefined {
  const { base, node, prefix, form } = where;
  if (payload.length > mostBytes) return `${topic}: ${payload.length} bytes`;
  if (holdsPicture(payload)) return `${topic}: holds a picture`;
  const text = payload.toString("utf8");
  if (Buffer.from(text).compare(payload) !== 0) return `${topic}: not text`;
  if (topic.startsWith(`${prefix}/`)) {
    const isDevice = topic === `${prefix}/device/${node}/config`;
    const isPart = new RegExp(`^${prefix}/[a-z_]+/${node}/[A-Za-z0-9_-]+/config$`).test(topic);
    const isKnown = (form === "device" && isDevice) || (form === "component" && isPart);
    // What was of another form is handed over, and taken away.
    const isLast = payload.length === 0 || (text === handOver && !isRetained);
    return isKnown || ((isDevice || isPart) && isLast) ? undefined : `${topic}: not in the map`;
  }
  if (!topic.startsWith(`${base}/`)) return `${topic}: of nobody`;
  const name = topic.slice(base.length + 1);
  if (name === event.topic) {
    if (isRetained) return `${topic}: retained`;
    if (!isEvent(text)) return `${topic}: not an event: ${text}`;
    return eventTypes.includes(JSON.parse(text).event_type) ? undefined : `${topic}: ${text}`;
  }
  if (name === alarmEvent) {
    if (isRetained) return `${topic}: retained`;
    return isAlarmEvent(text) ? undefined : `${topic}: not an event: ${text}`;
  }
  const state = stateOf(name);
  if (state === undefined) return `${topic}: not in the map`;
  if (payload.length === 0) return undefined;
  return states[state].isRight(text) ? undefined : `${topic}: ${JSON.stringify(text)}`;
}

/** Also in base64 and hexadecimal, at each of the places in which these can begin. */
export function holdsPicture(payload: Uint8Array): boolean {
  const text = Buffer.from(payload).toString("latin1");
  const runs = text.match(/[A-Za-z0-9+/_-]{24,}/g) ?? [];
  const decoded = runs.flatMap((run) => [
    Buffer.from(run, "base64"),
    Buffer.from(run.slice(1), "base64"),
    Buffer.from(run.slice(2), "base64"),
    Buffer.from(run.slice(3), "base64"),
  ]);
  const plain = [Buffer.from(payload), ...(text.match(/[0-9a-f]{64,}/gi) ?? []).map(fromHex)];
  const has = (bytes: Buffer, what: readonly number[]) => bytes.includes(Buffer.from(what));
  // Within text, short magic comes about by chance: in base64 it counts where it begins.
  const begins = (bytes: Buffer, what: readonly number[]) =>
    bytes.subarray(0, what.length + 8).includes(Buffer.from(what));
  return (
    magic.some((what) => plain.some((bytes) => has(bytes, what))) ||
    magic.some((what) => decoded.some((bytes) => begins(bytes, what)))
  );
}

const fromHex = (text: string) => Buffer.from(text, "hex");

/** All states that a camera with these zones and conditions has. */
export function expectedStates(zones: readonly string[], has: readonly string[]): string[] {
  return entries().flatMap(([name, { only }]) => {
    if (only && !has.includes(only)) return [];
    return name.includes("+") ? zones.map((zone) => name.replace("+", zone)) : [name];
  });
}
