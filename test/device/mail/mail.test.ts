import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { readConfig } from "../../../src/device/config.ts";
import { holds, openMailed, pictures, wallMs } from "../../lib/mailed.ts";
import { freePort, makeCertificates, until } from "../../lib/mosquitto.ts";
import { field, partsOf, startLiar, startPost } from "../../lib/smtp.ts";
import { suite } from "../../lib/suite.ts";

const words = (raw: string) => partsOf(raw)[0]?.body.toString("utf8") ?? "";
const attachments = (raw: string) => partsOf(raw).slice(1);

/** Lets a clock that stands still run until it is so, and not while a server is being talked to. */
async function runUntil(
  what: string,
  clock: ManualClock,
  isSo: () => boolean,
  server?: { open(): number },
) {
  const isSoThen = () => {
    if (!isSo() && !server?.open()) clock.advance(10_000);
    return isSo();
  };
  await until(what, isSoThen);
}

suite("device/mail", (test) => {
  test("without a server nobody is told, and nothing is kept", async () => {
    await using at = await openMailed();
    const mail = await at.open({ host: "" });
    await at.visit(mail);
    await mail.close();
    assert.equal(at.said, { notes: [], problems: [], log: "", faults: [] });
    assert.not((await readdir(at.state)).includes("mail"));
  });

  test("a visit: one message, when its first picture is durable and not before; the picture sealed", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    const mail = await at.open({ port: post.port });
    let [before, after] = [-1, -1];
    const clip = await at.visit(mail, {
      persons: 3,
      between: async () => {
        // The first picture lies in the outbox by now, or is on its way there.
        before = at.sealer().outbox.clips()[0]?.parts ?? 0;
        await until("told, while the clip is recorded", () => post.messages.length > 0);
        after = at.sealer().outbox.clips()[0]?.parts ?? 0;
      },
    });
    assert.ok(before <= 1 && after === 2, `${before} ${after}`);
    // A second clip of the same visit, and a snapshot, are none.
    await at.visit(mail, { isUnseen: true });
    await mail.close();
    assert.is(post.messages.length, 1);
    const [message] = post.messages;
    assert.ok(message);
    assert.equal([message.from, ...message.to], ["camera@example.org", "owner@example.org"]);
    assert.is(field(message.raw, "subject"), "Porch: somebody is there");
    assert.is(field(message.raw, "from"), "Porch <camera@example.org>");
    assert.is(field(message.raw, "auto-submitted"), "auto-generated");
    const text = words(message.raw);
    assert.match(text, /^Camera: {2}Porch$/m);
    assert.match(text, /^Persons: 3$/m);
    assert.match(text, new RegExp(`^Clip: {4}${clip}$`, "m"));
    const when = /^When: {4}(\S+) (\S+) (\S+)$/m.exec(text);
    assert.is(Date.parse(`${when?.[1]}T${when?.[2]}${when?.[3]}`), wallMs);
    // What is attached is what lies in the outbox, and no more of it than the first picture needs.
    const [sealed, ...others] = attachments(message.raw);
    assert.equal(others, []);
    const parts = at.sealer().outbox.parts(clip).slice(0, 2);
    const bytes = await Promise.all(parts.map((name) => at.sealer().outbox.read(name)));
    assert.ok(sealed?.body.equals(Buffer.concat(bytes)));
    assert.match(sealed?.head ?? "", new RegExp(`filename="?${clip.slice(0, 12)}\\.obscura`));
    for (const picture of Object.values(pictures)) assert.not(holds(message.raw, picture));
    assert.equal(at.said.problems, []);
    assert.not(/example\.org/.test(at.said.log), at.said.log);
  });

  test("clips of one visit are one message; a visit without a picture is told at its end", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    const mail = await at.open({ port: post.port });
    const incident = "a".repeat(32);
    const clip = await at.visit(mail, { incident, hasPicture: false });
    await until("told", () => post.messages.length === 1);
    // The next clip of it, without a new first sight.
    mail.event({
      event: "part",
      clip: "b".repeat(32),
      incident,
      number: 1,
      bytes: 1,
      atUs: 1,
      picture: true,
    });
    await at.visit(mail, { hasPicture: true });
    await until("told", () => post.messages.length === 2);
    await mail.close();
    assert.is(post.messages.length, 2);
    const [first] = post.messages;
    assert.match(words(first?.raw ?? ""), new RegExp(clip));
    assert.equal(attachments(first?.raw ?? ""), []);
    assert.match(words(first?.raw ?? ""), /obscura-phone thumbnail/);
  });

  test("words alone, for who wants it so", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    const mail = await at.open({ port: post.port, picture: "none" });
    await at.visit(mail);
    await until("told", () => post.messages.length === 1);
    assert.equal(attachments(post.messages[0]?.raw ?? ""), []);
    await mail.close();
  });

  test("days without a server, and a new start in between: nothing is lost, nothing doubled", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    const port = await freePort();
    const first = await at.open({ port }, { clock });
    const clips: string[] = [];
    for (let i = 0; i < 6; i++) clips.push(await at.visit(first));
    await runUntil("tried in vain", clock, () => at.said.log.includes("cannot be reached"));
    assert.not(at.said.log.match(/cannot be reached/g)?.length !== 1, at.said.log);
    // An hour of it is a fault that shows; a moment is none.
    assert.equal(at.said.faults.filter(Boolean), []);
    await runUntil("shown", clock, () => at.said.faults.some(Boolean));
    const closed = first.close();
    clock.advance(3_000);
    await closed;
    const second = await at.open({ port }, { clock });
    for (let i = 0; i < 4; i++) clips.push(await at.visit(second));
    clock.advance(3 * 24 * 3_600_000);
    await using post = await startPost({ port });
    await runUntil("all told", clock, () => post.messages.length >= 6, post);
    // Who closes it before it knows has the last one told once more.
    await until("all known", () => at.said.log.match(/ mail: told /g)?.length === 6);
    const ended = second.close();
    clock.advance(3_000);
    await ended;
    assert.is(post.messages.length, 6);
    const [summary, ...letters] = post.messages.map(({ raw }) => raw);
    assert.is(field(summary ?? "", "subject"), "Porch: 5 visits");
    for (const clip of clips.slice(0, 5)) assert.match(words(summary ?? ""), clip.slice(0, 12));
    for (const [i, letter] of letters.entries()) {
      assert.match(words(letter), clips.at(-1 - i) ?? "-");
      assert.is(attachments(letter).length, 1);
    }
    // Of who came before the start it is not known any more how many there were; of the others it is.
    assert.match(words(letters[4] ?? ""), "not known any more");
    assert.match(words(letters[0] ?? ""), /^Persons: 1$/m);
    const third = await at.open({ port }, { clock });
    clock.advance(1_000);
    const over = third.close();
    clock.advance(3_000);
    await over;
    assert.is(post.messages.length, 6);
  });

  test("no more than so many in an hour, over a new start too", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    await using post = await startPost();
    const first = await at.open({ port: post.port, perHour: 2 }, { clock });
    for (let i = 0; i < 4; i++) {
      await at.visit(first);
      await until("taken in", () => post.messages.length === Math.min(2, i + 1));
    }
    await first.close();
    const second = await at.open({ port: post.port, perHour: 2 }, { clock });
    await at.visit(second);
    clock.advance(59 * 60_000);
    assert.is(post.messages.length, 2);
    await runUntil("summed up", clock, () => post.messages.length === 4, post);
    const subjects = post.messages.slice(2).map(({ raw }) => field(raw, "subject"));
    assert.equal(subjects, ["Porch: 2 visits", "Porch: somebody is there"]);
    const closed = second.close();
    clock.advance(3_000);
    await closed;
  });

  test("a server that takes a message and dies before it says so: it comes again, as the same", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    const taken: string[] = [];
    await using liar = await startLiar((socket, line, count) => {
      if (line === undefined) return socket.write("220 mail\r\n");
      if (/^Message-ID:/i.test(line)) taken.push(line);
      if (line === ".") return count === 1 ? socket.destroy() : socket.write("250 taken\r\n");
      if (/^(EHLO|MAIL|RCPT|QUIT)/.test(line)) socket.write("250 ok\r\n");
      if (line === "DATA") socket.write("354 go\r\n");
      return undefined;
    });
    const mail = await at.open({ port: liar.port }, { clock });
    const clip = await at.visit(mail);
    await runUntil("twice", clock, () => taken.length === 2, liar);
    assert.is(taken[0], taken[1]);
    await until("known", () => at.said.log.includes("mail goes out again"));
    assert.not(taken[0]?.includes(clip), "the id of a message is not the clip's");
    await mail.close();
  });

  test("a message that is refused for good goes without its picture, and holds nothing up", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    await using post = await startPost({
      refuse: (what, raw) =>
        what === "message" && raw.includes(".obscura")
          ? { code: 552, text: "5.3.4 too big for me" }
          : undefined,
    });
    const mail = await at.open({ port: post.port }, { clock });
    await at.visit(mail);
    await at.visit(mail);
    await runUntil("both told", clock, () => post.messages.length === 2, post);
    assert.ok(at.said.faults.some((text) => text?.includes("refuses this message (552 5.3.4)")));
    // The server has a message before the camera knows that.
    await until("mended", () => at.said.faults.at(-1) === undefined);
    for (const { raw } of post.messages) assert.equal(attachments(raw), []);
    await mail.close();
  });

  test("one of several who is refused is a problem, and the others are told", async () => {
    await using at = await openMailed();
    let isKnown = false;
    await using post = await startPost({
      refuse: (what, about) =>
        what === "to" && about.includes("two@") && !isKnown
          ? { code: 550, text: "5.1.1 no such user" }
          : undefined,
    });
    const mail = await at.open({ port: post.port, to: ["owner@example.org", "two@example.org"] });
    for (let visits = 1; visits <= 2; visits++) {
      await at.visit(mail);
      await until("told", () => post.messages.length === visits);
      await until("a problem", () => at.said.faults.length === visits);
    }
    const expected = `127.0.0.1:${post.port} takes nothing for 1 of mail.to`;
    assert.equal(at.said.faults, [expected, expected]);
    assert.is(at.said.log.split(expected).length, 2, "said once");
    isKnown = true;
    await at.visit(mail);
    await until("both are told", () => post.messages[2]?.to.length === 2);
    await until("mended", () => at.said.faults.length === 3 && at.said.faults[2] === undefined);
    await mail.close();
    assert.not(/example\.org/.test(at.said.log + at.said.faults), at.said.log);
  });

  test("a login that is refused is a fault of the owner's, mended without a new start, in no log", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    // A login goes over an encrypted connection only, so that one that cannot be had is the fault here.
    const { broker: tls } = await makeCertificates(at.state);
    await using post = await startPost({ tls, isImplicit: true, users: { porch: "right-4711" } });
    const credentials = join(at.state, "login");
    await writeFile(credentials, "porch\nwrong-4711\n", { mode: 0o600 });
    const how = { port: post.port, host: "localhost", security: "tls" as const, ca: tls.ca };
    const mail = await at.open({ ...how, credentials }, { clock });
    await at.visit(mail);
    await until("refused", () =>
      at.said.faults.some((text) => text?.includes("refuses the login")),
    );
    const tries = post.count();
    clock.advance(9 * 60_000);
    assert.is(post.count(), tries, "asked again too soon: that locks people out");
    await writeFile(credentials, "porch\nright-4711\n");
    await runUntil("told", clock, () => post.messages.length === 1, post);
    await until("mended", () => at.said.faults.at(-1) === undefined);
    await mail.close();
    assert.not(/4711/.test(at.said.log + at.said.faults + at.said.notes), at.said.log);
  });

  test("what leaves the seal is in the camera's log: when it begins, changes and ends, and only then", async () => {
    await using at = await openMailed();
    const port = await freePort();
    for (const settings of [
      ...[{ port }, { port }, { port, picture: "none" as const }],
      ...[{ host: "" }, { host: "" }, { port }],
    ]) {
      await (await at.open(settings)).close();
    }
    const to = "visits are told to owner@example.org by the mail server 127.0.0.1";
    const plain = "in words that the server can read";
    assert.equal(at.said.notes, [
      `${to}, ${plain}, with a sealed picture`,
      `${to}, ${plain}`,
      "nobody is told of visits by mail any more",
      `${to}, ${plain}, with a sealed picture`,
    ]);
  });

  test("a card that failed: nothing is written, and visits are told all the same", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    const outbox = { ...at.sealer().outbox, kind: "memory" as const };
    const mail = await at.open({ port: post.port }, { outbox });
    await at.visit(mail);
    await until("told", () => post.messages.length === 1);
    await mail.close();
    assert.is(attachments(post.messages[0]?.raw ?? "").length, 1);
    assert.not((await readdir(at.state)).includes("mail"));
    assert.equal([at.said.notes.length, at.said.problems], [1, []]);
  });

  test("a picture that had to go before it could be sent: words alone", async () => {
    const clock = new ManualClock();
    await using at = await openMailed({ clock });
    const port = await freePort();
    const mail = await at.open({ port }, { clock });
    const clip = await at.visit(mail);
    // What was made with it is not sent any more.
    await until("tried in vain", () => at.said.log.includes("cannot be reached"));
    await at.sealer().outbox.lose([{ clip, parts: 1 }]);
    await using post = await startPost({ port });
    await runUntil("told", clock, () => post.messages.length === 1, post);
    await mail.close();
    assert.equal(attachments(post.messages[0]?.raw ?? ""), []);
    assert.match(words(post.messages[0]?.raw ?? ""), clip);
  });

  test("notes that are no notes any more are as none", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    await (await at.open({ port: post.port })).close();
    const file = join(at.state, "mail", "waiting");
    for (const text of [
      ...["", "{", "[]", "null", '{"visits":5,"earlier":-1,"sentMs":"x"}', "\0".repeat(9)],
      JSON.stringify({ visits: [{ clip: "../../etc/passwd", atMs: 1 }, { clip: 5 }, null, 7] }),
      JSON.stringify({ visits: [{ clip: "a".repeat(32), atMs: 1e300 }], earlier: 1.5 }),
      JSON.stringify({ sentMs: ["x", null, -5, 1e300, {}] }),
    ]) {
      await writeFile(file, text);
      await (await at.open({ port: post.port })).close();
      const written = JSON.parse(await readFile(file, "utf8"));
      assert.equal(written.visits, [], text);
    }
    assert.is(post.messages.length, 0);
    assert.equal(at.said.problems, []);
  });

  test("a name that is more than a name stays in its place", async () => {
    await using at = await openMailed();
    await using post = await startPost();
    const name = 'Haus: "Tür"\r\nBcc: thief@example.org\r\n\r\n.\r\n<script> 🐈';
    const config = { name, mail: undefined as never };
    const plain = await at.open({ port: post.port });
    await plain.close();
    const { mail: preset } = await readConfig(undefined);
    config.mail = {
      ...preset,
      ...{ host: "127.0.0.1", port: post.port, security: "none" },
      ...{ from: "camera@example.org", to: ["owner@example.org"] },
    } as never;
    const mail = await at.open({}, { config });
    await at.visit(mail);
    await until("told", () => post.messages.length === 1);
    const [message] = post.messages;
    assert.equal(message?.to, ["owner@example.org"]);
    assert.is(field(message?.raw ?? "", "bcc"), undefined);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: of seven bits is what is asked
    assert.match(message?.raw ?? "", /^[\u0000-\u007f]*$/);
    assert.match(
      words(message?.raw ?? ""),
      'Camera:  Haus: "Tür" Bcc: thief@example.org . <script> 🐈',
    );
    await mail.close();
  });
});
