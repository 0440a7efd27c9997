import * as assert from "uvu/assert";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import { longest } from "../../../src/protocol/wire/mailbox.ts";
import { startCamera } from "../../lib/commands.ts";
import { call, lentOf, openLocalWorld } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { makeCamera } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const headers = { "content-type": "application/octet-stream" };
const named = (value: string, replaces: number): Action => ({
  ...{ kind: "setting", name: "name", value, replaces },
});

suite("device/local commands", (test) => {
  test("what an owner's phone has sealed is done once, and nothing of anybody else's", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const running = await startCamera(camera);
    await using at = await openLocalWorld();
    const post = async (body: Uint8Array) => {
      const reply = await at.ask("/v1/commands", { method: "POST", headers, body });
      return reply.status;
    };
    const box = running.seal(named("Back door", 0)).bytes;
    assert.is(await post(box), 503, "before the camera takes any");
    assert.equal(running.done, []);
    at.local.lend(running.commands);
    assert.is(await post(box), 202);
    assert.equal(running.done, [{ action: "setting" }]);
    // Again, also by another way: it is done once.
    assert.is(await post(box), 202);
    await running.commands.take(box);
    assert.is(running.done.length, 1);
    // A stranger who knows the camera's key, damaged, cut short, and nothing at all.
    const stranger = running.seal(named("Mine", 1), { seed: 0x99 }).bytes;
    assert.is(await post(stranger), 202, "what became of it stands in the log alone");
    const flipped = Uint8Array.from(running.seal(named("Mine", 1)).bytes);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    for (const wrong of [flipped, box.subarray(0, 99), new Uint8Array(), Buffer.alloc(4096, 7)]) {
      assert.is(await post(wrong), 403);
    }
    assert.is(running.done.length, 1);
    const lines = await camera.owner.readLog(camera.outbox);
    const set = lines.filter(({ body }) => body.statement.kind === "command-done");
    assert.is(set.length, 1);

    await running.stop();
    // The service ends: it takes nothing more, and fails in nothing.
    assert.is(await post(box), 403);
    assert.equal([at.problems, running.problems], [[], []]);
  });

  test("how it has to be handed over, and how many at once", async () => {
    await using at = await openLocalWorld();
    const taken: number[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    at.local.lend(
      lentOf(async (box) => {
        taken.push(box.length);
        await held;
        return true;
      }),
    );
    const post = (asked: Parameters<typeof call>[2]) =>
      call(at.port, "/v1/commands", { method: "POST", headers, ...asked });
    assert.is((await post({ headers: { "content-type": "text/plain" } })).status, 415);
    // A type has no case: this one gets as far as its length.
    const loud = { "content-type": "Application/Octet-Stream", "transfer-encoding": "chunked" };
    assert.is((await post({ headers: loud, body: Buffer.from("x") })).status, 411);
    const chunked = { ...headers, "transfer-encoding": "chunked" };
    assert.is((await post({ headers: chunked, body: Buffer.from("x") })).status, 411);
    const most = { ...headers, "content-length": String(longest.box + 1) };
    assert.is((await post({ headers: most })).status, 413);
    const same = [1, 2].map((bytes) => post({ body: Buffer.alloc(bytes), from: "127.0.0.2" }));
    await until("two", () => taken.length === 2);
    const third = await post({ body: Buffer.alloc(3), from: "127.0.0.2" });
    assert.equal([third.status, third.headers["retry-after"]], [503, "5"]);
    const others = [3, 4, 5].flatMap((host) =>
      [1, 2].map(() => post({ body: Buffer.alloc(longest.box), from: `127.0.0.${host}` })),
    );
    await until("eight", () => taken.length === 8);
    assert.is((await post({ body: Buffer.alloc(1), from: "127.0.0.9" })).status, 503);
    // Who reads is not kept waiting.
    assert.is((await at.read("/v1/states")).status, 200);
    release();
    const statuses = (await Promise.all([...same, ...others])).map(({ status }) => status);
    assert.equal(statuses, Array(8).fill(202));
    assert.is((await post({ body: Buffer.alloc(1), from: "127.0.0.2" })).status, 202);
  });

  test("a storage that fails is the camera's problem, and no answer tells of it", async () => {
    await using at = await openLocalWorld();
    const { Failure } = await import("../../../src/base/pure/failure.ts");
    at.local.lend(
      lentOf(async () => {
        throw new Failure("gone", "the storage failed at fsync of /secret/place");
      }),
    );
    const reply = await at.ask("/v1/commands", { method: "POST", headers, body: Buffer.alloc(9) });
    assert.is(reply.status, 503);
    assert.not(reply.body.includes("secret"));
    assert.is(at.problems.length, 1);
  });
});
