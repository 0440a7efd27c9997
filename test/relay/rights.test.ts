import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { decodeDoorList } from "../../src/protocol/wire/door.ts";
import { type Ask, printClip } from "../../src/protocol/wire/mailbox.ts";
import { decide, type Verdict } from "../../src/relay/gate.ts";
import {
  beacon,
  box,
  clip,
  doorList,
  entry,
  mailbox,
  type Put,
  part,
  relayWorld,
  type Who,
  who,
} from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";

const other = new Uint8Array(16).fill(0xc2);
const bytes = (n: number) => new Uint8Array(100).fill(n);
const objects: Record<string, Put> = {
  "a part": part(0, bytes(1)),
  "a part of another clip": part(0, bytes(2), other),
  "an entry": entry(1),
  "the owner's box": box("owner", 1),
  "the viewer's box": box("viewer", 1),
  "the root's box": box("root", 1),
  "the camera's box": box("camera", 1),
  "the beacon": { name: { kind: "beacon" }, bytes: beacon(5) },
  "the door list": { name: { kind: "door" }, bytes: doorList({ version: 5 }) },
};
const things = Object.keys(objects);
const putters: Record<Exclude<Who, "stranger">, string[]> = {
  root: ["the root's box", "the door list"],
  camera: ["a part", "a part of another clip", "an entry", "the beacon"],
  owner: ["the owner's box"],
  viewer: ["the viewer's box"],
  guest: [],
};
const all = () => true;
const getters: Record<Exclude<Who, "stranger">, (thing: string) => boolean> = {
  root: all,
  camera: (thing) => !thing.startsWith("a part"),
  owner: all,
  viewer: all,
  guest: (thing) => thing === "a part",
};
const deleters: Record<Exclude<Who, "stranger">, (thing: string) => Verdict> = {
  root: (thing) => (thing === "the door list" ? "no" : "yes"),
  camera: (thing) => (thing.startsWith("a part") ? "aged" : "no"),
  owner: (thing) => (thing === "the door list" || thing === "the beacon" ? "no" : "yes"),
  viewer: (thing) => (thing === "the viewer's box" ? "yes" : "no"),
  guest: () => "no",
};
const people = Object.keys(who) as Who[];
const lists: Record<string, Ask> = {
  everything: { act: "list", page: { under: "", after: "" } },
  parts: { act: "list", page: { under: "part/", after: "" } },
  "the clip": { act: "list", page: { under: printClip({ incarnation: 9, clip }), after: "" } },
  "another clip": {
    act: "list",
    page: { under: printClip({ incarnation: 1, clip: other }), after: "" },
  },
};
const rightsOf = (by: Who) => (by === "stranger" ? undefined : by);

/** The whole table: who, what, may it. */
function* table(): Generator<[by: Who, what: string, method: string, ask: Ask, verdict: Verdict]> {
  for (const by of people) {
    const known = rightsOf(by);
    for (const thing of things) {
      const { name } = objects[thing] as Put;
      const mayPut = known && putters[known].includes(thing) ? "yes" : "no";
      yield [by, thing, "PUT", { act: "put", name }, mayPut];
      const mayGet = known && getters[known](thing) ? "yes" : "no";
      yield [by, thing, "GET", { act: "get", name }, mayGet];
      yield [by, thing, "DELETE", { act: "delete", name }, known ? deleters[known](thing) : "no"];
    }
    for (const [what, ask] of Object.entries(lists)) {
      const mayAll = known !== undefined && known !== "guest";
      const isGuests = known === "guest" && what === "the clip";
      yield [by, `the list of ${what}`, "GET", ask, mayAll || isGuests ? "yes" : "no"];
    }
    const ask: Ask = { act: "delete-clip", clip: { incarnation: 1, clip: other } };
    const may = by === "root" || by === "owner" ? "yes" : by === "camera" ? "aged" : "no";
    yield [by, "a clip", "DELETE", ask, may];
    yield [by, "a message", "POST", { act: "push" }, by === "camera" ? "yes" : "no"];
  }
}

