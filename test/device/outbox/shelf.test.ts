import { createHash } from "node:crypto";
import * as assert from "uvu/assert";
import type { Kept } from "../../../src/device/outbox/contents.ts";
import { openMemoryOutbox } from "../../../src/device/outbox/outbox.ts";
import { openShelf } from "../../../src/device/outbox/shelf.ts";
import type { Sealed } from "../../../src/protocol/sealed/sealed.ts";
import { isOnPage } from "../../../src/protocol/wire/mailbox.ts";
import { type Name, printName, toFileName } from "../../../src/protocol/wire/name.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const hashOf = (text: string) => new Uint8Array(createHash("sha256").update(text).digest());
const partOf = (clip: number, number: number): Name => ({
  ...{ kind: "part", incarnation: 1 + (clip % 3), clip: hashOf(`clip ${clip}`).subarray(0, 16) },
  ...{ number, hash: hashOf(`part ${clip} ${number}`) },
});
const entryOf = (sequence: number): Name => ({
  ...{
    kind: "entry",
    incarnation: 1 + (sequence % 2),
    sequence,
    hash: hashOf(`entry ${sequence}`),
  },
});
const textsOf = (found: readonly { name: Name }[]) => found.map(({ name }) => printName(name));

suite("device/outbox/shelf", (test) => {
  test("a page is what all names, sorted and sifted, would be; also while they come and go", async () => {
    await using folder = await quickFolder();
    const outbox = await openMemoryOutbox({
      ...{ folder: folder.path, limitBytes: 1e9, wallMs: () => 0 },
    });
    const there = new Map<string, Name>();
    const put = async (name: Name) => {
      await outbox.put({ name, bytes: new Uint8Array(5) } as Sealed);
      there.set(printName(name), name);
    };
    const compare = () => {
      const all = [...there.keys()].sort();
      const some = all.filter((_, i) => i % 17 === 0);
      const ends = some.map((name) => name.slice(0, 49));
      for (const under of ["", "entry/", "part/", "part/0000000002/", "beacon", "box/", ...ends]) {
        // A bound need be no name: `0` behind a clip passes over all of it.
        for (const after of ["", "0", "beacon", "entry/", "part/z", "zz", ...some, `${ends[0]}0`]) {
          for (const most of [1, 7, 1000]) {
            const page = { under, after };
            const expected = all.filter((name) => isOnPage(name, page)).slice(0, most);
            assert.equal(textsOf(outbox.objects(page, most)), expected, `${under} after ${after}`);
          }
        }
      }
    };
    compare();
    for (let clip = 0; clip < 12; clip++) {
      for (let number = 0; number < 4; number++) await put(partOf(clip, number));
      for (let i = 0; i < 3; i++) await put(entryOf(3 * clip + i));
      if (clip % 4 === 0) compare();
    }
    await put({ kind: "beacon" });
    await put({ kind: "beacon" });
    compare();
    // Commands that a phone laid there are nobody's to read.
    const box: Name = { kind: "box", writer: hashOf("w"), sequence: 1, hash: hashOf("box") };
    await outbox.put({ name: box, bytes: new Uint8Array(5) } as Sealed);
    compare();
    const [lost, cut] = [0, 5].map((clip) => partOf(clip, 3));
    if (lost?.kind !== "part" || cut?.kind !== "part") throw new Error("no parts");
    await outbox.lose([{ clip: Buffer.from(lost.clip).toString("hex"), parts: 4 }]);
    for (let number = 0; number < 4; number++) there.delete(printName(partOf(0, number)));
    await outbox.discard([cut]);
    there.delete(printName(cut));
    await outbox.letGo(10);
    for (let sequence = 0; sequence < 10; sequence++) there.delete(printName(entryOf(sequence)));
    compare();
    assert.is(there.size, 11 * 4 - 1 + 26 + 1);
    await outbox.close();
  });

  test("of 30,000 objects a page looks at those that are on it, and a few on the way", () => {
    let looks = 0;
    const kept = (name: Name): Kept => {
      const file = toFileName(name);
      return {
        ...{ name, bytes: 5 },
        get file() {
          looks += 1;
          return file;
        },
      };
    };
    const shelf = openShelf(
      Array.from({ length: 30_000 }, (_, i) => kept(partOf(Math.floor(i / 30), i % 30))),
    );
    for (const [after, most] of [
      ["", 1000],
      ["part/0000000002/8", 1000],
      ["part/0000000002/8", 1],
      ["part/z", 1000],
    ] as const) {
      looks = 0;
      const found = shelf.page({ under: "part/", after }, most);
      assert.is(found.length, after === "part/z" ? 0 : most);
      assert.ok(looks <= most + 100, `${looks} of 30,000 for ${found.length}`);
    }
    looks = 0;
    shelf.add(kept(partOf(9999, 0)));
    assert.ok(looks <= 100, `${looks} for one that came`);
  });
});
