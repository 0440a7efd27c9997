import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { openHttp } from "../../../src/base/node/http.ts";
import { openLog } from "../../../src/base/node/log.ts";
import { systemClock } from "../../../src/base/node/time.ts";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { type Camera, openSlab } from "../../../src/device/camera/camera.ts";
import { openKeyring } from "../../../src/device/keyring.ts";
import type { Pairing } from "../../../src/device/pairing/host.ts";
import { openLens } from "../../../src/device/pairing/lens.ts";
import { type LensOptions, pairByLens } from "../../../src/phone/lens.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { parseLens, phoneName, printLens, type Wifi } from "../../../src/protocol/sealed/lens.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { board, failureOf } from "../../lib/pairing.ts";
import { type RelayWorld, relayWorld } from "../../lib/relay.ts";
import { asYuyv, showCode } from "../../lib/shown.ts";
import { suite } from "../../lib/suite.ts";
import { MemoryStore } from "../../phone/memory.ts";

await ready();

const size = { width: 640, height: 480 };
const line = {
  ...{ suite: nodeSuite, nowMs: () => Date.now() },
  sleep: (ms: number) => systemClock.sleep(ms),
};

/** A camera before which codes are held one after the other, each for a while. */
function eyeOf(codes: AsyncIterable<string>, signal: AbortSignal) {
  const slab = openSlab({ slabBytes: 8 << 20 });
  let [opened, count] = [0, 0];
  const texts = codes[Symbol.asyncIterator]();
  async function* frames() {
    for (;;) {
      const shown = await texts.next();
      if (shown.done || signal.aborted) return;
      const bytes = asYuyv(showCode(shown.value, size));
      for (let i = 0; i < 5; i++) {
        const capturedUs = 1 + count * 300_000;
        yield slab.put(bytes, { format: "YUYV", ...size, capturedUs, sequence: count++ });
      }
    }
  }
  const open = async (): Promise<Camera> => {
    opened += 1;
    const facts = { source: "test", format: "YUYV", ...size, fps: 15 } as const;
    return { ...facts, frames: frames(), slab: () => slab.usage(), close: async () => {} };
  };
  return { open, opened: () => opened, left: () => slab.usage().frames };
}

