import { fromText, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { readWifi, type Wifi } from "./lens.ts";
import { random } from "./sodium.ts";

// The network that a phone names within a pairing session, and how joining it ended. Specification:
// network.md.

export const requestIdBytes = 16;
export const longestRequest = 16 + 1 + 1 + 32 + 1 + 255;
export const longestAnswer = 2 + 45;

export type NetworkRequest = {
  /** Random: the same request, sent again, gets the same answer. */
  readonly id: Uint8Array;
  readonly wifi: Wifi;
};

/** What each answer means, for people. */
export const networkVerdicts = {
  leaving: "the camera leaves its own network to join it",
  joined: "the camera joined it",
  "wrong-password": "the password is wrong",
  "no-such-network": "there is no such network in the camera's range",
  "no-address": "it let the camera in, and gave it no address: is its router well?",
  "turned-away": "it did not let the camera in: is it full, or does it take known devices only?",
  interrupted: "the attempt was interrupted; try it again",
  unfit: "the camera cannot join it so: it is open, or protected in another way than by a password",
  unable: "the camera's Wi-Fi cannot be used now; what it prints says why",
} as const;
export type NetworkVerdict = keyof typeof networkVerdicts;
const verdicts = Object.keys(networkVerdicts) as NetworkVerdict[];

export type NetworkAnswer = {
  readonly verdict: NetworkVerdict;
  /** Where the camera is reached in it, when it joined. */
  readonly address?: string;
};

/** Throws Failure "misuse" for what no network can have; its stage is "ssid" or "password". */
export function newNetworkRequest(wifi: Wifi): NetworkRequest {
  const request = { id: random(requestIdBytes), wifi };
  try {
    decodeRequest(encodeRequest(request));
  } catch (cause) {
    if (!(cause instanceof Failure)) throw cause;
    const { message, stage = "password" } = cause;
    throw new Failure("misuse", message, { cause, stage });
  }
  return request;
}

export function encodeRequest({ id, wifi }: NetworkRequest): Uint8Array {
  const password = fromText(wifi.password);
  return new Writer()
    .raw(id)
    .u8(wifi.hidden ? 1 : 0)
    .u8(wifi.ssid.length)
    .raw(wifi.ssid)
    .u8(password.length)
    .raw(password)
    .done();
}

/** Stages: "length", "flags", "ssid", "password". */
export function decodeRequest(bytes: Uint8Array): NetworkRequest {
  const reader = new Reader(bytes, "network request");
  const id = reader.take(requestIdBytes);
  const flags = reader.u8();
  if (flags > 1) throw reader.refuse("flags", "a network request that says more than is known");
  const wifi = readWifi(reader, flags === 1);
  reader.end();
  return { id, wifi };
}

export function encodeAnswer({ verdict, address = "" }: NetworkAnswer): Uint8Array {
  const text = fromText(address);
  return new Writer().u8(verdicts.indexOf(verdict)).u8(text.length).raw(text).done();
}

/** Stages: "length", "verdict", "address". */
export function decodeAnswer(bytes: Uint8Array): NetworkAnswer {
  const reader = new Reader(bytes, "network answer");
  const verdict = verdicts[reader.u8()];
  if (!verdict) throw reader.refuse("verdict", "an answer that is not known");
  const address = toText(reader.take(reader.u8()));
  reader.end();
  if (!/^[0-9a-f.:]{0,45}$/.test(address)) throw reader.refuse("address", "no address");
  return { verdict, ...(address === "" ? {} : { address }) };
}
