import { Agent, type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls, Agent as TlsAgent } from "node:https";
import { Failure, isFailure } from "../pure/failure.ts";
import { patient } from "./socket.ts";

// One HTTP request at a time over connections that are kept, for programs that talk to a server
// they do not trust: answers are bounded in bytes and time, redirections are not followed.

export type Sending = {
  method: string;
  url: string;
  headers: Readonly<Record<string, string>>;
  body?: Uint8Array;
  mostBytes: number;
  timeoutMs: number;
  signal?: AbortSignal;
};
export type Answer = {
  status: number;
  headers: Readonly<Record<string, string | undefined>>;
  body: Uint8Array;
};

const sliceBytes = 16 * 1024;
const headBytes = 16 * 1024;

/**
 * Matches the `Send` of protocol/wire. Rejects with Failure "gone" when there is no whole answer in
 * time, "corrupt" for one that is no HTTP or longer than `mostBytes`, and with the signal's reason.
 *
 * @param pace resolves when so many more bytes of a body may go out: a bandwidth cap
 */
export function openHttp({ pace }: { pace?: (bytes: number) => Promise<void> } = {}): {
  send(sending: Sending): Promise<Answer>;
  close(): void;
} {
  const agents = (keepAlive: boolean) => {
    const options = { keepAlive, maxFreeSockets: 4, timeout: 120_000, ...patient };
    return { plain: new Agent(options), tls: new TlsAgent({ ...options, minVersion: "TLSv1.2" }) };
  };
  const [kept, single] = [agents(true), agents(false)];

  const once = (
    { method, url, headers, body, mostBytes, timeoutMs, signal }: Sending,
    { plain, tls } = kept,
  ) =>
    new Promise<Answer>((resolve, reject) => {
      const isTls = url.startsWith("https:");
      const request = (isTls ? requestTls : requestPlain)(url, {
        ...{ method, agent: isTls ? tls : plain, maxHeaderSize: headBytes },
        headers: { ...headers, ...(body ? { "content-length": body.length } : {}) },
      });
      const end = (act: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        act();
      };
      const fail = (error: unknown) => {
        end(() => reject(error));
        request.destroy();
      };
      const onAbort = () => fail(signal?.reason);
      const timer = setTimeout(
        () => fail(new Failure("gone", "no whole answer in time", { errno: "ETIMEDOUT" })),
        timeoutMs,
      );
      let answered = false;
      request.on("error", (error) => fail(failureOf(error, request.reusedSocket)));
      if (signal?.aborted) return onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
      request.on("response", (response) => {
        answered = true;
        readBody(response, mostBytes).then(
          (bytes) => {
            const status = response.statusCode ?? 0;
            end(() => resolve({ status, headers: flat(response), body: bytes }));
            // An answer before the body was sent: the rest is of no use to anybody.
            if (!request.writableFinished) request.destroy();
          },
          (error) => fail(failureOf(error, false)),
        );
      });
      const write = async () => {
        for (let at = 0; body && at < body.length && !answered; at += sliceBytes) {
          const slice = body.subarray(at, at + sliceBytes);
          await pace?.(slice.length);
          if (request.destroyed) return;
          if (!request.write(slice)) await drained(request);
        }
        if (!answered && !request.destroyed) request.end();
      };
      write().catch(fail);
    });

  return {
    async send(sending) {
      try {
        return await once(sending);
      } catch (error) {
        // The server closed a connection that was kept at the moment it was used again: the others too, perhaps.
        const isStale = isFailure(error, "gone") && error.stage === staleStage;
        if (isStale) return await once(sending, single);
        throw error;
      }
    },
    close() {
      for (const { plain, tls } of [kept, single]) {
        plain.destroy();
        tls.destroy();
      }
    },
  };
}

const staleStage = "stale";

function drained(request: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const name of ["drain", "close", "response"]) request.removeListener(name, done);
      resolve();
    };
    for (const name of ["drain", "close", "response"]) request.on(name, done);
  });
}

async function readBody(response: IncomingMessage, mostBytes: number): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response) {
    length += piece.length;
    if (length > mostBytes) {
      throw new Failure("corrupt", `an answer of more than ${mostBytes} bytes`, {
        stage: "length",
      });
    }
    pieces.push(piece);
  }
  const whole = Buffer.concat(pieces);
  return new Uint8Array(whole.buffer, whole.byteOffset, whole.length);
}

function flat({ headers }: IncomingMessage): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : value,
    ]),
  );
}

function failureOf(error: unknown, reused: boolean): unknown {
  if (error instanceof Failure) return error;
  const { code = "unknown" } = error as NodeJS.ErrnoException;
  const options = { cause: error, errno: code };
  if (code.startsWith("HPE_")) return new Failure("corrupt", "the answer is no HTTP", options);
  const isStale = reused && (code === "ECONNRESET" || code === "EPIPE");
  return new Failure("gone", `no whole answer (${code})`, {
    ...options,
    ...(isStale ? { stage: staleStage } : {}),
  });
}
