import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { systemClock } from "../../src/base/node/time.ts";
import { intervalMs } from "../../src/device/detect/detect.ts";
import type { ServiceEvent } from "../../src/device/service.ts";
import { composeFootage } from "../footage.ts";
import { startMosquitto, whyNoBroker } from "../mosquitto.ts";
import { adopt, startService } from "./camera.ts";
import { shorten } from "./latency.ts";
import {
  type BenchOptions,
  type Line,
  line,
  percentile,
  rounded,
  type Skipped,
} from "./measure.ts";

const mostMs = 20;
const intervals = 3;
const names = {
  event: "from the event to its message",
  sight: "from the first frame in which somebody was found to the message",
};

/**
 * The camera's own program on the composed footage, a real broker, and who listens to it: when the
 * message that begins a visit is there, after the event itself and after the capture of the first frame
 * in which the detector found somebody.
 */
export async function* benchMqtt({ quick }: BenchOptions): AsyncGenerator<Line | Skipped, void> {
  const why = await whyNoBroker();
  if (why) {
    for (const name of Object.values(names)) yield { bench: "mqtt", name, skipped: why };
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), "obscura-bench-"));
  await using broker = await startMosquitto(folder);
  const house = await mqtt.connectAsync(broker.url);
  try {
    const cameUs = new Map<string, number>();
    house.on("message", (_, payload) => {
      const { event_type: type, id } = JSON.parse(payload.toString());
      if (type === "new") cameUs.set(id, systemClock.monotonicUs());
    });
    await house.subscribeAsync("obscura/+/event", { qos: 1 });
    const footage = await composeFootage({ say: (line) => process.stderr.write(`${line}\n`) });
    const state = await adopt(folder);
    const short = await shorten(footage, folder);
    const events: ServiceEvent[] = [];
    const watch = async (source: string) => {
      events.splice(0);
      const onEvent = (event: ServiceEvent) => events.push(event);
      await startService({ state, source, mqtt: broker.url, onEvent }).ended;
    };
    // The first start tries both forms of the model out, while the film goes on.
    if (!quick) await watch(short);
    await watch(quick ? short : footage.video);
    const people = events.filter((one) => one.event === "person");
    const each = people.map(({ incident, firstSeenUs, atUs, inferenceMs }) => {
      const us = cameUs.get(incident) ?? Number.NaN;
      const bound = intervals * intervalMs(inferenceMs, false) + mostMs;
      return { afterMs: (us - atUs) / 1000, sightMs: (us - firstSeenUs) / 1000, bound };
    });
    if (each.some(({ afterMs }) => Number.isNaN(afterMs))) throw new Error("a message never came");
    const against = `${each.length} visits of the composed footage, Mosquitto on this machine`;
    yield line("mqtt", names.event, {
      value: rounded(
        percentile(
          each.map(({ afterMs }) => afterMs),
          0.95,
        ),
        1,
      ),
      unit: "ms, 95 % of all",
      aim: { most: mostMs },
      against,
      eachMs: each.map(({ afterMs }) => rounded(afterMs, 1)),
    });
    const shares = each.map(({ sightMs, bound }) => sightMs / bound);
    yield line("mqtt", names.sight, {
      value: rounded(percentile(shares, 0.95), 2),
      unit: "of three detection intervals and 20 ms, 95 % of all",
      aim: { most: 1 },
      against,
      eachMs: each.map(({ sightMs }) => rounded(sightMs, 0)),
    });
  } finally {
    await house.endAsync(true);
    await rm(folder, { recursive: true });
  }
}
