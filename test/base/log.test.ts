import * as assert from "uvu/assert";
import { openLog } from "../../src/base/node/log.ts";
import { suite } from "../lib/suite.ts";

suite("base/log", (test) => {
  const speak = (least: "debug" | "info" | "warn" | "error") => {
    const lines: string[] = [];
    return { log: openLog("camera", least, (line) => lines.push(line)), lines };
  };
  const head = process.env.JOURNAL_STREAM === undefined ? "warn " : "<4>";

  test("one line a message, fields behind it", () => {
    const { log, lines } = speak("info");
    log.warn("unplugged", { path: "/dev/video0", again: 3, card: 'My "Cam"', nothing: undefined });
    assert.equal(lines, [
      `${head}camera: unplugged path=/dev/video0 again=3 card="My \\"Cam\\""\n`,
    ]);
  });

  test("what is below the level is not written", () => {
    const { log, lines } = speak("warn");
    log.info("a");
    log.debug("b");
    assert.is(lines.length, 0);
  });

  test("a device cannot forge a line or grow it", () => {
    const { log, lines } = speak("info");
    log.warn(`evil\n<0>kernel: no${"x".repeat(5000)}`, { card: "a\nb\u009b31m" });
    assert.is(lines.length, 1);
    assert.is(lines[0]?.match(/\n/g)?.length, 1);
    assert.ok((lines[0]?.length ?? 0) < 1200);
  });
});
