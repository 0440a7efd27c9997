import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readNamed, stateFolder } from "../base/node/program.ts";
import { systemClock } from "../base/node/time.ts";
import { toText } from "../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import { adoptFrom, writeIdentity } from "./adoption.ts";
import {
  drawChart,
  mostBytes,
  parseRecording,
  printOutcomes,
  printSimulation,
  printStrangers,
  simulate,
  startings,
  strangersIn,
  toJson,
} from "./alarm/alarm.ts";
import { readBroker } from "./broker.ts";
import { type CameraInfo, listCameras } from "./camera/camera.ts";
import { checkState, printVerdicts } from "./check.ts";
import { printConfig, readConfig } from "./config.ts";
import { relaysOf } from "./delivery.ts";
import { installedModels, openModel } from "./detect/detect.ts";
import {
  checkCard,
  checkClock,
  checkHands,
  checkHeat,
  checkRelays,
  checkRights,
  checkSwap,
  checkUnit,
  diagnose,
  printFindings,
} from "./doctor.ts";
import { hasKeys, openKeyring } from "./keyring.ts";
import { readLanTls } from "./lan.ts";
import { listTokens } from "./local/local.ts";
import { checkMail } from "./mail/mail.ts";
import { reachBroker } from "./mqtt/mqtt.ts";
import { probeEncoder } from "./record/record.ts";

// The commands of obscura-camera that do one thing and end.

const stateHelp = "--state DIR   where this camera keeps its keys and clips";
const common = {
  state: { type: "string", default: stateFolder("camera") },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

const print = (text: string) => process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);

export async function runIdentity(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...common,
      output: { type: "string", short: "o" },
      name: { type: "string", default: "camera" },
    },
  });
  if (values.help) {
    print(`usage: obscura-camera identity -o FILE [--name NAME] [--state DIR]

Writes this camera's public keys to FILE; makes the keys when there are none yet. On the phone:
obscura-phone adopt FILE -o owner.json

  -o FILE       for example camera.json; it holds no secret
  --name NAME   what the phone calls this camera
  ${stateHelp}`);
    return 0;
  }
  if (values.output === undefined) throw new Failure("misuse", "-o FILE is missing");
  const { word } = await writeIdentity(values.state, { name: values.name, file: values.output });
  print(`wrote ${values.output}; check word ${word}, which the phone must show too`);
  return 0;
}

export async function runAdopt(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options: common, allowPositionals: true });
  if (values.help) {
    print(`usage: obscura-camera adopt FILE [--state DIR]

Takes the file that obscura-phone adopt made: from then on clips are sealed to its owner's phones.
A later file of the same owner brings further keys; a camera that runs uses them from its next start on.

  ${stateHelp}`);
    return 0;
  }
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) throw new Failure("misuse", "name one FILE");
  const { word, members, oneTimeKeys } = await adoptFrom(values.state, file);
  print(`adopted by ${members.join(", ")}, with ${oneTimeKeys} one-time keys
check word ${word}, which the phone showed when it made the file`);
  return 0;
}

export async function runCameras(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: common });
  if (values.help) {
    print("usage: obscura-camera cameras [--json]\n\nLists cameras with their formats and sizes.");
    return 0;
  }
  const cameras = (await listCameras()).filter(({ captures, unusable }) => captures || unusable);
  if (values.json) {
    const plain = cameras.map(({ unusable, ...info }) => ({
      ...info,
      ...(unusable ? { unusable: explain(unusable) } : {}),
    }));
    print(JSON.stringify(plain, null, 2));
  } else print(cameras.map(describeCamera).join("\n") || "no camera");
  return 0;
}

function describeCamera({ source, card, formats, unusable }: CameraInfo): string {
  const lines = formats.map(({ format, usable, sizes }) => {
    const list = sizes.map(({ width, height, rates }) => {
      const rate = rates.length > 0 ? `@${Math.round(Math.max(...rates))}` : "";
      return `${width}x${height}${rate}`;
    });
    return `  ${format}${usable ? "" : " (not usable)"} ${list.join(" ")}`;
  });
  const fault = unusable ? [`  cannot be used: ${explain(unusable)}`] : [];
  return [`${source}  ${card}`, ...fault, ...lines].join("\n");
}

