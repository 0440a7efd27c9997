import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { explain, type Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { send, wordsOf } from "../../../src/device/mail/send.ts";
import type { MailServer } from "../../../src/device/mailserver.ts";
import { freePort, makeCertificates, until } from "../../lib/mosquitto.ts";
import { field, startLiar, startPost } from "../../lib/smtp.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const envelope = { from: "camera@example.org", to: ["owner@example.org"] };
const bytes = Buffer.from("Subject: x\r\n\r\n.a line that begins with a dot\r\nthe end\r\n");
const login = { user: "porch", password: Buffer.from("hush-4711") };

function server(port: number, more: Partial<MailServer> = {}): MailServer {
  return { host: "localhost", port, security: "none", login: undefined, ca: undefined, ...more };
}

const never = new AbortController().signal;

async function attempt(
  to: MailServer,
  more: Partial<Parameters<typeof send>[0]> = {},
): Promise<Failure | undefined> {
  try {
    await send({ server: to, envelope, bytes, clock: systemClock, signal: never, ...more });
    return undefined;
  } catch (error) {
    assert.ok(isFailure(error), String(error));
    return error;
  }
}

suite("device/mail/send", (test) => {
  test("by STARTTLS and by TLS, with a login, to a server that a CA of ours vouches for", async () => {
    await using folder = await temporaryFolder();
    const { broker: tls } = await makeCertificates(folder.path);
    const ca = await readFile(tls.ca);
    for (const isImplicit of [false, true]) {
      await using post = await startPost({ tls, isImplicit, users: { porch: "hush-4711" } });
      const security = isImplicit ? "tls" : "starttls";
      const to = server(post.port, { security, ca, login });
      assert.is(await attempt(to), undefined);
      const [message] = post.messages;
      assert.ok(message);
      assert.is(message.user, "porch");
      assert.ok(message.isSecure);
      assert.equal(message.to, envelope.to);
      assert.is(message.raw, bytes.toString());
      // A wrong password: not shown by the failure, nor by what the server said of it.
      const wrong = { ...login, password: Buffer.from("wrong-0815") };
      const failure = await attempt({ ...to, login: wrong });
      assert.is(failure?.kind, "refused");
      assert.is(failure?.stage, "login");
      assert.match(explain(failure), /refuses the login \(535 5\.7\.8\).*mail\.credentials/);
      assert.not(explain(failure).includes("0815"));
      const words = wordsOf(failure, { ...to, login: wrong });
      assert.match(words ?? "", /not porch with …/);
    }
  });

  test("a server that nobody vouches for, and one of another name, get nothing", async () => {
    await using folder = await temporaryFolder();
    const { broker: tls } = await makeCertificates(folder.path);
    for (const isImplicit of [false, true]) {
      await using post = await startPost({ tls, isImplicit, users: { porch: "hush-4711" } });
      const security = isImplicit ? "tls" : "starttls";
      const failure = await attempt(server(post.port, { security, login }));
      assert.is(failure?.kind, "refused", explain(failure));
      assert.match(explain(failure), /no trust in localhost.*mail\.ca/);
      const ca = await readFile(tls.ca);
      const other = server(post.port, { host: "127.0.0.2", security, ca, login });
      assert.match(explain(await attempt(other)), /no trust in 127\.0\.0\.2.*ALTNAME/);
      assert.is(post.messages.length, 0);
    }
  });

  test("without STARTTLS there is no message, and no password in clear", async () => {
    const said: string[] = [];
    await using liar = await startLiar((socket, line) => {
      if (line !== undefined) said.push(line);
      if (line === undefined) socket.write("220 mail\r\n");
      else if (/^EHLO/.test(line)) socket.write("250-mail\r\n250 AUTH PLAIN LOGIN\r\n");
      else socket.write("502 5.5.1 no\r\n");
    });
    const failure = await attempt(server(liar.port, { security: "starttls", login }));
    assert.is(failure?.kind, "refused", explain(failure));
    assert.match(explain(failure), /no encrypted connection.*mail\.security/);
    assert.not(
      said.some((line) => /^(AUTH|MAIL|RCPT|DATA)/i.test(line)),
      said.join("\n"),
    );
  });

  test("a server that takes no password gets none, and its owner is told that it is not wrong", async () => {
    const said: string[] = [];
    let offer = "";
    await using liar = await startLiar((socket, line) => {
      if (line !== undefined) said.push(line);
      if (line === undefined) socket.write("220 mail\r\n");
      else if (/^EHLO/.test(line)) socket.write(`250-mail\r\n${offer}250 SIZE 1000000\r\n`);
      else socket.write("503 5.5.1 authentication is not enabled\r\n");
    });
    for (const [listed, isTried] of [
      ["250-AUTH XOAUTH2 OAUTHBEARER\r\n", false],
      ["250-AUTH=CRAM-MD5\r\n250-AUTH CRAM-MD5\r\n", false],
      ["250-AUTHENTIC\r\n", true],
      ["250-auth plain\r\n", true],
    ] as const) {
      [offer, said.length] = [listed, 0];
      const failure = await attempt(server(liar.port, { login }));
      assert.equal([failure?.kind, failure?.stage], ["refused", "login"], explain(failure));
      assert.match(explain(failure), /takes no login by a password.*mail\.port.*OAuth/);
      assert.not.match(explain(failure), /mail\.credentials/);
      assert.is(said.filter((line) => /^AUTH/.test(line)).length, isTried ? 1 : 0, said.join("\n"));
    }
  });

  test("what somebody slips in before the encryption is not taken for the server's", async () => {
    await using folder = await temporaryFolder();
    const { broker: tls } = await makeCertificates(folder.path);
    await using post = await startPost({ tls, users: { porch: "hush-4711" } });
    const ca = await readFile(tls.ca);
    // In between: everything is passed on, with a refusal behind the word that encryption may begin.
    const proxy = createServer((near) => {
      const far = connect(post.port, "127.0.0.1");
      far.on("data", (chunk) => {
        const isGo = /^220 .*TLS/im.test(chunk.toString("latin1"));
        near.write(
          isGo ? Buffer.concat([chunk, Buffer.from("250-x\r\n250 AUTH FAKE\r\n")]) : chunk,
        );
      });
      near.on("data", (chunk) => far.write(chunk));
      for (const one of [near, far]) {
        one
          .on("error", () => {})
          .on("close", () => {
            near.destroy();
            far.destroy();
          });
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const { port } = proxy.address() as AddressInfo;
    try {
      const failure = await attempt(server(port, { security: "starttls", ca, login }));
      assert.is(failure?.kind, "corrupt", explain(failure));
      assert.match(explain(failure), /talks while encryption begins/);
      assert.is(post.messages.length, 0);
    } finally {
      proxy.close();
    }
  });

  test("what a server says no to, by what it is about; never in its words", async () => {
    await using post = await startPost({
      refuse: (what, about) => {
        if (about.includes("nobody@")) return { code: 550, text: "5.1.1 hush: no such user" };
        if (about.includes("grey@")) return { code: 451, text: "4.7.1 come again" };
        if (what === "message" && about.includes("spam")) {
          return { code: 554, text: "5.7.1 hush: spam" };
        }
        return undefined;
      },
    });
    const to = server(post.port);
    const write = (address: string, text = "x") =>
      attempt(to, {
        envelope: { ...envelope, to: [address] },
        bytes: Buffer.from(`Subject: ${text}\r\n\r\n`),
      });
    const nobody = await write("nobody@example.org");
    assert.equal([nobody?.kind, nobody?.stage], ["refused", "envelope"]);
    assert.match(explain(nobody), /\(550 5\.1\.1\)/);
    const grey = await write("grey@example.org");
    assert.is(grey?.kind, "offline", explain(grey));
    const spam = await write("owner@example.org", "spam");
    assert.equal([spam?.kind, spam?.stage], ["refused", "message"]);
    for (const failure of [nobody, spam]) assert.not(explain(failure).includes("hush"));
    // Some of them: it is sent to the others, and said.
    const { rejected } = await send({
      ...{ server: to, bytes, clock: systemClock, signal: never },
      envelope: { ...envelope, to: ["nobody@example.org", "owner@example.org"] },
    });
    assert.equal(rejected, ["nobody@example.org"]);
    assert.equal(post.messages[0]?.to, ["owner@example.org"]);
    assert.is(field(post.messages[0]?.raw ?? "", "subject"), "x");
  });

  test("answers that come before the question are no answers", async () => {
    const said: string[] = [];
    await using liar = await startLiar((socket, line) => {
      if (line === undefined)
        socket.write("220 mail\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n");
      else said.push(line);
    });
    const failure = await attempt(server(liar.port));
    assert.is(failure?.kind, "corrupt", explain(failure));
    assert.match(explain(failure), /does not speak SMTP as it should/);
    assert.equal(said, []);
  });

  test("a server that ends its service in between is one that comes back", async () => {
    for (const [last, end] of [
      ["EHLO", "421 4.3.2 shutting down\r\n"],
      ["MAIL", "421-4.4.2 too slow\r\n421 4.4.2 come again\r\n"],
    ] as const) {
      const said: string[] = [];
      await using liar = await startLiar((socket, line) => {
        if (line !== undefined) said.push(line);
        if (line === undefined) socket.write("220 mail\r\n");
        else socket.write(`250 ok\r\n${line.startsWith(last) ? end : ""}`);
      });
      const failure = await attempt(server(liar.port));
      assert.is(failure?.kind, "offline", explain(failure));
      assert.match(explain(failure), /is not ready for this \(421 4\.[34]\.2\)/);
      assert.ok(said.at(-1)?.startsWith(last), said.join("\n"));
    }
  });

  test("bytes and lines arrive as they were handed over", async () => {
    await using post = await startPost();
    const lines = ["Subject: x", "", ".", "..", ".a", "", "b\t c ", `${"y".repeat(900)}`, "end"];
    const text = `${lines.join("\r\n")}\r\n`;
    for (const sent of [text, text.replaceAll("\r", ""), text.slice(0, -2)]) {
      assert.is(await attempt(server(post.port), { bytes: Buffer.from(sent) }), undefined);
    }
    assert.equal(
      post.messages.map(({ raw }) => raw),
      [text, text, text],
    );
  });

  test("a server that is not there", async () => {
    const failure = await attempt(server(await freePort()));
    assert.is(failure?.kind, "offline");
    assert.match(explain(failure), /cannot be reached \(ECONNREFUSED\)/);
    const nowhere = await attempt(server(25, { host: "nowhere.invalid" }));
    // Where nobody answers for names it may take longer than is waited.
    assert.match(nowhere?.kind ?? "taken", /offline|stalled/);
    assert.match(explain(nowhere), /cannot be reached \((ENOTFOUND|EAI_AGAIN|no answer)\)/);
  });

  test("garbage, endless lines, endless replies, huge banners: an end to each, in bounded memory", async () => {
    const flood = (piece: string, first: string) =>
      startLiar((socket, line) => {
        if (line !== undefined) return;
        socket.write(first);
        const more = () => {
          while (!socket.destroyed && socket.write(piece));
        };
        socket.on("drain", more);
        more();
      });
    const kib = "x".repeat(1024);
    for (const [piece, first] of [
      [kib, "220 "],
      [`220-${kib}\r\n`, ""],
      ["220 hello\r\n", ""],
      ["\r\n", "220 mail\r\n"],
      ["\0\xff\xfe\r\n", ""],
    ] as const) {
      const before = process.memoryUsage().rss;
      await using liar = await flood(piece.repeat(64), first);
      const failure = await attempt(server(liar.port));
      // Who says yes to everything before it was asked may end with a yes.
      assert.ok(failure || piece.startsWith("220 "), `${piece.slice(0, 9)} was taken`);
      assert.not(explain(failure).includes("xxx"));
      await until("hung up", () => liar.open() === 0);
      // A flood of what comes in a few seconds would be gigabytes.
      assert.ok(process.memoryUsage().rss - before < 200 * 2 ** 20);
    }
  });

  test("a server that never answers, at any step, is left after two minutes", async () => {
    const steps = ["never", "EHLO", "MAIL", "RCPT", "DATA", "."];
    for (const silent of steps) {
      const clock = new ManualClock();
      let isSilent = false;
      await using liar = await startLiar((socket, line) => {
        const is = (word: string) => line?.startsWith(word) ?? false;
        if ((line === undefined && silent === "never") || is(silent)) isSilent = true;
        if (isSilent) return;
        if (line === undefined) socket.write("220 mail\r\n");
        else if (is("EHLO") || is("MAIL") || is("RCPT")) socket.write("250 ok\r\n");
        else if (is("DATA")) socket.write("354 go\r\n");
      });
      const sending = attempt(server(liar.port), { clock });
      await until(`silent at ${silent}`, () => isSilent);
      clock.advance(119_000);
      assert.is(liar.open(), 1);
      clock.advance(2_000);
      const failure = await sending;
      assert.is(failure?.kind, "stalled", `${silent}: ${explain(failure)}`);
      await until("hung up", () => liar.open() === 0);
    }
  });

  test("nor is one waited for that falls silent, or hangs up, while encryption begins", async () => {
    for (const security of ["tls", "starttls"] as const) {
      for (const hangsUp of [false, true]) {
        const clock = new ManualClock();
        let isSilent = security === "tls";
        await using liar = await startLiar((socket, line) => {
          if (security === "starttls") {
            if (line === undefined) socket.write("220 mail\r\n");
            else if (/^EHLO/.test(line)) socket.write("250-mail\r\n250 STARTTLS\r\n");
            else if (line === "STARTTLS") {
              socket.write("220 go\r\n");
              isSilent = true;
            }
          }
          if (isSilent && hangsUp) setTimeout(() => socket.destroy(), 50);
        });
        const sending = attempt(server(liar.port, { security, login }), { clock });
        if (!hangsUp) {
          await until("silent", () => isSilent && liar.open() === 1);
          clock.advance(122_000);
        }
        const failure = await sending;
        const expected = hangsUp ? /offline|refused/ : /stalled/;
        assert.match(failure?.kind ?? "taken", expected, explain(failure));
        await until("hung up", () => liar.open() === 0);
      }
    }
  });

  test("a word a second does not hold it up for longer", async () => {
    const clock = new ManualClock();
    let timer: NodeJS.Timeout | undefined;
    await using liar = await startLiar((socket) => {
      timer ??= setInterval(() => socket.write("220-and\r\n"), 20);
    });
    const sending = attempt(server(liar.port), { clock });
    await until("connected", () => liar.open() === 1);
    clock.advance(121_000);
    assert.is((await sending)?.kind, "stalled");
    clearInterval(timer);
  });

  test("who ends the camera ends the sending", async () => {
    const end = new AbortController();
    await using liar = await startLiar(() => {});
    const sending = attempt(server(liar.port), { signal: end.signal });
    await until("connected", () => liar.open() === 1);
    end.abort();
    assert.is((await sending)?.kind, "gone");
    await until("hung up", () => liar.open() === 0);
  });

  test("random bytes in place of each answer end it, and never more than it", async () => {
    let seed = 7;
    const random = () => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed;
    };
    await using liar = await startLiar((socket, line) => {
      if (line === undefined) return socket.write("220 mail\r\n");
      const words = ["250 ", "250-", "354 ", "421 ", "550 ", "334 ", "999 ", "\0", "2", "-"];
      const garbage = Buffer.from(Array.from({ length: random() % 80 }, () => random() % 256));
      const head = words[random() % words.length] ?? "";
      socket.write(Buffer.concat([Buffer.from(head, "latin1"), garbage, Buffer.from("\r\n")]));
      if (random() % 6 === 0) socket.end();
    });
    for (let i = 0; i < 200; i++) {
      // What is left waiting for more is ended like one that is silent.
      const clock = new ManualClock();
      const sending = attempt(server(liar.port), { clock });
      let isOver = false;
      void sending.then(() => {
        isOver = true;
      });
      await until("something came of it", () => {
        clock.advance(1_000);
        return isOver;
      });
    }
    assert.is(liar.count(), 200);
  });
});
