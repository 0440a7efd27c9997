import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { connect as tlsConnect } from "node:tls";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import { Failure } from "../../src/base/pure/failure.ts";
import { takeFiles } from "./tar.ts";

/** A package whose archive npm vouches for with `integrity` ("sha512-…"). */
export type Source = {
  package: string;
  version: string;
  integrity: string;
  files: { path: string; sha256: string; bytes: number }[];
};
type Progress = (readBytes: number, totalBytes: number | undefined) => void;
/** The npm settings that say how a registry is reached. */
type Settings = Record<string, unknown>;

const run = promisify(execFile);
const quietMs = 30_000;
const mostRedirects = 5;

/**
 * Streams a package past and keeps the named files. The address and the way there (registry,
 * proxy, certificates) are npm's own settings; when the plain way does not work, because the
 * registry wants a login for instance, npm fetches the archive into a temporary folder instead.
 *
 * @returns the files' bytes by path, each verified, and the archive as a whole verified
 * @throws Failure absent (no npm), offline (registry not reached), corrupt (a hash does not fit)
 */
export async function fetchFiles(
  source: Source,
  progress: Progress,
): Promise<Map<string, Uint8Array>> {
  const spec = `${source.package}@${source.version}`;
  const [address, settings] = await Promise.all([
    npm(["view", spec, "dist.tarball"]).then((text) => text.trim()),
    npm(["config", "list", "--json"]).then((text) => JSON.parse(text) as Settings),
  ]);
  if (!URL.canParse(address))
    throw new Failure("absent", `npm knows no ${spec}`, {
      hint: "If npm uses a registry of its own here, it has to offer this package",
    });
  let failure: unknown;
  const response = await open(new URL(address), settings).catch((error) => {
    failure = error;
    return undefined;
  });
  if (response) return await readArchive(response, source, lengthOf(response), progress);
  await using folder = await temporaryFolder();
  try {
    await npm(["pack", spec, "--ignore-scripts", "--pack-destination", folder.path]);
  } catch (cause) {
    throw new Failure("offline", `${spec} cannot be fetched: ${messageOf(failure)}`, {
      hint: "Check the network and npm's registry and proxy settings, then run it again",
      cause,
    });
  }
  const [file] = await readdir(folder.path);
  const archive = createReadStream(join(folder.path, file ?? ""));
  return await readArchive(archive, source, undefined, progress);
}

/** Reads a packed archive, verifies it as a whole and each wanted file by itself. */
export async function readArchive(
  archive: Readable,
  source: Source,
  totalBytes: number | undefined,
  progress: Progress,
): Promise<Map<string, Uint8Array>> {
  const [algorithm = "", expected] = source.integrity.split(/-(.*)/s);
  const whole = createHash(algorithm);
  const gunzip = createGunzip();
  let readBytes = 0;
  archive.on("data", (chunk: Buffer) => {
    whole.update(chunk);
    readBytes += chunk.length;
    progress(readBytes, totalBytes);
  });
  archive.on("error", (error) => gunzip.destroy(error));
  archive.on("aborted", () => gunzip.destroy(new Error("the connection was cut")));
  archive.pipe(gunzip);
  let found: Map<string, Uint8Array>;
  try {
    found = await takeFiles(gunzip, new Set(source.files.map((file) => file.path)));
  } catch (cause) {
    archive.destroy();
    if (cause instanceof Failure) throw cause;
    throw new Failure("offline", `the package did not arrive whole: ${messageOf(cause)}`, {
      hint: "Run it again",
      cause,
    });
  }
  if (whole.digest("base64") !== expected)
    throw new Failure("corrupt", `${source.package}@${source.version} is not what npm published`, {
      stage: "integrity",
      hint: "Something between npm's registry and this machine changes packages: do not use it",
    });
  for (const { path, sha256 } of source.files) {
    const bytes = found.get(path);
    if (!bytes || createHash("sha256").update(bytes).digest("hex") !== sha256)
      throw new Failure("corrupt", `${path} of ${source.package} is not the file expected`, {
        stage: "sha256",
      });
  }
  return found;
}

