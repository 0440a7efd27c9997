import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, ok } from "uvu/assert";
import { freePort } from "../../scripts/port.ts";
import { generator, openLedger, settle } from "../lib/ledger.ts";
import { openLink, whyNoLink } from "../lib/link.ts";
import { suite } from "../lib/suite.ts";
import { eventually, openTrio, type Trio } from "../lib/trio.ts";

const clips = 4;
const task = { clips, fragments: 8, fragmentBytes: 20_000 };

/** Connections that are slow and late, and break after as many bytes as they like. */
async function openBreaking(to: number, random: (below: number) => number) {
  const counts = { connections: 0, broken: 0 };
  let isMended = false;
  const server = createServer((here) => {
    counts.connections += 1;
    const there = connect(to, "127.0.0.1");
    // Every second one, so that some break whoever uses which, and less than a part is long.
    const isBad = !isMended && counts.connections % 2 === 1;
    let left = isBad ? 2000 + random(20_000) : Number.POSITIVE_INFINITY;
    const cut = () => {
      here.destroy();
      there.destroy();
    };
    for (const [from, into] of [
      [here, there],
      [there, here],
    ] as const) {
      from.on("data", (bytes) => {
        from.pause();
        left -= bytes.length;
        if (left < 0) {
          counts.broken += 1;
          return cut();
        }
        // About 2 MB a second, and a way of 20 to 60 ms.
        const ms = 20 + random(40) + bytes.length / 2000;
        setTimeout(() => {
          if (!into.destroyed) into.write(bytes);
          from.resume();
        }, ms);
      });
      from.on("error", cut).on("close", cut);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    counts,
    mend() {
      isMended = true;
    },
    [Symbol.dispose]: () => void server.close(),
  };
}

/**
 * What is sealed is sent, once, and read whole; how often the phone had to be asked. When all is read
 * the line is mended, and each part is held against what the camera said.
 */
async function deliver(
  trio: Trio,
  line: { during?(): Promise<void>; mend(): void },
): Promise<number> {
  const ledger = openLedger();
  const camera = trio.courier(task);
  await camera.until(/^relayed/m);
  await line.during?.();
  await camera.until(/^sent/m);
  ledger.take(camera.lines);
  await camera.end("SIGTERM");
  let tries = 0;
  await eventually("the phone proves it all", async () => {
    tries += 1;
    const { code } = await trio.phone("verify");
    return code === 1 ? undefined : true;
  });
  line.mend();
  equal([...(await settle(trio, ledger))], [["whole", clips]]);
  return tries;
}

const noLink = await whyNoLink();

suite("network", (test) => {
  const limits = { deadlineMs: 600_000 };
  test(
    "connections that are slow and break: all comes there once and the phone reads it",
    async () => {
      const relayPort = await freePort();
      using line = await openBreaking(relayPort, generator(2026));
      const { trio } = await openTrio({ relay: { port: relayPort, by: line.port } });
      await using _ = trio;
      const tries = await deliver(trio, line);
      const { connections, broken } = line.counts;
      console.log(
        `\nmeasured: a line that breaks: ${broken} of ${connections} connections broken; ${clips} clips whole, read in ${tries} tries`,
      );
      ok(broken > 0, "nothing broke");
    },
    limits,
  );

  test(
    "packets late, lost, doubled and overtaken, and a line cut for seconds: all comes there once and the phone reads it",
    async () => {
      await using link = await openLink();
      const { trio } = await openTrio({ by: link.by, relay: { host: link.host, port: 8470 } });
      await using _ = trio;
      const startMs = performance.now();
      link.set({ delayMs: 20, jitterMs: 10, loss: 0.02, twice: 0.01, bytesPerS: 500_000 });
      const tries = await deliver(trio, {
        async during() {
          link.set({ isCut: true });
          // Who asks now goes into the cut, whatever the camera has still to send.
          const asked = trio.phone("clips");
          await eventually("something goes into the cut", async () =>
            (await link.tell()).cut > 0 ? true : undefined,
          );
          await sleep(3000);
          link.set({ isCut: false });
          await asked;
        },
        mend: () => link.set({ loss: 0, twice: 0 }),
      });
      const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
      const { packets, lost, doubled, overtaken, cut } = await link.counts();
      console.log(
        `\nmeasured: a bad line, 40 to 60 ms there and back, 2 % lost, 500 kB/s, cut for 3 s: ${packets} packets, ${lost} lost, ${doubled} doubled, ${overtaken} overtaken, ${cut} into the cut; ${clips} clips whole after ${seconds} s, read in ${tries} tries`,
      );
      ok(lost > 0 && doubled > 0 && overtaken > 0 && cut > 0);
    },
    { ...limits, skip: noLink },
  );
});
