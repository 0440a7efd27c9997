import { hostname } from "node:os";
import { nodeSuite } from "../../base/node/crypto.ts";
import { programVersion, readNamed } from "../../base/node/program.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import {
  pairingFileBytes,
  parsePairingFile,
  printPairingFile,
} from "../../protocol/sealed/pairing.ts";
import { ready } from "../../protocol/sealed/sodium.ts";
import { firstSupply } from "../../protocol/sealed/supply.ts";
import { adoptCamera } from "../adopt.ts";
import { deleteClips } from "../delete.ts";
import { finalityOf } from "../deletions.ts";
import { heardOf } from "../heard.ts";
import { withParts } from "../parts.ts";
import type { Line } from "../relay.ts";
import type { Clip, Survey } from "../survey.ts";
import { readTold } from "../told.ts";
import { type CameraKeys, shortId, Vault } from "../vault.ts";
import { orderAlarm } from "./alarm.ts";
import { type Arguments, help, readArguments } from "./arguments.ts";
import { backup, restore } from "./backup.ts";
import { cameras } from "./cameras.ts";
import { addPhone, type Desk, joinPhones, phones, removePhones } from "./circle.ts";
import { erase } from "./erase.ts";
import { choose, type Exported, exportClips, exportThumbnails } from "./export.ts";
import { followClips } from "./follow.ts";
import { recoveryKit } from "./kit.ts";
import { log } from "./log.ts";
import { openNotice } from "./notice.ts";
import { open } from "./open.ts";
import { openVoice, type Voice, writeWhole } from "./out.ts";
import { pair } from "./pair.ts";
import { checkPush, push } from "./push.ts";
import { compareRelays } from "./relays.ts";
import { settings } from "./settings.ts";
import { printClips, printFaults, printVerdict, surveyToJson } from "./show.ts";
import { snapshot } from "./snapshot.ts";
import { openHome } from "./store.ts";
import { openWindow } from "./window.ts";
import { greetRelays, openLine, openWorld, type Say, surveyWorld, type World } from "./world.ts";

const codes = { well: 0, failed: 1, misuse: 2, faults: 3 } as const;

