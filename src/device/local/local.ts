/**
 * The local interface. In: the states and events that the house is told, by their topics. Out: JSON,
 * server-sent events, metrics, health and a page, to who has a token: local.md, openapi.ts. Never a
 * picture; and nothing changes but by a command that an owner's phone has sealed, which goes where those
 * from relays go. Nothing of it ends the service: an address that cannot be listened at is a fault of the
 * camera's health, and tried again.
 */
import { isIPv4 } from "node:net";
import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { Role } from "../../protocol/sealed/membership.ts";
import { type LanSettings, readLanTls } from "../lan.ts";
import type { AlarmEvent, VisitEvent } from "../mqtt/mqtt.ts";
import { type AnnouncerOptions, openAnnouncer } from "./announce.ts";
import { createBoard } from "./board.ts";
import { openHandler } from "./handle.ts";
import { openLimits } from "./limit.ts";
import { type MailboxDesk, openMailboxDoor } from "./mailbox.ts";
import { type LocalServer, openServer } from "./server.ts";
import { openStream } from "./stream.ts";
import { openTokens } from "./token.ts";

export { runLocal } from "./command.ts";
export { listTokens } from "./token.ts";

export type LocalOptions = {
  settings: LanSettings;
  /** Where tokens lie. */
  state: string;
  /** What the owner calls the camera now. */
  name(): string;
  pictures(): { ageS: number; isStale: boolean };
  /** What its owners' phones may read here, and what they know it by; undefined for a camera that is nobody's. */
  own?: { mailbox: Uint8Array; hash: Uint8Array; outbox: MailboxDesk["outbox"] } | undefined;
  /** Something that only the owner can mend; undefined when it is mended. */
  onFault(text: string | undefined): void;
  /** A command could not be taken for a reason of the camera's own: storage that failed. */
  onProblem(error: unknown): void;
  /** Told once, when it listens. */
  onOpen?(port: number): void;
  clock: Clock;
  log: Log;
  /** For tests. */
  bounds?: Partial<typeof usual>;
  mdns?: NonNullable<AnnouncerOptions["mdns"]>;
};

export type Lent = {
  take(box: Uint8Array): Promise<boolean>;
  role(phone: Uint8Array): Role | undefined;
};

export type Local = {
  /** A state, below the camera's own topic; empty for one that is no more. */
  put(topic: string, payload: string): void;
  visit(event: VisitEvent): void;
  alarm(event: AlarmEvent): void;
  /** What takes sealed commands, and knows phones, from now on. */
  lend(commands: Lent): void;
  close(): Promise<void>;
};

const usual = {
  connections: 256,
  connectionsOfAddress: 32,
  subscribers: 32,
  subscriberBytes: 128 * 1024,
  arrivals: {
    ofAddress: { perSecond: 10, burst: 100 },
    ofAll: { perSecond: 50, burst: 500 },
  },
  requests: {
    ofAddress: { perSecond: 20, burst: 200 },
    ofAll: { perSecond: 100, burst: 1_000 },
  },
  tickMs: 15_000,
  againMs: 15_000,
  periods: {
    ...{ headMs: 10_000, requestMs: 15_000, answerMs: 15_000, commandMs: 60_000, idleMs: 10_000 },
  },
};
const empty: MailboxDesk["outbox"] = {
  objects: () => [],
  read: () => Promise.reject(new Failure("absent", "nothing is here")),
  watch: () => () => {},
};
/** Certificates are renewed while the camera runs. */
const renewMs = 3_600_000;

