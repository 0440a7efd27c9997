import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
import { Failure } from "../../base/pure/failure.ts";

/**
 * Keeps a second process out of a folder. The lock is an abstract socket, which the kernel takes
 * back however the process ends: a file would outlive a power cut. Throws Failure "busy".
 */
export async function lockFolder(path: string): Promise<() => Promise<void>> {
  const digest = createHash("sha512")
    .update(await realpath(path))
    .digest("hex");
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(`\0obscura-${digest.slice(0, 32)}`, resolve);
  }).catch((cause) => {
    if (cause.code !== "EADDRINUSE") throw cause;
    throw new Failure("busy", `another obscura-camera works in ${path}`, {
      cause,
      hint: "Stop it first: systemctl stop obscura-camera",
    });
  });
  server.unref();
  return () => new Promise((resolve) => server.close(() => resolve()));
}
