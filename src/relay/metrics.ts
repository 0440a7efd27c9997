// What the operator may count. No mailbox, key or address is a label, and figures are coarse and
// renewed once a minute: who reads them every second must not learn when somebody walked by.

const acts = ["put", "get", "list", "wait", "delete", "push", "none"] as const;
const results = ["done", "absent", "refused", "limited", "full", "failed"] as const;
export type Act = (typeof acts)[number];
export type Result = (typeof results)[number];

export type Metrics = {
  count(act: Act, result: Result): void;
  /** Bytes of objects that came in or went out. */
  moved(way: "in" | "out", bytes: number): void;
  /** Parts that went although their owner keeps them for longer. */
  retired(early: number): void;
  /** The text that Prometheus reads. */
  print(): Promise<string>;
  /** Sums since the last call, for a line in the log. */
  takeSums(): { requests: number; refused: number; inBytes: number; outBytes: number };
};
/** What is asked for when figures are renewed. */
export type Gauges = {
  mailboxes: number;
  storedBytes: number;
  freeBytes: number;
  connections: number;
  waiting: number;
  isBroken: boolean;
};

const mib = 2 ** 20;
const freshMs = 60_000;

/** Down to a multiple, so that one object more or less does not show. */
export function coarse(value: number, step: number): number {
  return Math.floor(value / step) * step;
}

export function openMetrics({
  gauges,
  monotonicMs,
}: {
  gauges(): Promise<Gauges>;
  monotonicMs(): number;
}): Metrics {
  const counts = new Map<string, number>();
  const bytes = { in: 0, out: 0 };
  let early = 0;
  let sums = { requests: 0, refused: 0, inBytes: 0, outBytes: 0 };
  let kept = { text: "", atMs: Number.NEGATIVE_INFINITY };

  const render = async (): Promise<string> => {
    const now = await gauges();
    const lines: string[] = [];
    const metric = (name: string, type: string, about: string, values: [string, number][]) => {
      lines.push(`# HELP obscura_relay_${name} ${about}`, `# TYPE obscura_relay_${name} ${type}`);
      for (const [labels, value] of values) lines.push(`obscura_relay_${name}${labels} ${value}`);
    };
    const requests = acts.flatMap((act) =>
      results.map((result): [string, number] => [
        `{act="${act}",result="${result}"}`,
        coarse(counts.get(`${act} ${result}`) ?? 0, 10),
      ]),
    );
    metric("requests_total", "counter", "Requests, in tens.", requests);
    metric("moved_bytes_total", "counter", "Bytes of objects, in units of 16 MiB.", [
      ['{way="in"}', coarse(bytes.in, 16 * mib)],
      ['{way="out"}', coarse(bytes.out, 16 * mib)],
    ]);
    metric("stored_bytes", "gauge", "In mailboxes used since the start, in units of 64 MiB.", [
      ["", coarse(now.storedBytes, 64 * mib)],
    ]);
    metric("free_bytes", "gauge", "Room on the disk, in units of 64 MiB.", [
      ["", coarse(now.freeBytes, 64 * mib)],
    ]);
    metric("mailboxes", "gauge", "Mailboxes.", [["", now.mailboxes]]);
    metric("connections", "gauge", "Open connections, in tens.", [
      ["", coarse(now.connections, 10)],
    ]);
    metric("waiting", "gauge", "Held requests, in tens.", [["", coarse(now.waiting, 10)]]);
    metric("retired_early_total", "counter", "Parts that went before their owner's minimum age.", [
      ["", Math.ceil(early / 100) * 100],
    ]);
    metric("storage_failed", "gauge", "1 when a write failed and the relay must start anew.", [
      ["", now.isBroken ? 1 : 0],
    ]);
    return `${lines.join("\n")}\n`;
  };

  return {
    count(act, result) {
      const name = `${act} ${result}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      sums.requests++;
      if (result === "refused" || result === "limited") sums.refused++;
    },
    moved(way, count) {
      bytes[way] += count;
      if (way === "in") sums.inBytes += count;
      else sums.outBytes += count;
    },
    retired(count) {
      early += count;
    },
    async print() {
      if (monotonicMs() - kept.atMs >= freshMs) {
        kept = { text: kept.text, atMs: monotonicMs() };
        kept = { ...kept, text: await render() };
      }
      return kept.text;
    },
    takeSums() {
      const taken = sums;
      sums = { requests: 0, refused: 0, inBytes: 0, outBytes: 0 };
      return taken;
    },
  };
}
