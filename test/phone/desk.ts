import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../src/base/node/time.ts";
import { main } from "../../src/phone/cli/cli.ts";
import { openHome } from "../../src/phone/cli/store.ts";
import { Vault } from "../../src/phone/vault.ts";
import { fromFileName, printName, toFileName } from "../../src/protocol/wire/name.ts";
import { breakOff, type How } from "../lib/steps.ts";
import { quickFolder } from "../lib/world.ts";
import { copyHouse, type House } from "./circle.ts";
import type { Said } from "./world.ts";

/**
 * The first phone's command line in this process, which may be broken off at any step, over a home and a camera's
 * outbox that are folders. Whenever a command waits it is the camera's turn, so nothing takes time.
 */
export async function openDesk(house: House) {
  const folder = await quickFolder();
  const [home, outbox] = [join(folder.path, "home"), join(folder.path, "outbox")];
  const out = join(folder.path, "out");
  for (const path of [outbox, out]) await mkdir(path, { mode: 0o700 });
  const { objects, camera, phones } = await copyHouse(house);
  const [first, ...others] = phones;
  const written = new Set<string>();

  /** What lies in the folder is what the camera and the other phones see, and the other way round. */
  const share = () => {
    for (const file of readdirSync(outbox).filter((name) => name.startsWith("box."))) {
      const name = fromFileName(file);
      if (objects.all.has(printName(name))) continue;
      const bytes = new Uint8Array(readFileSync(join(outbox, file)));
      objects.all.set(printName(name), { name, bytes });
      written.add(file);
    }
    const now = new Map([...objects.all.values()].map((one) => [toFileName(one.name), one]));
    for (const [file, { bytes }] of now) {
      if (!written.has(file)) writeFileSync(join(outbox, file), bytes, { mode: 0o600 });
      written.add(file);
    }
    for (const file of [...written].filter((name) => !now.has(name))) {
      rmSync(join(outbox, file));
      written.delete(file);
    }
  };
  const turn = async () => {
    share();
    await camera.work();
    share();
  };
  const openVault = async () => {
    await using store = await openHome(home, () => {});
    return await Vault.open(store);
  };
  {
    const wrapped = await first?.home.load();
    await using store = await openHome(home, () => {});
    if (wrapped) await store.replace(wrapped);
  }
  share();
  const run = async (args: readonly string[], ending = { nth: 0, how: "killed" as How }) => {
    const { nth } = ending;
    const limits = { ...ending, nth: nth === 0 ? Number.POSITIVE_INFINITY : nth };
    const from = args[0] === "backup" || args[0] === "restore" ? [] : ["--from", outbox];
    const act = () => inProcess(["--home", home, ...args, ...from], turn);
    const { value, at } = await breakOff(folder.path, limits, act);
    return { ...value, at };
  };
  return {
    ...{ home, outbox, out, objects, camera, others, turn, openVault },
    /** One command, to its end. */
    run: (...args: string[]) => run(args),
    /** One command, broken off at its nth step. */
    broken: (nth: number, how: How, args: readonly string[]) => run(args, { nth, how }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
export type Desk = Awaited<ReturnType<typeof openDesk>>;

/** The program as it is, with `rest` in place of whatever it would wait for. */
async function inProcess(argv: readonly string[], rest: () => Promise<void>): Promise<Said> {
  const said = { out: "", err: "" };
  const { stdout, stderr } = process;
  const before = { sleep: systemClock.sleep, out: stdout.write, err: stderr.write };
  const hear = (name: "out" | "err") => (text: string | Uint8Array) => {
    said[name] += text;
    return true;
  };
  stdout.write = hear("out");
  stderr.write = hear("err");
  Object.assign(systemClock, { sleep: rest });
  try {
    return { code: await main(argv), ...said };
  } finally {
    stdout.write = before.out;
    stderr.write = before.err;
    Object.assign(systemClock, { sleep: before.sleep });
  }
}
