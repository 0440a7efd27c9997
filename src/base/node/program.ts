import { readFile } from "node:fs/promises";
import { Failure } from "../pure/failure.ts";

/**
 * The stop signal of a program: aborts at the first SIGTERM or SIGINT; a second one kills as if
 * nobody had listened, for whoever does not want to wait until what is open has been sealed.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) {
        // Not process.exit: the detector's runtime aborts when its thread is torn down in a run.
        process.removeAllListeners(name);
        process.kill(process.pid, name);
      }
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
