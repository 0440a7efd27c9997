import { Failure } from "../base/pure/failure.ts";
import { checkCodeFile } from "./alarm/alarm.ts";
import { brokerFaults, brokerUrl, checkBroker } from "./broker.ts";
import type { Config } from "./config.ts";
import { checkLan } from "./lan.ts";
import { checkMail } from "./mail/mail.ts";

// What no schema says of the settings, looked at before the service starts.

/** Takes a broker's address in the place of what the file says. Throws Failure "misuse". */
export function setBroker(config: Config, url: string): void {
  const read = brokerUrl.read(url);
  if (read === undefined) {
    // What was written may hold a password.
    throw new Failure("misuse", `--mqtt: expected ${brokerUrl.expected}`);
  }
  const faults = brokerFaults({ ...config.mqtt, url: read });
  if (faults.length > 0) throw new Failure("misuse", `--mqtt: ${faults.join("; ")}`);
  config.mqtt.url = read;
}

/** An alarm that nobody can arm is none. Throws Failure "misuse". */
export function checkPanel({ alarm, mqtt }: Config): void {
  if (!alarm.enabled || mqtt.url !== "") return;
  throw new Failure("misuse", "alarm.enabled takes a broker: mqtt.url, or --mqtt");
}

/** What --check-config opens besides. Throws Failure "misuse". */
export async function checkFiles({ mqtt, local, mail, alarm }: Config): Promise<void> {
  await checkBroker(mqtt);
  await checkLan(local);
  await checkMail(mail);
  await checkCodeFile(alarm);
}
