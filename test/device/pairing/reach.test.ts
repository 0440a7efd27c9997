import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { equal, fromText } from "../../../src/base/pure/bytes.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import type { Network } from "../../../src/device/network/network.ts";
import type { PairingOptions } from "../../../src/device/pairing/host.ts";
import { openReach } from "../../../src/device/pairing/reach.ts";
import {
  type NetworkAnswer,
  type NetworkRequest,
  newNetworkRequest,
} from "../../../src/protocol/sealed/network.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { board, failureOf, pairBy } from "../../lib/pairing.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const network = newNetworkRequest({
  ...{ ssid: fromText("Home"), password: "correct-horse", hidden: false },
});

/** Networks of a board that answer what they are told to; with `leave` it goes away first. */
function fakeReach(answers: NetworkAnswer[], leave?: () => Promise<boolean>) {
  const asked: NetworkRequest[] = [];
  const reach: NonNullable<PairingOptions["reach"]> = {
    open: async () => undefined,
    async join(request) {
      asked.push(request);
      const answer = answers.shift();
      if (!answer) throw new Error("it was asked more often");
      return { answer, ...(answer.verdict === "leaving" && leave ? { leave } : {}) };
    },
  };
  return { reach, asked };
}

const invite = { identity: new Uint8Array(32), secret: new Uint8Array(32) };
const options = {
  ...{ state: "/nowhere", isPlaced: false },
  log: openLog("pairing", "debug", () => {}),
};

type Result = Awaited<ReturnType<Network["join"]>>;

/** A board in no network, whose attempts end as told; it keeps the last result as a card would. */
function fakeNetwork(verdicts: NonNullable<Result["verdict"]>[]) {
  const did: string[] = [];
  let last: Result | undefined;
  const openNetwork = async (): Promise<Network> => ({
    status: async () => ({ ssid: undefined, addresses: [] }),
    scan: async () => [],
    async join({ ssid, request }) {
      const verdict = verdicts.shift();
      if (!verdict) throw new Error("it was asked more often");
      did.push(verdict);
      const wanted = { ssid, uuid: "u", attempt: 1, ...(request ? { request } : {}) };
      last = { ...wanted, verdict, ...(verdict === "joined" ? {} : { isRestored: false }) };
      return last;
    },
    result: async () => last,
    forget: async () => 0,
    answered: async (id) => (last?.request && equal(last.request, id) ? last : undefined),
    async openSpot() {
      did.push("open");
      return { address: "10.71.83.1", close: async () => void did.push("close") };
    },
    close: async () => void did.push("end"),
  });
  return { did, openNetwork };
}

