import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { readConfig } from "../config.ts";
import { type MailSettings, nameOfServer, readMailServer } from "../mailserver.ts";
import { print, printInner, printSealed, testOf } from "./letter.ts";
import { encryptTo, readKeys } from "./openpgp.ts";
import { send, wordsOf } from "./send.ts";

const help = `usage: obscura-camera mail --test [--config FILE]

Sends a test message by the mail server of the settings, encrypted as they say, and says what became
of it. The service need not run.

  --config FILE   settings (obscura-camera config prints them all)
`;

export async function runMail(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      test: { type: "boolean", default: false },
      config: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (!values.test) throw new Failure("misuse", "mail does one thing: --test");
  const { mail, name } = await readConfig(values.config);
  if (mail.host === "") {
    throw new Failure("misuse", "mail.host is not set: nobody is told by mail", {
      hint: "NOTIFY.md says what to set",
    });
  }
  const server = await readMailServer(mail);
  const bytes = await testMessage(mail, name);
  const options = { server, envelope: mail, bytes, clock: systemClock };
  try {
    const { signal } = new AbortController();
    const { rejected } = await send({ ...options, signal });
    const taken = mail.to.filter((one) => !rejected.includes(one));
    const ways = {
      starttls: "encrypted after STARTTLS",
      tls: "encrypted from the beginning",
      none: "in clear",
    };
    const login = server.login ? "logged in" : "without a login";
    console.log(`${nameOfServer(server)} has it: ${ways[mail.security]}, ${login}`);
    console.log(`on its way to ${taken.join(", ")}`);
    for (const one of rejected) console.log(`not taken for ${one}`);
    return rejected.length > 0 ? 1 : 0;
  } catch (error) {
    if (!isFailure(error)) throw error;
    process.stderr.write(`obscura-camera: ${explain(error)}\n`);
    const words = wordsOf(error, server);
    if (words !== undefined) process.stderr.write(`The server says: ${words}\n`);
    return 1;
  }
}

async function testMessage(mail: MailSettings, name: string): Promise<Uint8Array> {
  const letter = testOf(name, randomUUID());
  if (mail.picture !== "openpgp") return await print(letter, mail);
  const armoured = await encryptTo(await readKeys(mail.key), await printInner(letter));
  return await printSealed(letter.id, armoured, mail);
}
