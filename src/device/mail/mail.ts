/**
 * The mail stage. In: what detection, recording and sealing say of a visit, and parts that are durable.
 * Out: one message for a visit over the owner's mail server, when its first picture is sealed and
 * durable; what is too much for an hour is summed up. With it goes that sealed picture, or words and
 * picture encrypted to the owner's OpenPGP key. Nobody waits for it, and nothing of it ends the service.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { checkMailServer, type MailSettings, nameOfServer, readMailServer } from "../mailserver.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Recording } from "../record/record.ts";
import type { ServiceEvent } from "../report.ts";
import { Backoff } from "../uplink/uplink.ts";
import {
  type Attachment,
  add,
  hourUs,
  openTeller,
  type Visit,
  watchVisitors,
} from "../visit/visit.ts";
import {
  type Letter,
  letterOf,
  print,
  printInner,
  printSealed,
  sealedPicture,
  summaryOf,
} from "./letter.ts";
import { type Notes, openNotes } from "./notes.ts";
import { encryptTo, readKeys } from "./openpgp.ts";
import { send } from "./send.ts";
import { decide, type Plan, sent } from "./tray.ts";

export { runMail } from "./command.ts";

export type Mail = {
  /** A recording on its way to be sealed, which goes on unchanged. */
  watch<R extends Recording>(recording: R): R;
  event(event: ServiceEvent): void;
  /** What is being sent has a moment to arrive; what waits goes with the next start. */
  close(): Promise<void>;
};

/** For --check-config: the files that the settings name can be read. Throws Failure "misuse". */
export const checkMail = (mail: MailSettings): Promise<void> => checkMailServer(mail, readKeys);

export type MailOptions = {
  /** Read anew for each message: what is changed while the camera runs counts. */
  config: { name: string; mail: MailSettings };
  state: string;
  outbox: Pick<Outbox, "kind" | "parts" | "read">;
  health: { fault(about: string, text?: string): void };
  /** Adds to the camera's sealed log. */
  note(statement: Statement): Promise<void>;
  onProblem(error: unknown): void;
  clock: Clock;
  logs(stage: string): Log;
  /** For tests. */
  random?: () => number;
};

/** A server that is away is tried again after ten minutes at most. */
const mostBackoffMs = 10 * 60_000;
/** Pictures that were encrypted and wait; above, the oldest visits are told in words. */
const mostLetters = 8;
const mostSealedBytes = 3 * 2 ** 20;
/** A message that a server refuses so often is sent without its picture. */
const mostRefusals = 2;

/** Without a mail server in the settings nobody is told anything. */
export async function openMail(options: MailOptions): Promise<Mail> {
  const { config, state, outbox, clock, onProblem } = options;
  const isOn = config.mail.host !== "";
  const wasOn = await stat(join(state, "mail")).then(
    () => true,
    () => false,
  );
  if (!isOn && !wasOn) return nobody;
  const isKept = outbox.kind === "folder";
  const notes = await openNotes(isKept ? state : undefined, clock).catch((error) => {
    onProblem(error);
    return openNotes(undefined, clock);
  });
  await noteServer(notes, options).catch(onProblem);
  if (isOn) return run(notes, options);
  await notes.close();
  return nobody;
}

const nobody: Mail = { watch: (recording) => recording, event: () => {}, close: async () => {} };