export async function runCheck(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { ...common, config: { type: "string" } } });
  if (values.help) {
    print(`usage: obscura-camera check [--state DIR] [--config FILE] [--json]

Proves the invariants of the sealed clips and the log on this board (src/device/outbox/outbox.md).
The service may run meanwhile. Exit code 1 when one does not hold.

  ${stateHelp}`);
    return 0;
  }
  const { outbox } = await readConfig(values.config);
  const verdicts = await checkState(values.state, { limitBytes: outbox.limitMiB * 2 ** 20 });
  print(values.json ? JSON.stringify(verdicts, null, 2) : printVerdicts(verdicts));
  return verdicts.every(({ holds }) => holds) ? 0 : 1;
}

export async function runConfig(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { help: common.help } });
  print(
    values.help
      ? "usage: obscura-camera config > camera.yaml\n\nPrints every setting with its default."
      : printConfig(),
  );
  return 0;
}

export async function runAlarm(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      simulate: { type: "string", multiple: true, default: [] },
      output: { type: "string", short: "o" },
      config: { type: "string" },
      as: { type: "string" },
      json: common.json,
      help: common.help,
    },
  });
  if (values.help) {
    print(`usage: obscura-camera alarm --simulate FILE... [-o CHART] [--config FILE] [--as HOW] [--json]

Replays recorded events (src/device/alarm/alarm.md) as the settings say: prints the score over time, what
the alarm would have done and why. With several files their outcomes in a table too. Touches no
broker, no camera and no state. Exit code 1 when a recording's outcome is not what it expects.

  -o CHART       draws it, as SVG
  --config FILE  settings (obscura-camera config prints them all); alarm.enabled does not matter
  --as HOW       away, home or disarmed at the beginning, in place of what the recording says
  --json         one JSON object a line for each recording`);
    return 0;
  }
  const files = [...values.simulate, ...positionals];
  if (values.simulate.length === 0) throw new Failure("misuse", "--simulate FILE is missing");
  const as = startings.find((one) => one === values.as);
  if (values.as !== undefined && !as) {
    throw new Failure("misuse", `--as is one of ${startings.join(", ")}`);
  }
  const { output } = values;
  for (const file of files) {
    if (output !== undefined && (await isSameFile(file, output))) {
      throw new Failure("misuse", `-o ${output} would be written over the recording`);
    }
  }
  if (output !== undefined && /\.(png|jpe?g|gif|webp|pdf|jsonl?)$/i.test(output)) {
    throw new Failure("misuse", `-o ${output}: what is drawn is SVG; name it .svg`);
  }
  const { alarm, detect } = await readConfig(values.config);
  const known = {
    zones: detect.zones.map(({ name }) => name),
    topics: alarm.sensors.map(({ topic }) => topic),
  };
  const all = [];
  for (const file of files) {
    const bytes = await readNamed(file, { what: "a recording", mostBytes });
    const recording = parseRecording(file, readText(file, bytes));
    all.push({ file, simulation: simulate(recording, alarm, as) });
  }
  if (output !== undefined) await writeChart(output, drawChart(all, alarm));
  // Who has read enough of it hangs up: no fault of anybody's.
  process.stdout.on("error", () => {});
  for (const { file, simulation } of all) {
    process.stderr.write(printStrangers(file, strangersIn(simulation.recording, known)));
    print(
      values.json
        ? JSON.stringify(toJson(file, simulation))
        : printSimulation(simulation, alarm, { file }),
    );
    if (!values.json) print("\n");
  }
  if (all.length > 1 && !values.json) print(printOutcomes(all));
  return all.every(({ simulation }) => simulation.isRight !== false) ? 0 : 1;
}

