import { parseArgs } from "node:util";
import { explain } from "../src/base/pure/failure.ts";
import type { BenchOptions, Line, Skipped } from "./bench/measure.ts";

const help = `usage: npm run bench [-- [--quick] NAME...]

Measures each stage against the plain tool that does the same job, both in this run, and prints one
JSON object a line: {"bench", "name", "value", "unit", "aim", "met", "against", ...}. Aims hold on an
idle machine; where there is none, "aim" and "met" are null. NAME keeps the groups of that name.

  --quick   a short round of each, to see that it works; its numbers mean nothing

Groups and their aims:
  capture  processor time a frame over that of a reader in C: 0.15 ms more
  pixels   each way through the pixel code over bare libjpeg-turbo, or a copy of the picture: no aim
  still    a scene in which nothing moves: 0.02 of an inference a raw frame; 1.2 of a bare decode
  record   the recorder with its encoder over ffmpeg alone: 1.1
  seal     speed of sealing over that of bare XChaCha20-Poly1305: 0.6
  outbox   the same up to durable parts, which waits for the medium: no aim
  relay    speed of a put over that of a bare node:http server with the same fsyncs: 0.8 on the disk;
           a page of 100,000 objects over one of 10: 2; growth over 2,000 parts: 32 MB
  detect   the whole stage over its inferences and one decode a picture: 1.15; its process: 150 MB
           with int8, 170 MB with fp32
  memory   the service without its slab: 150 MB with int8, 170 MB with fp32; with all processes
           while recording 1280x720: 330 MB; growth over 200 incidents: 5 %
  latency  the event: 3 detection intervals after somebody is tall enough; the first part and the
           first picture: 1 s after the event (95 % of all)
  mqtt  a message more than the event takes, at who listens to a broker (Mosquitto): 20 ms, so that it
           is there three detection intervals and 20 ms after first sight (95 % of all)
  relay-latency  camera, relay and phone over loopback: the first part at the relay 1 s after the
           event, the first picture on the phone 1.5 s after first sight (95 % of all)
`;

type Bench = (options: BenchOptions) => AsyncIterable<Line | Skipped>;

/** Loaded one by one, so that no group's memory or threads are in another's numbers. */
const groups: Record<string, () => Promise<Bench>> = {
  capture: async () => (await import("./bench/capture.ts")).benchCapture,
  pixels: async () => (await import("./bench/pixels.ts")).benchPixels,
  still: async () => (await import("./bench/still.ts")).benchStill,
  record: async () => (await import("./bench/record.ts")).benchRecord,
  seal: async () => (await import("./bench/seal.ts")).benchSeal,
  outbox: async () => (await import("./bench/outbox.ts")).benchOutbox,
  relay: async () => (await import("./bench/relay.ts")).benchRelay,
  detect: async () => (await import("./bench/detect.ts")).benchDetect,
  memory: async () => (await import("./bench/resident.ts")).benchMemory,
  latency: async () => (await import("./bench/latency.ts")).benchLatency,
  mqtt: async () => (await import("./bench/mqtt.ts")).benchMqtt,
  "relay-latency": async () => (await import("./bench/relayed.ts")).benchRelayed,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const unknown = positionals.filter((name) => !(name in groups));
if (values.help) process.stdout.write(help);
else if (unknown.length > 0) {
  process.stderr.write(
    `no group ${unknown.join(", ")}; there are ${Object.keys(groups).join(", ")}\n`,
  );
  process.exitCode = 2;
} else {
  for (const [name, load] of Object.entries(groups)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    try {
      for await (const line of (await load())(values)) console.log(JSON.stringify(line));
    } catch (error) {
      console.log(JSON.stringify({ bench: name, error: explain(error) }));
      process.exitCode = 1;
    }
  }
}
