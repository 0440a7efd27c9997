import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { createSecureContext } from "node:tls";
import { readNamed } from "../base/node/program.ts";
import { Failure } from "../base/pure/failure.ts";
import { targetOf } from "../protocol/wire/request.ts";
import { type Desk, openHandler, pipelineMost } from "./handle.ts";

// The listener: connections, their limits, TLS, and an orderly end.

export type ServerOptions = {
  host: string;
  port: number;
  tls?: { certificate: string; key: string };
  connectionsMost: number;
  /** For the head of a request to come, and for a TLS handshake. */
  headersMs: number;
  desk: Omit<Desk, "isClosing">;
};
export type RelayServer = {
  readonly port: number;
  readonly connections: number;
  /** Reads certificate and key again; the old ones stay when these are not good. */
  reloadTls(): Promise<void>;
  /** Takes no more requests, lets those under way end for `graceMs`, then ends them. */
  close(graceMs: number): Promise<void>;
};

/** Longer than a poll is held back, so that a phone's connection outlives it. */
const keepAliveMs = 75_000;

export async function openServer(options: ServerOptions): Promise<RelayServer> {
  const { host, port, tls, connectionsMost, headersMs, desk } = options;
  let isClosing = false;
  const handle = openHandler({ ...desk, isClosing: () => isClosing });
  const http = {
    ...{ headersTimeout: headersMs, keepAliveTimeout: keepAliveMs, maxHeaderSize: 8192 },
    // A put has its own least rate; a request without content ends with its head.
    ...{ requestTimeout: 0, insecureHTTPParser: false },
    connectionsCheckingInterval: Math.min(5000, headersMs / 2),
  };
  const server: Server | TlsServer = tls
    ? createTlsServer({ ...http, ...(await readTls(tls)), handshakeTimeout: headersMs })
    : createServer(http);
  server.maxConnections = connectionsMost;

  const underWay = new WeakMap<Socket, number>();
  const dispatch = (request: IncomingMessage, response: ServerResponse, goOn?: () => void) => {
    const { socket, headers } = request;
    const { url, host } = targetOf(request.url ?? "", headers.host);
    request.url = url;
    if (host !== undefined) headers.host = host;
    const count = (underWay.get(socket) ?? 0) + 1;
    if (count > pipelineMost) return void socket.destroy();
    underWay.set(socket, count);
    response.on("close", () => underWay.set(socket, (underWay.get(socket) ?? 1) - 1));
    request.on("error", () => {});
    response.on("error", () => {});
    if (isClosing) response.setHeader("connection", "close");
    handle(request, response, goOn).catch((error) => {
      desk.onError(error);
      socket.destroy();
    });
  };
  server.on("request", (request, response) => dispatch(request, response));
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    dispatch(request, response, () => response.writeContinue());
  });
  server.on("connection", (socket: Socket) => {
    const slot = desk.limits.slotOfAddress(socket.remoteAddress ?? "");
    if (!desk.limits.connect(slot)) return void socket.destroy();
    socket.on("close", () => desk.limits.disconnect(slot));
    socket.on("error", () => {});
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
    const status = clientStatus[error.code ?? ""] ?? "400 Bad Request";
    const date = new Date().toUTCString();
    socket.end(
      `HTTP/1.1 ${status}\r\nDate: ${date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
    );
    // Whatever else comes is not read.
    setTimeout(() => socket.destroy(), 1000).unref();
  });

  server.listen({ port, ...(host === "" ? {} : { host }) });
  await once(server, "listening").catch((cause) => {
    throw new Failure("busy", `cannot listen at port ${port} (${cause.code})`, { cause });
  });

  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return (server as unknown as { _connections: number })._connections;
    },
    async reloadTls() {
      if (tls && "setSecureContext" in server) server.setSecureContext(await readTls(tls));
    },
    async close(graceMs) {
      isClosing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      // Connections that fall idle from now on.
      const idle = setInterval(() => server.closeIdleConnections(), 100);
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
      clearInterval(idle);
    },
  };
}

const clientStatus: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
};

const longestPem = { what: "a certificate or key", mostBytes: 2 ** 20 };

/** Throws Failure "absent" for a file that cannot be read, "misuse" when they are no certificate and its key. */
export async function readTls({ certificate, key }: { certificate: string; key: string }) {
  const read = async (file: string) => Buffer.from(await readNamed(file, longestPem));
  const tls = {
    cert: await read(certificate),
    key: await read(key),
    minVersion: "TLSv1.3" as const,
  };
  try {
    createSecureContext(tls);
  } catch (cause) {
    const what = `${certificate} and ${key} are no certificate and its key, as PEM`;
    throw new Failure("misuse", what, { cause });
  }
  return tls;
}

/** Metrics and health for the operator, on a listener of their own. */
export async function openMetricsServer({
  host,
  port,
  print,
  isWell,
}: {
  host: string;
  port: number;
  print(): Promise<string>;
  isWell(): boolean;
}): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer(
    { headersTimeout: 5000, requestTimeout: 5000 },
    (request, response) => {
      const say = (status: number, text: string) =>
        response.writeHead(status, { "content-type": "text/plain; version=0.0.4" }).end(text);
      if (request.method !== "GET") return void say(405, "");
      const { url } = targetOf(request.url ?? "", undefined);
      if (url === "/health") {
        return void (isWell() ? say(200, "ok\n") : say(503, "the storage failed\n"));
      }
      if (url !== "/metrics") return void say(404, "");
      print().then(
        (text) => say(200, text),
        () => say(500, ""),
      );
    },
  );
  server.maxConnections = 16;
  server.listen({ host, port });
  await once(server, "listening").catch((cause) => {
    throw new Failure("busy", `cannot listen at ${host} port ${port} (${cause.code})`, { cause });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
