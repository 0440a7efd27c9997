import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromText, toHex, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  announce,
  isAnnounced,
  marksMost,
  parseAnnouncement,
  printAnnouncement,
} from "../../../src/protocol/wire/announce.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

const mailboxes = Array.from({ length: marksMost }, (_, i) => new Uint8Array(32).fill(i));
const random = (seed: number) => new Uint8Array(16 + 96).map((_, i) => (i * 31 + seed) & 255);
const of = (count: number, seed = 1) =>
  announce(mailboxes.slice(0, count), { isTls: false, random: random(seed), suite: nodeSuite });

suite("announce", (test) => {
  test("who knows a mailbox recognises it, each of up to sixteen, and no other", () => {
    for (const count of [0, 1, 8, 9, 16]) {
      const read = parseAnnouncement(printAnnouncement(of(count)));
      const known = mailboxes.filter((mailbox) => isAnnounced(read, mailbox, nodeSuite));
      assert.is(known.length, count);
      assert.is(read.marks.length, count <= 8 ? 8 : 16);
      assert.equal(read, of(count));
      for (const string of printAnnouncement(read)) assert.ok(string.length <= 255);
    }
    assert.throws(
      () =>
        of(16 + 1).marks &&
        announce([...mailboxes, new Uint8Array(32).fill(99)], {
          ...{ isTls: false, random: random(1), suite: nodeSuite },
        }),
      (e: unknown) => isFailure(e, "misuse"),
    );
  });

  test("two days have no mark in common, and nothing of a mailbox's name stands in one", () => {
    const days = [of(8, 1), of(8, 2)].map(({ marks }) => new Set(marks));
    assert.equal(
      [...(days[0] ?? [])].filter((mark) => days[1]?.has(mark)),
      [],
    );
    const text = printAnnouncement(of(8)).join();
    for (const mailbox of mailboxes) assert.not.ok(text.includes(toHex(mailbox).slice(0, 12)));
  });

  test("the mark of a known mailbox, for other implementations", () => {
    const salt = new Uint8Array(16).fill(7);
    const hash = nodeSuite.sha512();
    hash.update(Uint8Array.of(18));
    hash.update("obscura/1/announce");
    hash.update(salt);
    hash.update(new Uint8Array(32).fill(9));
    const mark = hash.digest("hex").slice(0, 12);
    const others = Array(7).fill("ffffffffffff");
    const announcement = { isTls: true, salt, marks: [mark, ...others] };
    assert.is(isAnnounced(announcement, new Uint8Array(32).fill(9), nodeSuite), true);
    assert.is(isAnnounced(announcement, new Uint8Array(32).fill(8), nodeSuite), false);
  });

  test("fuzz: one form", () => {
    fuzz({
      name: "announcement",
      seeds: [1, 9].map((count) => fromText(printAnnouncement(of(count)).join("\n"))),
      decode: (bytes) => {
        const text = toText(bytes);
        const read = parseAnnouncement(text.split("\n"));
        if (printAnnouncement(read).join("\n") !== text) throw new Error("two spellings");
      },
      reaches: ["taken", "announcement", "text"],
    });
  });
});
