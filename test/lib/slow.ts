import { spawn } from "node:child_process";
import dns from "node:dns";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { systemClock } from "../../src/base/node/time.ts";

// A server whose network is slow: its first connection comes about when a packet has been sent again, a second
// later. Its name has an IPv6 address too, to which there is no way from here.

/** Listens, and lets nobody in until it is told to; then hands everybody on to the port `to`. */
const door = (to: number) => `
  const { connect, createServer } = require("node:net");
  const { readSync } = require("node:fs");
  const sockets = [];
  const server = createServer((near) => {
    const far = connect(${to}, "127.0.0.1");
    near.pipe(far).pipe(near);
    for (const one of [near, far]) one.on("error", () => {});
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
    require("node:fs").writeSync(1, server.address().port + "\\n");
    readSync(0, Buffer.alloc(1));
  });
`;
const knocks = 6;

const attempts = 3;

/** A door that is shut, with as many before it as wait there: who comes now is not heard. */
async function shutDoor(to: number) {
  const child = spawn(process.execPath, ["-e", door(to)], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const port = Number(line);
  const before: Socket[] = [];
  for (let i = 0; i < knocks; i++) before.push(connect(port, "127.0.0.1").on("error", () => {}));
  await systemClock.sleep(500);
  const leave = () => {
    for (const socket of before) socket.destroy();
  };
  return {
    port,
    isSlow: before.some(({ connecting }) => connecting),
    open() {
      leave();
      child.stdin.write("x");
    },
    [Symbol.dispose]() {
      leave();
      child.kill();
    },
  };
}

/** Why nothing is slow here, where a kernel lets in whoever comes. */
export async function whyNotSlow(): Promise<string | undefined> {
  using shut = await shutDoor(1);
  return shut.isSlow ? undefined : "this kernel makes nobody wait before a server that is busy";
}

/**
 * While `act` runs, every name is that of a slow server before the port `to`. Done again when it fails: on a
 * machine that is slow itself the door may open too late.
 */
export async function slowly<T>(to: number, act: (port: number) => Promise<T>): Promise<T> {
  for (let i = 1; i < attempts; i++) {
    const done = await attempt(to, act).catch(() => undefined);
    if (done) return done.result;
  }
  return (await attempt(to, act)).result;
}

async function attempt<T>(to: number, act: (port: number) => Promise<T>): Promise<{ result: T }> {
  const lookup = dns.lookup;
  using shut = await shutDoor(to);
  try {
    const found = [
      { address: "127.0.0.1", family: 4 },
      { address: "2001:db8::1", family: 6 },
    ];
    dns.lookup = ((_name: string, _options: unknown, done: (...all: unknown[]) => void) =>
      setImmediate(done, null, found)) as unknown as typeof dns.lookup;
    const acting = act(shut.port);
    acting.catch(() => {});
    await systemClock.sleep(600);
    shut.open();
    return { result: await acting };
  } finally {
    dns.lookup = lookup;
  }
}
