import * as assert from "uvu/assert";
import { pushVectors, verdictVectors } from "../../../scripts/vectors-push.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  decodePush,
  encodePush,
  parseEndpoint,
  parseVerdict,
  printVerdict,
  pushBytes,
  verdictOf,
} from "../../../src/protocol/wire/push.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors, readVectors } from "../../lib/vectors.ts";

suite("push", (test) => {
  test("vectors of messages", async () => {
    await checkVectors("wire/push", ({ bytes }) => {
      const fields = decodePush(bytes);
      return { fields, again: encodePush(fields) };
    });
    assert.is((await readVectors("wire/push")).length, pushVectors().length);
  });

  test("vectors of verdicts", async () => {
    await checkVectors("wire/verdict", ({ bytes }) => {
      const verdict = parseVerdict(bytes);
      return { fields: { verdict }, again: printVerdict(verdict) };
    });
    assert.is((await readVectors("wire/verdict")).length, verdictVectors().length);
  });

  test("the longest message fits into a request, and its address is nobody's to read in an error", () => {
    const [, longest] = pushVectors();
    assert.ok((longest?.bytes.length ?? 0) <= pushBytes);
    assert.ok((longest?.bytes.length ?? 0) > pushBytes - 16);
    try {
      parseEndpoint("https://push.example/secret-capability#");
      assert.unreachable();
    } catch (error) {
      assert.ok(isFailure(error, "corrupt"));
      assert.not.match(JSON.stringify([error, String(error), (error as Error).stack]), /secret-c/);
    }
  });

  test("what a status of a push service means", () => {
    const of = (status: number, after?: string, date?: string) => {
      const verdict = verdictOf(status, after, date);
      // Whatever it is, it can be said.
      assert.equal(parseVerdict(printVerdict(verdict)), verdict);
      return printVerdict(verdict).toString();
    };
    const text = (...asked: Parameters<typeof of>) =>
      Buffer.from(
        of(...asked)
          .split(",")
          .map(Number),
      )
        .toString()
        .trim();
    const table: [number, string | undefined, string][] = [
      [200, undefined, "accepted"],
      [201, undefined, "accepted"],
      [204, "5", "accepted"],
      [404, undefined, "gone"],
      [410, undefined, "gone"],
      [429, "17", "later 17"],
      [429, "Wed, 21 Oct 2026 07:28:00 GMT", "later 0"],
      [429, "-1", "later 0"],
      [503, "99999999", "later 3600"],
      [500, undefined, "later 0"],
      [408, undefined, "later 0"],
      [301, undefined, "refused 301"],
      [307, undefined, "refused 307"],
      [400, undefined, "refused 400"],
      [403, undefined, "refused 403"],
      [413, undefined, "refused 413"],
      [0, undefined, "later 0"],
      [999, undefined, "later 0"],
    ];
    for (const [status, after, expected] of table) {
      assert.is(text(status, after), expected, `${status} ${after}`);
    }
    // A moment, by the clock of whoever says it.
    const moment = "Wed, 21 Oct 2026 07:28:00 GMT";
    for (const [date, expected] of [
      ["Wed, 21 Oct 2026 07:26:30 GMT", "later 90"],
      ["Tue, 20 Oct 2026 07:28:00 GMT", "later 3600"],
      ["Wed, 21 Oct 2026 07:28:00 GMT", "later 0"],
      ["Wed, 21 Oct 2026 07:29:00 GMT", "later 0"],
      ["Wed, 21 Oct 2026 77:26:30 GMT", "later 0"],
      ["now", "later 0"],
    ] as const) {
      assert.is(text(503, moment, date), expected, date);
      assert.is(text(503, date, "Wed, 21 Oct 2026 07:30:00 GMT"), "later 0", date);
    }
  });

  test("fuzz: a message is read as it was written, or refused", () => {
    fuzz({
      name: "push",
      seeds: pushVectors()
        .filter(({ header }) => header.expect === "well")
        .map(({ bytes }) => bytes),
      decode: (bytes) => {
        const again = encodePush(decodePush(bytes));
        if (Buffer.compare(again, bytes) !== 0) throw new Error("two spellings of one message");
      },
      reaches: ["taken", "length", "version", "endpoint", "authorization", "urgency", "text"],
    });
  });

  test("fuzz: verdicts", () => {
    fuzz({
      name: "verdict",
      seeds: verdictVectors()
        .filter(({ header }) => header.expect === "well")
        .map(({ bytes }) => bytes),
      decode: (bytes) => {
        const again = printVerdict(parseVerdict(bytes));
        if (Buffer.compare(again, bytes) !== 0) throw new Error("two spellings of one verdict");
      },
      reaches: ["taken", "verdict"],
    });
  });
});
