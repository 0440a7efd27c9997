import { type AddressInfo, createServer, type Socket } from "node:net";
import { socketStream } from "../../base/node/socket.ts";
import { Failure } from "../../base/pure/failure.ts";
import { openFrames, type Pipe } from "../../protocol/sealed/frames.ts";
import type { LensCode } from "../../protocol/sealed/lens.ts";

// TCP for the pairing stage: who may hold a connection before the secret is proven.

export const mostUnproven = 32;

export type Guest = {
  readonly pipe: Pipe;
  /** For the log. */
  readonly from: string;
  /** What it has to prove, where that is not the window's own secret (lens.ts). */
  readonly code?: Pick<LensCode, "secret" | "phone">;
  /** Called when the secret is proven: from then on it is not cut for others. */
  admit(): void;
};
export type Listener = { readonly port: number; close(): Promise<void> };
export type ListenerOptions = {
  /** 0: any that is free. */
  readonly port: number;
  /** The one address to listen on; all of the board's unless given. */
  readonly address: string | undefined;
  /** Serves one connection; it is closed when this resolves. Never rejects. */
  serve(guest: Guest): Promise<void>;
};

/** Throws Failure "busy" when the port is taken, "absent" when the address is not this board's. */
export async function openListener({ port, address, serve }: ListenerOptions): Promise<Listener> {
  const sockets = new Set<Socket>();
  const unproven = new Map<Socket, string>();
  const server = createServer({ noDelay: true }, (socket) => {
    const from = (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
    sockets.add(socket);
    unproven.set(socket, from);
    if (unproven.size > mostUnproven) crowded(unproven).destroy();
    const pipe = openFrames(socketStream(socket));
    const guest = { pipe, from, admit: () => void unproven.delete(socket) };
    socket.once("close", () => {
      sockets.delete(socket);
      unproven.delete(socket);
    });
    void serve(guest).finally(() => pipe.close());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, ...(address === undefined ? {} : { host: address }) }, resolve);
  }).catch((cause) => {
    const kind = cause.code === "EADDRINUSE" ? "busy" : "absent";
    const at = address === undefined ? `port ${port}` : `${address}, port ${port}`;
    throw new Failure(kind, `cannot listen on ${at} (${cause.code})`, {
      cause,
      hint: kind === "busy" ? "Is another pairing under way? Else choose another --port" : "",
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** The oldest connection of the address that holds most of them: a flood cuts itself. */
function crowded(unproven: ReadonlyMap<Socket, string>): Socket {
  const counts = new Map<string, number>();
  for (const from of unproven.values()) counts.set(from, (counts.get(from) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const [socket] = [...unproven].find(([, from]) => counts.get(from) === most) as [Socket, string];
  return socket;
}