suite("rights", (test) => {
  test("each key, each thing, each method: the table of door.md", () => {
    const list = decodeDoorList(doorList());
    let count = 0;
    for (const [by, what, method, ask, verdict] of table()) {
      const options = { suite: nodeSuite, nowMs: Date.now() };
      const found = decide({ mailbox, ask }, who[by].publicKey, list, options);
      assert.is(found, verdict, `${by} ${method} ${what}`);
      // Without a door list only the root key has a door.
      const bare = decide({ mailbox, ask }, who[by].publicKey, undefined, options);
      assert.is(bare, by === "root" ? verdict : "no", `${by} ${method} ${what}, no list`);
      count++;
    }
    assert.is(count, 6 * (9 * 3 + 6));
  });

  test("a share that is over opens nothing", () => {
    const list = decodeDoorList(doorList({ untilMs: 1000 }));
    const ask: Ask = { act: "get", name: (objects["a part"] as Put).name };
    const of = (nowMs: number) =>
      decide({ mailbox, ask }, who.guest.publicKey, list, { suite: nodeSuite, nowMs });
    assert.equal([of(999), of(1000)], ["yes", "no"]);
  });

  test(
    "over HTTP it is the same, for each key, thing and method",
    async () => {
      for (const by of people) {
        await using world = await relayWorld();
        const { put } = world.as("camera");
        for (const thing of ["a part", "a part of another clip", "an entry", "the beacon"]) {
          await put(objects[thing] as Put);
        }
        await world.as("owner").put(objects["the owner's box"] as Put);
        const there = new Set(["a part", "a part of another clip", "an entry", "the beacon"]);
        there.add("the owner's box").add("the door list");
        // Deletions last: what is there to begin with is asked for before.
        const rows = [...table()].filter(([one]) => one === by);
        const order = ["GET", "PUT", "DELETE", "POST"];
        rows.sort((a, b) => order.indexOf(a[2]) - order.indexOf(b[2]));
        for (const [, what, method, ask, verdict] of rows) {
          const body = method === "PUT" ? (objects[what] as Put).bytes : undefined;
          const { status, stage } = await world.ask(by, method, ask, body ? { body } : {});
          const row = `${by} ${method} ${what}: ${status} ${stage}`;
          if (verdict === "no") {
            assert.equal([status, stage], [403, "right"], row);
          } else if (method === "GET") {
            assert.is(status, ask.act === "list" || there.has(what) ? 200 : 404, row);
          } else if (method === "DELETE") assert.is(status, 204, row);
          // Nothing was in it: who may, is told that.
          else if (method === "POST") assert.equal([status, stage], [400, "length"], row);
          else {
            const isFirst = !there.has(what) || what === "the door list";
            assert.is(status, isFirst ? 201 : 200, row);
          }
        }
      }
    },
    { deadlineMs: 300_000 },
  );

  test("a key that is taken out of the list has no door from then on, one that waits neither", async () => {
    await using world = await relayWorld();
    const waits = world.as("viewer").list({ after: "entry/", waitMs: 30_000 });
    const failed = waits.then(
      () => undefined,
      (error) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    const bytes = doorList({ version: 2, without: ["viewer"] });
    await world.as("root").put({ name: { kind: "door" }, bytes });
    // The wait ends, either by the door list or by what comes next, and says no.
    await world.as("camera").put(entry(2));
    const failure = await failed;
    assert.ok(isFailure(failure, "refused") && failure.stage === "right", String(failure));
    await assertRefused(world.as("viewer").list(), "right");
    await world.as("owner").list();
  });

  test("mailboxes know nothing of one another", async () => {
    await using world = await relayWorld();
    const { status, stage } = await world.ask("stranger", "GET", lists.everything as Ask);
    assert.equal([status, stage], [403, "right"]);
    // No such mailbox and no door to it are one answer.
    const away = await relayWorld({ isEmpty: true });
    await using _ = away;
    const none = await away.ask("owner", "GET", lists.everything as Ask);
    assert.equal([none.status, none.stage], [403, "right"]);
    assert.is(
      none.body.toString(),
      (await world.ask("stranger", "GET", lists.everything as Ask)).body.toString(),
    );
  });
});

async function assertRefused(act: Promise<unknown>, stage: string): Promise<void> {
  const error = await act.then(
    () => undefined,
    (e) => e,
  );
  assert.ok(isFailure(error, "refused") && error.stage === stage, String(error));
}
