import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { IClientOptions, MqttClient } from "mqtt";
import { patient } from "../../base/node/socket.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, type FailureKind, isFailure } from "../../base/pure/failure.ts";
import type { Broker } from "../broker.ts";
import { Backoff } from "../uplink/uplink.ts";
import type { Session } from "./desk.ts";
import { createGuard } from "./guard.ts";

export type LinkOptions = {
  /** Read anew for each connection. */
  broker(): Promise<Broker>;
  clientId: string;
  will: { topic: string; payload: string };
  onUp(session: Session, version: 5 | 4): void;
  /** Told each time, also of one that never came to be; `isProven` when it had held for a while. */
  onDown(failure: Failure, isProven: boolean): void;
  onMessage(message: { topic: string; payload: Uint8Array; isRetained: boolean }): void;
  clock: Clock;
  random(): number;
};

const keepaliveS = 30;
const connectMs = 15_000;
const mostMs = 60_000;
/** A connection that ends sooner was none: who is thrown out at once does not come back at once. */
const provenUs = 30_000_000;
/** One of the same name at the broker throws out the other, and is thrown out by it, for ever. */
const mostCut = 6;
const incoming = { mostBytes: 128 * 1024, mostPackets: 2_000 };
const goodbyeMs = 500;
/** Asked for at once: some brokers (AWS IoT) hang up on who asks for more. */
const mostFilters = 8;
const reachMs = 5_000;

/**
 * One connection to the broker after another, with back-off in between, until it is closed. By MQTT 5;
 * by 3.1.1 from then on when a broker cannot do that. Nothing here throws into who uses it.
 */
export function openLink(options: LinkOptions): { close(): Promise<void> } {
  const { clock, random, onUp, onDown } = options;
  const end = new AbortController();
  const { signal } = end;
  const backoff = new Backoff({ clock, random, mostMs });
  let version: 5 | 4 = 5;
  /** A broker that knows no MQTT 5 has said so, and was met by 3.1.1, which it is then until the next start. */
  let isOld = false;
  let hasSaidSo = false;
  let willQos: 0 | 1 = 1;
  /** Connections in a row that the broker let in, and ended soon and without a word. */
  let cut = 0;
  /** Attempts in a row that ended before the broker had said anything: it may be the wrong port. */
  let shut = 0;

  /** One connection from its beginning to its end, which is how it failed. */
  const once = async (): Promise<{ failure: Failure; isProven: boolean }> => {
    const connection = await connect({ ...options, version, willQos, signal });
    const sinceUs = clock.monotonicUs();
    isOld = version === 4 && hasSaidSo;
    shut = 0;
    onUp(connection.session, version);
    const failure = await connection.ended;
    const isProven = clock.monotonicUs() - sinceUs >= provenUs;
    if (isProven) backoff.worked();
    cut = failure.kind === "gone" && !isProven ? cut + 1 : 0;
    return { failure: cut < mostCut ? failure : cutOff(), isProven };
  };
  const run = async () => {
    while (!signal.aborted) {
      await backoff.ready(signal);
      const { failure, isProven } = await once().catch((error) => {
        cut = 0;
        return { failure: asFailure(error), isProven: false };
      });
      if (signal.aborted) return;
      if (failure.stage === "version" && version === 5) {
        // Tried at once; it is waited only when that fails too.
        version = 4;
        // One that hung up without a word may have been starting, and knows it the next time.
        hasSaidSo = failure.kind !== "gone";
        continue;
      }
      if (failure.stage === "qos" && willQos === 1) {
        willQos = 0;
        continue;
      }
      if (!isOld) version = 5;
      backoff.failed(failure);
      shut = failure.hint && failure.kind === "gone" ? shut + 1 : 0;
      const isForGood = shut >= mostCut;
      onDown(isForGood ? asKind("refused", failure) : failure, isProven);
    }
  };
  const running = run().catch((error) => {
    if (!signal.aborted) onDown(asFailure(error), false);
  });
  return {
    async close() {
      end.abort(new Failure("gone", "the camera ends"));
      await running;
    },
  };
}

/** What a broker lets its clients do. */
type Terms = { qos: 0 | 1; most: number; mostBytes: number | undefined };
type Connection = { session: Session; ended: Promise<Failure> };

