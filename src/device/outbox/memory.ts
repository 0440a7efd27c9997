import type { DurableFolder } from "../../base/node/durable.ts";
import { Failure } from "../../base/pure/failure.ts";

/** A folder that exists in this process only. */
export function memoryFolder(): DurableFolder {
  const files = new Map<string, Uint8Array>();
  return {
    path: "memory",
    write: async (name, bytes) => void files.set(name, bytes),
    remove: async (names) => {
      for (const name of names) files.delete(name);
    },
    read: async (name) => {
      const bytes = files.get(name);
      if (!bytes) throw new Failure("absent", `${name} is not there`);
      return bytes;
    },
    list: async () => [...files.keys()].sort(),
    close: async () => files.clear(),
  };
}