/** Codes that are shown, until somebody has read them all. */
function wall() {
  const waiting: string[] = [];
  let wake = () => {};
  const end = () => wake();
  async function* shown(signal: AbortSignal) {
    signal.addEventListener("abort", end);
    for (;;) {
      const text = waiting.shift();
      if (text !== undefined) yield text;
      else if (signal.aborted) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  }
  return {
    shown,
    async show(text: string) {
      waiting.push(text);
      wake();
    },
  };
}

async function world() {
  const at = await board();
  const relay = await relayWorld({ isEmpty: true });
  const http = openHttp();
  const codes = wall();
  const looking: Promise<void>[] = [];
  const lines: string[] = [];
  const joined: Wifi[] = [];
  return {
    ...{ at, relay, codes, lines, joined, state: at.state },
    url: () => `http://${relay.authority}`,
    /** Opens the camera's eye for a window. */
    look(pairing: Pairing) {
      const over = new AbortController();
      const end = () => over.abort();
      void pairing.outcome.then(end, end);
      const eye = eyeOf(codes.shown(over.signal), over.signal);
      const log = openLog("lens", "debug", (one) => lines.push(one));
      const { open } = eye;
      looking.push(
        openLens({
          ...{ pairing, open, send: http.send, clock: systemClock, log, signal: over.signal },
          join: async (wifi) => void joined.push(wifi),
        }),
      );
      return eye;
    },
    async phone(more: Partial<LensOptions> & { store?: MemoryStore } = {}) {
      const store = more.store ?? new MemoryStore();
      const vault = (await store.load()) ? await Vault.open(store) : Vault.create(store, "Ada");
      const relay = `http://${this.relay.authority}`;
      const paired = await pairByLens(vault, {
        ...{ relay, relays: [relay], name: undefined, nowMs: 1, suite: nodeSuite },
        ...{ line: { ...line, send: http.send }, waitMs: 120_000, show: codes.show },
        ...{ supply: { oneTime: 3, days: 2 }, ...more },
      });
      return { ...paired, store, vault };
    },
    async [Symbol.asyncDispose]() {
      await at[Symbol.asyncDispose]();
      await Promise.all(looking);
      http.close();
      await relay[Symbol.asyncDispose]();
    },
  };
}

/** What lies in the relay's boxes. */
const boxes = async ({ folder }: RelayWorld): Promise<string[]> => {
  const { readdir } = await import("node:fs/promises");
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  return all
    .filter((one) => one.isFile() && `${one.parentPath}/${one.name}`.includes("/box"))
    .map((one) => `${one.parentPath}/${one.name}`);
};

const slow = { deadlineMs: 600_000 };

suite("lens", (test) => {
  test(
    "a code before the camera makes its phone the owner; both show one word; nothing stays at the relay",
    async () => {
      await using here = await world();
      const pairing = await here.at.start();
      const eye = here.look(pairing);
      let joinedBefore = 0;
      let knocks = 0;
      const onKnock = () => {
        knocks++;
        joinedBefore = here.joined.length;
      };
      const wifi = { ssid: fromText("Home"), password: "correct-horse", hidden: false };
      const { word, camera, vault } = await here.phone({ wifi, onKnock });
      const outcome = await pairing.outcome;
      assert.equal(outcome, {
        ...{ kind: "paired", confirmed: true, word, members: ["Ada"], oneTimeKeys: 3 },
      });
      const { adopted, identity } = await openKeyring(here.state);
      assert.equal(adopted?.owner, vault.content.phoneKey);
      assert.equal(adopted?.relays, [here.url()]);
      assert.equal(camera.id, identity.camera);
      assert.equal([knocks, eye.opened(), eye.left()], [1, 1, 0]);
      assert.equal([joinedBefore, here.joined], [1, [wifi]], "first the network, then the relay");
      assert.equal(await boxes(here.relay), []);
      // The camera's own mailbox is where the two met: the relay holds one for each camera.
      assert.is(adopted?.doors.version, 2);
    },
    slow,
  );

  test(
    "who saw the code and has not the phone's key becomes nobody; the next code serves",
    async () => {
      await using here = await world();
      const pairing = await here.at.start();
      here.look(pairing);
      const thief = here.phone({
        // The same code, said to be of another phone's key.
        show: (text) => {
          const code = parseLens(text);
          return here.codes.show(printLens({ ...code, phone: phoneName(code.secret) }));
        },
        waitMs: 60_000,
      });
      const failure = await failureOf(thief);
      assert.is(failure.stage, "phone", failure.message);
      assert.ok(here.at.lines.some((one) => one.includes("another phone")));
      const { word } = await here.phone();
      const outcome = await pairing.outcome;
      assert.ok(outcome.kind === "paired" && outcome.word === word);
    },
    slow,
  );

  test(
    "a relay that is not there: the camera says so and looks on",
    async () => {
      await using here = await world();
      const pairing = await here.at.start();
      here.look(pairing);
      const code = { secret: new Uint8Array(32).fill(1), phone: new Uint8Array(16).fill(2) };
      const root = new Uint8Array(
        Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex"),
      );
      await here.codes.show(printLens({ ...code, root, relay: "http://127.0.0.1:9" }));
      const { word } = await here.phone();
      const outcome = await pairing.outcome;
      assert.ok(outcome.kind === "paired" && outcome.word === word);
      assert.ok(
        here.lines.some((one) => one.includes("nobody was met")),
        here.lines.join("\n"),
      );
    },
    slow,
  );

  test("a window that closes ends the looking, and a phone that nobody sees waits no longer than it says", async () => {
    await using here = await world();
    const pairing = await here.at.start();
    here.look(pairing);
    const failure = await failureOf(here.phone({ show: async () => {}, waitMs: 1500 }));
    assert.is(failure.kind, "stalled");
    await pairing.close();
    assert.equal(await pairing.outcome, { kind: "closed", why: "stopped" });
  });
});
