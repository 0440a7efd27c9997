import { chmod } from "node:fs/promises";
import { type DurableFolder, type Fault, openDurable } from "../base/node/durable.ts";
import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain } from "../base/pure/failure.ts";
import { openAge } from "./age.ts";
import { type AnnouncerOptions, announcedMost, openAnnouncer } from "./announce.ts";
import type { Config } from "./config.ts";
import { openFlow } from "./flow.ts";
import { openLimits } from "./limit.ts";
import { coarse, openMetrics } from "./metrics.ts";
import { openPoll } from "./poll.ts";
import { type ForwarderOptions, openForwarder } from "./push.ts";
import { openMetricsServer, openServer } from "./server.ts";
import { openStore } from "./store.ts";

/**
 * The whole relay in one folder: opened in order, closed in reverse. When the storage has failed it
 * answers 503 to everything and `failed` rejects, so that the program can start anew.
 */
export type Relay = {
  readonly port: number;
  readonly metricsPort: number | undefined;
  readonly failed: Promise<never>;
  reloadTls(): Promise<void>;
  close(): Promise<void>;
};
export type RelayOptions = {
  folder: string;
  config: Config;
  clock: Clock;
  log: Log;
  fault?: Fault | undefined;
  /** For tests: another port and interface than those of multicast DNS. */
  mdns?: NonNullable<AnnouncerOptions["mdns"]>;
  /** For tests: other names and certificates than the world's. */
  outside?: Pick<ForwarderOptions, "resolve" | "ca">;
  /** For tests of time: other periods than the program's own. */
  periods?: Partial<typeof usualPeriods>;
};

const mib = 2 ** 20;
const dayMs = 86_400_000;
const usualPeriods = {
  saveMs: 5 * 60_000,
  retireMs: 60 * 60_000,
  sumsMs: 60 * 60_000,
  /** Before a slow connection is measured. */
  graceMs: 10_000,
  headersMs: 15_000,
  /** For what is under way at the end. */
  drainMs: 10_000,
};

export async function openRelay(options: RelayOptions): Promise<Relay> {
  const { folder, fault } = options;
  const root = await openDurable(folder, { fault });
  try {
    return await openIn(root, options);
  } catch (error) {
    await root.close();
    throw error;
  }
}

async function openIn(root: DurableFolder, options: RelayOptions): Promise<Relay> {
  const { folder, config, clock, log, fault } = options;
  const periods = { ...usualPeriods, ...options.periods };
  const { limits: most, quota, tls } = config;
  const monotonicMs = () => clock.monotonicUs() / 1000;
  await chmod(folder, 0o700);
  const age = await openAge(root, clock);
  const poll = openPoll({ most: most.waiting, mostPerKey: most.waitingPerKey });
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const stop = new AbortController();
  const store = await openStore({
    ...{ folder, age, fault, mailboxesMost: config.mailboxes.most },
    mailboxesOnly: new Set(config.mailboxes.only),
    quota: { bytes: quota.mailboxMiB * mib, objects: quota.mailboxObjects },
    headroomBytes: quota.headroomMiB * mib,
    onStored: poll.wake,
    onFaults: ([first]) =>
      log.warn("retention passed damaged mailboxes over", { what: explain(first) }),
    onBroken: (failure) => {
      log.error("the storage failed", { what: explain(failure) });
      fail(failure);
    },
  });
  const limits = openLimits({
    ...{ perSecondOfKey: most.requestsPerSecondPerKey, monotonicMs },
    perSecondOfAddress: most.requestsPerSecondPerAddress,
    connectionsOfAddress: most.connectionsPerAddress,
    pushesPerHour: config.push.perHour,
  });
  const forwarder = openForwarder({ push: config.push, monotonicMs, ...options.outside });
  const flow = openFlow({
    ...{ leastBytesPerSecond: most.leastBytesPerSecond, graceMs: periods.graceMs, monotonicMs },
  });
  const metrics = openMetrics({
    monotonicMs,
    gauges: async () => {
      const { mailboxes, bytes, freeBytes } = await store.state();
      const open = { connections: server.connections, waiting: poll.count };
      return { mailboxes, storedBytes: bytes, freeBytes, ...open, isBroken: Boolean(store.broken) };
    },
  });
  const server = await openServer({
    ...{ host: config.listen.host, port: config.listen.port },
    ...(tls.certificate === "" ? {} : { tls }),
    ...{ connectionsMost: most.connections, headersMs: periods.headersMs },
    desk: {
      ...{
        store,
        limits,
        poll,
        flow,
        forwarder,
        metrics,
        prefix: config.prefix,
        uploadsMost: most.puts,
      },
      authorities: {
        named: new Set(config.authority),
        schemePort: tls.certificate === "" ? 80 : 443,
      },
      wallMs: () => clock.wallMs(),
      onError: (error) => log.warn("a request failed", { what: explain(error).slice(0, 200) }),
    },
  });
  const operator =
    config.metrics.port === 0
      ? undefined
      : await openMetricsServer({
          ...config.metrics,
          print: metrics.print,
          isWell: () => store.broken === undefined,
        }).catch(async (error) => {
          // Else it would serve on with its folder unlocked.
          await server.close(0);
          throw error;
        });

  const announcer = config.announce
    ? openAnnouncer({
        ...{ port: server.port, isTls: tls.certificate !== "" },
        mailboxes: () => store.mailboxes(announcedMost),
        onProblem: (error) => log.warn("cannot announce", { what: explain(error) }),
        ...(options.mdns ? { mdns: options.mdns } : {}),
      })
    : undefined;

  const every = (ms: number, act: () => Promise<unknown>) => {
    let last: Promise<unknown> = Promise.resolve();
    const timer = setInterval(() => {
      last = act().catch((error) => {
        if (!stop.signal.aborted) log.warn("a task failed", { what: explain(error) });
      });
    }, ms);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await last;
    };
  };
  const days = (count: number) => (count === 0 ? Number.POSITIVE_INFINITY : count * dayMs);
  const retention = { usualMs: days(quota.retentionDays), longestMs: days(quota.longestDays) };
  const tasks = [
    every(periods.saveMs, () => age.save()),
    every(periods.sumsMs, async () => {
      const { requests, refused, inBytes, outBytes } = metrics.takeSums();
      const sizes = { inMiB: coarse(inBytes / mib, 16), outMiB: coarse(outBytes / mib, 16) };
      const counts = { requests: coarse(requests, 100), refused: coarse(refused, 100) };
      log.info("in about the last hour", { ...counts, ...sizes });
    }),
    ...(quota.retentionDays === 0 && quota.longestDays === 0
      ? []
      : [
          every(periods.retireMs, async () => {
            const { parts, early } = await store.retire(retention, stop.signal);
            metrics.retired(early);
            if (parts > 0) log.info("old parts went", { parts: coarse(parts, 100) });
            if (early > 0) log.warn("parts went that an owner keeps for longer: quota.longestDays");
          }),
        ]),
  ];

  return {
    port: server.port,
    metricsPort: operator?.port,
    failed,
    reloadTls: () => server.reloadTls(),
    async close() {
      stop.abort();
      await announcer?.close();
      poll.close();
      await server.close(periods.drainMs);
      await operator?.close();
      flow.close();
      for (const end of tasks) await end();
      await age.save().catch(() => {});
      await root.close();
    },
  };
}
