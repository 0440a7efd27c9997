import type { Socket } from "node:net";
import { networkInterfaces } from "node:os";

/** How long what was written may take to leave after a close. */
const lingerMs = 2000;

/** Of several addresses each has so long, ms: Node's own 250 are less than a satellite or a lost packet takes. */
export const patient = { autoSelectFamilyAttemptTimeout: 4000 };

/** A connection as protocol/sealed/frames.ts wants one. */
export function socketStream(socket: Socket) {
  // Whoever waits is told by chunks and write; unheard, an error would end the program.
  socket.on("error", () => {});
  return {
    chunks: socket as AsyncIterable<Uint8Array>,
    write: (bytes: Uint8Array) =>
      new Promise<void>((resolve, reject) => {
        socket.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    close() {
      socket.destroySoon();
      setTimeout(() => socket.destroy(), lingerMs).unref();
    },
    after,
  };
}

/** IPv4 addresses by which local networks reach this machine, one for each interface at least. */
export function localAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map(({ address }) => address);
}

/** Calls `act` after `ms`, unless what it returns is called before. */
export function after(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
}
