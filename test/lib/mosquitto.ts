import { execFile } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import mqtt, { type IClientOptions } from "mqtt";
import type { Tls } from "../../scripts/mosquitto.ts";
import type { Heard } from "./stream.ts";

// Who uses and who listens to a broker of the test's own.

export { startMosquitto, whyNoBroker } from "../../scripts/mosquitto.ts";
export { freePort } from "../../scripts/port.ts";

const execute = promisify(execFile);

export async function until(
  what: string,
  isSo: () => boolean,
  { patienceMs = 120_000, told }: { patienceMs?: number; told?: () => string } = {},
): Promise<void> {
  const startMs = performance.now();
  while (!isSo()) {
    if (performance.now() - startMs > patienceMs) throw new Error(`not ${what}\n${told?.() ?? ""}`);
    await wait(20);
  }
}

/** A certificate authority of the test's own, the broker's certificate, and a client's. */
export async function makeCertificates(folder: string): Promise<{ broker: Tls; client: Tls }> {
  const at = (name: string) => join(folder, name);
  const ca = at("ca.pem");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const days = ["-days", "2"];
  await execute("openssl", [
    ...["req", "-x509", ...key, ...days, "-subj", "/CN=house"],
    ...["-keyout", at("ca.key"), "-out", ca],
  ]);
  const issue = async (name: string): Promise<Tls> => {
    const [request, certificate, keyFile] = [
      at(`${name}.csr`),
      at(`${name}.pem`),
      at(`${name}.key`),
    ];
    await execute("openssl", [
      ...["req", ...key, "-subj", `/CN=${name}`, "-keyout", keyFile, "-out", request],
    ]);
    const names = at(`${name}.names`);
    await writeFile(names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    await execute("openssl", [
      ...["x509", "-req", "-in", request, "-CA", ca, "-CAkey", at("ca.key"), "-CAcreateserial"],
      ...[...days, "-extfile", names, "-out", certificate],
    ]);
    await chmod(keyFile, 0o600);
    return { ca, certificate, key: keyFile };
  };
  return { broker: await issue("broker"), client: await issue("camera") };
}

/** Names and passwords of who may log in, and what each may do; lines for `startMosquitto`. */
export async function makeUsers(
  folder: string,
  users: Record<string, { password: string; rights: readonly string[] }>,
): Promise<string[]> {
  const [passwords, rights] = [join(folder, "passwords"), join(folder, "rights")];
  await writeFile(passwords, "", { mode: 0o600 });
  for (const [name, { password }] of Object.entries(users)) {
    await execute("mosquitto_passwd", ["-b", passwords, name, password]);
  }
  const lists = Object.entries(users).map(([name, { rights: all }]) =>
    [`user ${name}`, ...all.map((line) => `topic ${line}`)].join("\n"),
  );
  await writeFile(rights, `${lists.join("\n\n")}\n`, { mode: 0o600 });
  return ["allow_anonymous false", `password_file ${passwords}`, `acl_file ${rights}`];
}

export type Listener = {
  /** All that came, in order. */
  readonly messages: Heard[];
  /** What lies at each topic, by the last message. */
  at(topic: string): string | undefined;
  of(topic: string): string[];
  publish(topic: string, payload: string, options?: { retain?: boolean }): Promise<void>;
  /** Whether it is connected. */
  isUp(): boolean;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A client that knows nothing of the camera's and reads everything. Comes back by itself. */
export async function listen(url: string, options: IClientOptions = {}): Promise<Listener> {
  const messages: Heard[] = [];
  const client = mqtt.connect(url, { ...options, reconnectPeriod: 50 });
  client.on("error", () => {});
  client.on("message", (topic, payload, { retain, qos }) => {
    const atMs = performance.now();
    messages.push({ topic, payload: Buffer.from(payload), isRetained: retain, qos, atMs });
  });
  await new Promise<void>((resolve, reject) => {
    client.subscribe("#", { qos: 1, rap: true }, (error) => (error ? reject(error) : resolve()));
  });
  const of = (topic: string) =>
    messages.filter((one) => one.topic === topic).map(({ payload }) => payload.toString());
  return {
    messages,
    at: (topic) => of(topic).at(-1),
    of,
    publish: async (topic, payload, { retain = false } = {}) => {
      await client.publishAsync(topic, payload, { qos: 1, retain });
    },
    isUp: () => client.connected,
    [Symbol.asyncDispose]: () => client.endAsync(true),
  };
}
