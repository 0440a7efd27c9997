import { join } from "node:path";
import { type Running, startProgram } from "../../lib/trio.ts";

// A story of a board and phones in a guest, each a program of its own; it says how far it is.

export const relay = "http://127.0.0.1:8470";

const startedMs = performance.now();
export function tell(text: string): void {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`  ${seconds} s: ${text}`);
}

const dist = join(process.cwd(), "dist");
export function startBy(by: string[], program: string, ...args: string[]): Running {
  const running = startProgram([...by, process.execPath, join(dist, "src", program), ...args]);
  running.child.stderr?.on("data", (text) => process.stderr.write(text));
  return running;
}

export const start = (program: string, ...args: string[]): Running => startBy([], program, ...args);

export const phone = (name: string, ...args: string[]): Running =>
  start("phone/cli.js", "--home", `/tmp/${name}`, ...args);

export async function ends(running: Running, code: number, says: RegExp): Promise<void> {
  const ended = await running.ended;
  const all = `${ended.out}\n${ended.err}`;
  if (ended.code !== code || !says.test(all)) {
    throw new Error(`not ${code} with ${says}, but ${ended.code} ${ended.signal}: ${all}`);
  }
}
