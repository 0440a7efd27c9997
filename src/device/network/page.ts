import { createServer } from "node:http";
import type { ListenOptions } from "node:net";
import { Failure } from "../../base/pure/failure.ts";
import { spotAddress } from "./spot.ts";

// What a phone shows by itself that has joined the board's access point: there is no internet here, and
// this is what to do. It holds no secret and takes nothing.

const text = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Obscura</title>
<body style="font:1.1em/1.5 sans-serif;max-width:34em;margin:2em auto;padding:0 1em">
<h1>You are in the camera's own network</h1>
<p>There is no internet here. To make this camera yours:
<ol>
<li>Stay in this network, also when the phone says that it has no internet.
<li>Open Obscura on this device and scan the code that the camera's link is in, or run
<code>obscura-phone pair LINK --wifi NAME</code> with the network at home.
<li>Compare the check words of phone and camera.
</ol>
<p>This network goes away when the camera is yours, or ten minutes after it was opened.
</html>
`;

export type Page = { close(): Promise<void> };

/**
 * The page in the board's own network. Throws Failure "denied" where the port is not for this user, "busy"
 * when it is taken: on an installed board, by systemd for `keepPage`.
 */
export async function openPage(): Promise<Page> {
  return await serve({ port: 80, host: spotAddress }).catch((cause) => {
    const kind = cause.code === "EACCES" ? "denied" : "busy";
    throw new Failure(kind, `the page cannot be shown on port 80 (${cause.code})`, { cause });
  });
}

/**
 * The same for a service, which has no right to that port: systemd listens there and hands the socket over
 * (sd_listen_fds(3), board/obscura-page.socket). It can be reached only while the board has that
 * address, so it stays. Undefined when nothing was handed over; done once, for children have no part in it.
 */
export async function keepPage(
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Page | undefined> {
  const { LISTEN_PID, LISTEN_FDS } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete environment[name];
  const isOurs = LISTEN_PID === String(process.pid) && LISTEN_FDS === "1";
  return isOurs ? await serve({ fd: firstHanded }) : undefined;
}

const firstHanded = 3;
/** Who connects and says nothing makes room for who asks. */
const patience = { headersTimeout: 5000, requestTimeout: 5000, connectionsCheckingInterval: 1000 };

async function serve(where: ListenOptions & { fd?: number }): Promise<Page> {
  const server = createServer(patience, (request, response) => {
    const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
    // Whatever a phone asks for to find out whether it is in the internet leads here.
    if (request.headers.host === spotAddress) response.writeHead(200, headers).end(text);
    else response.writeHead(302, { ...headers, location: `http://${spotAddress}/` }).end();
  });
  server.maxConnections = 32;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
  return {
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
