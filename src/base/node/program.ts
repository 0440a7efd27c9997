import { readFile } from "node:fs/promises";
import { Failure } from "../pure/failure.ts";

/**
 * The stop signal of a program: aborts at the first SIGTERM or SIGINT; a second one leaves at once
 * with 130, for whoever does not want to wait until what is open has been sealed.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new Failure("gone", `stopped by ${name}`));
    });
  }
  return controller.signal;
}

/** The version of this checkout, of its package.json. */
export async function programVersion(): Promise<string> {
  const file = new URL("../../../../package.json", import.meta.url);
  return JSON.parse(await readFile(file, "utf8")).version;
}
