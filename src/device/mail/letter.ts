import { createHash } from "node:crypto";
import type { Attachment, Visit } from "../visit/visit.ts";

// What stands in a message. In the words: the camera's name, when, how many persons, the clip; nothing more.

export type Letter = {
  /** The same for the same visits, so that what was sent twice shows as one where that is looked at. */
  id: string;
  /** The camera, as its owner calls it. */
  camera: string;
  subject: string;
  text: string;
  attachments: readonly Attachment[];
};

/** How many visits of a summary are named; the others are counted. */
const mostNamed = 20;
const shortDigits = 12;

/** `pictures` is empty for words alone. */
export function letterOf(
  visit: Visit,
  { name, pictures }: { name: string; pictures: readonly Attachment[] },
): Letter {
  const { clip, persons } = visit;
  const camera = clean(name);
  const short = clip.slice(0, shortDigits);
  const [first] = pictures;
  const isSealed = first?.name.endsWith(sealedEnding) ?? false;
  const lines = [
    `Camera:  ${camera}`,
    `When:    ${printMoment(visit)}`,
    `Persons: ${persons ?? "not known any more: the camera was started anew since"}`,
    `Clip:    ${clip}`,
    "",
    ...(isSealed ? [`The picture:  obscura-phone open ${first?.name}`] : []),
    ...(first ? [] : [`The picture:  obscura-phone thumbnail ${short}`]),
    `The film:     obscura-phone export ${short}`,
  ];
  return {
    ...{ id: idOf([clip]), camera, subject: `${camera}: somebody is there` },
    ...{ text: `${lines.join("\n")}\n`, attachments: pictures },
  };
}

/** One message for the visits that got none of their own; `earlier` more are only counted. */
export function summaryOf(
  visits: readonly Visit[],
  { name, earlier }: { name: string; earlier: number },
): Letter {
  const camera = clean(name);
  const count = visits.length + earlier;
  const named = visits.slice(-mostNamed);
  const unnamed = count - named.length;
  const lines = [
    `Camera: ${camera}`,
    `Visits without a message of their own: ${count}`,
    "",
    ...(unnamed > 0 ? [`${unnamed} earlier ones, and`] : []),
    ...named.map((visit) => {
      const { clip, persons } = visit;
      const many = persons === undefined ? "" : `, persons: ${persons}`;
      return `${printMoment(visit)}${many}, clip ${clip.slice(0, shortDigits)}`;
    }),
    "",
    "The pictures: obscura-phone thumbnail CLIP",
    "The films:    obscura-phone export CLIP",
  ];
  return {
    id: idOf([String(earlier), ...visits.map(({ clip }) => clip)]),
    ...{ camera, subject: `${camera}: ${count} ${count === 1 ? "visit" : "visits"}` },
    ...{ text: `${lines.join("\n")}\n`, attachments: [] },
  };
}

/** For who wants to see that it works; `once` makes it another message each time. */
export function testOf(name: string, once: string): Letter {
  const camera = clean(name);
  const text = `Camera: ${camera}\n\nThis is a test: messages of this camera arrive here.\n`;
  return { id: idOf([once]), camera, subject: `${camera}: a test`, text, attachments: [] };
}

const sealedEnding = ".obscura";

/** The first parts of a clip, one behind the other (protocol/sealed/clip.md). */
export function sealedPicture(clip: string, parts: readonly Uint8Array[]): Attachment {
  const name = `${clip.slice(0, shortDigits)}${sealedEnding}`;
  return { name, type: "application/octet-stream", bytes: Buffer.concat(parts) };
}

export type Envelope = { from: string; to: readonly string[] };

/** As it goes to the server, which can read the words. */
export async function print(letter: Letter, { from, to }: Envelope): Promise<Uint8Array> {
  const { id, camera, subject, text, attachments } = letter;
  const { default: MailComposer } = await import("nodemailer/lib/mail-composer");
  return await built(
    new MailComposer({
      ...{ from: { name: camera, address: from }, to: [...to], subject, text },
      ...{ messageId: messageId(id, from), headers: automatic, attachments: attached(attachments) },
      ...closed,
    }).compile(),
  );
}

/** What of a letter is encrypted: its subject and all below. */
export async function printInner({ subject, text, attachments }: Letter): Promise<Uint8Array> {
  const { default: MailComposer } = await import("nodemailer/lib/mail-composer");
  const whole = `${subject}\n\n${text}`;
  const inner = { text: whole, attachments: attached(attachments), messageId: "<inner@camera>" };
  return await built(new MailComposer({ ...inner, ...closed }).compile());
}

/** An encrypted message as it goes to the server (RFC 3156): nothing outside is about what it says. */
export async function printSealed(
  id: string,
  armoured: string,
  { from, to }: Envelope,
): Promise<Uint8Array> {
  const { default: MimeNode } = await import("nodemailer/lib/mime-node");
  const root = new MimeNode('multipart/encrypted; protocol="application/pgp-encrypted"');
  root.setHeader({
    ...{ From: from, To: [...to], Subject: "A message of your camera", ...automatic },
    "Message-ID": messageId(id, from),
  });
  root.createChild("application/pgp-encrypted").setContent("Version: 1\r\n");
  root
    .createChild('application/octet-stream; name="encrypted.asc"')
    .setHeader({
      "Content-Disposition": 'inline; filename="encrypted.asc"',
      "Content-Transfer-Encoding": "7bit",
    })
    .setContent(armoured);
  return await built(root);
}

const automatic = { "Auto-Submitted": "auto-generated" };
/** Nothing in a letter is the name of a file or an address of something to fetch. */
const closed = { disableFileAccess: true, disableUrlAccess: true };

function attached(attachments: readonly Attachment[]) {
  return attachments.map(({ name, type, bytes }) => ({
    ...{ filename: name, contentType: type, content: Buffer.from(bytes) },
    contentTransferEncoding: "base64",
  }));
}

function built(node: { build(done: (error: Error | null, bytes?: Buffer) => void): void }) {
  return new Promise<Uint8Array>((resolve, reject) => {
    node.build((error, bytes) => (bytes ? resolve(bytes) : reject(error)));
  });
}

function idOf(about: readonly string[]): string {
  return createHash("sha512").update(about.join(" ")).digest("hex").slice(0, 32);
}

function messageId(id: string, from: string): string {
  return `<${id}${from.slice(from.lastIndexOf("@"))}>`;
}

/** A name is one line, whatever an owner calls the camera, and no address. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line === "" ? "camera" : line;
}

/** By the clock on the board's wall, with how far it is from UTC. */
function printMoment({ atMs, clockTrusted }: Visit): string {
  const minutes = -new Date(atMs).getTimezoneOffset();
  const local = new Date(atMs + minutes * 60_000).toISOString();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  const offset = `${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
  const doubt = clockTrusted ? "" : " (the camera's clock was not set)";
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${offset}${doubt}`;
}
