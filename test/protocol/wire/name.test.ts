import { resolve, sep } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  checkName,
  compareNames,
  fromFileName,
  longestName,
  mailboxOf,
  type Name,
  parseName,
  parsePlace,
  printName,
  printPlace,
  toFileName,
} from "../../../src/protocol/wire/name.ts";
import { digest } from "../../../src/protocol/wire/signature.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const hash = new Uint8Array(32).fill(0x9f);
const clip = new Uint8Array(16).fill(0xc1);
const names: Name[] = [
  { kind: "part", incarnation: 1, clip, number: 12, hash },
  { kind: "entry", incarnation: 1, sequence: 9, hash },
  { kind: "box", writer: hash, sequence: 4, hash },
  { kind: "beacon" },
  { kind: "door" },
];

suite("name", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/name", ({ bytes }) => {
      const name = parseName(toText(bytes));
      return { fields: name, again: fromText(printName(name)) };
    });
  });

  test("each name comes back from its path, its file name and its place", () => {
    const mailbox = mailboxOf(hash, nodeSuite);
    for (const name of names) {
      assert.equal(parseName(printName(name)), name);
      assert.equal(fromFileName(toFileName(name)), name);
      assert.equal(parsePlace(printPlace(mailbox, name)), { mailbox, name });
      assert.ok(printName(name).length <= longestName && longestName < 255);
    }
  });

  test("no name that is read leaves the folder it is used in", () => {
    for (const name of names) {
      const path = resolve("/folder", toFileName(name));
      assert.ok(path.startsWith(`/folder${sep}`) && path.split(sep).length === 3, path);
    }
    for (const text of ["..", ".", "entry.", "part/../x", "a/b", "entry.1.2.3/../../x"]) {
      assert.throws(
        () => fromFileName(text),
        (e: unknown) => isFailure(e, "corrupt"),
        text,
      );
    }
  });

  test("text order is the order of the numbers", () => {
    const at = (sequence: number, incarnation = 1): Name => ({
      kind: "entry",
      incarnation,
      sequence,
      hash,
    });
    const sorted = [at(0), at(2), at(10), at(999), at(2 ** 53 - 1), at(0, 2), at(5, 10)];
    assert.equal([...sorted].reverse().sort(compareNames), sorted);
    assert.is(compareNames(at(1), at(1)), 0);
  });

  test("a name holds only for the bytes it was made of", () => {
    const bytes = fromText("sealed");
    const name: Name = {
      kind: "entry",
      incarnation: 1,
      sequence: 1,
      hash: digest(nodeSuite, bytes),
    };
    checkName(name, bytes, nodeSuite);
    assert.throws(
      () => checkName(name, fromText("sealeD"), nodeSuite),
      (e: unknown) => isFailure(e, "corrupt") && e.stage === "hash",
    );
    checkName({ kind: "beacon" }, bytes, nodeSuite);
  });

  test("numbers that have no canonical form are not printed", () => {
    for (const sequence of [-1, 1.5, 2 ** 53, Number.NaN]) {
      const name: Name = { kind: "entry", incarnation: 1, sequence, hash };
      assert.throws(
        () => printName(name),
        (e: unknown) => isFailure(e, "misuse"),
      );
    }
  });

  test("fuzz: what is taken prints as it was", () => {
    fuzz({
      name: "name",
      seeds: names.map((name) => fromText(printName(name))),
      decode: (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        if (printName(parseName(text)) !== text) throw new Error("two spellings of one name");
      },
      reaches: ["taken", "name"],
    });
  });
});