/** Resolves when the broker has let this client in; throws a Failure when it does not. */
async function connect(
  options: LinkOptions & { version: 5 | 4; willQos: 0 | 1; signal: AbortSignal },
): Promise<Connection> {
  const { clientId, will, willQos, version, signal, clock, onMessage } = options;
  const broker = await options.broker();
  const { default: mqtt } = await loadMqtt();
  let failure: Failure | undefined;
  let isIn = false;
  /** The first reason is the one that counts. */
  const fail = (error: unknown) => {
    failure ??= asFailure(error);
  };
  const socket = dial(broker);
  let reached = false;
  socket.once(broker.tls ? "secureConnect" : "connect", () => {
    reached = true;
  });
  socket.on("error", fail);
  const guard = createGuard({ ...incoming, nowUs: () => clock.monotonicUs() });
  // Before the client's own: it sees nothing of what is refused here.
  socket.on("data", (chunk: Uint8Array) => {
    try {
      guard(chunk);
    } catch (error) {
      fail(error);
      socket.destroy();
    }
  });
  const client: MqttClient = new mqtt.MqttClient(() => socket, {
    ...{ clientId, clean: true, keepalive: keepaliveS, connectTimeout: connectMs },
    ...{ reconnectPeriod: 0, resubscribe: false, queueQoSZero: false },
    subscribeBatchSize: mostFilters,
    ...{ protocolId: "MQTT", protocolVersion: version, timerVariant: "native" },
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: willQos, retain: true },
    ...(broker.login
      ? { username: broker.login.user, password: Buffer.from(broker.login.password) }
      : {}),
    ...(version === 5 ? { properties: { maximumPacketSize: incoming.mostBytes } } : {}),
    // Its own goes to whoever set DEBUG, payloads and all.
    log: () => {},
  } satisfies IClientOptions);
  const stop = () => {
    fail(signal.reason);
    client.end(false, () => socket.destroy());
    // A broker that does not listen any more is not waited for.
    setTimeout(() => socket.destroy(), goodbyeMs).unref();
  };
  const ended = new Promise<Failure>((resolve) => {
    client.on("error", (error) => {
      fail(error);
      socket.destroy();
    });
    client.on("disconnect", (packet) => fail(refusalOf(packet.reasonCode ?? 0)));
    client.on("message", (topic, payload, { retain }) => {
      try {
        onMessage({ topic, payload, isRetained: retain });
      } catch (error) {
        fail(error);
        socket.destroy();
      }
    });
    socket.once("close", () => {
      signal.removeEventListener("abort", stop);
      client.end(true);
      const end = failure ?? new Failure("gone", "the broker ended the connection");
      const why = isIn ? end : doubted(end, { isTls: broker.tls !== undefined, reached });
      // A broker that knows no MQTT 5 may say so, answer what is not MQTT 5, or just hang up.
      const isOfVersion = why.stage === "version" || isFailure(why, "gone", "corrupt");
      const isUnheard = reached && !isIn && isOfVersion;
      resolve(isUnheard ? asKind(why.kind, why, "version") : why);
    });
  });
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const accepted = new Promise<Terms>((resolve) => {
    client.once("connect", ({ properties }) => {
      isIn = true;
      const qos = properties?.maximumQoS === 0 ? 0 : 1;
      const most = properties?.receiveMaximum ?? 65_535;
      resolve({ qos, most, mostBytes: properties?.maximumPacketSize });
    });
  });
  const first = await Promise.race([accepted, ended]);
  if (first instanceof Failure) throw first;
  return { session: sessionOf(client, ended, { ...first, version }), ended };
}

function sessionOf(
  client: MqttClient,
  ended: Promise<Failure>,
  { qos, most, mostBytes, version }: Terms & { version: 5 | 4 },
): Session {
  const waiting = new Set<(failure: Failure) => void>();
  let over: Failure | undefined;
  void ended.then((failure) => {
    over = failure;
    for (const reject of waiting) reject(failure);
  });
  /** Resolves with the error that the broker answered; rejects when the connection ends first. */
  const ask = (act: (done: (error?: Error | null) => void) => void) =>
    new Promise<Error | undefined>((resolve, reject) => {
      if (over) return reject(over);
      waiting.add(reject);
      act((error) => {
        waiting.delete(reject);
        resolve(error ?? undefined);
      });
    });
  const isTaken = (error: Error | undefined) => {
    if (!error) return true;
    // An answer has a code of MQTT's, or its packet; anything else is no answer.
    if (typeof (error as { code?: unknown }).code === "number" || "packet" in error) return false;
    throw asFailure(error);
  };
  return {
    ...{ most, mostBytes },
    publish: async (topic, payload, { retain }) =>
      isTaken(await ask((done) => client.publish(topic, payload, { qos, retain }, done))),
    subscribe: async (filters, { isKeptShown } = { isKeptShown: false }) => {
      const more = version === 5 ? { nl: true, rap: isKeptShown } : {};
      const wanted = [...filters];
      return isTaken(await ask((done) => client.subscribe(wanted, { qos: 0, ...more }, done)));
    },
    unsubscribe: async (filters) => {
      await ask((done) => client.unsubscribe([...filters], done));
    },
  };
}

function dial({ host, port, tls }: Broker): Socket {
  if (!tls) return connectTcp({ host, port, noDelay: true, ...patient });
  const { ca, certificate, key } = tls;
  const socket = connectTls({
    ...{ host, port, minVersion: "TLSv1.2", rejectUnauthorized: true, ...patient },
    ...(isIP(host) ? {} : { servername: host }),
    ...(ca ? { ca: Buffer.from(ca) } : {}),
    ...(certificate ? { cert: Buffer.from(certificate) } : {}),
    ...(key ? { key: Buffer.from(key) } : {}),
  });
  socket.setNoDelay();
  return socket;
}