suite("pairing/reach", (test) => {
  test("who is in the board's own network is told that it leaves, then asks again; others wait", async () => {
    const { did, openNetwork } = fakeNetwork(["no-such-network", "wrong-password", "joined"]);
    const reach = openReach({ ...options, way: "always", openNetwork });
    assert.is(await reach.open(invite), "10.71.83.1");

    const inside = await reach.join(network, "10.71.83.17");
    assert.equal(inside.answer, { verdict: "leaving" });
    // The phone may ask again before the camera went, and once more when it is back.
    const early = await reach.join(network, "10.71.83.17");
    assert.equal(early.answer, { verdict: "leaving" });
    assert.equal(await Promise.all([inside.leave?.(), early.leave?.()]), [false, false]);
    assert.equal((await reach.join(network, "10.71.83.17")).answer, { verdict: "no-such-network" });
    assert.equal(did, ["open", "no-such-network", "close", "open"], "tried once, and made again");

    const { wifi } = network;
    const near = await reach.join(newNetworkRequest(wifi), "bluetooth");
    assert.equal(near, { answer: { verdict: "wrong-password" } });
    const right = await reach.join(newNetworkRequest(wifi), "bluetooth");
    assert.equal(right, { answer: { verdict: "joined" } });
    assert.is(reach.point, undefined);
    await reach[Symbol.asyncDispose]();
    assert.equal(did.slice(4), ["wrong-password", "close", "open", "joined", "close", "end"]);
  });

  test("a network that a lens code names is joined, or it is said why not", async () => {
    const { did, openNetwork } = fakeNetwork(["wrong-password", "joined"]);
    await using reach = openReach({ ...options, way: "never", openNetwork });
    assert.is(await reach.open(invite), undefined);
    const failure = await failureOf(reach.joinAtOnce(network.wifi));
    assert.equal([failure.kind, failure.message], ["refused", "the password is wrong"]);
    await reach.joinAtOnce(network.wifi);
    assert.equal(did, ["wrong-password", "joined"]);
  });

  test("what is heard, also by a NetworkManager that came late", async () => {
    const { did, openNetwork } = fakeNetwork(["joined"]);
    let isThere = false;
    const late = async () => {
      if (!isThere) throw new Failure("absent", "NetworkManager does not run");
      return await openNetwork();
    };
    await using reach = openReach({ ...options, way: "never", openNetwork: late });
    assert.is((await failureOf(reach.air())).kind, "absent");
    isThere = true;
    assert.equal(await (await reach.air()).scan(), []);
    await reach.joinAtOnce(network.wifi);
    assert.equal(did, ["joined"]);
  });

  test("without NetworkManager a board is reached as it is, and joins nothing", async () => {
    const absent = async () => {
      throw new Failure("absent", "NetworkManager does not run");
    };
    await using reach = openReach({ ...options, way: "never", openNetwork: absent });
    assert.is(await reach.open(invite), undefined);
    assert.equal(await reach.join(network, "::1"), { answer: { verdict: "unable" } });
    await using forced = openReach({ ...options, way: "always", openNetwork: absent });
    assert.is((await failureOf(forced.open(invite))).kind, "absent");
  });

  test("a phone hands over a network and is told that it was joined; the window closes", async () => {
    await using at = await board();
    const { reach, asked } = fakeReach([{ verdict: "joined", address: "192.168.1.7" }]);
    const pairing = await at.start({ reach });
    const paired = await pairBy(pairing.link, { network });
    assert.equal(paired.network, { verdict: "joined", address: "192.168.1.7" });
    assert.equal(asked, [network]);
    assert.is(paired.camera.unconfirmed, undefined);
    const outcome = await pairing.outcome;
    assert.equal([outcome.kind, "confirmed" in outcome && outcome.confirmed], ["paired", true]);
  });

  test("what was not joined leaves the window open; the same phone tries another", async () => {
    await using at = await board();
    const { reach } = fakeReach([{ verdict: "wrong-password" }, { verdict: "joined" }]);
    const pairing = await at.start({ reach });
    const { network: first, store, camera } = await pairBy(pairing.link, { network });
    assert.equal(first, { verdict: "wrong-password" });
    assert.is(camera.unconfirmed, undefined);
    assert.ok(pairing.remainingMs() > 0);
    const again = await pairBy(pairing.link, { network, store });
    assert.equal([again.network, again.isRepeat], [{ verdict: "joined" }, false]);
    assert.is((await pairing.outcome).kind, "paired");
  });

  test("a camera that leaves and comes back answers the same phone with the same keys", async () => {
    await using at = await board();
    let left = 0;
    const leave = async () => {
      left++;
      return false;
    };
    const { reach } = fakeReach([{ verdict: "leaving" }, { verdict: "no-address" }], leave);
    const pairing = await at.start({ reach });
    const first = await pairBy(pairing.link, { network });
    assert.equal(first.network, { verdict: "leaving" });
    assert.ok(first.camera.unconfirmed);
    const again = await pairBy(pairing.link, { network, store: first.store });
    assert.equal([again.network, again.isRepeat], [{ verdict: "no-address" }, true]);
    assert.is(again.camera.unconfirmed, undefined);
    assert.is(left, 1);
  });

  test("a camera that left for good has its owner; a phone that vanished meanwhile comes by the next link", async () => {
    await using at = await board();
    const { reach } = fakeReach([{ verdict: "leaving" }], async () => true);
    const pairing = await at.start({ reach });
    const { store, camera } = await pairBy(pairing.link, { network });
    assert.ok(camera.unconfirmed);
    const outcome = await pairing.outcome;
    assert.equal([outcome.kind, "confirmed" in outcome && outcome.confirmed], ["paired", true]);
    const next = await at.start();
    const again = await pairBy(next.link, { store });
    assert.equal([again.isRepeat, again.camera.unconfirmed], [true, undefined]);
    assert.is((await next.outcome).kind, "paired");
  });

  test("a board without a radio says so, and is paired", async () => {
    await using at = await board();
    const pairing = await at.start();
    const { network: answer } = await pairBy(pairing.link, { network });
    assert.equal(answer, { verdict: "unable" });
  });
});
