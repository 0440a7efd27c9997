import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { readConfig } from "../../src/device/config.ts";
import { type Mail, type MailOptions, openMail } from "../../src/device/mail/mail.ts";
import type { MailSettings } from "../../src/device/mailserver.ts";
import type { Recording } from "../../src/device/record/record.ts";
import type { ServiceEvent } from "../../src/device/report.ts";
import { opening, pattern } from "./sealed.ts";
import { makeCamera, type Running, startSealer } from "./sealing.ts";
import { quickFolder } from "./world.ts";

// A camera that seals made-up visits, and tells of them by mail.

export const pictures = { person: pattern(2_000, 5), view: pattern(6_000, 9) };
export const wallMs = Date.UTC(2026, 10, 23, 3, 12, 5);

export type Mailed = {
  state: string;
  said: { notes: string[]; problems: string[]; log: string; faults: (string | undefined)[] };
  sealer(): Running;
  open(settings: Partial<MailSettings>, more?: Partial<MailOptions>): Promise<Mail>;
  /** Who else is told what the stages say. */
  join(mail: Mail): void;
  /** A visit from its first sight to its sealed clip; the clip's id. */
  visit(mail: Mail, options?: VisitOptions): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type VisitOptions = {
  incident?: string;
  persons?: number;
  hasPicture?: boolean;
  /** A clip that nobody was seen for, as a snapshot is. */
  isUnseen?: boolean;
  /** Called between the first picture and what follows. */
  between?: () => Promise<void>;
};

let count = 0;

export async function openMailed({ clock = systemClock }: { clock?: Clock } = {}): Promise<Mailed> {
  const folder = await quickFolder();
  await makeCamera(folder.path, { oneTime: 40 });
  const said: Mailed["said"] = { notes: [], problems: [], log: "", faults: [] };
  let mails: Mail[] = [];
  const running = await startSealer(folder.path, {
    onPart: (part) => {
      for (const mail of mails) mail.event({ event: "part", ...(part as PartEvent) });
    },
  });
  return {
    ...{ state: folder.path, said },
    sealer: () => running,
    join: (mail) => void mails.push(mail),
    async open(settings, more = {}) {
      const config = await readConfig(undefined);
      const mail = { from: "camera@example.org", to: ["owner@example.org"], ...settings };
      const own = { ...config.mail, security: "none" as const, host: "127.0.0.1", ...mail };
      const { outbox } = running;
      const opened = await openMail({
        ...{ config: { name: "Porch", mail: own }, state: folder.path, clock, outbox },
        health: { fault: (_, text) => said.faults.push(text) },
        note: async (statement) => {
          if (statement.kind === "problem") said.notes.push(statement.text);
        },
        onProblem: (error) => said.problems.push(String(error)),
        logs: (stage) =>
          openLog(stage, "debug", (line) => {
            said.log += line;
          }),
        random: () => 0.5,
        ...more,
      });
      mails.push(opened);
      return {
        ...opened,
        async close() {
          mails = mails.filter((one) => one !== opened);
          await opened.close();
        },
      };
    },
    async visit(mail, { persons = 1, hasPicture = true, isUnseen, between, ...options } = {}) {
      count += 1;
      const incident = options.incident ?? count.toString(16).padStart(32, "0");
      const seen = { incident, persons, firstSeenUs: 1, atUs: 2, inferenceMs: 3 };
      if (!isUnseen) mail.event({ event: "person", ...seen });
      const recording: Recording = {
        incident,
        opening: { ...opening, incident, wallMs: wallMs - 1_000, preRollMs: 1_000 },
        pieces: pieces(hasPicture, between),
      };
      const sealed = await running.sealer.clip(isUnseen ? recording : mail.watch(recording));
      mail.event({ event: "clip", ...sealed, atUs: 4 });
      return sealed.clip;
    },
    async [Symbol.asyncDispose]() {
      for (const mail of mails) await mail.close();
      await running.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

type PartEvent = Omit<ServiceEvent & { event: "part" }, "event">;

async function* pieces(
  hasPicture: boolean,
  between: (() => Promise<void>) | undefined,
): Recording["pieces"] & AsyncGenerator {
  const taken = { width: 64, height: 36, capturedUs: 5 };
  if (hasPicture) {
    yield { kind: "thumbnail", what: "person", bytes: pictures.person, ...taken };
    yield { kind: "thumbnail", what: "frame", bytes: pictures.view, ...taken };
  }
  if (between) await between();
  const size = { codec: "avc1", width: 64, height: 36, timescale: 1_000 };
  yield { kind: "init", bytes: pattern(700), ...size };
  const time = { startUs: 1, durationUs: 2, key: true };
  yield { kind: "fragment", bytes: pattern(9_000, 21), ...time };
  const summary = { thinned: [], mostPersons: 1, bestScore: 0.5, tracks: [] };
  yield {
    kind: "closing",
    closing: { endUs: 2, durationMs: 1, frames: 1, ...summary, reason: "ended" },
  };
}

/** What a picture looks like where it is not to be found. */
export function holds(text: string, bytes: Uint8Array): boolean {
  const inner = Buffer.from(bytes.subarray(600, 660));
  const encoded = [0, 1, 2].map((shift) =>
    Buffer.from(bytes.subarray(600 + shift, 660))
      .toString("base64")
      .slice(4, -4),
  );
  const bare = text.replace(/\s+/g, "");
  return (
    text.includes(inner.toString("latin1")) ||
    bare.includes(toHex(inner)) ||
    encoded.some((one) => bare.includes(one))
  );
}
