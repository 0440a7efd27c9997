import { concat, fromText, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

// Improv Wi-Fi's packets. Specification: improv.md.

export const commands = {
  settings: 0x01,
  identify: 0x02,
  info: 0x03,
  scan: 0x04,
  hostname: 0x05,
  name: 0x06,
} as const;

export type Command =
  | { kind: "settings"; ssid: Uint8Array; password: string }
  | { kind: "identify" | "info" | "scan" }
  /** Asks for it when there is no text, else sets it. */
  | { kind: "hostname" | "name"; text: string | undefined };

export type Answer = { command: number; texts: readonly string[] };

const headBytes = 2;
/** Head, data and checksum. */
export const longestPacket: number = headBytes + 255 + 1;

/** How many bytes the packet that begins so has, or undefined while that cannot be said. */
export function packetBytes(begun: Uint8Array): number | undefined {
  const length = begun[1];
  return length === undefined ? undefined : headBytes + length + 1;
}

/** Stages: "length", "checksum", "data", "text"; kind "refused" and stage "command" for an unknown one. */
export function parseCommand(bytes: Uint8Array): Command {
  const { number, data } = parsePacket(bytes);
  switch (number) {
    case commands.settings: {
      const fields = split(data);
      const [ssid = none, password = none] = fields;
      if (fields.length !== 2 || ssid.length < 1 || ssid.length > 32) {
        throw refuse("data", "these are no Wi-Fi settings");
      }
      return { kind: "settings", ssid: Uint8Array.from(ssid), password: toText(password) };
    }
    case commands.identify:
    case commands.info:
    case commands.scan: {
      if (data.length > 0) throw refuse("data", "a command with data that it does not take");
      const kinds = { [commands.identify]: "identify", [commands.info]: "info" } as const;
      return { kind: number === commands.scan ? "scan" : kinds[number] };
    }
    case commands.hostname:
    case commands.name: {
      const text = data.length > 0 ? toText(data) : undefined;
      return { kind: number === commands.hostname ? "hostname" : "name", text };
    }
    default:
      throw new Failure("refused", `there is no command ${number}`, { stage: "command" });
  }
}

/** What a client writes. Throws Failure "misuse" for what is too long for a packet. */
export function printCommand(command: Command): Uint8Array {
  switch (command.kind) {
    case "settings":
      return printPacket(commands.settings, join([command.ssid, fromText(command.password)]));
    case "identify":
    case "info":
    case "scan":
      return printPacket(commands[command.kind], none);
    case "hostname":
    case "name":
      return printPacket(commands[command.kind], fromText(command.text ?? ""));
  }
}

/** Stages as parseCommand. */
export function parseAnswer(bytes: Uint8Array): Answer {
  const { number, data } = parsePacket(bytes);
  return { command: number, texts: split(data).map(toText) };
}

/** Throws Failure "misuse" for what is too long for a packet. */
export function printAnswer({ command, texts }: Answer): Uint8Array {
  return printPacket(command, join(texts.map(fromText)));
}

/**
 * As many groups of `size` texts as an answer of at most `room` bytes has room for, in their order.
 * Clients take an answer in one piece, so that there is no second one.
 */
export function fitting(texts: readonly string[], size: number, room: number): string[] {
  const most = Math.min(room, longestPacket) - headBytes - 1;
  const kept: string[] = [];
  let bytes = 0;
  for (let i = 0; i + size <= texts.length; i += size) {
    const group = texts.slice(i, i + size);
    bytes += group.reduce((sum, text) => sum + 1 + fromText(text).length, 0);
    if (bytes > most) break;
    kept.push(...group);
  }
  return kept;
}

const none = new Uint8Array();

function parsePacket(bytes: Uint8Array): { number: number; data: Uint8Array } {
  const end = bytes.length - 1;
  if (bytes.length !== packetBytes(bytes)) throw refuse("length", "a packet of another length");
  if (bytes[end] !== checksum(bytes.subarray(0, end))) throw refuse("checksum", "a wrong checksum");
  return { number: bytes[0] ?? 0, data: bytes.subarray(headBytes, end) };
}

function printPacket(number: number, data: Uint8Array): Uint8Array {
  if (data.length > 255) throw new Failure("misuse", `${data.length} bytes for a packet of 255`);
  const packet = concat([Uint8Array.of(number, data.length), data]);
  return concat([packet, Uint8Array.of(checksum(packet))]);
}

/** Fields behind a length of one byte each, to the end. */
function split(data: Uint8Array): Uint8Array[] {
  const fields: Uint8Array[] = [];
  for (let at = 0; at < data.length; ) {
    const end = at + 1 + (data[at] ?? 0);
    if (end > data.length) throw refuse("data", "a field that is cut short");
    fields.push(data.subarray(at + 1, end));
    at = end;
  }
  return fields;
}

function join(fields: readonly Uint8Array[]): Uint8Array {
  for (const { length } of fields) {
    if (length > 255) throw new Failure("misuse", `${length} bytes for a field of 255`);
  }
  return concat(fields.flatMap((field) => [Uint8Array.of(field.length), field]));
}

const checksum = (bytes: Uint8Array) => bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0);

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", message, { stage });
}
