import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { is, match } from "uvu/assert";
import { suite } from "../lib/suite.ts";

const programs = {
  camera: new URL("../../src/device/main.js", import.meta.url).pathname,
  relay: new URL("../../src/relay/main.js", import.meta.url).pathname,
  phone: new URL("../../src/phone/cli.js", import.meta.url).pathname,
};
const calls: [keyof typeof programs, string[]][] = [
  ["camera", ["config"]],
  ["camera", ["--help"]],
  ["relay", ["--print-config"]],
  ["phone", ["--help"]],
];

async function endOf(child: ReturnType<typeof spawn>): Promise<{ code: number; err: string }> {
  let err = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const [code] = await once(child, "close");
  return { code: Number(code), err };
}

suite("what programs say when nobody listens", (test) => {
  test("who has read enough hangs up, and that is no fault", async () => {
    for (const [name, args] of calls) {
      const child = spawn(process.execPath, [programs[name], ...args]);
      child.stdout.destroy();
      const { code, err } = await endOf(child);
      is(err, "", `${name} ${args}`);
      is(code, 0, `${name} ${args}`);
    }
  });

  test("a full disk behind standard output is told in one line", async () => {
    for (const [name, args] of calls) {
      const full = openSync("/dev/full", "w");
      const child = spawn(process.execPath, [programs[name], ...args], {
        stdio: ["ignore", full, "pipe"],
      });
      closeSync(full);
      const { code, err } = await endOf(child);
      match(err, /^obscura-\w+: standard output: ENOSPC[^\n]*\n$/);
      is(code, 1, `${name} ${args}`);
    }
  });
});
