import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { patient } from "../../base/node/socket.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { type MailServer, nameOfServer } from "../mailserver.ts";
import type { Envelope } from "./letter.ts";
import { openTalk, type Reply, type Talk, unspoken } from "./talk.ts";

export type SendOptions = {
  server: MailServer;
  envelope: Envelope;
  /** The whole message, of seven bits. */
  bytes: Uint8Array;
  clock: Clock;
  signal: AbortSignal;
};

/** From the first packet to the server's last word, whatever it does meanwhile; and for the message itself. */
const longestMs = 120_000;
const leastBytesPerMs = 8;
const connectMs = 30_000;
const goodbyeMs = 1_000;
/** Who refuses a login would lock out who asks again and again. */
const loginPauseMs = 10 * 60_000;

/**
 * Hands one message to the mail server; it has taken it over when this resolves, for `rejected` of the
 * addresses not. Throws a Failure that holds no word of the server's but its numbers: "offline",
 * "stalled" or "gone" for what may pass, "refused" or "corrupt" for what the owner has to mend; of stage
 * "message" when it is about this one. `wordsOf` has the words.
 */
export async function send(options: SendOptions): Promise<{ rejected: string[] }> {
  const { server, clock, signal } = options;
  signal.throwIfAborted();
  const name = nameOfServer(server);
  const over = new AbortController();
  const dialled = dial(server);
  let why: Failure | undefined;
  const end = (failure: Failure) => {
    why ??= failure;
    dialled.destroy();
  };
  const onAbort = () => end(new Failure("gone", "the camera ends"));
  signal.addEventListener("abort", onAbort, { once: true });
  const late = (ms: number, text: string, isLate: () => boolean) =>
    void clock.sleep(ms, over.signal).then(
      () => isLate() && end(new Failure("stalled", `${name} ${text}`)),
      () => {},
    );
  late(connectMs, "cannot be reached (no answer)", () => dialled.connecting);
  const allMs = longestMs + options.bytes.length / leastBytesPerMs;
  late(allMs, `did not take a message in ${Math.round(allMs / 1000)} s`, () => true);
  try {
    await connected(dialled, server);
    const { talk, can } = await meet(dialled, server);
    const sent = await hand(talk, can, options);
    // It has the message: whether it also says goodbye is no matter of ours.
    const goodbye = talk.ask("QUIT").catch(() => {});
    void goodbye.then(() => dialled.destroy());
    setTimeout(() => dialled.destroy(), goodbyeMs).unref();
    return sent;
  } catch (error) {
    dialled.destroy();
    if (why || isFailure(error)) throw why ?? error;
    throw new Failure("gone", `${name} could not be used`, { cause: error });
  } finally {
    over.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

function dial({ host, port, security, ...server }: MailServer): Socket {
  const socket =
    security === "tls"
      ? connectTls({ port, ...patient, ...trusting({ host, ...server }) })
      : connectTcp({ host, port, ...patient });
  socket.setNoDelay();
  // Who waits is told by others; an error that nobody hears would end the program.
  return socket.on("error", () => {});
}

function trusting({ host, ca }: Pick<MailServer, "host" | "ca">) {
  return {
    // Whose certificate it is to be, also where the connection is there already: Node's is "localhost".
    ...{ host, minVersion: "TLSv1.2" as const, rejectUnauthorized: true },
    ...(isIP(host) ? {} : { servername: host }),
    ...(ca ? { ca: Buffer.from(ca) } : {}),
  };
}

/** Resolves when the connection is up, and encrypted where it is to be from its beginning. */
async function connected(socket: Socket, server: MailServer, isUpgrade = false): Promise<void> {
  const isTls = isUpgrade || server.security === "tls";
  await new Promise<void>((resolve, reject) => {
    const broken = (cause?: NodeJS.ErrnoException) => reject(unconnected(cause, server, isTls));
    socket.once(isTls ? "secureConnect" : "connect", () => resolve());
    socket.once("error", broken).once("close", () => broken());
  });
}

function unconnected(
  cause: NodeJS.ErrnoException | undefined,
  server: MailServer,
  isTls: boolean,
): Failure {
  const name = nameOfServer(server);
  const { code = "no answer" } = cause ?? {};
  if (/CERT|ALTNAME|SELF_SIGNED|UNABLE_TO/.test(code)) {
    const hint = "Look at mail.host and mail.ca, and at the server's certificate";
    return new Failure("refused", `no trust in ${name} (${code})`, { hint, cause });
  }
  if (isTls && /SSL|TLS|EPROTO/.test(code)) return unencrypted(server, code);
  return new Failure("offline", `${name} cannot be reached (${code})`, { cause });
}

function unencrypted(server: MailServer, why: string): Failure {
  const hint =
    server.security === "starttls"
      ? "Is it its port for STARTTLS? One that is encrypted from its beginning takes mail.security: tls"
      : "Is it its port for TLS? One that begins in clear takes mail.security: starttls";
  return new Failure("refused", `no encrypted connection with ${nameOfServer(server)} (${why})`, {
    hint,
  });
}

/** Up to where the server takes a message: greeted, encrypted, logged in. */
async function meet(socket: Socket, server: MailServer): Promise<{ talk: Talk; can: string[] }> {
  const { security, login } = server;
  const name = nameOfServer(server);
  let talk = openTalk(socket, name);
  check(await talk.ask(), 2, server);
  let can = await introduce(talk, server);
  if (security === "starttls") {
    const reply = await talk.ask("STARTTLS");
    if (reply.code !== 220) throw unencrypted(server, statusOf(reply));
    // What came before the encryption is not to be taken for what comes behind it.
    if (!talk.yield()) throw new Failure("corrupt", `${name} talks while encryption begins`);
    const secure = connectTls({ socket, ...trusting(server) });
    secure.on("error", () => {});
    await connected(secure, server, true);
    talk = openTalk(secure, name);
    can = await introduce(talk, server);
  }
  if (login) await logIn(talk, can, server, login);
  return { talk, can };
}

/** What the server says that it can. */
async function introduce(talk: Talk, server: MailServer): Promise<string[]> {
  // The board's own name is nobody's business.
  const reply = await talk.ask("EHLO [127.0.0.1]");
  check(reply, 2, server);
  return reply.lines.map((line) => line.toUpperCase());
}

async function logIn(
  talk: Talk,
  can: readonly string[],
  server: MailServer,
  { user, password }: NonNullable<MailServer["login"]>,
): Promise<void> {
  const ways = can.filter((line) => /^AUTH[ =]/.test(line)).flatMap((line) => line.split(/[ =]/));
  const isOffered = ways.includes("PLAIN") || ways.includes("LOGIN");
  // Who asks for something else, as a token, is given no password.
  if (ways.length > 0 && !isOffered) throw noPassword(server);
  const base64 = (bytes: string | Uint8Array) => Buffer.from(bytes).toString("base64");
  let reply: Reply;
  if (ways.includes("PLAIN") || !ways.includes("LOGIN")) {
    const both = Buffer.concat([Buffer.from(`\0${user}\0`), password]);
    reply = await talk.ask(`AUTH PLAIN ${base64(both)}`);
  } else {
    reply = await talk.ask("AUTH LOGIN");
    if (reply.code === 334) reply = await talk.ask(base64(user));
    if (reply.code === 334) reply = await talk.ask(base64(password));
  }
  if (reply.code === 235) return;
  if (reply.code < 500) check(reply, 2, server);
  // No such command, not now, or no such way: it is not the password that is wrong.
  if (reply.code < 530) throw noPassword(server, reply);
  const name = nameOfServer(server);
  throw new Failure("refused", `${name} refuses the login (${statusOf(reply)})`, {
    ...{ stage: "login", retryAfterMs: loginPauseMs, cause: reply },
    hint: "Look at the file that mail.credentials names",
  });
}

function noPassword(server: MailServer, reply?: Reply): Failure {
  const status = reply ? ` (${statusOf(reply)})` : "";
  return new Failure("refused", `${nameOfServer(server)} takes no login by a password${status}`, {
    ...{ stage: "login", retryAfterMs: loginPauseMs, ...(reply ? { cause: reply } : {}) },
    hint: "Is mail.port the one for logins (587, 465)? Some servers demand OAuth, which the camera does not have",
  });
}

async function hand(
  talk: Talk,
  can: readonly string[],
  { server, envelope, bytes }: SendOptions,
): Promise<{ rejected: string[] }> {
  const size = can.some((line) => /^SIZE\b/.test(line)) ? ` SIZE=${bytes.length}` : "";
  const reply = await talk.ask(`MAIL FROM:<${envelope.from}>${size}`);
  // Too large, or from whom it takes nothing.
  check(reply, 2, server, reply.code === 552 ? "message" : "envelope");
  const rejected: string[] = [];
  let no: Reply | undefined;
  for (const one of envelope.to) {
    const answer = await talk.ask(`RCPT TO:<${one}>`);
    if (answer.code < 300) continue;
    rejected.push(one);
    // One that may be taken later is worth the others' waiting no more than one that never is.
    if (!no || answer.code < 500) no = answer;
  }
  if (no && rejected.length === envelope.to.length) check(no, 2, server, "envelope");
  const go = await talk.ask("DATA");
  check(go, 3, server, "message");
  check(await talk.hand(bytes), 2, server, "message");
  return { rejected };
}

/** Refuses what does not begin with that digit. */
function check(reply: Reply, digit: 2 | 3, server: MailServer, about?: "envelope" | "message") {
  if (Math.floor(reply.code / 100) === digit) return;
  const name = nameOfServer(server);
  const status = statusOf(reply);
  if (reply.code < 400) throw unspoken(name);
  if (reply.code < 500) {
    throw new Failure("offline", `${name} is not ready for this (${status})`, { cause: reply });
  }
  if (about === "envelope") {
    throw new Failure("refused", `${name} takes no mail from there to there (${status})`, {
      ...{ stage: about, cause: reply },
      hint: "Look at mail.from, mail.to and mail.credentials",
    });
  }
  const what = about === "message" ? "this message" : "this camera";
  throw new Failure("refused", `${name} refuses ${what} (${status})`, {
    ...(about ? { stage: about } : {}),
    cause: reply,
  });
}

/** The numbers of a reply, as 550 5.1.1. */
function statusOf({ code, lines }: Reply): string {
  const more = /^\d\.\d{1,3}\.\d{1,3}(?= |$)/.exec(lines[0] ?? "");
  return `${code}${more ? ` ${more[0]}` : ""}`;
}

/** The server's own words, for the owner's eyes: one short line without what the login holds. */
export function wordsOf(failure: unknown, { login }: MailServer): string | undefined {
  const { code, lines } = (isFailure(failure) ? (failure.cause ?? {}) : {}) as Partial<Reply>;
  if (code === undefined || !Array.isArray(lines)) return undefined;
  const password = Buffer.from(login?.password ?? []).toString();
  const plain = Buffer.from(`\0${login?.user}\0${password}`).toString("base64");
  let words = `${code} ${lines.join(" ")}`;
  for (const secret of [password, Buffer.from(password).toString("base64"), plain]) {
    if (secret !== "") words = words.replaceAll(secret, "…");
  }
  return words.replace(/[^\u0020-\u007e…]+/g, " ").slice(0, 200);
}
