import { nodeSuite } from "../../base/node/crypto.ts";
import { nearest } from "../../base/node/settings.ts";
import { Failure } from "../../base/pure/failure.ts";
import { settingNames } from "../../protocol/sealed/action.ts";
import { type Journal, statements } from "../journal.ts";
import { actionOf, sendOutgoing, tidy } from "../outgoing.ts";
import type { CameraKeys } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { haveDone, readLog } from "./ask.ts";
import type { Voice } from "./out.ts";
import { printTable } from "./show.ts";
import type { Say, World } from "./world.ts";

const longestValue = 4096;

type Setting = { name: string; value: string; version: number };

/** What the camera says of its settings, by name. */
function settingsOf(journal: Journal): Map<string, Setting> {
  const all = new Map<string, Setting>();
  for (const { statement } of statements(journal, "setting")) {
    const { name, value, version } = statement;
    all.set(name, { name, value, version });
  }
  return all;
}

function waitingOf({ outgoing }: CameraKeys): { name: string; value: string }[] {
  return outgoing.flatMap((item) => {
    const action = actionOf(item);
    return action.kind === "setting" ? [{ name: action.name, value: action.value }] : [];
  });
}

/**
 * `obscura-phone settings [NAME VALUE]`: those that the camera was sent and follows, and those that
 * wait for it. Its own file is not shown here.
 */
export async function settings(
  given: Arguments,
  open: () => Promise<World>,
  voice: Voice,
  say: Say,
): Promise<number> {
  const wish = readWish(given.operands);
  const world = await open();
  const { vault, camera, link } = world;
  const first = await readLog(world);
  if (!wish) {
    const about = { link, vault, camera, journal: first };
    await sendOutgoing({ ...about, suite: nodeSuite, nowMs: Date.now() });
    const now = [...settingsOf(first).values()];
    const waiting = waitingOf(camera);
    const rows = [
      ...now.map(({ name, value }) => [name, value, "in force"]),
      ...waiting.map(({ name, value }) => [name, value, "waits for the camera"]),
    ];
    const text = rows.length === 0 ? "nothing was set from a phone yet\n" : "";
    say(text || printTable([["SETTING", "VALUE", "STATE"], ...rows]), { settings: now, waiting });
    return 0;
  }
  const { name, value } = wish;
  // One wish for a setting is enough: the last. The others' boxes go, or the camera would take them first.
  const others = camera.outgoing.filter((item) => {
    const action = actionOf(item);
    return action.kind === "setting" && action.name === name && action.value !== value;
  });
  camera.outgoing = camera.outgoing.filter((item) => !others.includes(item));
  await tidy(
    link,
    others.flatMap(({ sent }) => (sent ? [sent.name] : [])),
  );
  const replaces = settingsOf(first).get(name)?.version ?? 0;
  const action = { kind: "setting", name, value, replaces } as const;
  const state = await haveDone(world, first, action, { what: name, waitMs: given.waitMs, voice });
  say(
    state === "done"
      ? `${name} is ${value}\n`
      : `${name}: sent, and the camera has not answered yet. Every later command sends it again\n`,
    { name, value, state },
  );
  return 0;
}

function readWish(operands: readonly string[]): { name: string; value: string } | undefined {
  const [name, value] = operands;
  if (name === undefined) return undefined;
  if (value === undefined) {
    throw new Failure("misuse", "settings takes a name and a value, or neither", {
      hint: "A value with spaces stands in quotes, a list in brackets: '[a, b]'",
    });
  }
  if (!settingNames.includes(name)) {
    const meant = nearest(name, settingNames);
    throw new Failure("misuse", `"${name}" is no setting that a phone may change${meant}`, {
      ...(meant ? {} : { hint: `There are ${settingNames.join(", ")}` }),
    });
  }
  if (Buffer.byteLength(value) > longestValue || /\p{Cc}/u.test(value)) {
    throw new Failure("misuse", `the value of ${name} is too long, or more than one line`);
  }
  return { name, value };
}
