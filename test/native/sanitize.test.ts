import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { suite } from "../lib/suite.ts";

const run = promisify(execFile);
const root = new URL("../../..", import.meta.url).pathname;

/** The suites over the fake driver, each in a process of its own. */
const files = [
  "native/slab",
  "native/capture",
  "native/failure",
  "native/frame",
  "native/choice",
  "native/control",
  "native/thread",
  "device/camera/camera",
];

/** Where the compiler keeps the sanitizer's library; undefined when it has none. */
function sanitizer(): string | undefined {
  try {
    const path = execFileSync("g++", ["-print-file-name=libasan.so"], { encoding: "utf8" }).trim();
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

suite("sanitize", (test) => {
  const library = sanitizer();
  if (!library) {
    test.skip("AddressSanitizer and UBSan", "the compiler has no libasan (libasan8)");
    return;
  }
  const env = {
    ...process.env,
    OBSCURA_TEST_ADDON: "build-asan",
    OBSCURA_TEST_CAMERA: "",
    LD_PRELOAD: library,
    // Node leaves memory to the system when it ends; leaks of the addon are counted by the suites.
    ASAN_OPTIONS: "detect_leaks=0:abort_on_error=0:exitcode=99",
    UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
  };

  test(
    "the sanitized addon is built",
    async () => {
      await run("scripts/addon", ["--asan"], { cwd: root });
    },
    { deadlineMs: 600_000 },
  );

  test("a mistake would be seen", async () => {
    // One byte past a heap block, in code that the sanitizer watches.
    const source =
      "#include <cstdlib>\nint main(int n, char**) { char* p = (char*)malloc(8); return p[8 + n]; }";
    const program = `${root}native/build-asan/mistake`;
    execFileSync("g++", ["-x", "c++", "-fsanitize=address,undefined", "-o", program, "-"], {
      input: source,
      cwd: root,
    });
    const error = await run(program, [], { env: { ...env, LD_PRELOAD: "" } }).then(
      () => undefined,
      (thrown: { code: number; stderr: string }) => thrown,
    );
    assert.is(error?.code, 99);
    assert.match(error?.stderr ?? "", /heap-buffer-overflow/);
  });

  for (const file of files) {
    test(
      `${file} runs clean`,
      async () => {
        const path = `${root}dist/test/${file}.test.js`;
        const { stdout } = await run(process.execPath, ["--expose-gc", path], {
          cwd: root,
          env,
          maxBuffer: 1 << 26,
        });
        const [, total, passed] = /Total:\s+(\d+)\s+Passed:\s+(\d+)/.exec(stdout) ?? [];
        assert.ok(Number(total) > 0, stdout);
        assert.ok(Number(passed) > 0);
      },
      { deadlineMs: 600_000 },
    );
  }
});