/** Runs one command; returns the exit code and never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  const voice = openVoice();
  const isJson = argv.includes("--json");
  try {
    const given = readArguments(argv);
    if (given === "help") voice.print(help);
    else if (given === "version") voice.print(`${await programVersion()}\n`);
    else return await run(given, voice);
    return codes.well;
  } catch (error) {
    if (isJson) voice.print(`${JSON.stringify({ error: explain(error) })}\n`);
    voice.warn(explain(error));
    if (!isFailure(error) && error instanceof Error) voice.warn(error.stack ?? "");
    return isFailure(error, "misuse") ? codes.misuse : codes.failed;
  }
}

async function run(given: Arguments, voice: Voice): Promise<number> {
  await ready();
  const line = openLine();
  try {
    if (given.command !== "clips" || !given.follow) return await runOnce(given, line, voice);
    await followClips(given, line, voice);
    return codes.well;
  } finally {
    line.close();
  }
}

async function runOnce(given: Arguments, line: Line, voice: Voice): Promise<number> {
  await using store = await openHome(given.home, voice.warn);
  const say = (text: string, json: unknown) =>
    voice.print(given.json ? `${JSON.stringify(json)}\n` : text);
  if (given.command === "push") checkPush(given);
  if (given.command === "restore" || given.command === "backup") {
    const [path = ""] = given.operands;
    if (given.command === "backup") {
      const bytes = await backup(store, path);
      say(`${path}: all keys, ${bytes} bytes. Whoever has it opens every clip.\n`, {
        ...{ file: path, bytes },
      });
    } else {
      const { content } = await restore(store, path, given.force, voice);
      say(`keys for ${content.cameras.length} cameras are back\n`, {
        cameras: content.cameras.length,
      });
    }
    return codes.well;
  }
  if (given.command === "pair") {
    await pair(given, store, line, voice, say);
    await greetRelays(store, line, voice);
    return codes.well;
  }
  if (given.command === "adopt") {
    await adopt(given, store, voice, say);
    await greetRelays(store, line, voice);
    return codes.well;
  }
  const circle = circleCommand(given.command);
  if (circle) return await circle({ given, store, line, voice, say });
  const vault = await Vault.open(store);
  if (given.command === "cameras") {
    await cameras(given, vault, line, voice, say);
    return codes.well;
  }
  if (given.command === "settings") {
    return await settings(given, () => openWorld(given, store, line, voice), voice, say);
  }
  if (given.command === "privacy") {
    const isOn = given.operands[0] === "on";
    const wish = { ...given, operands: ["privacy", String(isOn)] };
    return await settings(wish, () => openWorld(given, store, line, voice), voice, say);
  }
  if (given.command === "arm" || given.command === "disarm") {
    return await orderAlarm(given, await openWorld(given, store, line, voice), voice, say);
  }
  if (given.command === "open") return await open(given, vault, say);
  if (given.command === "push") {
    const connect = async ({ id }: CameraKeys) =>
      (await openWorld({ ...given, camera: toHex(id) }, store, line, voice)).link;
    if (given.operands[0] === "open") return await openNotice(given, vault, connect, say);
    return await push(given, () => openWorld(given, store, line, voice), voice, say);
  }
  // What cannot be taken back is asked for by name.
  const camera = given.command === "erase" ? given.operands[0] : given.camera;
  const world = await openWorld({ ...given, camera }, store, line, voice);
  if (given.command === "erase") return await erase(given, world, voice, say);
  if (given.command === "log") return await log(world, say);
  if (given.command === "snapshot") return await snapshot(given, world, voice, say);
  if (given.command === "window") return await openWindow(given, world, voice, say);
  const found = await surveyWorld(world, given.command === "verify" ? "all" : "new", voice);
  return await act(given, { ...world, found }, line, voice, say);
}

/** What is done with phones, not with clips. */
function circleCommand(
  command: Arguments["command"],
): ((desk: Desk) => Promise<number>) | undefined {
  if (command === "phones") return phones;
  if (command === "add-phone") return addPhone;
  if (command === "join") return joinPhones;
  if (command === "remove-phone") return removePhones;
  return command === "recovery-kit" ? recoveryKit : undefined;
}

async function act(
  given: Arguments,
  { vault, link, camera, found }: World & { found: Survey },
  line: Line,
  voice: Voice,
  say: Say,
): Promise<number> {
  const json = surveyToJson(camera, found);
  if (given.command === "clips") {
    say(printClips(found.clips), json);
    if (!found.well) voice.warn("something is wrong here: see `obscura-phone verify`");
    return codes.well;
  }
  if (given.command === "verify") {
    const others = given.allRelays
      ? await compareRelays(given.relays ?? camera.relays, link, found, camera, line)
      : [];
    const heard = link.kind === "relay" ? heardOf(found.journal.beacon, Date.now()) : undefined;
    const faults = [...found.faults, ...others];
    const well = faults.every(({ severity }) => severity === "note");
    const text =
      printClips(found.clips) +
      printFaults(faults) +
      (heard ? `camera ${heard.text}\n` : "") +
      printVerdict({ ...found, faults, well });
    say(text, { ...json, faults, well, ...(heard ? { heard: heard.state } : {}) });
    return well ? codes.well : codes.faults;
  }
  const chosen = choose(found, given.operands);
  const clips: Clip[] = [];
  for (const clip of chosen) clips.push(await withParts(clip, found.journal, link));
  if (given.command === "delete") {
    const nowMs = Date.now();
    const openable = await deleteClips(clips, {
      ...{ link, vault, camera, survey: found, nowMs },
      suite: nodeSuite,
    });
    const ids = clips.map(({ id }) => toHex(id));
    const waits = clips.filter(({ confirmed }) => !confirmed).length;
    const text =
      openable.length === 0
        ? `${ids.length} deleted here: their keys are destroyed\n`
        : `${ids.length} deleted here. A key that is still here, shared with other clips or not yet ` +
          `used, could open ${openable.length} of them: ${openable.map(({ id }) => shortId(id)).join(", ")}\n`;
    const wait =
      waits > 0
        ? "the camera's copy is still there: the command to delete it waits in its box\n"
        : "";
    const { names, isOnPaper } = recipientsOf(clips, found);
    const final = isOnPaper
      ? "never final: there is a recovery kit, and paper forgets nothing\n"
      : names.length > 1
        ? `final when these have confirmed: ${names.join(", ")}. \`clips\` says who is missing\n`
        : "";
    say(text + wait + final, {
      ...{ deleted: ids, waiting: waits },
      openable: openable.map(({ id }) => toHex(id)),
      recipients: names,
    });
    return codes.well;
  }
  const options = { clips, link, camera, suite: nodeSuite, all: given.all, out: given.out, voice };
  const { files, failed } =
    given.command === "export"
      ? await exportClips(options)
      : await exportThumbnails(options, given.frame);
  say(files.map(printExported).join(""), { files, failed });
  return failed > 0 ? codes.failed : codes.well;
}

