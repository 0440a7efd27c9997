import { readFile } from "node:fs/promises";
import { programVersion } from "../../base/node/program.ts";
import type { Info } from "./machine.ts";

/** What is told to whoever asks which device this is: nothing that tells one board from another. */
export async function boardInfo(): Promise<Info> {
  const read = (file: string) => readFile(file, "utf8").catch(() => "");
  const [model, release] = await Promise.all([
    read("/proc/device-tree/model"),
    read("/etc/os-release"),
  ]);
  const line = (name: string) => new RegExp(`^${name}="?([^"\n]*)`, "m").exec(release)?.[1];
  return {
    ...{ firmware: "Obscura", version: await programVersion() },
    hardware: model.replace(/\0.*/s, "") || process.arch,
    ...{ system: line("NAME") ?? "Linux", systemVersion: line("VERSION_ID") ?? "" },
  };
}