export function openLocal(options: LocalOptions): Local {
  const { settings, clock, log, onFault } = options;
  const bounds = { ...usual, ...options.bounds };
  const end = new AbortController();
  const { signal } = end;
  const board = createBoard({ name: options.name, wallMs: clock.wallMs });
  const said = new Set<string>();
  const warnOnce = (error: unknown) => {
    const line = explain(error);
    if (!said.has(line) && said.size < 100) log.warn(line);
    said.add(line);
  };
  const tokens = openTokens(options.state, { clock, onUnreadable: warnOnce });
  const answers = new Map<number, number>();
  let cutOff = 0;
  const onCutOff = () => {
    cutOff += 1;
  };
  const stream = openStream({
    ...{ board, most: bounds.subscribers, mostBytes: bounds.subscriberBytes },
    ...{ tickMs: bounds.tickMs, isGood: tokens.isKnown, onCutOff },
  });
  const limits = openLimits({
    ...{ connectionsOfAddress: bounds.connectionsOfAddress, connections: bounds.arrivals },
    ...{ requests: bounds.requests, monotonicMs: () => clock.monotonicUs() / 1000 },
  });
  let lent: Lent | undefined;
  const door = openMailboxDoor({
    ...{ mailbox: options.own?.mailbox, outbox: options.own?.outbox ?? empty },
    role: (phone) => lent?.role(phone),
    wallMs: clock.wallMs,
  });
  const handle = openHandler({
    ...{ board, stream, limits, names: new Set(settings.names), isGood: tokens.isKnown },
    pictures: options.pictures,
    take: () => lent?.take,
    mailbox: () => (options.own && lent ? door : undefined),
    counts: () => ({ answers, subscribers: stream.count, cutOff }),
    onError(error) {
      if (isFailure(error)) options.onProblem(error);
      // A mistake of ours, which somebody may bring about as often as he likes.
      else warnOnce(error);
    },
  });

  const fail = (error: unknown) => {
    onFault(`the local interface: ${explain(error)}`);
    warnOnce(error);
  };
  const open = async (): Promise<LocalServer> =>
    await openServer({
      ...{ host: settings.host, port: settings.port, tls: await readLanTls(settings) },
      ...{ connectionsMost: bounds.connections, periods: bounds.periods, limits, handle, onCutOff },
      isStream: ({ url }) => url === "/v1/stream",
      onAnswer(status) {
        const digit = Math.floor(status / 100);
        answers.set(digit, (answers.get(digit) ?? 0) + 1);
      },
    });
  /** Listens, when it can: an address may come later than the camera does. */
  const serve = async () => {
    let server: LocalServer | undefined;
    while (!server && !signal.aborted) {
      server = await open().catch((error) => {
        fail(error);
        return undefined;
      });
      if (!server) await clock.sleep(bounds.againMs, signal).catch(() => {});
    }
    if (!server) return;
    onFault(undefined);
    const isTls = settings.certificate !== "";
    log.info("listening", { port: server.port, tls: isTls });
    options.onOpen?.(server.port);
    const announcer = announce(server.port, isTls);
    try {
      for (let isGood = true; !signal.aborted; ) {
        // Read while they were being replaced, or mended since: that is not left for an hour.
        await clock.sleep(isGood ? renewMs : bounds.againMs, signal).catch(() => {});
        if (isTls && !signal.aborted) isGood = await renew(server);
      }
    } finally {
      stream.close();
      await announcer?.close();
      await server.close();
    }
  };
  const renew = async (server: LocalServer) => {
    try {
      const tls = await readLanTls(settings);
      if (tls) server.renewTls(tls);
      onFault(undefined);
      return true;
    } catch (error) {
      // The old one stays.
      fail(error);
      return false;
    }
  };
  const announce = (port: number, isTls: boolean) => {
    const { host } = settings;
    const isNear = host === "localhost" || host.startsWith("127.") || host === "::1";
    if (!settings.announce || (isNear && !options.mdns)) return undefined;
    return openAnnouncer({
      ...{ port, isTls, hash: options.own?.hash },
      ...{ address: isIPv4(host) && host !== "0.0.0.0" ? host : undefined },
      onProblem: warnOnce,
      ...(options.mdns ? { mdns: options.mdns } : {}),
    });
  };
  const serving = serve().catch(fail);

  return {
    put: board.put,
    visit: (event) => board.event("visit", event),
    alarm: (event) => board.event("alarm", event),
    lend(commands) {
      lent = commands;
    },
    async close() {
      lent = undefined;
      end.abort();
      await serving;
      stream.close();
    },
  };
}
