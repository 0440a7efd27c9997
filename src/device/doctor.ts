import { execFile } from "node:child_process";
import { readdir, readFile, stat, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import type { Mailbox } from "../protocol/wire/client.ts";
import { checkLine } from "./button.ts";
import { readTemperatures, readThrottled } from "./heat.ts";
import { isClockSynchronised } from "./trust.ts";

export type Finding = {
  about: string;
  state: "good" | "warning" | "bad";
  text: string;
  /** What to do about it; a command where there is one. */
  mend?: string;
};
/** One thing to look at. It throws a Failure for "bad"; the failure's hint is the mend. */
export type Check = { about: string; look(): Promise<Omit<Finding, "about">> };

const run = promisify(execFile);
const read = (path: string) => readFile(path, "utf8").catch(() => undefined);

/** Runs all checks side by side; none of them can stop another. */
export async function diagnose(checks: readonly Check[]): Promise<Finding[]> {
  return await Promise.all(
    checks.map(async ({ about, look }): Promise<Finding> => {
      try {
        return { about, ...(await look()) };
      } catch (error) {
        const mend = isFailure(error) ? error.hint : undefined;
        const text = mend && error instanceof Failure ? error.message : explain(error);
        return { about, state: "bad", text, ...(mend ? { mend } : {}) };
      }
    }),
  );
}

/** The findings on one screen. */
export function printFindings(findings: readonly Finding[]): string {
  const mark = { good: "ok  ", warning: "warn", bad: "BAD " };
  const width = Math.max(...findings.map(({ about }) => about.length));
  return findings
    .map(({ about, state, text, mend }) => {
      const line = `${mark[state]} ${about.padEnd(width)}  ${text}`;
      return mend ? `${line}\n     ${" ".repeat(width)}  → ${mend}` : line;
    })
    .join("\n");
}

/** The LED and the button of the settings. What a service has of them is not taken from it. */
export const checkHands = (
  { light, button }: { light: string; button: string },
  { leds = "/sys/class/leds", devices = "/dev" } = {},
): Check[] => [
  {
    about: "light",
    async look() {
      if (light === "") return { state: "good", text: "none" };
      const there = await readdir(leds).catch((): string[] => []);
      if (there.includes(light)) return { state: "good", text: light };
      const hint = there.length > 0 ? `there are ${there.join(", ")}` : "there is none here";
      throw new Failure("absent", `there is no LED ${light}`, { hint });
    },
  },
  {
    about: "button",
    async look() {
      if (button === "") return { state: "good", text: "none" };
      await checkLine(button, devices);
      return { state: "good", text: button };
    },
  },
];

/** Disk-backed swap would carry plain pictures to the card; zram stays in memory. */
export const checkSwap: Check = {
  about: "swap",
  async look() {
    const disks = diskSwaps((await read("/proc/swaps")) ?? "");
    if (disks.length === 0) return { state: "good", text: "none on a disk" };
    return {
      state: "bad",
      text: `pictures could be swapped out to ${disks.join(", ")}`,
      mend: `sudo swapoff ${disks.join(" ")}; on Raspberry Pi OS also: sudo systemctl disable --now dphys-swapfile`,
    };
  },
};

/** The devices and files in use that outlive a power cut, of the text of /proc/swaps. */
export function diskSwaps(text: string): string[] {
  return text
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s+/)[0] ?? "")
    .filter((name) => name !== "" && !name.startsWith("/dev/zram"));
}

/** Whether each relay lets this camera in. */
export function checkRelays(
  relays: () => Promise<readonly { url: string; urgent: Pick<Mailbox, "list"> }[]>,
): Check {
  return {
    about: "relay",
    async look() {
      const all = await relays();
      if (all.length === 0) {
        return { state: "good", text: "none: clips stay on this board until they are fetched" };
      }
      const tried = await Promise.all(
        all.map(async ({ url, urgent }) => {
          const signal = AbortSignal.timeout(10_000);
          return await urgent.list({ under: "beacon", limit: 1, signal }).then(
            () => ({ url, why: undefined }),
            (error) => ({ url, why: explain(error) }),
          );
        }),
      );
      const bad = tried.filter(({ why }) => why !== undefined);
      if (bad.length === 0) return { state: "good", text: tried.map(({ url }) => url).join(", ") };
      return {
        state: bad.length < tried.length ? "warning" : "bad",
        text: bad.map(({ url, why }) => `${url}: ${why}`).join("; "),
        mend: "look whether the relay runs and is reached from here, and whether the owner's phone has let this camera in",
      };
    },
  };
}

