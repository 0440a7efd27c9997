import { gzipSync } from "node:zlib";
import type { Asked, HostileRelay, Lie, Reply } from "./hostile.ts";

// The lies of a hostile relay, one a function. What it needs to lie well it has seen itself: it keeps
// whatever was put.

const isGet = ({ method, name }: Asked, of: (name: string) => boolean) =>
  method === "GET" && name !== "" && of(name);
const isList = ({ method, name, mailbox }: Asked) =>
  method === "GET" && name === "" && mailbox !== "";
const date = () => ({ date: new Date().toUTCString() });

export const absent = (): Reply => ({
  status: 404,
  headers: { ...date(), "content-type": "application/problem+json" },
  body: Buffer.from('{"title":"not here"}\n'),
});
export const object = (body: Uint8Array): Reply => ({
  status: 200,
  headers: { ...date(), "content-type": "application/octet-stream" },
  body: Buffer.from(body),
});
const stored = (): Reply => ({ status: 201, headers: date(), body: Buffer.alloc(0) });

const linesOf = ({ body }: Reply) => body.toString("latin1").split("\n").slice(0, -1);
const nameIn = (line: string) => line.split(" ")[0] ?? "";
const listing = (reply: Reply, lines: readonly string[]): Reply => ({
  ...reply,
  body: Buffer.from(lines.map((line) => `${line}\n`).join("")),
});
/** Listings changed line by line, all at once. */
const relist = (change: (lines: string[], asked: Asked) => string[]): Lie => ({
  after: (asked, reply) =>
    isList(asked) && reply.status === 200 ? listing(reply, change(linesOf(reply), asked)) : reply,
});

/** Neither lists nor gives them. */
export function withhold(of: (name: string) => boolean): Lie {
  return {
    ...relist((lines) => lines.filter((line) => !of(nameIn(line)))),
    instead: (asked) => (isGet(asked, of) ? absent() : undefined),
  };
}
/** Leaves them out of listings, and gives them to who asks by name. */
export const leaveOut = (of: (name: string) => boolean): Lie =>
  relist((lines) => lines.filter((line) => !of(nameIn(line))));
/** Gives other bytes under these names. */
export function give(of: (name: string) => boolean, make: (bytes: Buffer) => Uint8Array): Lie {
  return {
    after: (asked, reply) =>
      isGet(asked, of) && reply.status === 200 ? object(make(reply.body)) : reply,
  };
}
/** Both, one after the other. */
export const together = (...lies: readonly Lie[]): Lie => ({
  async instead(asked) {
    for (const { instead } of lies) {
      const reply = await instead?.(asked);
      if (reply) return reply;
    }
    return undefined;
  },
  async after(asked, reply) {
    let last = reply;
    for (const { after } of lies) last = (await after?.(asked, last)) ?? last;
    return last;
  },
});

export const doubled: Lie = relist((lines) => lines.flatMap((line) => [line, line]));
export const reordered: Lie = relist((lines) => lines.toReversed());
/** What was not asked for: behind the others, so that the names rise. */
export const strayed: Lie = relist((lines, { query }) =>
  query.get("under")
    ? [...lines, `part/4294967295/${"f".repeat(32)}/0000000000/${"f".repeat(64)} 9`]
    : lines,
);

/** Invents names without end; below them lies what `give` makes, or nothing. */
export function invent(kind: "entry" | "part" | "box", make?: () => Uint8Array): Lie {
  return {
    instead(asked) {
      if (isList(asked)) {
        const under = asked.query.get("under") ?? "";
        if (!under.startsWith(`${kind}/`)) return undefined;
        const after = asked.query.get("after") ?? "";
        const limit = Number(asked.query.get("limit") ?? 1000);
        return object(Buffer.from(inventPage(kind, under, after, limit)));
      }
      const isInvented = isGet(asked, (name) => name.startsWith(`${kind}/`) && name.endsWith("ee"));
      if (!isInvented) return undefined;
      return make ? object(make()) : absent();
    },
  };
}