/** Whether a broker is there, and trusted where it is to be. Nothing is said to it. Throws as `openLink` tells. */
export async function reachBroker(broker: Broker): Promise<void> {
  let socket: Socket | undefined;
  let reached = false;
  try {
    const dialled = dial(broker);
    socket = dialled;
    await new Promise<void>((resolve, reject) => {
      dialled.once(broker.tls ? "secureConnect" : "connect", () => resolve());
      dialled.once("error", reject).once("close", () => reject(unspoken()));
      dialled.setTimeout(reachMs, () => reject(silent()));
    });
    reached = true;
  } catch (error) {
    throw doubted(asFailure(error), { isTls: broker.tls !== undefined, reached });
  } finally {
    socket?.on("error", () => {}).destroy();
  }
}

/** Only a camera that has a broker pays for it. */
async function loadMqtt(): Promise<typeof import("mqtt")> {
  // What it is built on writes payloads to whoever asks for it by this.
  delete process.env.DEBUG;
  return await import("mqtt");
}

/** What ends a handshake, other than a certificate that is not trusted. */
const ofTls =
  /^(EPROTO|ERR_SSL_(WRONG_VERSION|UNSUPPORTED_PROTOCOL|PACKET_LENGTH|SSLV3_ALERT_HANDSHAKE|TLSV1_ALERT_PROTOCOL))/;
const ofVersion = [1, 132];
const ofForm = [129, 130];
const ofLogin = [4, 5, 134, 135, 140];
/** The broker leaves, or has somebody leave, who may come back: nothing that the owner would have to mend. */
const ofLeave = [0, 141, 152, 160];

function refusalOf(code: number): Failure {
  if (ofVersion.includes(code)) {
    return new Failure("refused", "the broker refuses this version of MQTT", { stage: "version" });
  }
  if (ofForm.includes(code)) return unspoken();
  if (ofLeave.includes(code)) {
    return new Failure("gone", `the broker ended the connection (reason ${code})`);
  }
  if (ofLogin.includes(code)) {
    return new Failure("refused", "the broker refuses this camera's user or password", {
      hint: "Look at the file that mqtt.credentials names, and at the broker's users",
    });
  }
  if (code === 142) {
    return new Failure("refused", "another client took this camera's name at the broker", {
      hint: "Two cameras with one state folder? Each needs its own",
    });
  }
  if (code === 154) {
    return new Failure("refused", "the broker keeps no retained messages", {
      hint: "What the camera says is to be there for who comes later: allow retained messages",
    });
  }
  if (code === 155) {
    return new Failure("refused", "the broker does not take QoS 1", { stage: "qos" });
  }
  const isBusy = code === 3 || code === 136 || code === 137 || code === 139 || code === 159;
  const text = isBusy ? "the broker is not ready" : `the broker refuses (reason ${code})`;
  return new Failure(isBusy ? "offline" : "refused", text);
}

function cutOff(): Failure {
  return new Failure("refused", "the broker ends each connection soon after it stands", {
    hint: "Does another client use this camera's name there? A card that was copied makes two cameras of one",
  });
}

function asKind(kind: FailureKind, { message, hint }: Failure, stage?: string): Failure {
  return new Failure(kind, message, { ...(hint ? { hint } : {}), ...(stage ? { stage } : {}) });
}

/** Of a connection that was hung up on before anything was said: with TLS, or without, it is the wrong port. */
function doubted(failure: Failure, { isTls, reached }: { isTls: boolean; reached: boolean }) {
  const isDoubtful = failure.kind === "gone" && !(isTls && reached);
  if (!isDoubtful || failure.hint) return failure;
  const hint = isTls
    ? "Is it a port without TLS? Then the address begins with mqtt://"
    : "Is it a port for TLS? Then the address begins with mqtts://";
  return new Failure(failure.kind, failure.message, { hint });
}

/** Never the text of who answered: that may be a stranger's. */
function asFailure(error: unknown): Failure {
  if (isFailure(error)) return error;
  const { code, message = "" } = error as { code?: unknown; message?: string };
  if (typeof code === "number") return refusalOf(code);
  if (typeof code === "string") {
    if (ofTls.test(code)) {
      const hint =
        "Does it speak TLS 1.2 at this port (without TLS the address begins with mqtt://), and want mqtt.certificate?";
      return new Failure("refused", `no TLS between camera and broker (${code})`, { hint });
    }
    const isTrust =
      /CERT|ALTNAME|SELF_SIGNED|UNABLE_TO|SSL/.test(code) && !code.startsWith("ERR_TLS_HANDSHAKE");
    if (isTrust) {
      const hint = "Look at mqtt.ca, mqtt.certificate and mqtt.key, and at the broker's own";
      return new Failure("refused", `no trust between camera and broker (${code})`, { hint });
    }
    if (code === "ECONNRESET" || code === "EPIPE") {
      return new Failure("gone", `the broker ended the connection (${code})`, { cause: error });
    }
    return new Failure("offline", `the broker cannot be reached (${code})`, { cause: error });
  }
  if (/timeout/i.test(message)) return silent();
  return unspoken();
}

const silent = () => new Failure("stalled", "the broker does not answer");
const unspoken = () => new Failure("corrupt", "the broker does not speak MQTT as it should");