/** By whatever names; false when one of them is not there. */
async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)));
  return a !== undefined && a.dev === b?.dev && a.ino === b.ino;
}

async function writeChart(file: string, svg: string): Promise<void> {
  await writeFile(file, svg).catch((cause) => {
    throw new Failure("denied", `cannot write ${file} (${cause.code})`, { cause });
  });
}

function readText(file: string, bytes: Uint8Array): string {
  try {
    return toText(bytes);
  } catch (cause) {
    throw isFailure(cause) ? new Failure("misuse", `${file} is not UTF-8 text`, { cause }) : cause;
  }
}

export async function runDoctor(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { ...common, config: { type: "string" } } });
  if (values.help) {
    print(`usage: obscura-camera doctor [--config FILE] [--state DIR] [--json]

Looks at what the camera needs and says how to mend what is missing. Exit code 1 when something is.

  ${stateHelp}`);
    return 0;
  }
  const config = await readConfig(values.config);
  const findings = await diagnose([
    {
      about: "camera",
      async look() {
        const all = await listCameras();
        const usable = all.find(({ captures, unusable }) => captures && !unusable);
        if (usable) return { state: "good", text: `${usable.source} (${usable.card})` };
        const denied = all.find(({ unusable }) => unusable?.kind === "denied");
        const why = (denied ?? all.find(({ captures }) => captures))?.unusable;
        if (why) throw why;
        throw new Failure("absent", "none found", {
          hint: "plug one in; a Raspberry Pi camera module also needs libcamerify (package libcamera-tools)",
        });
      },
    },
    {
      about: "encoder",
      async look() {
        const { width, height, fps } = config.camera;
        const { name } = await probeEncoder({ width, height, fps });
        return { state: "good", text: `${name}, tried with ten pictures` };
      },
    },
    {
      about: "model",
      async look() {
        const { precision, threads } = config.detect;
        const model = await openModel({
          folder: installedModels,
          precision,
          threads,
          aspect: 16 / 9,
          choiceFile: join(values.state, "precision.json"),
        });
        const { width, height } = model.input;
        const text = `${model.id}, ${model.precision}, ${width}x${height}`;
        await model.close();
        return { state: "good", text };
      },
    },
    checkUnit("service", "obscura-camera.service"),
    checkUnit("relay here", "obscura-relay.service"),
    {
      about: "broker",
      async look() {
        const { url } = config.mqtt;
        if (url === "") return { state: "good", text: "none: the house is told nothing" };
        await reachBroker(await readBroker(config.mqtt));
        return {
          state: "good",
          text: `${url} is there; the camera's log says whether it lets it in`,
        };
      },
    },
    {
      about: "local",
      async look() {
        const { port } = config.local;
        if (port === 0) return { state: "good", text: "off: nothing listens for the house" };
        await readLanTls(config.local);
        const tokens = (await listTokens(values.state)).length;
        const way = config.local.certificate === "" ? "in clear" : "encrypted";
        return { state: "good", text: `port ${port}, ${way}, ${tokens} tokens` };
      },
    },
    {
      about: "mail",
      async look() {
        const { mail } = config;
        if (mail.host === "")
          return { state: "good", text: "none: nobody is told of visits by it" };
        await checkMail(mail);
        const hint = "obscura-camera mail --test sends a message";
        return { state: "good", text: `${mail.host}; its files can be read; ${hint}` };
      },
    },
    ...checkHands(config),
    checkSwap,
    checkClock,
    checkCard(values.state, config.outbox.limitMiB + config.outbox.headroomMiB),
    checkHeat,
    checkRights(config.camera.slabMiB),
    checkRelays(async () => {
      if (!(await hasKeys(values.state))) return [];
      return relaysOf(config, await openKeyring(values.state), systemClock).relays;
    }),
  ]);
  print(values.json ? JSON.stringify(findings, null, 2) : printFindings(findings));
  return findings.some(({ state }) => state === "bad") ? 1 : 0;
}
