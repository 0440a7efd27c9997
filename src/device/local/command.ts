import { parseArgs } from "node:util";
import { stateFolder } from "../../base/node/program.ts";
import { Failure } from "../../base/pure/failure.ts";
import { listTokens, makeToken, mostTokens, revokeToken } from "./token.ts";

const help = `usage: obscura-camera local token NAME [--state DIR]
       obscura-camera local tokens [--json] [--state DIR]
       obscura-camera local revoke NAME [--state DIR]

Who may read this camera's states, events and metrics in the local network (local.port in the
settings; HOME.md). A token is shown once, and lets read only. ${mostTokens} at most, one for each program
that reads, so that each can be revoked by itself. The service need not be started anew.

  --state DIR   where this camera keeps its keys and clips
`;

export async function runLocal(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      state: { type: "string", default: stateFolder("camera") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
    allowPositionals: true,
  });
  const { state, json } = values;
  const print = (text: string) => void process.stdout.write(`${text}\n`);
  const [what, name, ...more] = positionals;
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (what === "tokens" && name === undefined) {
    const all = (await listTokens(state)).map(({ name, madeMs }) => ({
      ...{ name, made: new Date(madeMs).toISOString() },
    }));
    if (json) print(JSON.stringify(all, null, 2));
    else print(all.map(({ name, made }) => `${name}  ${made}`).join("\n") || "no token");
    return 0;
  }
  const isKnown = what === "token" || what === "revoke";
  if (!isKnown || name === undefined || more.length > 0) {
    throw new Failure("misuse", "say token NAME, tokens, or revoke NAME");
  }
  if (what === "token") print(await makeToken(state, name));
  else {
    await revokeToken(state, name);
    print(`${name} is revoked`);
  }
  return 0;
}
