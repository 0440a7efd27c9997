import { concat, fromText } from "../../base/pure/bytes.ts";
import { isFailure } from "../../base/pure/failure.ts";
import {
  type Command,
  commands,
  fitting,
  longestPacket,
  packetBytes,
  parseCommand,
  printAnswer,
} from "./packet.ts";

// Improv Wi-Fi 2.4 without its radio: what a client writes, and what happens otherwise, goes in; what the
// client is shown, and what is to be done, comes out. Specification: improv.md.

export const states = { locked: 0x01, authorized: 0x02, provisioning: 0x03, provisioned: 0x04 };
export const errors = {
  none: 0x00,
  packet: 0x01,
  command: 0x02,
  connect: 0x03,
  locked: 0x04,
  unknown: 0xff,
};

/** A packet whose rest has not come by then is forgotten. */
export const packetMs = 10_000;

export type Info = {
  readonly firmware: string;
  readonly version: string;
  readonly hardware: string;
  readonly system: string;
  readonly systemVersion: string;
};
export type Heard = { readonly ssid: string; readonly dBm: number; readonly auth: string };
export type Offers = {
  /** How long an authorization lasts. */
  readonly authorizedMs: number;
  readonly info: Info;
  /** What people call this device. */
  readonly name: string;
};

export type Event =
  /** `room` is for a result that is to reach the client in one notification. */
  | { kind: "written"; bytes: Uint8Array; room: number; atMs: number }
  /** Somebody at the board wants this. */
  | { kind: "authorized"; atMs: number }
  | { kind: "time"; atMs: number }
  | { kind: "disconnected" }
  | { kind: "scanned"; heard: readonly Heard[] }
  /** Listening for networks came to nothing. */
  | { kind: "unheard" }
  | { kind: "settled"; isJoined: boolean; atMs: number };

export type Deed =
  | { kind: "show"; what: "state" | "error" | "result"; bytes: Uint8Array }
  | { kind: "identify" | "scan" | "stop" }
  | { kind: "join"; ssid: Uint8Array; password: string };

export type Machine = {
  readonly state: number;
  readonly error: number;
  readonly capabilities: number;
  readonly result: Uint8Array;
  /** Six bytes of the advertisement. */
  serviceData(): Uint8Array;
  /** When "time" is to be told next, if it is. */
  dueMs(): number | undefined;
  step(event: Event): Deed[];
};

export function openMachine(offers: Offers): Machine {
  return new States(offers);
}

class States implements Machine {
  /** Identify, device info, scan. */
  readonly capabilities = 0b0111;
  state: number = states.locked;
  error: number = errors.none;
  result: Uint8Array = new Uint8Array();
  readonly #offers: Offers;
  #begun: Uint8Array = new Uint8Array();
  #begunMs = 0;
  #authorizedMs = 0;
  /** How much room the answer has that a client waits for. */
  #scanning: number | undefined;
  #deeds: Deed[] = [];

  constructor(offers: Offers) {
    this.#offers = offers;
  }

  serviceData(): Uint8Array {
    return Uint8Array.of(this.state, this.capabilities, 0, 0, 0, 0);
  }

