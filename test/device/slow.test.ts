import { systemClock } from "../../src/base/node/time.ts";
import { send } from "../../src/device/mail/send.ts";
import { reachBroker } from "../../src/device/mqtt/link.ts";
import { slowly, whyNotSlow } from "../lib/slow.ts";
import { startPost } from "../lib/smtp.ts";
import { suite } from "../lib/suite.ts";

const { signal } = new AbortController();
const skip = await whyNotSlow();

suite("device over a slow network", (test) => {
  test(
    "a mail server of two addresses, one of which leads nowhere, has its time",
    async () => {
      await using post = await startPost();
      const login = { login: undefined, ca: undefined };
      await slowly(post.port, (port) =>
        send({
          server: { host: "mail.example", port, security: "none", ...login },
          envelope: { from: "camera@example.org", to: ["owner@example.org"] },
          ...{ bytes: Buffer.from("Subject: x\r\n\r\n"), clock: systemClock, signal },
        }),
      );
    },
    { skip },
  );

  test(
    "and so has a broker",
    async () => {
      await using post = await startPost();
      await slowly(post.port, (port) =>
        reachBroker({ host: "broker.example", port, tls: undefined, login: undefined }),
      );
    },
    { skip },
  );
});
