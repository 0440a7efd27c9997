import {
  Agent,
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";

// A relay that lies, as a proxy in front of a real one. Whoever speaks to it speaks the real protocol
// over real HTTP; what is not lied about is the real relay's answer.

/** A request as it came, whole. */
export type Asked = {
  readonly method: string;
  readonly url: string;
  /** 64 digits; "" where there is none. */
  readonly mailbox: string;
  /** The object's name, or a clip's prefix; "" for a listing. */
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
};
export type Reply = { status: number; headers: Record<string, string>; body: Buffer };

/** One lie: each part of it is optional. */
export type Lie = {
  /** Answers in the relay's place, which then hears of nothing. */
  instead?(asked: Asked): Reply | undefined | Promise<Reply | undefined>;
  /** Changes what the relay answered. */
  after?(asked: Asked, reply: Reply): Reply | Promise<Reply>;
  /** Writes to the connection what it likes; true when it did. */
  raw?(asked: Asked, socket: Socket): boolean;
  /** It lets a client wait, as long as that will. */
  stalls?: true;
};

/** How long a client waits here; minutes in life. Only who stalls is to be found out by it. */
export const patienceMs = (lie: Lie | undefined): number => (lie?.stalls ? 800 : 20_000);

export type HostileRelay = {
  readonly port: number;
  readonly authority: string;
  readonly url: string;
  /** What it does now; undefined is an honest relay. */
  lie: Lie | undefined;
  /** Every object that was ever put, with all its versions, by mailbox and name. It forgets nothing. */
  readonly kept: ReadonlyMap<string, ReadonlyMap<string, readonly Buffer[]>>;
  /** What was asked since `forget`. */
  readonly asked: readonly Asked[];
  /** Bytes that clients have taken of answers written by `raw`, since `forget`. */
  rawBytes(): number;
  forget(): void;
  /** Hangs up on everybody: who waited asks again. */
  cut(): void;
  /** The port of the real relay. */
  forwardTo(port: number): void;
  /** Asks the real relay as a client did, byte for byte. */
  pass(asked: Asked): Promise<Reply>;
  close(): Promise<void>;
};

type Incoming = Asked & { headers: IncomingMessage["headers"] };

export async function openHostile({ port = 0 } = {}): Promise<HostileRelay> {
  const kept = new Map<string, Map<string, Buffer[]>>();
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 8 });
  const sockets = new Set<Socket>();
  const raws = new Set<Socket>();
  let rawBefore = 0;
  let asked: Asked[] = [];
  let to = 0;

  const pass = (one: Asked): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const { method, url, body } = one;
      const { headers } = one as Incoming;
      const request = requestHttp(
        { host: "127.0.0.1", port: to, agent, method, path: url, headers },
        async (response) => {
          try {
            const pieces: Buffer[] = [];
            for await (const piece of response) pieces.push(piece);
            const { statusCode: status = 0 } = response;
            resolve({ status, headers: fieldsOf(response), body: Buffer.concat(pieces) });
          } catch (error) {
            reject(error);
          }
        },
      );
      request.on("error", reject);
      request.end(body.length > 0 ? body : undefined);
    });

  const remember = ({ method, mailbox, name, body }: Asked, { status }: Reply) => {
    if (method !== "PUT" || (status !== 201 && status !== 200)) return;
    const objects = kept.get(mailbox) ?? new Map<string, Buffer[]>();
    kept.set(mailbox, objects);
    const versions = objects.get(name) ?? [];
    if (!versions.some((one) => one.equals(body))) objects.set(name, [...versions, body]);
  };

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const one = await read(request);
    asked.push(one);
    const { lie } = relay;
    if (lie?.raw?.(one, request.socket)) {
      raws.add(request.socket);
      return;
    }
    let reply = await lie?.instead?.(one);
    if (!reply) {
      reply = await pass(one);
      remember(one, reply);
      reply = (await lie?.after?.(one, reply)) ?? reply;
    }
    const { status, headers, body } = reply;
    response.writeHead(status, { "content-length": body.length, ...headers }).end(body);
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => request.socket.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      if (raws.delete(socket)) rawBefore += socket.bytesWritten - socket.writableLength;
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port }, resolve));
  const { port: own } = server.address() as AddressInfo;

  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const relay: HostileRelay = {
    ...{ port: own, authority: `127.0.0.1:${own}`, url: `http://127.0.0.1:${own}` },
    ...{ lie: undefined, kept, pass, cut },
    get asked() {
      return asked;
    },
    rawBytes: () =>
      [...raws].reduce((sum, one) => sum + one.bytesWritten - one.writableLength, rawBefore),
    forget() {
      asked = [];
      rawBefore = 0;
      for (const socket of raws) socket.destroy();
      raws.clear();
    },
    forwardTo(real) {
      to = real;
    },
    async close() {
      cut();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;
}

async function read(request: IncomingMessage): Promise<Incoming> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  const { method = "", url = "", headers } = request;
  const [path = "", query = ""] = url.split("?");
  const found = /^\/([0-9a-f]{64})\/(.*)$/.exec(path);
  return {
    ...{ method, url, headers, mailbox: found?.[1] ?? "", name: found?.[2] ?? "" },
    ...{ query: new URLSearchParams(query), body: Buffer.concat(pieces) },
  };
}

function fieldsOf({ headers }: IncomingMessage): Record<string, string> {
  const left = new Set(["connection", "keep-alive", "transfer-encoding", "content-length"]);
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      left.has(name) || value === undefined ? [] : [[name, String(value)]],
    ),
  );
}