  dueMs(): number | undefined {
    const due = [
      ...(this.#begun.length > 0 ? [this.#begunMs + packetMs] : []),
      ...(this.state === states.authorized ? [this.#lapsesMs()] : []),
    ];
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  step(event: Event): Deed[] {
    this.#deeds = [];
    if ("atMs" in event) this.#look(event.atMs);
    switch (event.kind) {
      case "written":
        this.#take(event);
        break;
      case "authorized":
        if (this.state === states.locked) this.#become(states.authorized);
        this.#authorizedMs = event.atMs;
        break;
      case "time":
        break;
      case "disconnected":
        this.#begun = new Uint8Array();
        this.#scanning = undefined;
        this.#mark(errors.none);
        break;
      case "scanned":
        if (this.#scanning !== undefined) this.#tellHeard(event.heard, this.#scanning);
        this.#scanning = undefined;
        break;
      case "unheard":
        if (this.#scanning !== undefined) this.#mark(errors.unknown);
        this.#scanning = undefined;
        break;
      case "settled":
        this.#settle(event);
        break;
    }
    return this.#deeds;
  }

  #lapsesMs(): number {
    return this.#authorizedMs + this.#offers.authorizedMs;
  }

  #look(atMs: number): void {
    if (this.#begun.length > 0 && atMs >= this.#begunMs + packetMs) {
      this.#begun = new Uint8Array();
      this.#mark(errors.packet);
    }
    if (this.state === states.authorized && atMs >= this.#lapsesMs()) this.#become(states.locked);
  }

  #take({ bytes, room, atMs }: Extract<Event, { kind: "written" }>): void {
    if (bytes.length === 0) return;
    if (this.#begun.length === 0) this.#begunMs = atMs;
    const all = concat([this.#begun, bytes.subarray(0, longestPacket + 1)]);
    const whole = packetBytes(all);
    if (whole === undefined || all.length < whole) {
      this.#begun = all;
      return;
    }
    this.#begun = new Uint8Array();
    let command: Command;
    try {
      // More than was announced is no packet either.
      command = parseCommand(all);
    } catch (error) {
      if (!isFailure(error, "corrupt", "refused")) throw error;
      this.#mark(error.stage === "command" ? errors.command : errors.packet);
      return;
    }
    this.#obey(command, room);
  }

  #obey(command: Command, room: number): void {
    const isOpen = this.state === states.authorized;
    const isQuiet = isOpen || this.state === states.locked;
    const isChange =
      command.kind === "settings" || (command.kind === "name" && command.text !== undefined);
    if (isChange ? !isOpen : !isQuiet) {
      this.#mark(errors.locked);
      return;
    }
    this.#mark(errors.none);
    switch (command.kind) {
      case "settings":
        this.#scanning = undefined;
        this.#become(states.provisioning);
        this.#deeds.push({ kind: "join", ssid: command.ssid, password: command.password });
        break;
      case "identify":
        this.#deeds.push({ kind: "identify" });
        break;
      case "info": {
        const { firmware, version, hardware, system, systemVersion } = this.#offers.info;
        const texts = [firmware, version, hardware, this.#offers.name, system, systemVersion];
        this.#answer(commands.info, texts.map(shorten));
        break;
      }
      case "scan":
        this.#scanning = room;
        this.#deeds.push({ kind: "scan" });
        break;
      case "name":
        if (command.text === undefined) this.#answer(commands.name, [shorten(this.#offers.name)]);
        else this.#mark(errors.unknown);
        break;
      case "hostname":
        this.#mark(errors.command);
        break;
    }
  }

  #settle({ isJoined, atMs }: Extract<Event, { kind: "settled" }>): void {
    if (this.state !== states.provisioning) return;
    if (isJoined) {
      // There is no page of ours to go on to.
      this.#answer(commands.settings, []);
      this.#become(states.provisioned);
      this.#deeds.push({ kind: "stop" });
      return;
    }
    this.#authorizedMs = atMs;
    this.#mark(errors.connect);
    this.#become(states.authorized);
  }

  /** A client whose connection has room for none of them has to read the whole result. */
  #tellHeard(heard: readonly Heard[], room: number): void {
    const texts = heard.flatMap(({ ssid, dBm, auth }) => [ssid, String(dBm), auth]);
    const fit = fitting(texts, 3, room);
    this.#answer(commands.scan, fit.length > 0 ? fit : fitting(texts, 3, longestPacket));
  }

  #answer(command: number, texts: readonly string[]): void {
    this.result = printAnswer({ command, texts });
    this.#deeds.push({ kind: "show", what: "result", bytes: this.result });
  }

  #become(state: number): void {
    this.state = state;
    this.#deeds.push({ kind: "show", what: "state", bytes: Uint8Array.of(state) });
  }

  #mark(error: number): void {
    if (this.error === error) return;
    this.error = error;
    this.#deeds.push({ kind: "show", what: "error", bytes: Uint8Array.of(error) });
  }
}

/** Six of them fit into one answer whatever they are; no character is cut in two. */
function shorten(text: string): string {
  let kept = "";
  for (const character of text) {
    if (fromText(kept + character).length > 41) break;
    kept += character;
  }
  return kept;
}
