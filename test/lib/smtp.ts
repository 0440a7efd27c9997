import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { SMTPServer } from "smtp-server";
import type { Tls } from "../../scripts/mosquitto.ts";

// Mail servers of the test's own: one that is as it should be, and one that does as it is told.

const execute = promisify(execFile);

export type Received = {
  from: string;
  to: string[];
  user: string | undefined;
  isSecure: boolean;
  /** The whole message as it came. */
  raw: string;
};

export type PostOptions = {
  tls?: Tls;
  /** Encrypted from its beginning. */
  isImplicit?: boolean;
  users?: Record<string, string>;
  port?: number;
  /** What it says to a recipient or a message, in place of taking it. */
  refuse?: (what: "to" | "message", about: string) => { code: number; text: string } | undefined;
};

export type Post = {
  port: number;
  messages: Received[];
  /** How many connected, and how many still are. */
  count(): number;
  open(): number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A mail server by the makers of nodemailer; without users it asks for no login. */
export async function startPost(options: PostOptions = {}): Promise<Post> {
  const { tls, isImplicit = false, users, refuse = () => undefined } = options;
  const messages: Received[] = [];
  let connections = 0;
  const refusal = ({ code, text }: { code: number; text: string }) =>
    Object.assign(new Error(text), { responseCode: code });
  const disabled = [...(tls && !isImplicit ? [] : ["STARTTLS"]), ...(users ? [] : ["AUTH"])];
  const server = new SMTPServer({
    ...{
      secure: isImplicit,
      disabledCommands: disabled,
      disableReverseLookup: true,
      logger: false,
    },
    ...{ authOptional: users === undefined, size: 20 * 2 ** 20 },
    ...(tls ? { key: await readFile(tls.key), cert: await readFile(tls.certificate) } : {}),
    onConnect: (_, done) => {
      connections += 1;
      done();
    },
    onAuth: ({ username = "", password = "" }, _, done) => {
      if (users?.[username] === password) return done(null, { user: username });
      return done(refusal({ code: 535, text: `5.7.8 not ${username} with ${password}` }));
    },
    onRcptTo: ({ address }, _, done) => {
      const no = refuse("to", address);
      done(no ? refusal(no) : undefined);
    },
    onData: (stream, session, done) => {
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => {
        const raw = Buffer.concat(pieces).toString("latin1");
        const no = refuse("message", raw);
        if (no) return done(refusal(no));
        const { mailFrom, rcptTo } = session.envelope;
        messages.push({
          from: mailFrom ? mailFrom.address : "",
          to: rcptTo.map(({ address }) => address),
          user: session.user ? String(session.user) : undefined,
          ...{ isSecure: session.secure, raw },
        });
        return done();
      });
    },
  });
  server.on("error", () => {});
  const port = await new Promise<number>((resolve, reject) => {
    server.server.once("error", reject);
    server.listen(options.port ?? 0, "0.0.0.0", () => {
      resolve((server.server.address() as { port: number }).port);
    });
  });
  return {
    ...{ port, messages },
    count: () => connections,
    open: () => server.connections.size,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/** What somebody says who listens where a mail server should be; told each line, and the n-th connection. */
export async function startLiar(
  act: (socket: Socket, line: string | undefined, count: number) => void,
): Promise<{ port: number; count(): number; open(): number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    count += 1;
    const number = count;
    let rest = "";
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk) => {
      const lines = (rest + chunk.toString("latin1")).split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) act(socket, line, number);
    });
    act(socket, undefined, number);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    count: () => count,
    open: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type Part = { type: string; head: string; body: Buffer };

/** The leaves of a message, by a reader of our own: what is nested is opened, base64 and quoted-printable decoded. */
export function partsOf(raw: string): Part[] {
  const cut = raw.search(/\r?\n\r?\n/);
  const head = raw.slice(0, cut).replace(/\r?\n[ \t]+/g, " ");
  const text = raw.slice(cut).replace(/^\r?\n\r?\n/, "");
  const type = field(head, "content-type") ?? "text/plain";
  const boundary = /boundary="?([^";]+)"?/i.exec(type)?.[1];
  if (boundary !== undefined) {
    const pieces = text.split(new RegExp(`(?:^|\\r?\\n)--${quoted(boundary)}`)).slice(1);
    const inner = pieces.filter((piece) => !piece.startsWith("--"));
    return inner.flatMap((piece) => partsOf(piece.replace(/^[ \t]*\r?\n/, "")));
  }
  const coding = field(head, "content-transfer-encoding")?.toLowerCase() ?? "7bit";
  const body =
    coding === "base64"
      ? Buffer.from(text, "base64")
      : coding === "quoted-printable"
        ? Buffer.from(unquote(text), "latin1")
        : Buffer.from(text, "latin1");
  return [{ type: type.split(";")[0]?.trim().toLowerCase() ?? "", head, body }];
}

/** A header field of a message, unfolded; words that are encoded stay so. */
export function field(head: string, name: string): string | undefined {
  const unfolded = head.replace(/\r?\n[ \t]+/g, " ");
  return new RegExp(`^${name}:[ \\t]*(.*?)\\r?$`, "im").exec(unfolded)?.[1];
}

const quoted = (text: string) => text.replace(/[^A-Za-z0-9]/g, "\\$&");
const unquote = (text: string) =>
  text
    .replace(/=\r?\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));

/** Why nothing can be decrypted here. */
export async function whyNoGpg(): Promise<string | undefined> {
  return await execute("gpg", ["--version"]).then(
    () => undefined,
    () => "GnuPG is not installed (scripts/test installs it)",
  );
}

export type Gpg = {
  /** The public key, armoured. */
  publicKey: string;
  privateKey: string;
  fingerprint: string;
  decrypt(armoured: string): Promise<string>;
  /** The public key after `gpg` was told this of it. */
  edit(...args: string[]): Promise<string>;
};

/** A key of a person of the test's own, in a folder that stays short: GnuPG's agent has its socket there. */
export async function makeGpg(folder: string, algorithm = "ed25519"): Promise<Gpg> {
  const home = join(folder, "g");
  const run = async (...args: string[]) => {
    const all = ["--homedir", home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback"];
    return (await execute("gpg", [...all, "--passphrase", "", ...args], { maxBuffer: 2 ** 24 }))
      .stdout;
  };
  await execute("mkdir", ["-m", "700", home]);
  const owner = "Owner <owner@example.org>";
  await run("--quick-generate-key", owner, algorithm, "sign,cert", "never");
  const colons = await run("--list-keys", "--with-colons");
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(colons)?.[1] ?? "";
  const opening = algorithm === "ed25519" ? "cv25519" : algorithm;
  await run("--quick-add-key", fingerprint, opening, "encr", "never");
  return {
    fingerprint,
    publicKey: await run("--armor", "--export", fingerprint),
    privateKey: await run("--armor", "--export-secret-keys", fingerprint),
    decrypt: async (armoured) => {
      const file = join(folder, `m${Math.random()}.asc`);
      await writeFile(file, armoured);
      const args = ["--homedir", home, "--batch", "--quiet", "--decrypt", file];
      const { stdout } = await execute("gpg", args, { encoding: "latin1", maxBuffer: 2 ** 26 });
      return stdout;
    },
    edit: async (...args) => {
      await run(...args);
      return await run("--armor", "--export", fingerprint);
    },
  };
}

/** GnuPG's agent outlives who asked it. */
export async function endGpg(folder: string): Promise<void> {
  await execute("gpgconf", ["--homedir", join(folder, "g"), "--kill", "all"]).catch(() => {});
}
