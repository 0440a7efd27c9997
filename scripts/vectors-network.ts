import { fromText } from "../src/base/pure/bytes.ts";
import {
  encodeAnswer,
  encodeRequest,
  type NetworkAnswer,
  type NetworkRequest,
} from "../src/protocol/sealed/network.ts";
import { describe, type Vector } from "./vectors.ts";

const id = new Uint8Array(16).fill(0x61);

export function networkVectors(): Vector[] {
  const request = (name: string, password: string, hidden = false): NetworkRequest => ({
    ...{ id, wifi: { ssid: fromText(name), password, hidden } },
  });
  const well = (object: string, name: string, bytes: Uint8Array, fields: unknown): Vector => {
    const header = { object, expect: "well", ...describe(fields) };
    return { name: `well-${name}`, header, bytes, raw: false };
  };
  const asked = (name: string, fields: NetworkRequest) =>
    well("network-request", name, encodeRequest(fields), fields);
  const answered = (name: string, fields: NetworkAnswer) =>
    well("network-answer", name, encodeAnswer(fields), fields);
  const refused = (object: string, name: string, expect: string, bytes: Uint8Array): Vector => {
    return { name, header: { object, expect, kind: "corrupt" }, bytes, raw: false };
  };
  const good = encodeRequest(request("Zuhause \u2302", "correct horse"));
  const passwordAt = 16 + 2 + 11;
  const ask = (name: string, expect: string, bytes: Uint8Array) =>
    refused("network-request", name, expect, bytes);
  const answer = (name: string, expect: string, bytes: Uint8Array) =>
    refused("network-answer", name, expect, bytes);
  return [
    asked("request", request("Zuhause \u2302", "correct horse")),
    asked("request-longest", request("n".repeat(32), "p".repeat(63), true)),
    asked("request-open", request("x", "")),
    answered("leaving", { verdict: "leaving" }),
    answered("joined", { verdict: "joined", address: "192.168.1.7" }),
    answered("joined-6", { verdict: "joined", address: "fd00::1" }),
    answered("wrong-password", { verdict: "wrong-password" }),
    answered("unable", { verdict: "unable" }),
    ask("flags-newer", "flags", good.with(16, 2)),
    ask("ssid-empty", "ssid", good.with(17, 0)),
    ask("ssid-of-33", "ssid", good.with(17, 33)),
    ask("password-of-7", "password", good.with(passwordAt, 7)),
    ask("password-with-bell", "password", good.with(passwordAt + 1, 7)),
    ask("request-with-more", "length", Uint8Array.of(...good, 0)),
    answer("verdict-newer", "verdict", Uint8Array.of(9, 0)),
    answer("address-of-words", "address", Uint8Array.of(1, 2, ...fromText("hi"))),
    answer("answer-with-more", "length", Uint8Array.of(2, 0, 0)),
  ];
}
