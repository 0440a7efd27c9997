import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { finishErase, markErased } from "../../../src/device/command/erase.ts";
import {
  listTokens,
  makeToken,
  mostTokens,
  openTokens,
  revokeToken,
} from "../../../src/device/local/token.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const main = new URL("../../../src/device/main.js", import.meta.url).pathname;
const kindOf = async (act: Promise<unknown>) =>
  await act.then(
    () => "done",
    (error) => (isFailure(error) ? error.kind : String(error)),
  );
function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, "local", ...args], (error, out, err) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err }),
    );
  });
}

suite("device/local/token", (test) => {
  test("a token is good from when it is made until it is revoked, and no other is", async () => {
    await using folder = await quickFolder();
    const clock = new ManualClock();
    const errors: unknown[] = [];
    const tokens = openTokens(folder.path, { clock, onUnreadable: (error) => errors.push(error) });
    assert.is(await tokens.isKnown("x".repeat(43)), false);
    const token = await makeToken(folder.path, "house");
    const other = await makeToken(folder.path, "prometheus");
    assert.match(token, /^[A-Za-z0-9_-]{43}$/);
    clock.advance(1001);
    for (const good of [token, other]) assert.is(await tokens.isKnown(good), true);
    const changed = `${token[0] === "A" ? "B" : "A"}${token.slice(1)}`;
    const bad = [changed, token.slice(1), `${token}A`, "", ` ${token}`, "house"];
    for (const wrong of bad) assert.is(await tokens.isKnown(wrong), false, wrong);
    // Nor is what lies on the card a token.
    const kept = (await readFile(join(folder.path, "local/house"), "latin1")).trim();
    assert.is(await tokens.isKnown(kept), false);
    assert.is(await tokens.isKnown(Buffer.from(kept, "hex").toString("base64url")), false);
    await revokeToken(folder.path, "house");
    clock.advance(1001);
    assert.is(await tokens.isKnown(token), false);
    assert.is(await tokens.isKnown(other), true);
    assert.equal(errors, []);
  });

  test("what is kept is a hash that others cannot read, and goes with an erase", async () => {
    await using folder = await quickFolder();
    const token = await makeToken(folder.path, "house");
    const local = join(folder.path, "local");
    assert.is((await stat(local)).mode & 0o777, 0o700);
    assert.is((await stat(join(local, "house"))).mode & 0o777, 0o600);
    const text = await readFile(join(local, "house"), "latin1");
    assert.match(text, /^[0-9a-f]{64}\n$/);
    assert.not(text.includes(token));
    await markErased(folder.path);
    await finishErase(folder.path);
    assert.equal(await readdir(folder.path), []);
  });

  test("names and numbers of tokens are bounded; what is damaged lets nobody in", async () => {
    await using folder = await quickFolder();
    for (const name of ["", "a b", "../x", "x".repeat(33), ".", "ü"]) {
      assert.is(await kindOf(makeToken(folder.path, name)), "misuse", name);
      assert.is(await kindOf(revokeToken(folder.path, name)), "misuse", name);
    }
    assert.is(await kindOf(revokeToken(folder.path, "house")), "absent");
    const token = await makeToken(folder.path, "house");
    assert.is(await kindOf(makeToken(folder.path, "house")), "misuse");
    for (let i = 1; i < mostTokens; i++) await makeToken(folder.path, `t${i}`);
    assert.is(await kindOf(makeToken(folder.path, "more")), "full");
    assert.is((await listTokens(folder.path)).length, mostTokens);
    for (const text of ["", "\n", `${"0".repeat(63)}\n`, `${"0".repeat(64)}\n`.repeat(2), "x"]) {
      await writeFile(join(folder.path, "local/house"), text);
      const clock = new ManualClock();
      const tokens = openTokens(folder.path, { clock, onUnreadable: () => {} });
      assert.is(await tokens.isKnown(token), false, text);
    }
  });

  test("a folder that cannot be read lets nobody in, and is told", async () => {
    await using folder = await quickFolder();
    await writeFile(join(folder.path, "local"), "no folder");
    const errors: unknown[] = [];
    const clock = new ManualClock();
    const tokens = openTokens(folder.path, { clock, onUnreadable: (error) => errors.push(error) });
    assert.is(await tokens.isKnown("x".repeat(43)), false);
    assert.is(errors.length, 1);
  });

  test("of a token that cannot be read the others know nothing, and it is told", async () => {
    await using folder = await quickFolder();
    const token = await makeToken(folder.path, "house");
    await mkdir(join(folder.path, "local/other"));
    const errors: unknown[] = [];
    const clock = new ManualClock();
    const tokens = openTokens(folder.path, { clock, onUnreadable: (error) => errors.push(error) });
    assert.is(await tokens.isKnown(token), true);
    assert.is(errors.length, 1);
  });

  test("the command makes, lists and revokes", async () => {
    await using folder = await quickFolder();
    const state = ["--state", folder.path];
    const made = await run("token", "house", ...state);
    assert.is(made.code, 0, made.err);
    assert.match(made.out, /^[A-Za-z0-9_-]{43}\n$/);
    const listed = await run("tokens", "--json", ...state);
    assert.equal(
      JSON.parse(listed.out).map((one: { name: string }) => one.name),
      ["house"],
    );
    assert.not(listed.out.includes(made.out.trim()));
    assert.is((await run("revoke", "house", ...state)).code, 0);
    assert.is((await run("tokens", ...state)).out, "no token\n");
    for (const wrong of [[], ["token"], ["token", "a", "b"], ["x"], ["tokens", "a"], ["revoke"]]) {
      assert.is((await run(...wrong, ...state)).code, 2, wrong.join(" "));
    }
    assert.is((await run("revoke", "house", ...state)).code, 1);
    const elsewhere = await run("token", "house", "--state", join(folder.path, "typo"));
    assert.is(elsewhere.code, 1);
    assert.match(elsewhere.err, /there is no folder .*typo/);
  });
});
