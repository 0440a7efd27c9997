import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServiceEvent } from "../../src/device/service.ts";
import { composeFootage } from "../footage.ts";
import { type Owner, openOwner } from "../owner.ts";
import { startRelay } from "../relay.ts";
import { adopt, startService } from "./camera.ts";
import { shorten } from "./latency.ts";
import { type BenchOptions, type Line, line, percentile, rounded } from "./measure.ts";

type Visit = { firstSeenUs: number; eventUs: number; partUs?: number; pictureUs?: number };

/**
 * Camera, relay and phone over loopback, state on the disk, the composed footage at its own speed:
 * how long after the event the first part of each clip is durable at the relay, and how long after
 * the person was first seen a picture of it is decrypted on the phone.
 */
export async function* benchRelayed({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const folder = await mkdtemp(join(tmpdir(), "obscura-bench-"));
  const relay = await startRelay(join(folder, "relay"));
  try {
    const footage = await composeFootage({ say: (text) => process.stderr.write(`${text}\n`) });
    const short = await shorten(footage, folder);
    const state = await adopt(folder, relay.url);
    const owner = await openOwner({ home: join(folder, "phone"), folder: join(state, "outbox") });
    // The first start tries both forms of the model out, while the film goes on.
    if (!quick) await watch(state, short, owner);
    const visits = await watch(state, quick ? short : footage.video, owner);
    owner.close();
    const about = { against: `${visits.length} visits of the composed footage, over loopback` };
    const since = (from: (visit: Visit) => number, to: (visit: Visit) => number | undefined) =>
      visits.map((visit) => ((to(visit) ?? Number.NaN) - from(visit)) / 1000);
    const part = since(
      ({ eventUs }) => eventUs,
      ({ partUs }) => partUs,
    );
    const picture = since(
      ({ firstSeenUs }) => firstSeenUs,
      ({ pictureUs }) => pictureUs,
    );
    for (const [name, each, most] of [
      ["from the event to the first part durable at the relay", part, 1000],
      ["from first sight to the first picture on the phone", picture, 1500],
    ] as const) {
      if (each.some(Number.isNaN)) throw new Error(`${name}: it never came`);
      const value = rounded(percentile(each, 0.95), 0);
      const eachMs = each.map((ms) => rounded(ms, 0));
      yield line("relay-latency", name, {
        ...{ value, unit: "ms, 95 % of all", aim: { most }, ...about, eachMs },
      });
    }
  } finally {
    await relay.stop();
    await rm(folder, { recursive: true });
  }
}

async function watch(state: string, source: string, owner: Owner): Promise<Visit[]> {
  const visits: Visit[] = [];
  const clips = new Map<string, Visit>();
  let last = Promise.resolve();
  const handle = async (event: ServiceEvent) => {
    if (event.event === "person") {
      visits.push({ firstSeenUs: event.firstSeenUs, eventUs: event.atUs });
      return;
    }
    if (event.event === "part") {
      const visit = visits.at(-1);
      if (visit && !clips.has(event.clip)) clips.set(event.clip, visit);
      return;
    }
    if (event.event !== "relayed") return;
    const visit = clips.get(event.clip);
    if (!visit) return;
    visit.partUs ??= event.atUs;
    if (visit.pictureUs === undefined && (await owner.picture(event.clip, "relay"))) {
      visit.pictureUs ??= owner.nowUs();
    }
  };
  const service = startService({
    ...{ state, source },
    onEvent: (event) => {
      last = last.then(() => handle(event));
    },
  });
  await service.ended;
  await last;
  return visits;
}
