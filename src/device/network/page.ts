import { createServer } from "node:http";
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

/** Throws Failure "denied" where the port is not for this user, "busy" when it is taken. */
export async function openPage(): Promise<Page> {
  const server = createServer({ requestTimeout: 5_000 }, (request, response) => {
    const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
    // Whatever a phone asks for to find out whether it is in the internet leads here.
    if (request.headers.host === spotAddress) response.writeHead(200, headers).end(text);
    else response.writeHead(302, { ...headers, location: `http://${spotAddress}/` }).end();
  });
  server.maxConnections = 32;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: 80, host: spotAddress }, resolve);
  }).catch((cause) => {
    const kind = cause.code === "EACCES" ? "denied" : "busy";
    throw new Failure(kind, `the page cannot be shown on port 80 (${cause.code})`, { cause });
  });
  return {
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
