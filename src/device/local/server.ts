import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure } from "../../base/pure/failure.ts";
import { targetOf } from "../../protocol/wire/request.ts";
import type { LanTls } from "../lan.ts";
import { type Limits, plainAddress } from "./limit.ts";

// The listener: connections, their limits, and an orderly end.

export type Periods = {
  /** For a TLS handshake, and for the head of a request. */
  headMs: number;
  /** For the whole of a request. */
  requestMs: number;
  /** For an answer to be taken; a stream has its own. */
  answerMs: number;
  /** For a command to be carried out. */
  commandMs: number;
  /** Between two requests. */
  idleMs: number;
};
export type ServerOptions = {
  host: string;
  port: number;
  tls: LanTls | undefined;
  connectionsMost: number;
  periods: Periods;
  limits: Limits;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  isStream(request: IncomingMessage): boolean;
  /** An answer is over, of this status. */
  onAnswer(status: number): void;
  onCutOff(): void;
};
export type LocalServer = {
  readonly port: number;
  renewTls(tls: LanTls): void;
  close(): Promise<void>;
};

/** Requests that are under way on one connection: a pipeline of more is an attack. */
const pipelineMost = 4;
const headBytes = 8192;
const mostHeaders = 64;
const goodbyeMs = 1_000;

/** Throws Failure "busy" when the address cannot be listened at. */
export async function openServer(options: ServerOptions): Promise<LocalServer> {
  const { host, port, tls, periods, limits, handle, isStream, onAnswer, onCutOff } = options;
  const { headMs, requestMs } = periods;
  const http = {
    ...{ headersTimeout: headMs, requestTimeout: requestMs, keepAliveTimeout: periods.idleMs },
    ...{ maxHeaderSize: headBytes, insecureHTTPParser: false },
    connectionsCheckingInterval: Math.max(100, Math.min(2_000, headMs / 2)),
  };
  const server: Server = tls
    ? createTlsServer({ ...http, ...securing(tls), handshakeTimeout: headMs })
    : createServer(http);
  server.maxConnections = options.connectionsMost;
  // Node leaves out what is more than this, and says nothing of it: so one more is let in, to be seen.
  server.maxHeadersCount = mostHeaders + 1;
  const open = new Set<Socket>();

  const underWay = new WeakMap<Socket, Set<ServerResponse>>();
  const dispatch = (request: IncomingMessage, response: ServerResponse) => {
    const { socket, headers } = request;
    const { url, host } = targetOf(request.url ?? "", headers.host);
    request.url = url;
    if (host !== undefined) headers.host = host;
    const all = underWay.get(socket) ?? new Set();
    const cut = () => {
      onCutOff();
      socket.destroy();
    };
    if (all.size >= pipelineMost) return cut();
    underWay.set(socket, all.add(response));
    const mostMs = request.method === "POST" ? periods.commandMs : periods.answerMs;
    const late = isStream(request) ? undefined : setTimeout(cut, mostMs);
    const over = () => {
      if (!all.delete(response)) return;
      clearTimeout(late);
      socket.removeListener("close", over);
      // Who was hung up on has no answer.
      if (response.headersSent) onAnswer(response.statusCode);
    };
    response.on("close", over);
    // An answer in a pipeline whose turn has not come is told nothing of the end.
    socket.on("close", over);
    request.on("error", () => {});
    response.on("error", () => {});
    if (request.rawHeaders.length > 2 * mostHeaders) {
      return void response.writeHead(431, { connection: "close", "content-length": 0 }).end();
    }
    void handle(request, response);
  };
  server.on("request", dispatch);
  // Who asks first is told to go on where its content is read, and nowhere else.
  server.on("checkContinue", dispatch);
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(417, { connection: "close", "content-length": 0 }).end();
  });
  server.on("connection", (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress);
    socket.on("error", () => {});
    if (!limits.connect(address)) {
      onCutOff();
      return void socket.destroy();
    }
    open.add(socket);
    // Each request of a pipeline may listen for its end, here and where it is answered.
    socket.setMaxListeners(10 + 3 * pipelineMost);
    socket.on("close", () => {
      open.delete(socket);
      limits.disconnect(address);
    });
  });
  server.on("drop", onCutOff);
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
    const status = clientStatus[error.code ?? ""] ?? "400 Bad Request";
    if (status.startsWith("408")) onCutOff();
    // Into the middle of an answer, as a stream is, goes no other.
    const isWithin = [...(underWay.get(socket) ?? [])].some(
      ({ headersSent, writableEnded }) => headersSent && !writableEnded,
    );
    const answer = `HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
    socket.end(isWithin ? "" : answer);
    // Whatever else comes is not read.
    setTimeout(() => socket.destroy(), goodbyeMs).unref();
  });
  // A handshake that came to nothing.
  server.on("tlsClientError", (_, socket: TLSSocket) => void socket.destroy());

  server.listen({ port, ...(host === "" ? {} : { host }) });
  await once(server, "listening").catch((cause) => {
    const where = host === "" ? `port ${port}` : `${host} port ${port}`;
    throw new Failure("busy", `cannot listen at ${where} (${cause.code})`, { cause });
  });
  // What befalls a listener that stands (no file handles left) ends no program.
  server.on("error", () => {});

  return {
    port: (server.address() as AddressInfo).port,
    renewTls(next) {
      if ("setSecureContext" in server) {
        (server as TlsServer).setSecureContext(securing(next));
      }
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => {
        for (const socket of open) socket.destroy();
      }, goodbyeMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

const securing = ({ cert, key, minVersion }: LanTls) => ({
  ...{ cert: Buffer.from(cert), key: Buffer.from(key), minVersion },
});

const clientStatus: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
};
