import * as assert from "uvu/assert";
import { openLog } from "../../src/base/node/log.ts";
import { tellDamaged } from "../../src/device/report.ts";
import { suite } from "../lib/suite.ts";

suite("device/report", (test) => {
  test("pictures that are damaged all the time fill no log", () => {
    const lines: string[] = [];
    const log = openLog("detect", "info", (line) => lines.push(line));
    for (let count = 1; count <= 2000; count++) tellDamaged(count, log);
    assert.equal(
      lines.map((line) => /looked at count=(\d+)$/.exec(line.trim())?.[1]),
      ["1", "10", "100", "1000"],
    );
  });
});
