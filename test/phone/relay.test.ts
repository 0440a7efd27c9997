import * as assert from "uvu/assert";
import { ed25519Signer } from "../../src/base/node/crypto.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { readJournal } from "../../src/phone/journal.ts";
import { openFirstRelay } from "../../src/phone/relay.ts";
import type { Survey } from "../../src/phone/survey.ts";
import { sign } from "../../src/protocol/sealed/sodium.ts";
import { decodeDoorList, encodeDoorList } from "../../src/protocol/wire/door.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { openLimits } from "../../src/relay/limit.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { film } from "./memory.ts";
import { answerOf, lyingWorld } from "./relayed.ts";

const slow = { deadlineMs: 300_000 };

const serious = ({ faults }: Pick<Survey, "faults">) =>
  [
    ...new Set(
      faults.flatMap((one) => (one.severity === "note" ? [] : [`${one.severity} ${one.kind}`])),
    ),
  ]
    .sort()
    .join(", ");

const pathOf = (url: string) => url.replace(/^http:\/\/[^/]+\/[0-9a-f]{64}\//, "");
const isListing = (url: string) => pathOf(url).startsWith("?");

/** A relay that leaves lines out of its listings. */
const hides =
  (isHidden: (line: string) => boolean) =>
  async (
    sending: { url: string },
    truth: () => ReturnType<typeof answerOf> | Promise<ReturnType<typeof answerOf>>,
  ) => {
    if (!isListing(sending.url)) return undefined;
    const answer = await truth();
    const lines = Buffer.from(answer.body).toString().split("\n");
    const rest = lines.filter((line) => line === "" || !isHidden(line)).join("\n");
    return { ...answer, body: new Uint8Array(Buffer.from(rest)) };
  };

suite("phone/relay", (test) => {
  test(
    "a clip comes through a relay; what is known is not fetched again",
    async () => {
      await using world = await lyingWorld();
      const { camera, asked, look } = world;
      await camera.record({ film });
      await camera.beacon();
      const first = await look("new");
      assert.ok(first.well, JSON.stringify(first.faults));
      assert.equal(
        first.clips.map(({ state }) => state),
        ["whole"],
      );
      asked.length = 0;
      const again = await look("new");
      assert.ok(again.well, JSON.stringify(again.faults));
      assert.equal(
        again.clips.map(({ state }) => state),
        ["whole"],
      );
      const fetched = asked.map(({ url }) => pathOf(url));
      assert.equal(
        fetched.filter((path) => !path.startsWith("?")),
        ["door", "beacon"],
      );
      assert.is(fetched.length, 3, "and one look for newer entries");
      await camera.record({ film });
      asked.length = 0;
      const third = await look("new");
      assert.is(third.clips.length, 2);
      const entries = asked.filter(({ url }) => pathOf(url).startsWith("entry/"));
      assert.is(entries.length, 2);
      assert.is(serious(await look("all")), "");
    },
    slow,
  );

  test(
    "what listings leave out is asked for by name, in the log and in clips",
    async () => {
      await using world = await lyingWorld();
      const { camera, look } = world;
      const { parts } = await camera.record({ film });
      await camera.record({ film });
      await camera.beacon();
      const middle = printName((parts[1] ?? parts[0])?.name as never);
      let hidden = 0;
      world.lie = hides((line) => {
        const isHidden =
          /^entry\/\d+\/000000000000000[1-4]\//.test(line) || line.startsWith(middle);
        if (isHidden) hidden += 1;
        return isHidden;
      });
      const found = await look();
      assert.is(hidden, 5);
      assert.is(serious(found), "");
      assert.equal(
        found.clips.map(({ state }) => state),
        ["whole", "whole"],
      );
      // The end of the log is hidden, and the beacon names it.
      world.lie = hides((line) => line.startsWith("entry/"));
      assert.is(serious(await look()), "");
    },
    slow,
  );

  test(
    "what a relay withholds altogether is named",
    async () => {
      await using world = await lyingWorld();
      const { camera, look } = world;
      const { parts } = await camera.record({ film });
      await camera.beacon();
      const without = (isGone: (path: string) => boolean) => {
        const lines = hides((line) => isGone(line.split(" ")[0] ?? ""));
        world.lie = (sending, truth) =>
          isGone(pathOf(sending.url)) ? Promise.resolve(answerOf(404)) : lines(sending, truth);
      };
      without((path) => path.includes("/0000000000000002/"));
      assert.is(serious(await look()), "loss gap");
      without((path) => path.startsWith(printName(parts.at(-1)?.name as never)));
      assert.is(serious(await look()), "loss withheld");
      without((path) => path.startsWith("entry/"));
      assert.match(serious(await look()), /loss rollback/);
      // An older beacon with the older log: the phone has seen a newer one.
      world.lie = undefined;
      const old = await (await world.open()).get({ kind: "beacon" });
      await camera.beacon();
      assert.is(serious(await look()), "");
      world.lie = async ({ url }) =>
        pathOf(url) === "beacon" ? { ...answerOf(200), body: old as Uint8Array } : undefined;
      assert.is(serious(await look()), "loss rollback");
    },
    slow,
  );

  test(
    "garbage, floods, redirections and silence are failures with a name, and nothing of them is kept",
    async () => {
      await using world = await lyingWorld();
      const { camera, look, keys, url } = world;
      await camera.record({ film });
      const expect = async (kind: string, lie: typeof world.lie) => {
        world.lie = lie;
        const before = JSON.stringify(keys);
        try {
          await look();
          assert.unreachable(kind);
        } catch (error) {
          assert.ok(isFailure(error), String(error));
          assert.is(error.kind, kind, error.message);
          assert.match(error.message, url);
        }
        assert.is(JSON.stringify(keys), before);
      };
      const always = (answer: ReturnType<typeof answerOf>) => async () => answer;
      const listing =
        (text: string) =>
        async ({ url }: { url: string }) =>
          isListing(url) ? answerOf(200, text) : undefined;
      await expect("gone", always(answerOf(500)));
      await expect("corrupt", always(answerOf(302, "", { location: "http://elsewhere/" })));
      await expect("refused", always(answerOf(403, '{"title":"no"}')));
      await expect("corrupt", listing("hello\n"));
      await expect("corrupt", listing("entry/../../etc/passwd 10\n"));
      await expect("corrupt", listing(`door ${"9".repeat(7)}\n`));
      // Names that rise for ever, page after page, and are nothing.
      let n = 0;
      const flood = (count: number) =>
        Array.from({ length: count }, () => {
          n += 1;
          return `entry/0000000000/${String(n).padStart(16, "0")}/${"ab".repeat(32)} 500\n`;
        }).join("");
      await expect("corrupt", async ({ url }) =>
        isListing(url)
          ? answerOf(200, flood(1000))
          : pathOf(url).startsWith("entry/")
            ? answerOf(200, "x")
            : undefined,
      );
      world.lie = undefined;
      assert.is(serious(await look()), "");
    },
    slow,
  );

  test("a relay that says later is waited for, as long as it says and not for ever", async () => {
    await using world = await lyingWorld();
    const { look, pauses } = world;
    let busy = 2;
    world.lie = async () => {
      busy -= 1;
      return busy >= 0 ? answerOf(429, "", { "retry-after": "3" }) : undefined;
    };
    await look();
    assert.equal(pauses, [3000, 3000]);
    world.lie = async () => answerOf(503, "", { "retry-after": "3600" });
    await look().then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone")),
    );
    assert.is(pauses.length, 2);
    world.lie = async () => answerOf(429, "", { "retry-after": "1" });
    await look().then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone")),
    );
    assert.ok(pauses.length < 50);
  });

  test(
    "a long log is read within what a relay allows, and says how far it is",
    async () => {
      await using world = await lyingWorld();
      const { camera, open, keys, pauses, asked } = world;
      const many = 2000;
      for (let i = 0; i < many; i++) await camera.say({ kind: "problem", code: "p", text: `${i}` });
      // As the relay's settings are at first, by a clock that only waiting moves on.
      const limits = openLimits({
        ...{ perSecondOfKey: 100, perSecondOfAddress: 50, connectionsOfAddress: 64 },
        pushesPerHour: 1,
        monotonicMs: () => pauses.reduce((sum, ms) => sum + ms, 0),
      });
      let refused = 0;
      world.lie = async () => {
        if (limits.takeOfAddress(0)) return undefined;
        refused += 1;
        return answerOf(429, "", { "retry-after": "5" });
      };
      asked.length = 0;
      const seen: number[] = [];
      const options = { link: await open(), camera: keys, suite: nodeSuite };
      const journal = await readJournal({ ...options, onProgress: (read) => void seen.push(read) });
      assert.is(journal.records.length, many + 3);
      assert.is(serious(journal), "");
      assert.is(seen.length, many + 3);
      assert.is(seen.at(-1), many + 3);
      // A thousand at once, then 250 in each five seconds; what is under way is refused once together.
      assert.is(pauses.length, Math.ceil((asked.length - refused - 1000) / 250));
      assert.ok(refused <= pauses.length * 16, `${refused} refused`);
      console.log(
        `measured: ${many} entries over a relay of 50 requests/s: ${pauses.length} pauses of 5 s, ${refused} of ${asked.length} requests refused`,
      );
    },
    slow,
  );

  test("a door list that was rolled back is mended where it can be, and else named", async () => {
    await using world = await lyingWorld();
    const { keys, look, open, camera } = world;
    await camera.record({ film });
    assert.ok(keys.door);
    const first = keys.door;
    const { root } = keys;
    assert.ok(root);
    const list = decodeDoorList(first);
    const byRoot = { sign: (bytes: Uint8Array) => sign(root, bytes), suite: nodeSuite };
    const second = encodeDoorList({ ...list, version: 2 }, byRoot).bytes;
    // The relay has version 1 still: the newer one is put there.
    keys.door = second;
    assert.is(serious(await look()), "");
    keys.door = first;
    await open();
    assert.equal(keys.door, second, "a newer one that the root key signed is taken over");
    // It says that it took it, and goes on with the old one.
    const isDoor = ({ url }: { url: string }) => pathOf(url) === "door";
    world.lie = async (sending) =>
      isDoor(sending)
        ? sending.method === "PUT"
          ? answerOf(201)
          : { ...answerOf(200), body: first }
        : undefined;
    assert.is(serious(await look()), "lie rollback");
    const another = encodeDoorList({ ...list, version: 2, minimumAgeMs: 5 }, byRoot).bytes;
    world.lie = async (sending) =>
      isDoor(sending) ? { ...answerOf(200), body: another } : undefined;
    assert.is(serious(await look()), "lie fork");
    const forged = encodeDoorList(
      { ...list, version: 3 },
      { sign: ed25519Signer(new Uint8Array(32).fill(9)).sign, suite: nodeSuite },
    ).bytes;
    world.lie = async (sending) =>
      isDoor(sending) ? { ...answerOf(200), body: forged } : undefined;
    assert.is(serious(await look()), "lie forged");
    assert.equal(keys.door, second);
  });

  test("of several relays the first that answers", async () => {
    await using world = await lyingWorld();
    const { keys, line, url } = world;
    const away = "http://127.0.0.1:9";
    assert.is((await openFirstRelay([away, url], keys, line)).where, url);
    await openFirstRelay([away], keys, line).then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "gone") && error.message.includes(away)),
    );
    await openFirstRelay([], keys, line).then(
      () => assert.unreachable(),
      (error) => assert.ok(isFailure(error, "misuse")),
    );
  });
});
