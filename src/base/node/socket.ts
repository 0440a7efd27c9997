import type { Socket } from "node:net";

/** How long what was written may take to leave after a close. */
const lingerMs = 2000;

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
    after(ms: number, act: () => void) {
      const timer = setTimeout(act, ms);
      return () => clearTimeout(timer);
    },
  };
}