async function npm(args: string[]): Promise<string> {
  try {
    const { stdout } = await run("npm", args, { maxBuffer: 2 ** 24, timeout: 20 * 60_000 });
    return stdout;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT")
      throw new Failure("absent", "npm is not installed", { cause });
    const said = String((cause as { stderr?: unknown }).stderr ?? "");
    const line = said.match(/^npm (?:error|ERR!) (?!code)(.*)$/m)?.[1] ?? messageOf(cause);
    throw new Failure("offline", `npm ${args[0]} ${args[1]} failed: ${line}`, {
      hint: "The person detector comes from npm's registry once, about 145 MB: connect, then run it again",
      cause,
    });
  }
}

/** Opens the address as npm's settings say: proxy, own certificate authority, strictness. */
async function open(address: URL, settings: Settings, redirects = 0): Promise<IncomingMessage> {
  const text = (key: string) => {
    const value = settings[key];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const secure = address.protocol === "https:";
  const environment = process.env;
  const proxy =
    (secure ? text("https-proxy") : undefined) ??
    text("proxy") ??
    (secure ? (environment.HTTPS_PROXY ?? environment.https_proxy) : undefined) ??
    environment.HTTP_PROXY ??
    environment.http_proxy;
  const certificates = text("cafile");
  const options: RequestOptions = {
    headers: { accept: "application/octet-stream", "accept-encoding": "identity" },
    rejectUnauthorized: settings["strict-ssl"] !== false,
    ...(certificates ? { ca: await readFile(certificates) } : {}),
    ...(proxy && !isDirect(address, settings) ? await tunnel(address, new URL(proxy)) : {}),
  };
  const request = (secure ? httpsRequest : httpRequest)(address, options);
  request.setTimeout(quietMs, () => request.destroy(new Error("the registry stopped answering")));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on("response", resolve).on("error", reject).end();
  });
  const { statusCode = 0, headers } = response;
  if (statusCode === 200) return response;
  response.destroy();
  if (statusCode >= 300 && statusCode < 400 && headers.location && redirects < mostRedirects)
    return await open(new URL(headers.location, address), settings, redirects + 1);
  throw new Error(`the registry answered ${statusCode}`);
}

function isDirect(address: URL, settings: Settings): boolean {
  const list = settings.noproxy ?? process.env.NO_PROXY ?? process.env.no_proxy ?? "";
  const names = (Array.isArray(list) ? list : String(list).split(",")).map((n) => String(n).trim());
  return names.some((name) => {
    const bare = name.replace(/^\*?\./, "");
    return name === "*" || (bare !== "" && `.${address.hostname}`.endsWith(`.${bare}`));
  });
}

/** A connection through an HTTP proxy: CONNECT for https, the full address as path for http. */
async function tunnel(address: URL, proxy: URL): Promise<RequestOptions> {
  const login = proxy.username
    ? `Basic ${btoa(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`)}`
    : undefined;
  const headers = login ? { "proxy-authorization": login } : {};
  const host = proxy.hostname;
  const port = Number(proxy.port || (proxy.protocol === "https:" ? 443 : 80));
  if (address.protocol === "http:")
    return { host, port, path: address.href, headers: { ...headers, host: address.host } };
  const target = `${address.hostname}:${address.port || 443}`;
  const connect = (proxy.protocol === "https:" ? httpsRequest : httpRequest)({
    host,
    port,
    method: "CONNECT",
    path: target,
    headers: { ...headers, host: target },
  });
  connect.setTimeout(quietMs, () => connect.destroy(new Error("the proxy does not answer")));
  const socket = await new Promise<import("node:net").Socket>((resolve, reject) => {
    connect
      .on("connect", (response, opened) =>
        response.statusCode === 200
          ? resolve(opened)
          : reject(new Error(`the proxy answered ${response.statusCode}`)),
      )
      .on("error", reject)
      .end();
  });
  // No agent beside it: one would make its own connection, past the proxy.
  return {
    createConnection: (options) =>
      tlsConnect({ ...(options as object), socket, servername: address.hostname }),
  };
}

function lengthOf(response: IncomingMessage): number | undefined {
  const length = Number(response.headers["content-length"]);
  return Number.isSafeInteger(length) && length > 0 ? length : undefined;
}

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "obscura-model-"));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
