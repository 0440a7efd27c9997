import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { type Fault, openDurable } from "../../../src/base/node/durable.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { boardTime, openWindow, windowMs } from "../../../src/device/pairing/window.ts";
import { failureOf } from "../../lib/pairing.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

/** A board's clock in the hand of a test, and its card. */
async function board() {
  const folder = await quickFolder();
  const time = {
    boot: "one",
    ms: 5_000_000,
    elapsedMs() {
      return this.ms;
    },
  };
  return {
    time,
    path: folder.path,
    file: join(folder.path, "window"),
    /** A program that is started, does something with the window, and is gone. */
    async start<T>(
      act: (opened: Awaited<ReturnType<typeof openWindow>>) => Promise<T>,
      { fault, secret }: { fault?: Fault; secret?: Uint8Array } = {},
    ) {
      const durable = await openDurable(folder.path, { fault });
      try {
        return await act(await openWindow(durable, time, secret));
      } finally {
        await durable.close();
      }
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
type Board = Awaited<ReturnType<typeof board>>;

/** The secret of the window that is open after a start. */
const secretAfter = (at: Board) => at.start(async ({ window }) => window.secret);
const open = (at: Board) =>
  at.start(async ({ window }) => {
    await window.listenAt(41_000);
    return window.secret;
  });

suite("pairing window", (test) => {
  test("is the same after a restart: secret, port, time that is left", async () => {
    await using at = await board();
    const secret = await open(at);
    assert.is(secret.length, 32);
    at.time.ms += windowMs - 1000;
    await at.start(async ({ window, before }) => {
      assert.equal(window.secret, secret);
      assert.equal([window.port, before, window.end()], [41_000, undefined, undefined]);
      assert.is(window.remainingMs(), 1000);
    });
    assert.is((await stat(at.file)).mode & 0o777, 0o600);
  });

  test("nobody is let in before it is durable, and one that never was is forgotten", async () => {
    await using at = await board();
    const first = await secretAfter(at);
    const second = await secretAfter(at);
    assert.not.equal(first, second);
  });

  test("ends after ten minutes, running or not, and then has a new secret", async () => {
    await using at = await board();
    const secret = await open(at);
    await at.start(async ({ window }) => {
      at.time.ms += windowMs - 1;
      assert.is(window.end(), undefined);
      at.time.ms += 1;
      assert.equal([window.end(), window.remainingMs()], ["time", 0]);
    });
    await at.start(async ({ window, before }) => {
      assert.is(before, "time");
      assert.equal([window.port, window.end()], [undefined, undefined]);
      assert.not.equal(window.secret, secret);
    });
  });

  test("a clock that went back, or another start of the board, closes it", async () => {
    for (const [change, why] of [
      [({ time }: Board) => Object.assign(time, { ms: time.ms - 1 }), "time"],
      [({ time }: Board) => Object.assign(time, { boot: "two" }), "restart"],
    ] as const) {
      await using at = await board();
      const secret = await open(at);
      change(at);
      await at.start(async ({ window, before }) => {
        assert.is(before, why);
        assert.not.equal(window.secret, secret);
      });
    }
  });

  test("wall time says nothing", async () => {
    await using at = await board();
    const secret = await open(at);
    const { now } = Date;
    try {
      for (const jump of [-30 * 365 * 86_400_000, 30 * 365 * 86_400_000]) {
        Date.now = () => now() + jump;
        assert.equal(await secretAfter(at), secret);
      }
    } finally {
      Date.now = now;
    }
    const real = await boardTime();
    assert.match(real.boot, /^[0-9a-f-]{36}$/);
    const first = real.elapsedMs();
    assert.ok(first > 0 && real.elapsedMs() >= first);
  });

  test("five failures close it, counted over restarts", async () => {
    await using at = await board();
    const secret = await open(at);
    for (let i = 1; i <= 4; i++) {
      await at.start(async ({ window }) => {
        assert.equal(window.secret, secret);
        await window.fail();
        assert.equal([window.failures, window.end()], [i, undefined]);
      });
    }
    await at.start(async ({ window }) => {
      await window.fail();
      assert.is(window.end(), "failures");
      await window.fail();
      assert.is(window.failures, 5);
    });
    assert.not.ok((await readFile(at.file, "utf8")).includes(Buffer.from(secret).toString("hex")));
    await at.start(async ({ window, before }) => {
      assert.is(before, "failures");
      assert.not.equal(window.secret, secret);
      assert.is(window.failures, 0);
    });
  });

  test("success closes it for good, and its secret is no longer there", async () => {
    await using at = await board();
    const secret = await open(at);
    await at.start(async ({ window }) => {
      await window.close("success");
      await window.close("time");
      assert.is(window.end(), "success");
    });
    assert.not.ok((await readFile(at.file, "utf8")).includes(Buffer.from(secret).toString("hex")));
    await at.start(async ({ window, before }) => {
      assert.is(before, "success");
      assert.not.equal(window.secret, secret);
    });
  });

  test("a failure that cannot be written counts, and a window that cannot be closed is closed", async () => {
    await using at = await board();
    await open(at);
    let fails = false;
    const fault: Fault = () => (fails ? { applied: false, error: new Error("EIO") } : undefined);
    await at.start(
      async ({ window }) => {
        fails = true;
        for (let i = 1; i <= 5; i++) {
          await window.fail().then(
            () => assert.unreachable("nothing can be written"),
            (error) => assert.ok(isFailure(error)),
          );
          assert.is(window.failures, i);
        }
        assert.is(window.end(), "failures");
        fails = false;
      },
      { fault },
    );
  });

  test("a secret that is given is the window's; it is resumed by the same, and without any", async () => {
    await using at = await board();
    const [secret, other] = [pattern(32, 1), pattern(32, 2)];
    await at.start(
      async ({ window }) => {
        assert.equal([window.secret, window.port], [secret, undefined]);
        await window.listenAt(41_000);
        await window.fail();
      },
      { secret },
    );
    at.time.ms += 1000;
    for (const given of [{ secret }, {}]) {
      await at.start(async ({ window, before }) => {
        assert.equal([window.secret, window.port, before], [secret, 41_000, undefined]);
        assert.equal([window.failures, window.remainingMs()], [1, windowMs - 1000]);
      }, given);
    }
    // Another gives way only to one that is durable.
    await at.start(async ({ window }) => assert.equal(window.secret, other), { secret: other });
    assert.equal(await secretAfter(at), secret);
    await at.start(
      async ({ window, before }) => {
        assert.equal([window.port, before, window.failures], [undefined, undefined, 0]);
        assert.is(window.remainingMs(), windowMs);
        await window.listenAt(41_001);
      },
      { secret: other },
    );
    assert.equal(await secretAfter(at), other);
    assert.not.ok((await readFile(at.file, "utf8")).includes(Buffer.from(secret).toString("hex")));
  });

  test("closed, it is opened anew with the secret that it had, by who has that", async () => {
    await using at = await board();
    const secret = pattern(32, 1);
    for (const end of ["time", "failures", "success"] as const) {
      await at.start(
        async ({ window }) => {
          await window.listenAt(41_000);
          await window.close(end);
        },
        { secret },
      );
      assert.not.equal(await secretAfter(at), secret);
      await at.start(
        async ({ window, before }) => {
          assert.equal([window.secret, before, window.end()], [secret, end, undefined]);
        },
        { secret },
      );
    }
    for (const length of [0, 31, 33]) {
      const failure = await failureOf(at.start(async () => {}, { secret: pattern(length, 1) }));
      assert.is(failure.kind, "misuse");
    }
  });

  test("what lies there damaged is no window", async () => {
    await using at = await board();
    const secret = await open(at);
    const whole = await readFile(at.file, "utf8");
    const damaged = ["", "{}", whole.slice(0, -2), whole.replace('"failures":0', '"failures":-1')];
    for (const text of [
      ...damaged,
      whole.replace('"version":1', '"version":2'),
      "x".repeat(5000),
    ]) {
      await writeFile(at.file, text);
      const now = await secretAfter(at);
      assert.is(now.length, 32);
      assert.not.equal(now, secret);
    }
  });
});
