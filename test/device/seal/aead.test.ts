import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { encryptInto } from "../../../src/device/seal/aead.ts";
import { decrypt, ready } from "../../../src/protocol/sealed/sodium.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const none = new Uint8Array();

suite("aead", (test) => {
  test("what is sealed into its place is what noble makes of the same text, and libsodium opens it", () => {
    for (let round = 0; round < 20; round++) {
      const [key, nonce] = [randomBytes(32), randomBytes(24)];
      for (const [length, ...parts] of [
        [0],
        [1, 1],
        [64, 5, 0, 20],
        [65_536, 5, 60_000],
        ...(round < 3 ? [[262_144, 5, 262_139] as const] : []),
      ] as [number, ...number[]][]) {
        const pieces = parts.map((bytes) => randomBytes(bytes));
        const plain = new Uint8Array(length);
        plain.set(Buffer.concat(pieces));
        const whole = new Uint8Array(length + 18).fill(7);
        const sealed = whole.subarray(1, -1);
        encryptInto(sealed, key, nonce, pieces);
        assert.equal(hex(sealed), hex(xchacha20poly1305(key, nonce).encrypt(plain)));
        assert.equal([whole[0], whole.at(-1)], [7, 7]);
        assert.equal(hex(decrypt(key, nonce, sealed, none) ?? key), hex(plain));
      }
    }
  });

  test("the key may lie anywhere in a larger array", () => {
    const [larger, nonce] = [randomBytes(77), randomBytes(24)];
    const key = larger.subarray(3, 35);
    const out = new Uint8Array(26);
    encryptInto(out, key, nonce, [randomBytes(10)]);
    assert.is(decrypt(key, nonce, out, none)?.length, 10);
  });

  test("what does not fit is refused", () => {
    const [key, nonce, out] = [randomBytes(32), randomBytes(24), new Uint8Array(26)];
    const isMisuse = (error: unknown) => isFailure(error as Error, "misuse");
    const cases: [Uint8Array, Uint8Array, Uint8Array, number][] = [
      [out, key, nonce, 11],
      [out.subarray(15), key, nonce, 0],
      [out, key.subarray(1), nonce, 1],
      [out, key, nonce.subarray(1), 1],
    ];
    for (const [into, by, once, length] of cases)
      assert.throws(() => encryptInto(into, by, once, [new Uint8Array(length)]), isMisuse);
  });

  test("a key that was used and wiped is nowhere in the process any more", async () => {
    const wiped = await findKey(true);
    assert.is(wiped, 0);
    assert.ok(
      (await findKey(false)) > 0,
      "the control: the search finds a key that is still there",
    );
  });
});

/**
 * How often a key lies in the memory of a process that has sealed with it. It is told the key with
 * each bit turned, so that not even what it was told holds it.
 */
async function findKey(wiped: boolean): Promise<number> {
  const key = Buffer.from(randomBytes(32));
  const turned = Buffer.from(key.map((byte) => byte ^ 0xff));
  const module = new URL("../../../src/device/seal/aead.js", import.meta.url).href;
  const body = `
    const { encryptInto } = await import(${JSON.stringify(module)});
    // Outside V8's heap, whose collector leaves copies of what it moves.
    const key = new Uint8Array(new ArrayBuffer(32));
    Buffer.from(process.argv[1], "hex").forEach((byte, i) => { key[i] = byte ^ 0xff; });
    const out = new Uint8Array(100_016);
    for (let i = 0; i < 20; i++)
      encryptInto(out, key, crypto.getRandomValues(new Uint8Array(24)), [out.subarray(0, 90_000)]);
    if (${wiped}) key.fill(0);
    console.log("done");
    setInterval(() => key[0], 1000);`;
  const child = spawn(process.execPath, [
    ...["--input-type=module", "--eval", body, turned.toString("hex")],
  ]);
  const errors: string[] = [];
  child.stderr.on("data", (data) => errors.push(String(data)));
  try {
    await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
    assert.is(child.exitCode, null, errors.join(""));
    return await countInMemory(child.pid ?? 0, key);
  } finally {
    child.kill("SIGKILL");
  }
}

async function countInMemory(pid: number, needle: Buffer): Promise<number> {
  const maps = (await readFile(`/proc/${pid}/maps`, "utf8")).split("\n");
  await using memory = await open(`/proc/${pid}/mem`, "r");
  let found = 0;
  for (const line of maps) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
    if (!range) continue;
    const [from, to] = [Number(`0x${range[1]}`), Number(`0x${range[2]}`)];
    for (let at = from; at < to; at += 1 << 24) {
      const chunk = Buffer.alloc(Math.min(to - at, (1 << 24) + needle.length));
      const { bytesRead } = await memory
        .read({ buffer: chunk, position: at })
        .catch(() => ({ bytesRead: 0 }));
      const seen = chunk.subarray(0, bytesRead);
      for (let i = seen.indexOf(needle); i >= 0 && i < 1 << 24; i = seen.indexOf(needle, i + 1))
        found++;
    }
  }
  return found;
}
