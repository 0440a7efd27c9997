import type { Socket } from "node:net";
import { Failure } from "../../base/pure/failure.ts";

// SMTP as far as who hands in a message needs it (RFC 5321): one command, one reply, in turn. A library's
// client reads ahead of what it asks for, and can be kept busy for ever by who sends without end.

export type Reply = {
  code: number;
  /** What comes behind the code, a line each, for the eye and for EHLO. */
  lines: readonly string[];
};

export type Talk = {
  /** Writes a line, if one is given, and resolves with the reply. */
  ask(line?: string): Promise<Reply>;
  /** The whole message, its end marked, and the reply to it. */
  hand(message: Uint8Array): Promise<Reply>;
  /** Nothing came that was not asked for; the socket is given back. */
  yield(): boolean;
};

/** All that a server has to say to one message, in bytes; and in one reply, in lines. */
const mostBytes = 64 * 1024;
const mostLines = 128;
const linePattern = /^([2-5]\d\d)(?:([ -])(.*))?$/;

/**
 * Talks over a socket that is connected, with the server `name`. Rejects with Failure "corrupt" for what is
 * no reply, or was not asked for, or has no end; "gone" when the connection is.
 */
export function openTalk(socket: Socket, name: string): Talk {
  let rest = "";
  let bytes = 0;
  let failure: Failure | undefined;
  let wake = () => {};
  const fail = (why: Failure) => {
    failure ??= why;
    socket.destroy();
    wake();
  };
  const onData = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > mostBytes) return fail(new Failure("corrupt", `${name} talks without end`));
    rest += chunk.toString("latin1");
    wake();
  };
  const onEnd = () => fail(new Failure("gone", `${name} ended the connection`));
  const onError = (cause: NodeJS.ErrnoException) => {
    fail(
      new Failure("gone", `the connection with ${name} broke`, { cause, errno: cause.code ?? "" }),
    );
  };
  socket.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError);

  const reply = async (): Promise<Reply> => {
    const lines: string[] = [];
    for (let code = 0; ; ) {
      const at = rest.indexOf("\n");
      if (at >= 0) {
        const line = rest.slice(0, at).replace(/\r$/, "");
        rest = rest.slice(at + 1);
        const [, digits, mark, words = ""] = linePattern.exec(line) ?? [];
        const isNext = digits !== undefined && (code === 0 || code === Number(digits));
        if (!isNext || lines.length >= mostLines) throw unspoken(name);
        code = Number(digits);
        lines.push(words);
        if (mark !== "-") return { code, lines };
      } else if (failure) throw failure;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  const write = async (piece: string | Uint8Array): Promise<Reply> => {
    // That it ends the service now a server may say at any moment (RFC 5321, section 3.8).
    if (/^421[ -]/.test(rest)) return await reply();
    // Any other answer before the question is somebody's guess, or meant for somebody else.
    if (rest !== "") throw unspoken(name);
    if (failure) throw failure;
    socket.write(piece);
    return await reply();
  };
  return {
    ask: (line) => (line === undefined ? reply() : write(`${line}\r\n`)),
    hand: (message) => write(stuffed(message)),
    yield() {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      socket.pause();
      return rest === "" && failure === undefined;
    },
  };
}

export function unspoken(name: string): Failure {
  const hint = "Look at mail.host, mail.port and mail.security";
  return new Failure("corrupt", `${name} does not speak SMTP as it should`, { hint });
}

/** As it goes over the line: lines end in CRLF, none is a lone dot but the last. */
function stuffed(message: Uint8Array): Uint8Array {
  const text = Buffer.from(message).toString("latin1");
  const lines = text.split(/\r?\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  const safe = lines.map((line) => (line.startsWith(".") ? `.${line}` : line));
  return Buffer.from([...safe, ".", ""].join("\r\n"), "latin1");
}
