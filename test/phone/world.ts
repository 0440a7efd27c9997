import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { FakeRecorder } from "../fakes/recorder.ts";
import { temporaryFolder } from "../lib/world.ts";

const program = new URL("../../src/phone/cli.js", import.meta.url).pathname;

export type Said = { code: number; out: string; err: string };

/** Runs obscura-phone as a person does. */
export function phone(home: string, ...args: string[]): Promise<Said> {
  return phoneIn("UTC", home, ...args);
}

/** The same in a time zone. */
export function phoneIn(zone: string, home: string, ...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    const options = { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, TZ: zone } };
    execFile(process.execPath, [program, "--home", home, ...args], options, (error, out, err) => {
      const code = error ? (typeof error.code === "number" ? error.code : -1) : 0;
      resolve({ code, out, err });
    });
  });
}

/**
 * What looks around in the local network, until it goes well, a few times: a phone looks for seconds, in
 * which a busy machine may not answer.
 */
export async function patiently<T extends { code: number | null }>(
  act: () => Promise<T>,
): Promise<T> {
  let said = await act();
  for (let tries = 0; tries < 5 && said.code !== 0; tries++) said = await act();
  return said;
}

/** A camera with an owner: a folder of sealed objects and the owner's keys. */
export async function pairedWorld() {
  await ready();
  const folder = await temporaryFolder();
  const home = join(folder.path, "home");
  const outbox = join(folder.path, "outbox");
  const camera = new FakeRecorder(outbox);
  const cameraFile = await camera.writeIdentity(join(folder.path, "camera.json"));
  const ownerFile = join(folder.path, "owner.json");
  const adopted = await phone(
    home,
    "adopt",
    cameraFile,
    "-o",
    ownerFile,
    "--phone",
    "Ada",
    "--keys",
    "20",
  );
  if (adopted.code !== 0) throw new Error(adopted.err);
  const word = await camera.adopt(await readFile(ownerFile));
  return {
    ...{ path: folder.path, home, outbox, camera, cameraFile, ownerFile, adopted, word },
    /** One command on this world's outbox. */
    run: (...args: string[]) => phone(home, ...args, "--from", outbox),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