/** Whom these clips were sealed to: they have to confirm that their keys are gone. */
function recipientsOf(clips: readonly Clip[], { journal }: Survey) {
  const told = readTold(journal);
  const all = clips.flatMap(
    ({ id }) => finalityOf(undefined, told.get(toHex(id)), journal).missing,
  );
  const names = all.map(({ name, phone }) => name || shortId(phone));
  return { names: [...new Set(names)], isOnPaper: all.some(({ why }) => why === "kit") };
}

function printExported({ file, seconds, whole, width, height }: Exported): string {
  const length = seconds === undefined ? "" : `, ${seconds.toFixed(1)} s`;
  return `${file}  ${width}x${height}${length}${whole ? "" : " (cut off)"}\n`;
}

async function adopt(
  given: Arguments,
  store: Awaited<ReturnType<typeof openHome>>,
  voice: Voice,
  say: Say,
): Promise<void> {
  const [path = ""] = given.operands;
  if (given.out === undefined) throw new Failure("misuse", "adopt needs -o owner.json");
  const file = await readNamed(path, { what: "a camera identity", mostBytes: pairingFileBytes });
  const identity = parsePairingFile("camera identity", file);
  const isNew = (await store.load()) === undefined;
  const name = (given.phone ?? hostname()).slice(0, 32);
  const vault = isNew ? Vault.create(store, name) : await Vault.open(store);
  let shownAt = 0;
  const adopted = await adoptCamera(vault, {
    ...{ identity, name: given.name, nowMs: Date.now(), suite: nodeSuite },
    ...(given.relays ? { relays: given.relays } : {}),
    supply: { ...firstSupply, ...(given.keys === undefined ? {} : { oneTime: given.keys }) },
    onProgress: (made, of) => {
      if (made - shownAt < 50) return;
      shownAt = made;
      voice.progress(`making keys: ${made} of ${of}`);
    },
  });
  const { adoption, word, identityWord, camera } = adopted;
  await writeWhole(given.out, printPairingFile("camera adoption", adoption, word));
  say(
    `${path} is of ${camera.name || "a camera"}, check word ${identityWord}\n` +
      `${given.out}: give it to the camera with \`obscura-camera adopt ${given.out}\`\n` +
      `check word ${word}: the camera shows the same, or somebody changed a file on the way\n`,
    {
      ...{ file: given.out, camera: toHex(camera.id), name: camera.name },
      ...{ identityCheck: identityWord, check: word },
    },
  );
  if (isNew) {
    voice.warn(`the keys lie in ${given.home} and nowhere else: losing the only copy loses every`);
    voice.warn("clip for good. Nobody can help then. Make a copy: obscura-phone backup FILE");
  }
}
