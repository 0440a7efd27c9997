import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { Failure } from "../pure/failure.ts";

/**
 * Keeps a second holder out of a folder, in this process or another. The lock is an abstract socket,
 * which the kernel takes back however the process ends: a file would outlive a power cut, and the
 * number of a process in it may be another's by then. It is one for all that share the machine's
 * network, and works on a medium that is read-only or gone. Throws Failure "busy".
 */
export async function lockFolder(path: string): Promise<() => Promise<void>> {
  // A folder that cannot be reached is known by its name alone.
  const real = await realpath(path).catch(() => resolve(path));
  const digest = createHash("sha512").update(real).digest("hex");
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(`\0obscura-${digest.slice(0, 32)}`, resolve);
  }).catch((cause) => {
    if (cause.code !== "EADDRINUSE") throw cause;
    throw new Failure("busy", `another program works in ${path}`, {
      cause,
      hint: "Wait until it is done, or stop it (the camera: systemctl stop obscura-camera)",
    });
  });
  server.unref();
  let unlocked: Promise<void> | undefined;
  return () => {
    unlocked ??= new Promise((resolve) => server.close(() => resolve()));
    return unlocked;
  };
}