const isWait = (asked: Asked) => isList(asked) && asked.query.has("wait");
/** A long poll is over as soon as it is asked, with nothing. */
export const atOnce: Lie = {
  instead: (asked) => (isWait(asked) ? object(Buffer.alloc(0)) : undefined),
};
/** A long poll is over as soon as it is asked, with a name behind the last that nothing lies under. */
export const inventWhenAsked: Lie = {
  instead(asked) {
    if (!isWait(asked)) return undefined;
    if (asked.query.get("under") === "door") return object(Buffer.alloc(0));
    const [under, after] = [asked.query.get("under") ?? "", asked.query.get("after") ?? ""];
    const hash = "e".repeat(64);
    const fields = (after || `${under}${"0".repeat(under.startsWith("part/") ? 10 : 16)}/`).split(
      "/",
    );
    const at = fields.length - 2;
    const number = fields[at] ?? "";
    fields[at] = String(Number(number) + 1).padStart(number.length, "0");
    return object(Buffer.from(`${fields.slice(0, -1).join("/")}/${hash} 300\n`));
  },
};

function inventPage(kind: string, under: string, after: string, limit: number): string {
  const hash = `${"e".repeat(64)}`;
  const digits = kind === "part" ? 10 : 16;
  const fields = under.split("/").filter(Boolean);
  const before =
    kind === "box"
      ? `box/${fields[1] ?? "e".repeat(64)}/`
      : kind === "entry"
        ? `entry/${fields[1] ?? "0000000001"}/`
        : `part/${fields[1] ?? "0000000001"}/${fields[2] ?? "e".repeat(32)}/`;
  const last = after.startsWith(before) ? Number(after.slice(before.length).split("/")[0]) : -1;
  let text = "";
  for (let i = 1; i <= limit; i++) {
    text += `${before}${String(last + i).padStart(digits, "0")}/${hash} 300\n`;
  }
  return text;
}

export const boxName = (writer: string, number: number, hash: string) =>
  `box/${writer}/${String(number).padStart(16, "0")}/${hash}`;
export const hashOf = (name: string) => name.split("/").at(-1) ?? "";

/** Lists these boxes behind whatever is there, each time under later names, and gives them. */
export function again(all: readonly { hash: string; bytes: Buffer }[]): Lie {
  const shown = new Map(all.map(({ hash, bytes }) => [hash, bytes]));
  return {
    after(asked, reply) {
      const under = asked.query.get("under") ?? "";
      if (!isList(asked) || !under.startsWith("box/") || reply.status !== 200) return reply;
      const lines = reply.body.toString("latin1").split("\n").slice(0, -1);
      const last = (lines.at(-1) ?? asked.query.get("after") ?? "").split("/")[2] ?? "0";
      const writer = under.split("/")[1] ?? "";
      const more = all.map(({ hash, bytes }, i) => {
        return `${boxName(writer, Number(last) + 1 + i, hash)} ${bytes.length}`;
      });
      return object(Buffer.from([...lines, ...more].map((line) => `${line}\n`).join("")));
    },
    instead({ method, name }) {
      const bytes =
        method === "GET" && name.startsWith("box/") ? shown.get(hashOf(name)) : undefined;
      return bytes && object(bytes);
    },
  };
}

/** Answers from these objects alone: those of another mailbox, of another branch, of another day. */
export function serve(objects: ReadonlyMap<string, Uint8Array>): Lie {
  return {
    instead(asked) {
      if (asked.method !== "GET") return undefined;
      if (!isList(asked)) {
        const bytes = objects.get(asked.name);
        return bytes ? object(bytes) : absent();
      }
      const [under, after] = [asked.query.get("under") ?? "", asked.query.get("after") ?? ""];
      const lines = [...objects]
        .filter(([name]) => name.startsWith(under) && name > after)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, Number(asked.query.get("limit") ?? 1000))
        .map(([name, bytes]) => `${name} ${bytes.length}\n`);
      return object(Buffer.from(lines.join("")));
    },
  };
}

/** The first version that it ever got of what is overwritten. */
export const oldest = (relay: HostileRelay, name: "beacon" | "door"): Lie => ({
  after: (asked, reply) => {
    const first = relay.kept.get(asked.mailbox)?.get(name)?.[0];
    return isGet(asked, (one) => one === name) && first ? object(first) : reply;
  },
});

/** A clock that is wrong by so much, in `date` and in its judgement of requests. */
export const wrongTime = (byMs: number): Lie => ({
  instead: () => ({
    status: 401,
    headers: {
      date: new Date(Date.now() + byMs).toUTCString(),
      "content-type": "application/problem+json",
    },
    body: Buffer.from('{"title":"signed too long ago, or in the future","stage":"created"}\n'),
  }),
});
/** Only its `date` is wrong. */
export const wrongDate = (byMs: number): Lie => ({
  after: (_, reply) => ({
    ...reply,
    headers: { ...reply.headers, date: new Date(Date.now() + byMs).toUTCString() },
  }),
});

