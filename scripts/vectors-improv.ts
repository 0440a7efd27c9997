import { concat, fromText } from "../src/base/pure/bytes.ts";
import {
  type Answer,
  type Command,
  printAnswer,
  printCommand,
} from "../src/device/improv/packet.ts";
import { describe, type Vector, writeVectors } from "./vectors.ts";

// The vectors of Improv Wi-Fi's packets. Those named after the specification are its examples.

const sealed = (bytes: number[]) => {
  const sum = bytes.reduce((all, byte) => (all + byte) & 0xff, 0);
  return Uint8Array.from([...bytes, sum]);
};
const settings = (ssid: string, password: string): Command => ({
  kind: "settings",
  ssid: fromText(ssid),
  password,
});

function ill(object: string, cases: Record<string, [stage: string, bytes: Uint8Array]>): Vector[] {
  return Object.entries(cases).map(([name, [expect, bytes]]) => {
    const kind = expect === "command" ? "refused" : "corrupt";
    return { name, header: { object, expect, kind }, bytes, raw: false };
  });
}

export function commandVectors(): Vector[] {
  const well: Record<string, Command> = {
    "well-specification": settings("MyWirelessAP", "mysecurepassword"),
    "well-open-network": settings("Guests", ""),
    "well-longest": settings("n".repeat(32), "p".repeat(64)),
    "well-identify": { kind: "identify" },
    "well-info": { kind: "info" },
    "well-scan": { kind: "scan" },
    "well-hostname": { kind: "hostname", text: undefined },
    "well-hostname-set": { kind: "hostname", text: "porch" },
    "well-name": { kind: "name", text: undefined },
    "well-name-set": { kind: "name", text: "Porch, café" },
  };
  const good = printCommand(settings("Home", "correct-horse"));
  const wrong = Uint8Array.from(good);
  wrong[good.length - 1] = (wrong[good.length - 1] ?? 0) ^ 1;
  return [
    ...Object.entries(well).map(([name, command]) => ({
      name,
      header: { object: "improv-command", expect: "well", ...describe(command) },
      bytes: printCommand(command),
      raw: false,
    })),
    ...ill("improv-command", {
      empty: ["length", new Uint8Array()],
      "longer-than-announced": ["length", concat([good, Uint8Array.of(0)])],
      "checksum-wrong": ["checksum", wrong],
      "command-unknown": ["command", sealed([7, 0])],
      "command-zero": ["command", sealed([0, 0])],
      "settings-empty": ["data", sealed([1, 0])],
      "settings-without-password": ["data", sealed([1, 2, 1, 0x41])],
      "settings-without-name": ["data", sealed([1, 2, 0, 0])],
      "settings-with-more": ["data", sealed([1, 4, 1, 0x41, 0, 0])],
      "settings-name-too-long": ["data", sealed([1, 35, 33, ...Array(33).fill(0x41), 0])],
      "settings-name-beyond-end": ["data", sealed([1, 2, 9, 0x41])],
      "settings-password-no-text": ["text", sealed([1, 4, 1, 0x41, 1, 0xff])],
      "identify-with-data": ["data", sealed([2, 1, 0])],
      "name-no-text": ["text", sealed([6, 1, 0xff])],
    }),
  ];
}

export function answerVectors(): Vector[] {
  const well: Record<string, Answer> = {
    "well-specification": { command: 4, texts: ["MyWirelessNetwork", "-60", "WPA2"] },
    "well-url": { command: 1, texts: ["a://b"] },
    "well-nothing": { command: 1, texts: [] },
    "well-empty-text": { command: 1, texts: [""] },
  };
  return [
    ...Object.entries(well).map(([name, answer]) => ({
      name,
      header: { object: "improv-answer", expect: "well", ...describe(answer) },
      bytes: printAnswer(answer),
      raw: false,
    })),
    ...ill("improv-answer", {
      "text-beyond-end": ["data", sealed([1, 2, 9, 0x41])],
      "text-no-text": ["text", sealed([1, 2, 1, 0xff])],
      "checksum-wrong": ["checksum", Uint8Array.of(1, 0, 2)],
      "longer-than-announced": ["length", Uint8Array.of(1, 0, 1, 0)],
    }),
  ];
}

if (process.argv[1]?.endsWith("scripts/vectors-improv.js")) {
  await writeVectors("test/vectors/improv/command", commandVectors());
  await writeVectors("test/vectors/improv/answer", answerVectors());
}
