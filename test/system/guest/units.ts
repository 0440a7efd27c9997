import { execFile } from "node:child_process";
import { appendFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

// The units of an installed board, as systemd sees them.

export const run: (
  file: string,
  args: readonly string[],
  options?: { maxBuffer: number },
) => Promise<{ stdout: string; stderr: string }> = promisify(execFile);
export const results: string = process.env.BOARD_RESULTS ?? "/results";
export const camera = "obscura-camera.service";
export const relay = "obscura-relay.service";
/** What a card reader shows of a Raspberry Pi. */
export const boot = "/boot/firmware";
/** Patience of a test on a machine that does much else; nothing is measured by it. */
export const patienceMs = 240_000;

const startedMs = performance.now();
export function tell(text: string): void {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  appendFileSync(join(results, "progress"), `${seconds} s: ${text}\n`);
}

export async function sh(line: string): Promise<string> {
  const { stdout, stderr } = await run("sh", ["-ec", line], { maxBuffer: 1 << 24 });
  appendFileSync(join(results, "commands"), `$ ${line}\n${stdout}${stderr}`);
  return stdout.trim();
}

export type Unit = Record<
  "ActiveState" | "SubState" | "StatusText" | "MainPID" | "NRestarts" | "Result",
  string
>;
export async function show(unit: string): Promise<Unit> {
  const fields = "ActiveState,SubState,StatusText,MainPID,NRestarts,Result";
  const { stdout } = await run("systemctl", ["show", "-p", fields, unit]);
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/=(.*)/s, 2)),
  ) as Unit;
}

export async function until(
  unit: string,
  what: string,
  wanted: (now: Unit) => boolean,
): Promise<Unit> {
  let now = await show(unit);
  for (const endMs = Date.now() + patienceMs; Date.now() < endMs; await wait(1000)) {
    if (wanted(now)) {
      tell(`${unit}: ${what}`);
      return now;
    }
    now = await show(unit);
  }
  const log = await sh(`journalctl -b -n 60 --no-pager -o cat -u ${unit}`);
  throw new Error(`${unit} not ${what}: ${JSON.stringify(now)}\n${log}`);
}
export const watches = ({ ActiveState, StatusText }: Unit): boolean =>
  ActiveState === "active" && StatusText === "watching";
export const waitsForOwner = ({ StatusText }: Unit): boolean =>
  StatusText.startsWith("waiting for an owner");
/** Up again, in another process than before. */
export const again =
  (before: Unit, wanted: (now: Unit) => boolean = ({ ActiveState }) => ActiveState === "active") =>
  (now: Unit): boolean =>
    now.MainPID !== before.MainPID && now.MainPID !== "0" && wanted(now);

/** The address that the board's own network would have: these guests have no network, and no radio. */
export const giveAddress = (): Promise<string> =>
  sh("ip addr add 10.71.83.1/24 dev lo || busybox ip addr add 10.71.83.1/24 dev lo");

/** The link that the board's label holds. */
export async function linkOnCard(): Promise<string> {
  const words = await readFile(`${boot}/pairing.txt`, "utf8");
  return /^obscura:\S+$/m.exec(words)?.[0] ?? "";
}

/** Has a phone pair by the link of a label, as soon as the board's window is open. */
export async function pairBy(link: string, phone: string, more: string): Promise<void> {
  const pair = () =>
    sh(`${phone} pair --lan ${link} ${more}`).catch((error) => String(error.stderr));
  let said = await pair();
  // The window opens when the board has waited for a network.
  for (const endMs = Date.now() + patienceMs; /no camera answers/.test(said); said = await pair()) {
    if (Date.now() > endMs) break;
    await wait(2000);
  }
  if (!/paired with/.test(said)) throw new Error(said);
}
