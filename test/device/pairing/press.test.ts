import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { isAdopted } from "../../../src/device/keyring.ts";
import { holdWindow, type Opened } from "../../../src/device/pairing/pairing.ts";
import { readWindow } from "../../../src/device/pairing/window.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { failureOf, pairBy } from "../../lib/pairing.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

await ready();

type Held = Parameters<typeof holdWindow>[0];

/** Windows of one board, before whose lens there is nobody. */
async function board() {
  const { path: state, ...folder } = await quickFolder();
  const stop = new AbortController();
  const eye: Held["eye"] = async () => ({
    frames: (async function* () {})(),
    close: async () => {},
  });
  return {
    state,
    stop,
    /** Resolves when phones can come. */
    async hold(more: Partial<Held> = {}) {
      let ended: ReturnType<typeof holdWindow> | undefined;
      const opened = await new Promise<Opened>((resolve, reject) => {
        ended = holdWindow({
          ...{ state, name: "porch", eye, signal: stop.signal, onOpen: resolve },
          logs: (stage) => openLog(stage, "debug", () => {}),
          ...more,
        });
        ended.catch(reject);
      });
      return { opened, ended };
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite("pairing/press", (test) => {
  test("a window with a given secret and port is found by the network, and closes with its owner", async () => {
    await using at = await board();
    const secret = pattern(32, 7);
    const first = await at.hold({ secret });
    const invite = parseInvite(first.opened.link);
    assert.equal(invite.secret, secret);
    const port = invite.addresses[0]?.port ?? 0;
    at.stop.abort();
    assert.equal(await first.ended, { kind: "closed", why: "stopped" });

    const signal = new AbortController().signal;
    const { opened, ended } = await at.hold({ secret, port, signal });
    assert.equal([opened.isResumed, opened.point], [true, undefined]);
    assert.equal(opened.link, first.opened.link);
    const { word } = await pairBy(opened.link);
    const outcome = await ended;
    assert.ok(outcome?.kind === "paired" && outcome.confirmed);
    assert.is(outcome.word, word);
    assert.ok(await isAdopted(at.state));
    const left = await readWindow(at.state);
    assert.equal([left?.end, left?.secret], ["success", undefined]);
  });

  test("one at a time", async () => {
    await using at = await board();
    const { ended } = await at.hold();
    assert.is((await failureOf(at.hold())).kind, "busy");
    at.stop.abort();
    await ended;
  });

  test("who asked for it and fails on it closes it", async () => {
    await using at = await board();
    const onOpen = () => {
      throw new Error("no place for the link");
    };
    const error = await at.hold({ onOpen }).catch((cause) => cause);
    assert.is(error.message, "no place for the link");
    const { opened, ended } = await at.hold();
    assert.ok(opened.isResumed, "nothing was left behind that is in the way");
    at.stop.abort();
    await ended;
  });
});
