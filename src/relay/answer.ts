import type { FileHandle } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { type Failure, isFailure } from "../base/pure/failure.ts";
import { objectType, printProblem, problemType } from "../protocol/wire/mailbox.ts";
import type { Result } from "./metrics.ts";

// How the relay answers: statuses of protocol/wire/mailbox.md, problem documents, objects.

/** On every answer: nothing between may keep it, nothing may guess what it is, any page may read it. */
export const everyAnswer: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; sandbox",
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "date, retry-after",
};

/** For browsers, which ask first: which requests a page of any origin may sign and send. */
export const preflight: Readonly<Record<string, string>> = {
  ...everyAnswer,
  "access-control-allow-methods": "GET, PUT, DELETE",
  "access-control-allow-headers": "content-digest, content-type, signature, signature-input",
  "access-control-max-age": "86400",
};

export function answerEmpty(response: ServerResponse, status: number): void {
  response.writeHead(status, { ...everyAnswer, "content-length": 0 }).end();
}

export function answerBytes(
  response: ServerResponse,
  status: number,
  type: string,
  body: Uint8Array,
  more: Record<string, string> = {},
): void {
  const length = { "content-length": body.length };
  response
    .writeHead(status, { ...everyAnswer, "content-type": type, ...length, ...more })
    .end(body);
}

const pieceBytes = 128 * 1024;

/** Sends a file as fast as it is taken, one piece in memory. */
export async function answerFile(
  response: ServerResponse,
  { file, bytes }: { file: FileHandle; bytes: number },
  gone: AbortSignal,
): Promise<void> {
  const head = { "content-type": objectType, "content-length": bytes };
  response.writeHead(200, { ...everyAnswer, ...head });
  const piece = new Uint8Array(Math.min(bytes, pieceBytes));
  for (let at = 0; at < bytes && !gone.aborted; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) throw new Error("a file is shorter than it was");
    at += bytesRead;
    // A copy: the piece is read into again while the socket may still hold it.
    if (!response.write(piece.slice(0, bytesRead))) await drained(response, gone);
  }
  response.end();
}

function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  if (gone.aborted || !response.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      response.removeListener("drain", done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    response.on("drain", done);
    gone.addEventListener("abort", done);
  });
}

const conflicts = new Set(["rises", "camera"]);
const denials = new Set(["right", "age", "push", "host"]);

/** The status of a failure behind the signature's check. */
export function statusOf(failure: Failure): number {
  const { kind, stage = "" } = failure;
  if (kind === "full") return 507;
  if (kind === "refused" && conflicts.has(stage)) return 409;
  if (kind === "refused" && denials.has(stage)) return 403;
  if (kind === "refused" || kind === "corrupt") return 400;
  return kind === "misuse" ? 500 : 503;
}

const resultsOf: Readonly<Record<number, Result>> = { 404: "absent", 429: "limited", 507: "full" };

export function resultOf(status: number): Result {
  return resultsOf[status] ?? (status < 400 ? "done" : status < 500 ? "refused" : "failed");
}

/** Says no. What went wrong inside is nobody's business but the log's. */
export function answerProblem(
  response: ServerResponse,
  status: number,
  { title, stage, retryS }: { title: string; stage?: string | undefined; retryS?: number },
): void {
  const again = retryS ?? (status === 503 ? 10 : status === 429 ? 5 : undefined);
  answerBytes(
    response,
    status,
    problemType,
    printProblem({ title, ...(stage === undefined ? {} : { stage }) }),
    again === undefined ? {} : { "retry-after": String(again) },
  );
}

/** What of an error may be told: ours is written for it, anything else is not. */
export function tellable(error: unknown): { status: number; title: string; stage?: string } {
  if (!isFailure(error)) return { status: 500, title: "the relay failed" };
  const status = statusOf(error);
  if (status >= 500 && status !== 507) return { status, title: "the relay is in trouble" };
  return { status, title: error.message, ...(error.stage ? { stage: error.stage } : {}) };
}
