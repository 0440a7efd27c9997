import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../scripts/port.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { type Line, openRelay } from "../../src/phone/relay.ts";
import { survey } from "../../src/phone/survey.ts";
import { Vault } from "../../src/phone/vault.ts";
import { printPairingFile } from "../../src/protocol/sealed/pairing.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { type Answer, openMailbox, type Sending } from "../../src/protocol/wire/client.ts";
import { FakeRecorder } from "../fakes/recorder.ts";
import { relayWorld } from "../lib/relay.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { temporaryFolder } from "../lib/world.ts";
import { MemoryStore } from "./memory.ts";
import { phone } from "./world.ts";

const program = new URL("../../src/phone/cli.js", import.meta.url).pathname;

/** No limit on requests: a test asks quicker than a phone. */
const settings = "limits: { requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000 }\n";

type Relayed = Awaited<ReturnType<typeof relayWorld>>;

/** Has a recorder's objects go into its owner's mailbox on a relay, as the camera's uplink does. */
function sendTo(relay: Relayed, camera: FakeRecorder): { close(): void } {
  const http = openHttp();
  camera.put = async (object) => {
    const { adopted, request, requestSigner } = camera;
    if (!adopted) throw new Error("not adopted");
    const mailbox = openMailbox({
      ...{ url: `http://${relay.authority}`, mailbox: adopted.mailbox, send: http.send },
      ...{ key: request, sign: requestSigner.sign, suite: nodeSuite, nowMs: () => Date.now() },
    });
    await mailbox.put(object);
  };
  return http;
}

/**
 * A camera, a real relay over HTTP, and the phone as a program with keys of its own. The relay
 * answers to `alias` too: a liar in front of it.
 */
export async function relayedWorld({ alias = "localhost" } = {}) {
  await ready();
  const folder = await temporaryFolder();
  // The same port again after a restart.
  const port = await freePort();
  const listen = `listen: { port: ${port} }\nauthority: ["127.0.0.1:${port}", "${alias}"]\n`;
  const relay = await relayWorld({ isEmpty: true, settings: settings + listen });
  const home = join(folder.path, "home");
  const url = `http://${relay.authority}`;
  const camera = new FakeRecorder(join(folder.path, "outbox"));
  const uplink = sendTo(relay, camera);
  const cameraFile = await camera.writeIdentity(join(folder.path, "camera.json"));
  const ownerFile = join(folder.path, "owner.json");
  const args = ["-o", ownerFile, "--phone", "Ada", "--keys", "20", "--relay", url];
  const adopted = await phone(home, "adopt", cameraFile, ...args);
  if (adopted.code !== 0) throw new Error(adopted.err);
  await camera.adopt(await readFile(ownerFile));
  const children = new Set<ChildProcess>();
  return {
    ...{ path: folder.path, home, url, relay, camera, adopted },
    run: (...args: string[]) => phone(home, ...args),
    /** A command that goes on: its lines as they come, until `stop`. */
    start(...args: string[]) {
      const child = spawn(process.execPath, [program, "--home", home, ...args], {
        env: { ...process.env, TZ: "UTC" },
      });
      children.add(child);
      const said = { out: "", err: "" };
      child.stdout.on("data", (text) => {
        said.out += text;
      });
      child.stderr.on("data", (text) => {
        said.err += text;
      });
      const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
      return {
        said,
        async until(isThere: () => boolean): Promise<void> {
          while (!isThere()) await systemClock.sleep(20);
        },
        stop() {
          child.kill("SIGTERM");
          return closed;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill("SIGKILL");
      uplink.close();
      await relay[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What a relay answers in place of the truth; undefined leaves the answer as it is. */
export type Lie = (
  sending: Sending,
  truth: () => Promise<Answer>,
) => Promise<Answer | undefined> | undefined;

/** The phone's mind in this process, over a real relay whose answers a lie may change. */
export async function lyingWorld() {
  await ready();
  const relay = await relayWorld({ isEmpty: true, settings });
  const url = `http://${relay.authority}`;
  const camera = new FakeRecorder("nowhere");
  const uplink = sendTo(relay, camera);
  const vault = Vault.create(new MemoryStore(), "Ada");
  const made = await adoptCamera(vault, {
    ...{ identity: camera.identity, name: undefined, nowMs: 1, suite: nodeSuite, relays: [url] },
    supply: { oneTime: 8, days: 3 },
  });
  const keys = made.camera;
  const http = openHttp();
  const asked: Sending[] = [];
  const pauses: number[] = [];
  const world = { lie: undefined as Lie | undefined };
  let underWay = 0;
  const line: Line = {
    suite: nodeSuite,
    send: async (sending) => {
      asked.push(sending);
      underWay += 1;
      try {
        const truth = () => http.send(sending);
        return (await world.lie?.(sending, truth)) ?? (await truth());
      } finally {
        underWay -= 1;
      }
    },
    nowMs: () => Date.now(),
    // A pause takes no time here, but is over only after what was asked before it is answered.
    sleep: async (ms) => {
      pauses.push(ms);
      while (underWay > 0) await new Promise((resolve) => setImmediate(resolve));
    },
  };
  const open = () => openRelay(url, keys, line);
  await open();
  await camera.adopt(Buffer.from(printPairingFile("camera adoption", made.adoption, made.word)));
  const pages = new Map<string, Uint8Array>();
  const shelf = {
    read: async (name: string) => pages.get(name),
    write: async (name: string, bytes: Uint8Array) => void pages.set(name, bytes),
  };
  return Object.assign(world, {
    ...{ relay, url, camera, vault, keys, line, open, asked, pauses, shelf, pages },
    async look(depth: "all" | "new" = "all") {
      return survey({ link: await open(), vault, camera: keys, suite: nodeSuite, depth, shelf });
    },
    async [Symbol.asyncDispose]() {
      http.close();
      uplink.close();
      await relay[Symbol.asyncDispose]();
    },
  });
}

export function answerOf(status: number, body = "", headers = {}): Answer {
  return { status, headers, body: new Uint8Array(Buffer.from(body)) };
}