export const always = (status: number, headers: Record<string, string>, body = ""): Lie => ({
  instead: () => ({ status, headers: { ...date(), ...headers }, body: Buffer.from(body) }),
});
/** Does what it is asked, and hangs up instead of saying so. */
export const silent: Lie = {
  after() {
    throw new Error("hangs up");
  },
};
/** Only of what is meant. */
export const only = (of: (asked: Asked) => boolean, lie: Lie): Lie => ({
  instead: (asked) => (of(asked) ? lie.instead?.(asked) : undefined),
  after: (asked, reply) => (of(asked) ? (lie.after?.(asked, reply) ?? reply) : reply),
  raw: (asked, socket) => of(asked) && (lie.raw?.(asked, socket) ?? false),
  ...(lie.stalls ? { stalls: lie.stalls } : {}),
});
export const ofListings = isList;
export const ofPuts = ({ method }: Asked): boolean => method === "PUT";
export const ofParts = ({ method, name }: Asked): boolean =>
  method === "GET" && name.startsWith("part/");
export const late = (ms: number): Lie => ({
  stalls: true,
  async after(_, reply) {
    await new Promise((resolve) => setTimeout(resolve, ms).unref());
    return reply;
  },
});
/** Takes everything and keeps nothing. */
export const keepsNothing: Lie = {
  instead: ({ method }) => (method === "PUT" ? stored() : undefined),
};

const raw = (
  head: string,
  write: (socket: Parameters<NonNullable<Lie["raw"]>>[1]) => void,
): Lie => ({
  raw(_, socket) {
    socket.write(head);
    write(socket);
    return true;
  },
});
const endless = (socket: Parameters<NonNullable<Lie["raw"]>>[1], piece: string | Buffer) => {
  const go = () => {
    while (!socket.destroyed && socket.writable && socket.write(piece));
    if (!socket.destroyed) socket.once("drain", go);
  };
  go();
};
const stalling = (lie: Lie): Lie => ({ ...lie, stalls: true });
const ok = "HTTP/1.1 200 OK\r\n";
const piece = Buffer.alloc(64 * 1024, 0x61);
export const wire = {
  hugeHeaders: raw(ok, (socket) =>
    endless(socket, `x-${"a".repeat(500)}: ${"b".repeat(7000)}\r\n`),
  ),
  endlessBody: raw(`${ok}transfer-encoding: chunked\r\n\r\n`, (socket) =>
    endless(socket, Buffer.concat([Buffer.from("10000\r\n"), piece, Buffer.from("\r\n")])),
  ),
  longBody: raw(`${ok}content-length: 9000000000000000\r\n\r\n`, (socket) =>
    endless(socket, piece),
  ),
  endlessInformation: stalling(
    raw("", (socket) => {
      const timer = setInterval(() => {
        if (socket.destroyed) clearInterval(timer);
        else socket.write("HTTP/1.1 103 Early Hints\r\n\r\n");
      }, 5);
      timer.unref();
    }),
  ),
  drip: stalling(
    raw(`${ok}content-length: 100000\r\n\r\n`, (socket) => {
      const timer = setInterval(() => {
        if (socket.destroyed) clearInterval(timer);
        else socket.write("a");
      }, 20);
      timer.unref();
    }),
  ),
  cutShort: raw(`${ok}content-length: 1000\r\n\r\nabc`, (socket) =>
    setTimeout(() => socket.destroy(), 20),
  ),
  tooMuch: raw(`${ok}content-length: 3\r\n\r\nabcdefHTTP/1.1 200 OK\r\n\r\n`, () => {}),
  noHttp: raw("SSH-2.0-OpenSSH_9.9\r\n", (socket) => setTimeout(() => socket.destroy(), 20)),
  hangUp: raw("", (socket) => socket.destroy()),
} as const;

/** A gibibyte of zeros in a mebibyte, said to be compressed. */
export function bomb(): Lie {
  let packed: Buffer = gzipSync(Buffer.alloc(1 << 20));
  packed = Buffer.concat(Array.from({ length: 1024 }, () => packed)).subarray(0, 1_000_000);
  return {
    instead: ({ method }) =>
      method === "GET"
        ? { status: 200, headers: { ...date(), "content-encoding": "gzip" }, body: packed }
        : undefined,
  };
}
