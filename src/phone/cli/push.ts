import { readNamed } from "../../base/node/program.ts";
import { equal, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { subscriptionBytes } from "../../protocol/sealed/pointer.ts";
import { kemPair, random } from "../../protocol/sealed/sodium.ts";
import { parseEndpoint } from "../../protocol/wire/push.ts";
import { type Journal, statements } from "../journal.ts";
import { actionOf, tidy } from "../outgoing.ts";
import { type CameraKeys, shortId } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { haveDone, readLog } from "./ask.ts";
import { newBrowserKeys } from "./ece.ts";
import { haveDoneFresh } from "./fresh.ts";
import type { Voice } from "./out.ts";
import { printTable, printTime } from "./show.ts";
import { readEndpoint, readPushSubscription, type Wish } from "./subscription.ts";
import type { Say, World } from "./world.ts";

const defaultWaitMs = 60_000;
/** Of one camera, kept here: a camera takes four of a phone. */
const mostKept = 16;

type Push = NonNullable<CameraKeys["pushes"]>[number];

/** Who is told of a camera's visits, as its log says. */
type Told = {
  id: Uint8Array;
  phone: Uint8Array;
  service: string;
  sinceMs: number;
  state: "on" | "gone";
};

export const pushVerbs = ["key", "on", "list", "off", "test", "open"] as const;

/**
 * `obscura-phone push`: word of visits by way of a push service. `open` is in notice.ts. What is given is read
 * before anybody is asked.
 */
export async function push(
  given: Arguments,
  connect: () => Promise<World>,
  voice: Voice,
  say: Say,
): Promise<number> {
  const wish = given.operands[0] === "on" ? await readWish(given) : undefined;
  const world = await connect();
  if (wish) return await switchOn(wish, given, world, voice, say);
  switch (given.operands[0]) {
    case "key":
      return await showKey(given, world, voice, say);
    case "off":
      return await switchOff(given, world, voice, say);
    case "test":
      return await test(given, world, voice, say);
    default:
      return await list(world, say);
  }
}

/** What a command line asks for is right before anything is asked of a camera. */
export function checkPush({ operands, subscription, endpoint, picture }: Arguments): void {
  const [verb = "", about] = operands;
  const misuse = (text: string) =>
    new Failure("misuse", text, { hint: "`obscura-phone --help` says more" });
  if (!pushVerbs.some((one) => one === verb)) {
    throw misuse(`push takes one of ${pushVerbs.join(", ")}, not "${verb}"`);
  }
  if (verb === "open" ? about === undefined : about !== undefined && verb !== "off") {
    throw misuse(`push ${verb} takes ${verb === "open" ? "a file, or -" : "nothing behind it"}`);
  }
  const isOne = (subscription === undefined) !== (endpoint === undefined);
  if (verb === "on" && !isOne) throw misuse("push on takes --subscription or --endpoint");
  if (verb !== "on" && (subscription ?? endpoint) !== undefined) {
    throw misuse("--subscription and --endpoint are for push on");
  }
  if (verb !== "open" && picture !== undefined) throw misuse("--picture is for push open");
}

function toldIn(journal: Journal): Told[] {
  const all = new Map<string, Told>();
  for (const { record, statement } of statements(journal, "push")) {
    const { what, phone, id, service = "" } = statement;
    if (!phone || !id) continue;
    const one = { id, phone, service, sinceMs: record.wallMs ?? 0, state: "on" as const };
    if (what === "added") all.set(toHex(id), one);
    if (what === "removed") all.delete(toHex(id));
    if (what === "gone") all.set(toHex(id), { ...one, state: "gone" });
  }
  return [...all.values()];
}

function keyIn(journal: Journal): Uint8Array | undefined {
  return statements(journal, "push").findLast(({ statement }) => statement.what === "key")
    ?.statement.key;
}

async function showKey(given: Arguments, world: World, voice: Voice, say: Say): Promise<number> {
  const first = await readLog(world);
  let key = keyIn(first);
  if (!key) {
    const about = { what: "push key", waitMs: given.waitMs ?? defaultWaitMs, voice };
    const state = await haveDone(world, first, { kind: "push-key", replaces: 0 }, about);
    key = state === "done" ? keyIn(await readLog(world)) : undefined;
  }
  if (!key) throw new Failure("offline", "the camera did not say its key in time", { hint: again });
  const text = Buffer.from(key).toString("base64url");
  say(`${text}\n`, { camera: toHex(world.camera.id), key: text });
  return 0;
}

const again = "Is it running? `obscura-phone cameras` says when it was heard last";

async function switchOn(
  { wish, own }: Awaited<ReturnType<typeof readWish>>,
  given: Arguments,
  world: World,
  voice: Voice,
  say: Say,
): Promise<number> {
  const { vault, camera } = world;
  const service = serviceOf(wish.endpoint);
  if (wish.endpoint.startsWith("http:")) {
    voice.warn("by plain HTTP: whoever listens between relay and push service sees the address");
  }
  const first = await readLog(world);
  const pair = kemPair();
  const id = random(subscriptionBytes);
  const kept: Push = {
    id,
    secret: pair.secret,
    service,
    atMs: Date.now(),
    ...(own ? { own } : {}),
  };
  const now = toldIn(first);
  // What the camera does not know any more opens nothing that is still to come.
  const isOver = (one: Push) => now.some((told) => equal(told.id, one.id) && told.state === "gone");
  const others = (camera.pushes ?? []).filter((one) => !isOver(one));
  camera.pushes = [...others, kept].slice(-mostKept);
  const subscription = { id, key: pair.publicKey, ...wish };
  const action = { kind: "subscribe", replaces: 0, subscription } as const;
  const about = { what: "the subscription", waitMs: given.waitMs ?? defaultWaitMs, voice };
  const state = await haveDone(world, first, action, about).catch(async (error) => {
    // One that still waits is sent again, and then its messages have to open.
    const isRefused = isFailure(error, "refused") && error.stage === action.kind;
    if (!isRefused) throw error;
    camera.pushes = (camera.pushes ?? []).filter((one) => !equal(one.id, id));
    await vault.save();
    throw error;
  });
  const name = camera.name || "the camera";
  say(
    state === "done"
      ? `${name} tells of visits by ${service} (${shortId(id)}). Try it: obscura-phone push test\n`
      : `sent, and ${name} has not answered yet. Every later command sends it again\n`,
    { camera: toHex(camera.id), id: toHex(id), service, state },
  );
  return 0;
}

async function readWish({
  subscription,
  endpoint,
}: Arguments): Promise<{ wish: Wish; own?: ReturnType<typeof newBrowserKeys> }> {
  if (subscription !== undefined) return { wish: await readPushSubscription(subscription) };
  const where = endpoint === "-" ? "standard input" : "--endpoint";
  const text =
    endpoint === "-"
      ? toText(await readNamed("-", { what: "an address", mostBytes: 4096 }))
      : (endpoint ?? "");
  const own = newBrowserKeys();
  const { p256dh, auth } = own;
  return { wish: { endpoint: readEndpoint(where, text), p256dh, auth }, own };
}

function serviceOf(endpoint: string): string {
  const { host, origin } = parseEndpoint(endpoint);
  return origin.slice(origin.indexOf(host));
}

async function list(world: World, say: Say): Promise<number> {
  const { vault, camera } = world;
  const journal = await readLog(world);
  const { members } = journal.members.head;
  const rows = toldIn(journal).map((told) => {
    const isOurs = equal(told.phone, vault.content.phoneKey);
    const kept = camera.pushes?.find((one) => equal(one.id, told.id));
    const name = members.find(({ phone }) => equal(phone, told.phone))?.name ?? shortId(told.phone);
    const opens = kept?.own ? "opened by push open" : "opened by its browser";
    const state = told.state === "gone" ? "gone: the service does not know it any more" : opens;
    return { ...told, isOurs, name, state: isOurs ? state : told.state === "gone" ? state : "on" };
  });
  const waiting = (camera.outgoing ?? []).filter((item) => {
    const { kind } = actionOf(item);
    return kind === "subscribe" || kind === "unsubscribe";
  }).length;
  const table = rows.map(({ id, name, isOurs, service, sinceMs, state }) => [
    ...[shortId(id), `${name}${isOurs ? " (this one)" : ""}`, service],
    ...[printTime(sinceMs, true), state],
  ]);
  const text =
    rows.length === 0
      ? "nobody is told of visits by a push service\n"
      : printTable([["SUBSCRIPTION", "PHONE", "SERVICE", "SINCE", "STATE"], ...table]);
  const wait = waiting > 0 ? `${waiting} more wait for the camera\n` : "";
  say(text + wait, {
    camera: toHex(camera.id),
    subscriptions: rows.map(({ id, phone, name, isOurs, service, sinceMs, state }) => ({
      ...{ id: toHex(id), phone: toHex(phone), name, own: isOurs, service, state },
      since: new Date(sinceMs).toISOString(),
    })),
    waiting,
  });
  return 0;
}

async function switchOff(given: Arguments, world: World, voice: Voice, say: Say): Promise<number> {
  const { vault, camera, link } = world;
  const [, prefix = ""] = given.operands;
  let journal = await readLog(world);
  const isOurs = ({ phone }: Told) => equal(phone, vault.content.phoneKey);
  const known = new Map<string, Uint8Array>();
  for (const { id } of toldIn(journal).filter(isOurs)) known.set(toHex(id), id);
  for (const { id } of camera.pushes ?? []) known.set(toHex(id), id);
  const ids = [...known].filter(([text]) => text.startsWith(prefix)).map(([, id]) => id);
  if (ids.length === 0) {
    const which = prefix === "" ? "" : ` that begins with ${prefix}`;
    throw new Failure("absent", `this phone has no subscription${which}`, {
      hint: "`obscura-phone push list` shows them",
    });
  }
  const isMeant = (id: Uint8Array) => ids.some((one) => equal(one, id));
  // A wish to subscribe that still waits goes: the camera would take it after this.
  const late = camera.outgoing.filter((item) => {
    const action = actionOf(item);
    return action.kind === "subscribe" && isMeant(action.subscription.id);
  });
  camera.outgoing = camera.outgoing.filter((item) => !late.includes(item));
  camera.pushes = (camera.pushes ?? []).filter(({ id }) => !isMeant(id));
  await vault.save();
  await tidy(
    link,
    late.flatMap(({ sent }) => (sent ? [sent.name] : [])),
  );
  let isDone = true;
  for (const id of ids) {
    const action = { kind: "unsubscribe", replaces: 0, id } as const;
    const about = { what: "the end of it", waitMs: given.waitMs ?? defaultWaitMs, voice };
    const state = await haveDone(world, journal, action, about);
    isDone &&= state === "done";
    journal = await readLog(world);
  }
  const ended = `${ids.length === 1 ? "one subscription is" : `${ids.length} subscriptions are`} over`;
  say(
    isDone
      ? `${ended}\n`
      : "sent, and the camera has not answered yet. Later commands send it again\n",
    { camera: toHex(camera.id), ids: ids.map(toHex), state: isDone ? "done" : "waits" },
  );
  return 0;
}

async function test(given: Arguments, world: World, voice: Voice, say: Say): Promise<number> {
  const { phoneKey } = world.vault.content;
  await haveDoneFresh<{ number: number }>(
    world,
    (nonce) => ({ kind: "push-test", nonce }),
    (journal, { number }) =>
      statements(journal, "command-done").find(
        ({ statement }) =>
          equal(statement.phone, phoneKey) &&
          statement.number === number &&
          statement.refused === undefined,
      )?.statement,
    { what: "test", endMs: performance.now() + (given.waitMs ?? defaultWaitMs), voice },
  );
  voice.progress("");
  say("the push service has a test message for this phone\n", {
    ...{ camera: toHex(world.camera.id), state: "accepted" },
  });
  return 0;
}