export const checkClock: Check = {
  about: "clock",
  async look() {
    if (await isClockSynchronised()) return { state: "good", text: "synchronised" };
    return {
      state: "warning",
      text: "not known to be synchronised; clips say so until it is",
      mend: "sudo timedatectl set-ntp true",
    };
  },
};

/** Room and kind of the file system that holds `folder`. */
export function checkCard(folder: string, neededMiB: number): Check {
  return {
    about: "card",
    async look() {
      const { bavail, bsize } = await statfs(await nearestFolder(folder));
      const freeMiB = Math.floor((bavail * bsize) / 2 ** 20);
      if (freeMiB >= neededMiB) return { state: "good", text: `${freeMiB} MiB free in ${folder}` };
      return {
        state: "warning",
        text: `${freeMiB} MiB free in ${folder}; clips may use ${neededMiB} MiB`,
        mend: "free some room, or lower outbox.limitMiB",
      };
    },
  };
}

/** The folder, or what there is of the way to it before the first start. */
async function nearestFolder(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  return found ? folder : await nearestFolder(dirname(resolve(folder)));
}

/** Raspberry Pi firmware's own word on under-voltage and heat; elsewhere the kernel's zones. */
export const checkHeat: Check = {
  about: "throttling",
  async look() {
    const bits = await readThrottled();
    if (bits !== undefined) {
      if (bits & 0x5) {
        return {
          state: "bad",
          text: bits & 0x1 ? "under-voltage now" : "throttled now",
          mend:
            bits & 0x1 ? "use the board's own power supply" : "give the board air or a heat sink",
        };
      }
      if (bits & 0x50000) return { state: "warning", text: "was throttled since it started" };
    }
    const hottest = Math.max(0, ...(await readTemperatures()));
    if (hottest > 80) {
      return { state: "warning", text: `${hottest} °C`, mend: "give the board air or a heat sink" };
    }
    return { state: "good", text: hottest > 0 ? `none, ${hottest} °C` : "none known" };
  },
};

const unitFields = "LoadState,ActiveState,SubState,Result,NRestarts,StatusText,UnitFileState";

/** How systemd finds one of the services of an installed board. */
export function checkUnit(
  about: string,
  unit: string,
  show = async () => (await run("systemctl", ["show", "--property", unitFields, unit])).stdout,
): Check {
  return {
    about,
    async look() {
      const text = await show().catch(() => "");
      const now = Object.fromEntries(text.split("\n").map((line) => line.split(/=(.*)/s, 2)));
      const { LoadState, ActiveState, SubState, Result, NRestarts, StatusText } = now;
      if (LoadState !== "loaded") return { state: "good", text: "not installed here" };
      const restarts = Number(NRestarts ?? 0);
      const again = restarts > 0 ? `, started anew ${restarts} times` : "";
      if (ActiveState !== "active") {
        const why = Result && Result !== "success" ? ` (${Result})` : "";
        const state = `${ActiveState}, ${SubState}${why}${again}`;
        return { state: "bad", text: state, mend: `sudo journalctl -b -u ${unit} says why` };
      }
      if (now.UnitFileState === "disabled") {
        const mend = `sudo systemctl enable ${unit}`;
        return { state: "warning", text: "runs, but would not start after a power cut", mend };
      }
      return {
        state: restarts > 0 ? "warning" : "good",
        text: `runs: ${StatusText || SubState}${again}`,
        ...(restarts > 0 ? { mend: `sudo journalctl -b -u ${unit} says why` } : {}),
      };
    },
  };
}

/** Locked memory and group membership, as the kernel tells them of this very process. */
export function checkRights(slabMiB: number): Check {
  return {
    about: "rights",
    async look() {
      const limits = (await read("/proc/self/limits")) ?? "";
      const locked = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? "0";
      const lockedMiB =
        locked === "unlimited" ? Number.POSITIVE_INFINITY : Number(locked) / 2 ** 20;
      const isRoot = process.getuid?.() === 0;
      const groups = (await run("id", ["-nG"])).stdout.trim().split(" ");
      if (!isRoot && !groups.includes("video")) {
        return {
          state: "bad",
          text: "this user is not in the group video",
          mend: `sudo usermod -aG video ${process.env.USER ?? "USER"}, then log in again`,
        };
      }
      if (!isRoot && lockedMiB < slabMiB) {
        return {
          state: "warning",
          text: `may lock ${Math.floor(lockedMiB)} MiB, pictures use ${slabMiB}`,
          mend: "LimitMEMLOCK in the service, or /etc/security/limits.d on a desk",
        };
      }
      return { state: "good", text: isRoot ? "root" : "group video, memory can be locked" };
    },
  };
}
