import { Failure, isFailure } from "../base/pure/failure.ts";
import { checkCodeFile } from "./alarm/alarm.ts";
import { brokerFaults, brokerUrl, checkBroker } from "./broker.ts";
import type { Config } from "./config.ts";
import { checkLan } from "./lan.ts";
import { checkMail } from "./mail/mail.ts";
import { type Places, placed } from "./places.ts";

// What no schema says of the settings, looked at before the service starts. What is wrong is told with file
// and line, as the schema's mistakes are.

/** Takes a broker's address in the place of what the file says. Throws Failure "misuse". */
export function setBroker(config: Config, url: string, places: Places): void {
  const read = brokerUrl.read(url);
  if (read === undefined) {
    // What was written may hold a password.
    throw new Failure("misuse", `--mqtt: expected ${brokerUrl.expected}`);
  }
  const faults = brokerFaults({ ...config.mqtt, url: read });
  if (faults.length > 0) {
    const all = faults.map((fault) => placed(fault, places)).join("; ");
    throw new Failure("misuse", `--mqtt: ${all}`);
  }
  config.mqtt.url = read;
}

/** An alarm that nobody can arm is none. Throws Failure "misuse". */
export function checkPanel({ alarm, mqtt }: Config, places: Places): void {
  if (!alarm.enabled || mqtt.url !== "") return;
  const text = "alarm.enabled takes a broker: mqtt.url, or --mqtt";
  throw new Failure("misuse", placed({ of: ["alarm.enabled"], text }, places));
}

/** What --check-config opens besides. Throws Failure "misuse". */
export async function checkFiles(
  { mqtt, local, mail, alarm }: Config,
  places: Places,
): Promise<void> {
  const checks = [
    () => checkBroker(mqtt),
    () => checkLan(local),
    () => checkMail(mail),
    () => checkCodeFile(alarm),
  ];
  for (const check of checks) {
    await check().catch((cause: unknown) => {
      if (!isFailure(cause, "misuse") || cause.stage === undefined) throw cause;
      // Its stage is the setting that names the file.
      const text = placed({ of: [cause.stage], text: cause.message }, places);
      throw new Failure("misuse", text, { cause });
    });
  }
}
