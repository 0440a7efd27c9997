import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/pure/clock.ts";

/** What a board tells of its heat; undefined what it does not. */
export type Heat = {
  /** °C of its hottest sensor. */
  temperature: number | undefined;
  /** It slows itself down now because of heat or a weak supply. */
  throttled: boolean | undefined;
};

const lookEveryMs = 30_000;

const read = (path: string) => readFile(path, "utf8").catch(() => undefined);

/** °C, of each of the kernel's zones. `sys` is where sysfs lies. */
export async function readTemperatures(sys = "/sys"): Promise<number[]> {
  const folder = join(sys, "class/thermal");
  const names = await readdir(folder).catch(() => []);
  const zones = names.filter((name) => name.startsWith("thermal_zone"));
  const texts = await Promise.all(zones.map((name) => read(join(folder, name, "temp"))));
  const degrees = texts.map((text) => Math.round(Number.parseInt(text ?? "", 10) / 1000));
  return degrees.filter(Number.isFinite);
}

/** The bits of Raspberry Pi firmware (vcgencmd get_throttled); undefined on a board that has none. */
export async function readThrottled(sys = "/sys"): Promise<number | undefined> {
  const raw = await read(join(sys, "devices/platform/soc/soc:firmware/get_throttled"));
  const bits = Number.parseInt(raw ?? "", 16);
  return Number.isNaN(bits) ? undefined : bits;
}

export async function readHeat(sys = "/sys"): Promise<Heat> {
  const [bits, temperatures] = await Promise.all([readThrottled(sys), readTemperatures(sys)]);
  return {
    temperature: temperatures.length > 0 ? Math.max(...temperatures) : undefined,
    throttled: bits === undefined ? undefined : (bits & 0xf) !== 0,
  };
}

/** Looks twice a minute until the signal aborts. */
export async function watchHeat(options: {
  clock: Pick<Clock, "sleep">;
  signal: AbortSignal;
  look?: () => Promise<Heat>;
}): Promise<{ now(): Heat }> {
  const { clock, signal, look = readHeat } = options;
  let heat = await look();
  const watch = async () => {
    while (!signal.aborted) {
      await clock.sleep(lookEveryMs, signal).catch(() => {});
      if (!signal.aborted) heat = await look();
    }
  };
  void watch();
  return { now: () => heat };
}
