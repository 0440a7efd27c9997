import * as assert from "uvu/assert";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  longestAnswer,
  longestRequest,
  newNetworkRequest,
} from "../../../src/protocol/sealed/network.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const wifi = { ssid: fromText("Home"), password: "correct-horse", hidden: false };
const request = newNetworkRequest(wifi);
const longest = { ...wifi, ssid: new Uint8Array(32).fill(0xff), password: "p".repeat(63) };

suite("network request", (test) => {
  test("each request is another one, and none is longer than is listened for", () => {
    assert.not.equal(newNetworkRequest(wifi).id, request.id);
    assert.ok(encodeRequest(newNetworkRequest(longest)).length <= longestRequest);
    const address = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
    assert.is(encodeAnswer({ verdict: "joined", address }).length, longestAnswer);
  });

  test("what no network can have is misuse, and says which half", () => {
    const bad = { ssid: [{ ssid: new Uint8Array() }], password: [{ password: "short" }] };
    for (const [stage, list] of Object.entries(bad)) {
      for (const change of list) {
        assert.throws(
          () => newNetworkRequest({ ...wifi, ...change }),
          (error: unknown) => isFailure(error, "misuse") && error.stage === stage,
        );
      }
    }
  });

  test(
    "fuzz",
    () => {
      fuzz({
        name: "network request",
        seeds: [encodeRequest(request), encodeRequest(newNetworkRequest(longest))],
        decode: decodeRequest,
        reaches: ["taken", "length", "flags", "ssid", "password"],
      });
      fuzz({
        name: "network answer",
        seeds: [
          encodeAnswer({ verdict: "leaving" }),
          encodeAnswer({ verdict: "joined", address: "192.168.1.7" }),
        ],
        decode: decodeAnswer,
        reaches: ["taken", "length", "verdict", "address"],
      });
    },
    { deadlineMs: 300_000 },
  );
});
