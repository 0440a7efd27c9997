import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { openMailbox } from "../../src/protocol/wire/client.ts";
import { type Ask, printAsk } from "../../src/protocol/wire/mailbox.ts";
import { signRequest } from "../../src/protocol/wire/request.ts";
import { phoneOf, startCamera } from "./commands.ts";
import { type Call, openLocalWorld } from "./local.ts";
import { makeCamera, recording } from "./sealing.ts";
import { quickFolder } from "./world.ts";

/** A camera with two clips, its local interface, and whoever asks there for what is sealed. */
export async function openShelved(more: Parameters<typeof openLocalWorld>[0] = {}) {
  const home = await quickFolder();
  const camera = await makeCamera(home.path);
  const running = await startCamera(camera);
  for (let i = 0; i < 2; i++) await running.sealer.clip(recording(3));
  const { adopted, identity } = running.keyring;
  if (!adopted) throw new Error("nobody's");
  const own = { mailbox: adopted.mailbox, hash: identity.hash, outbox: running.outbox };
  const at = await openLocalWorld({ own, ...more });
  const http = openHttp();
  const as = (
    seed?: number,
    {
      mailbox = own.mailbox,
      nowMs = () => Date.now(),
    }: { mailbox?: Uint8Array; nowMs?(): number } = {},
  ) => {
    const { publicKey: key, sign } = phoneOf(seed);
    const url = `http://127.0.0.1:${at.port}/mailbox`;
    return openMailbox({
      ...{ url, mailbox, key, sign, suite: nodeSuite },
      nowMs,
      send: http.send,
    });
  };
  /** The fields of a phone's request for a target such as /mailbox/…/?under=entry/. */
  const sign = (
    target: string,
    {
      authority = `127.0.0.1:${at.port}`,
      createdMs = Date.now(),
      seed = undefined as number | undefined,
    } = {},
  ) => {
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    const query = mark < 0 ? "?" : target.slice(mark);
    const { publicKey: key, sign } = phoneOf(seed);
    const nothing = nodeSuite.sha512().digest();
    const asked = { method: "GET", authority, path, query };
    return { ...signRequest(asked, nothing, { sign, key, createdMs }), host: authority };
  };
  const targetOf = (what: Ask) => {
    const { path, query } = printAsk(own.mailbox, what);
    return `/mailbox${path}${query === "?" ? "" : query}`;
  };
  const ask = (what: Ask, change: Call & { authority?: string; createdMs?: number } = {}) => {
    const { authority, createdMs, ...call } = change;
    const target = targetOf(what);
    const signed = sign(target, {
      ...(authority ? { authority } : {}),
      ...(createdMs ? { createdMs } : {}),
    });
    return at.ask(target, { ...call, headers: { ...signed, ...call.headers } });
  };
  return {
    ...{ at, running, camera, own, as, sign, targetOf, ask },
    async [Symbol.asyncDispose]() {
      http.close();
      await at[Symbol.asyncDispose]();
      await running.stop();
      await home[Symbol.asyncDispose]();
    },
  };
}
