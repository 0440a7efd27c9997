import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../scripts/port.ts";

/** Multicast over loopback, at a port of the test's own; undefined where there is none. */
export async function loopback() {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  try {
    // Left and taken again by each who listens.
    const port = await freePort();
    socket.bind(port, "0.0.0.0");
    await once(socket, "listening");
    socket.addMembership("224.0.0.251", "127.0.0.1");
    socket.setMulticastInterface("127.0.0.1");
    const heard = once(socket, "message");
    socket.send("x", port, "224.0.0.251");
    await Promise.race([heard, sleep(1000).then(() => Promise.reject(new Error("nothing heard")))]);
    return { port, interface: "127.0.0.1", bind: "0.0.0.0", loopback: true };
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}