function run(notes: Notes, options: MailOptions): Mail {
  const { config, clock, health, onProblem, random = Math.random } = options;
  const log = options.logs("mail");
  const { tray } = notes;
  const backoff = new Backoff({ clock, random, mostMs: mostBackoffMs });
  /** Encrypted pictures by clip, the oldest first. */
  const letters = new Map<string, Promise<string>>();
  let told = "";
  let failingUs: number | undefined;

  const save = () => notes.save().catch((error) => isFailure(error, "full") || onProblem(error));
  const visitors = watchVisitors({
    onVisit(visit) {
      add(tray, visit);
      void save();
      teller.wake();
    },
    onPictures: config.mail.picture === "openpgp" ? keep : undefined,
  });
  /** Encrypted at once, so that no plain picture waits for a server. */
  function keep(visit: Visit, pictures: readonly Attachment[]) {
    const armoured = seal(letterOf(visit, { name: config.name, pictures }));
    armoured.catch(() => {});
    letters.set(visit.clip, armoured);
    for (const old of letters.keys()) if (letters.size > mostLetters) letters.delete(old);
  }
  const seal = async (letter: Letter) => {
    const wallMs = clock.wallMs();
    const keys = await readKeys(config.mail.key, wallMs);
    return await encryptTo(keys, await printInner(letter), wallMs);
  };
  const printed = async (letter: Letter, kept?: Promise<string>) => {
    if (config.mail.picture !== "openpgp") return await print(letter, config.mail);
    const armoured = (await kept?.catch(() => undefined)) ?? (await seal(letter));
    return await printSealed(letter.id, armoured, config.mail);
  };
  const compose = async (plan: Exclude<Plan, { kind: "wait" }>) => {
    const { name } = config;
    if (plan.kind === "summary") {
      return await printed(summaryOf(plan.visits, { name, earlier: plan.earlier }));
    }
    const { visit } = plan;
    const isWhole = visit.refusals < mostRefusals;
    const isSealed = isWhole && config.mail.picture === "sealed";
    const pictures = isSealed ? await pictureOf(visit, options.outbox) : [];
    const kept = isWhole ? letters.get(visit.clip) : undefined;
    return await printed(letterOf(visit, { name, pictures }), kept);
  };
  const deliver = async (plan: Exclude<Plan, { kind: "wait" }>, signal: AbortSignal) => {
    const server = await readMailServer(config.mail);
    const message = { envelope: config.mail, bytes: await compose(plan) };
    const { rejected } = await send({ ...message, server, clock, signal });
    if (rejected.length === 0) return undefined;
    return `${nameOfServer(server)} takes nothing for ${rejected.length} of mail.to`;
  };
  const act = async (plan: Exclude<Plan, { kind: "wait" }>, cut: AbortSignal) => {
    const visits = plan.kind === "letter" ? [plan.visit] : plan.visits;
    try {
      const lacking = await deliver(plan, cut);
      sent(tray, plan, clock.monotonicUs());
      backoff.worked();
      for (const { clip } of visits) letters.delete(clip);
      if (lacking !== undefined && lacking !== told) log.warn(lacking);
      else if (lacking === undefined && told !== "") log.info("mail goes out again");
      told = lacking ?? "";
      failingUs = undefined;
      health.fault("mail", lacking);
      log.info("told", { visits: visits.length });
    } catch (error) {
      if (cut.aborted) return;
      const failure = isFailure(error)
        ? error
        : new Failure("gone", "a message could not be made", { cause: error });
      if (failure.stage === "message") for (const visit of visits) visit.refusals += 1;
      backoff.failed(failure);
      failingUs ??= clock.monotonicUs();
      const text = explain(failure);
      if (text !== told) log.warn(text);
      told = text;
      // What may pass by itself is no fault; what does not pass for an hour is.
      const isOwners = !isFailure(failure, "offline", "stalled", "gone");
      const isLong = clock.monotonicUs() - failingUs > hourUs;
      health.fault("mail", isOwners || isLong ? text : undefined);
    }
    await save();
  };
  const teller = openTeller<Plan>({
    ...{ clock, backoff, log, act },
    decide: () => decide(tray, clock.monotonicUs(), config.mail.perHour),
  });
  return {
    watch(recording) {
      try {
        return visitors.watch(recording);
      } catch (error) {
        // A mistake of ours costs a message, never the camera a clip.
        log.error(explain(error));
        return recording;
      }
    },
    event(event) {
      try {
        visitors.event(event);
      } catch (error) {
        log.error(explain(error));
      }
    },
    async close() {
      await teller.close();
      await save();
      await notes.close();
    },
  };
}

/** The parts of a clip up to its first picture; nothing when they are gone, or more than a letter takes. */
async function pictureOf(
  { clip, picture }: Visit,
  outbox: Pick<Outbox, "parts" | "read">,
): Promise<Attachment[]> {
  if (picture === undefined) return [];
  const names = outbox.parts(clip).filter(({ number }) => number <= picture);
  if (names.length !== picture + 1) return [];
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for (const name of names) {
    const part = await outbox.read(name).catch((error) => {
      // Given up or deleted since: the words go without it.
      if (!isFailure(error, "absent")) throw error;
      return undefined;
    });
    bytes += part?.length ?? 0;
    if (!part || bytes > mostSealedBytes) return [];
    parts.push(part);
  }
  return [sealedPicture(clip, parts)];
}

const how = {
  sealed: "in words that the server can read, with a sealed picture",
  none: "in words that the server can read",
  openpgp: "words and picture encrypted by OpenPGP",
};

/** What is let out of the seal is said in the log: once, when it begins, changes or ends. */
async function noteServer(notes: Notes, { config, note }: MailOptions): Promise<void> {
  const { host, to, picture } = config.mail;
  const said =
    host === ""
      ? ""
      : `visits are told to ${to.join(", ")} by the mail server ${host}, ${how[picture]}`;
  if ((await notes.told()) === said) return;
  const text = said || "nobody is told of visits by mail any more";
  await note({ kind: "problem", code: "mail", text: text.slice(0, 500) });
  await notes.tell(said);
}
