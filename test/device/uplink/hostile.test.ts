import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { openHttp } from "../../../src/base/node/http.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { openKeyring } from "../../../src/device/keyring.ts";
import { type Head, openUplink } from "../../../src/device/uplink/uplink.ts";
import { type Mailbox, openMailbox } from "../../../src/protocol/wire/client.ts";
import { type Name, printName } from "../../../src/protocol/wire/name.ts";
import { watched } from "../../lib/busy.ts";
import { deceivedWorld, type House } from "../../lib/deceived.ts";
import { type Lie, patienceMs } from "../../lib/hostile.ts";
import * as lies from "../../lib/lies.ts";
import { startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { type Row, tell } from "../../lib/told.ts";

type Case = {
  does: string;
  lie: Lie;
  /** Failure as "kind stage" that the camera has in the end; undefined when it noticed nothing. */
  expect?: string;
  /** It took the camera's word for nothing: its own listing tells at the next comparison. */
  forgets?: true;
};

const hourMs = 3_600_000;
const retry = (seconds: string) => ({ "retry-after": seconds });

function casesOf(gardens: ReadonlyMap<string, Uint8Array>): Case[] {
  const { wire } = lies;
  const years = 5 * 365 * 86_400_000;
  return [
    { does: "is honest", lie: {} },
    { does: "keeps nothing and says that it does", lie: lies.keepsNothing, forgets: true },
    {
      does: "says that all is there already",
      ...{ lie: lies.only(lies.ofPuts, lies.always(200, {})), forgets: true },
    },
    { does: "does as it is asked and hangs up", lie: lies.silent, expect: "gone" },
    { does: "hangs up at once", lie: wire.hangUp, expect: "gone" },
    { does: "answers late", lie: lies.late(3000), expect: "gone" },
    { does: "answers a byte at a time", lie: wire.drip, expect: "gone" },
    { does: "sends interim answers without end", lie: wire.endlessInformation, expect: "gone" },
    { does: "speaks no HTTP", lie: wire.noHttp, expect: "corrupt" },
    { does: "sends headers without end", lie: wire.hugeHeaders, expect: "corrupt" },
    { does: "sends a body without end", lie: wire.endlessBody, expect: "corrupt length" },
    { does: "sends a listing as a gzip bomb", lie: lies.bomb(), expect: "corrupt length" },
    {
      does: "leads elsewhere",
      lie: lies.always(307, { location: "http://192.0.2.1/" }),
      expect: "corrupt",
    },
    { does: "says 204 to everything", lie: lies.always(204, {}), expect: "corrupt" },
    { does: "says 403 to everything", lie: lies.always(403, {}), expect: "refused right" },
    { does: "says 500 to everything", lie: lies.always(500, {}), expect: "gone" },
    {
      does: "asks for a day's patience",
      ...{ lie: lies.always(503, retry("86400")), expect: "gone" },
    },
    {
      does: "asks for no patience at all",
      ...{ lie: lies.always(429, retry("0")), expect: "gone" },
    },
    {
      does: "says that it is full",
      lie: lies.only(lies.ofPuts, lies.always(507, {}, '{"title":"full","stage":"quota"}')),
    },
    {
      does: "refuses each object for itself",
      lie: lies.only(lies.ofPuts, lies.always(413, {})),
      ...{ expect: "refused length", forgets: true },
    },
    {
      does: "says that each object is older than its own",
      lie: lies.only(lies.ofPuts, lies.always(409, {})),
      ...{ expect: "refused rises", forgets: true },
    },
    {
      does: "says that each request is too old, its clock ahead by years",
      ...{ lie: lies.wrongTime(years), expect: "refused created" },
    },
    { does: "says a wrong date with each answer", lie: lies.wrongDate(-years) },
    { does: "lists every name twice", lie: lies.doubled },
    { does: "lists in another order", lie: lies.reordered },
    { does: "lists what was not asked for", lie: lies.strayed, expect: "corrupt listing" },
    { does: "lists nothing", lie: lies.leaveOut(() => true) },
    { does: "invents entries without end", lie: lies.invent("entry"), expect: "corrupt listing" },
    { does: "invents parts without end", lie: lies.invent("part") },
    { does: "lists the mailbox of another camera", lie: listOnly(lies.serve(gardens)) },
  ];
}

const listOnly = (lie: Lie): Lie => lies.only((asked) => !lies.ofPuts(asked), lie);

suite("uplink to a hostile relay", (test) => {
  test(
    "what a camera says to each lie, and that it cannot be made to lose, double or hurry",
    async () => {
      await using world = await deceivedWorld(["door", "garden"]);
      const [door, garden] = world.houses as [House, House];
      await garden.record(1);
      await door.recordOnly(2);
      const gardens = new Map(
        [...(world.hostile.kept.get(garden.mailbox) ?? [])].map(([name, all]) => [
          name,
          new Uint8Array(all.at(-1) ?? []),
        ]),
      );
      const rows: Row[] = [];
      const wrong: string[] = [];
      let most = 0;
      for (const one of casesOf(gardens)) {
        await empty(door);
        const found = await run(one, door, world.hostile);
        most = Math.max(most, found.perHour);
        rows.push({ does: one.does, says: found.says });
        if (process.env.OBSCURA_SHOW) console.error(one.does, found);
        if (found.failure !== one.expect) wrong.push(`${one.does}: ${found.failure}`);
        if (found.perHour > 400) wrong.push(`${one.does}: ${found.perHour} requests in an hour`);
        wrong.push(...found.wrong.map((text) => `${one.does}: ${text}`));
      }
      console.log(
        `\nmeasured: hostile relay: ${rows.length} lies to a camera, at most ${most} requests in the hour`,
      );
      assert.equal(wrong, []);
      await tell("camera", rows);
    },
    { deadlineMs: 1_000_000 },
  );
});

/** The owner takes everything of the camera away at the relay. */
async function empty({ as }: House): Promise<void> {
  for (const { name } of await as.phone.list()) {
    if (name.kind === "entry" || name.kind === "part") await as.phone.remove(name);
  }
  await as.root.remove({ kind: "beacon" });
}

async function run(
  one: Case,
  door: House,
  hostile: Awaited<ReturnType<typeof deceivedWorld>>["hostile"],
) {
  const before = await digestOf(door);
  const running = await startSealer(door.state);
  const keyring = await openKeyring(door.state);
  const http = openHttp();
  const clock = new ManualClock();
  const ahead: Head[] = [];
  const said: string[] = [];
  const { mailbox, pass } = watched(
    openMailbox({
      ...{ url: hostile.url, mailbox: keyring.adopted?.mailbox ?? new Uint8Array() },
      ...{ key: keyring.identity.request, sign: keyring.signRequest, suite: nodeSuite },
      ...{ nowMs: () => Date.now() },
      send: (sending) => http.send({ ...sending, timeoutMs: patienceMs(hostile.lie) }),
    }),
  );
  hostile.forget();
  hostile.lie = one.lie;
  const uplink = openUplink({
    outbox: running.outbox,
    camera: keyring.identity.camera,
    relays: [{ url: hostile.url, urgent: mailbox, patient: mailbox }],
    incarnation: () => 1,
    clock,
    signal: new AbortController().signal,
    random: () => 0.5,
    routes: async () => "eth0",
    onAhead: (head) => void ahead.push(head),
    onFound: (entry) => running.outbox.put(entry),
    onGiven: async () => {},
    onState: ({ text }) => void said.push(text),
  });
  await pass(clock, 60_000, 5_000);
  await pass(clock, hourMs, 240_000);
  const failure = uplink.status()[0]?.failure;
  const perHour = hostile.asked.length;
  const says = said.filter((text) => text !== "relays");
  hostile.lie = undefined;
  hostile.forget();
  const waits = () => uplink.status().some(({ entries, clips }) => entries + clips > 0);
  for (let minutes = 0; minutes < 10 || (waits() && minutes < 60); minutes++) {
    await pass(clock, 60_000, 60_000);
  }
  if (one.forgets) {
    for (let hours = 0; hours < 16; hours++) {
      await pass(clock, hourMs, hourMs);
      // What was found missing is read and sent in its own time.
      for (let tries = 0; waits() && tries < 100; tries++) await wait(10);
    }
  }
  const wrong: string[] = [];
  const there = new Map<string, Name>();
  for (const page of await allOf(door.as.phone)) there.set(printName(page), page);
  const ours = [
    ...running.outbox.entries(),
    ...running.outbox.clips().flatMap(({ clip }) => running.outbox.parts(clip)),
  ];
  for (const name of [...ours, { kind: "beacon" as const }]) {
    const bytes = there.has(printName(name)) ? await door.as.phone.get(name) : undefined;
    if (!bytes || Buffer.compare(bytes, await running.outbox.read(name)) !== 0) {
      wrong.push(`${printName(name)} is not there`);
    }
  }
  const puts = hostile.asked.filter(({ method }) => method === "PUT").map(({ name }) => name);
  const doubles = puts.filter((name, i) => name !== "beacon" && puts.indexOf(name) !== i);
  if (doubles.length > 0) wrong.push(`${doubles.length} objects were put twice when it was honest`);
  if (ahead.length > 0) wrong.push("it was made to believe that its card was put back");
  await uplink.close();
  await running.stop();
  http.close();
  for (const [file, hash] of before) {
    if ((await digestOf(door)).get(file) !== hash && file !== "beacon")
      wrong.push(`${file} changed`);
  }
  const kind =
    failure &&
    `${failure.kind}${failure.stage && failure.stage !== "stale" ? ` ${failure.stage}` : ""}`;
  return { failure: kind, says: [...new Set(says)], perHour, wrong: wrong.slice(0, 3) };
}

async function allOf(mailbox: Mailbox): Promise<Name[]> {
  const names: Name[] = [];
  for (let after = ""; ; ) {
    const page = await mailbox.list({ after });
    names.push(...page.map(({ name }) => name));
    const last = page.at(-1);
    if (!last || page.length < 1000) return names;
    after = printName(last.name);
  }
}

async function digestOf({ state }: House): Promise<Map<string, string>> {
  const folder = join(state, "outbox");
  const files = (await readdir(folder)).filter((file) => !file.startsWith("."));
  const hash = async (file: string) =>
    createHash("sha256")
      .update(await readFile(join(folder, file)))
      .digest("hex");
  return new Map(await Promise.all(files.map(async (file) => [file, await hash(file)] as const)));
}
