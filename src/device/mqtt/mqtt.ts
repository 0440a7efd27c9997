/**
 * The MQTT stage. In: what detection, recording and sealing say, and what the service reads once a
 * second. Out: retained states, an event stream, discovery for Home Assistant, at the broker that the
 * settings name: topics.md; the same states and events also to who else tells the house (`onState`,
 * `onEvent`), with or without a broker. Never a picture. Nobody waits for it, and nothing of it ends the service: a
 * broker that is away costs a line in the log, and one that refuses is a fault of the camera's health.
 */
import { randomBytes } from "node:crypto";
import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, type Failure, isFailure } from "../../base/pure/failure.ts";
import type { Alarm } from "../alarm/alarm.ts";
import { type BrokerSettings, readBroker } from "../broker.ts";
import type { Incident } from "../detect/detect.ts";
import type { Order, OrderName } from "../order.ts";
import { type AlarmEvent, alarmEvent, createAlarmWriter } from "./alarms.ts";
import { Desk, type Session } from "./desk.ts";
import type { Form } from "./discovery.ts";
import { createEar } from "./ear.ts";
import { Herald } from "./herald.ts";
import { openLink } from "./link.ts";
import { type Condition, event, type StateName, states, topicsOf, zoneTopic } from "./topics.ts";
import { createTrouble } from "./trouble.ts";
import { createVisits, type VisitEvent } from "./visits.ts";

export { type AlarmEvent, alarmFields, alarmTypes } from "./alarms.ts";
export { reachBroker } from "./link.ts";
export { eventFields, eventTypes, onlyWhen, type StateName, states, type Topic } from "./topics.ts";
export type { VisitEvent } from "./visits.ts";

/** What is read once a second; what is undefined the camera cannot tell. */
export type Reading = {
  recording: boolean;
  watched: boolean;
  privacy: boolean;
  detection: boolean;
  /** Least score of a person. */
  threshold: number;
  /** The profile that the house chose, or `none`. */
  profile: string;
  pairing: boolean;
  /** What is wrong, for people. */
  problem: string | undefined;
  relay: { isConnected: boolean; clips: number; waitingS: number } | undefined;
  storage: { usedMiB: number; freeMiB: number };
  temperature: number | undefined;
  throttled: boolean | undefined;
  clockTrusted: boolean;
};

export type MqttOptions = {
  /** Without an address there is no broker, and all is said to `onState` and `onEvent` alone. */
  settings: BrokerSettings & {
    prefix: string;
    discovery: Form;
    discoveryPrefix: string;
    /** What the house may ask for. */
    commands: readonly OrderName[];
  };
  /** What follows the prefix in this camera's topics. */
  id: string;
  /** Of no other client at the broker. */
  clientId: string;
  name: string;
  version: string;
  zones: readonly { name: string }[];
  /** Their names. */
  profiles: readonly string[];
  read(): Reading;
  /** Carries out what the house asks for and may ask for; throws the Failure that says why not. */
  onCommand(order: Order): Promise<void>;
  /** Where the owner has one; its commands come as others do. */
  alarm?: Pick<Alarm, "topics" | "panel" | "view" | "message" | "listen"> | undefined;
  /** Whether a relay has the whole of a clip; undefined without relays. */
  isDelivered: ((clip: string) => boolean) | undefined;
  /** Something that only the owner can mend; undefined when it is mended. */
  onFault(text: string | undefined): void;
  /** Told when it changes. */
  onBroker?(state: { isConnected: boolean; why?: string }): void;
  /** What the broker is told as a state, below the camera's own topic; empty for one that is no more. */
  onState?(topic: string, payload: string): void;
  onEvent?(event: VisitEvent): void;
  onAlarm?(event: AlarmEvent): void;
  clock: Clock;
  log: Log;
  /** For tests. */
  random?: () => number;
};

export type Mqtt = {
  incident(incident: Incident): void;
  motion(): void;
  part(part: { clip: string; incident: string }): void;
  sealed(clip: { clip: string; incident: string }): void;
  /** What may change while the camera runs. */
  set(next: Pick<MqttOptions, "name" | "zones">): void;
  /** Says the last states and `offline`, waiting for a broker no longer than two seconds. */
  close(): Promise<void>;
};

const readEveryMs = 1_000;
const motionUs = 5_000_000;
const lastWordMs = 2_000;
/** How often what the broker has refused is tried anew, while it lets the camera stay. */
const retryUs = 60_000_000;
/** topics.md says what of the event stream is owed to a broker that was away. */
const letters = { mostLetters: 64, letterMs: 5 * 60_000 };

export function openMqtt(options: MqttOptions): Mqtt {
  const { settings, id, clock, log, onFault, onBroker, random = Math.random } = options;
  const base = `${settings.prefix}/${id}`;
  /** What was logged since a connection last held: who is let in and thrown out says so once. */
  const logged = new Set<string>();
  const logOnce = (level: "info" | "warn" | "error", line: string) => {
    if (!logged.has(line)) log[level](line);
    logged.add(line);
  };
  const trouble = createTrouble({ onFault, warn: (line) => logOnce("warn", line) });
  const desk = new Desk({ clock, ...letters, onRefused: trouble.unwritten });
  const put = (topic: string, payload: string) => {
    desk.set(`${base}/${topic}`, payload);
    options.onState?.(topic, payload);
  };
  const say = <K extends StateName>(name: K, value: Parameters<(typeof states)[K]["write"]>[0]) => {
    const { write } = states[name] as { write(value: unknown): string };
    put(name, write(value));
  };
  const sayZone = (zone: string, count: number) => {
    put(zoneTopic("person", zone), states["zone/+/person"].write(count > 0));
    put(zoneTopic("count", zone), states["zone/+/count"].write(count));
  };
  const time = {
    run: randomBytes(4).toString("hex"),
    nowUs: () => clock.monotonicUs(),
    wallMs: () => clock.wallMs(),
    clockTrusted: () => options.read().clockTrusted,
  };
  const visits = createVisits({ ...time, isDelivered: options.isDelivered });
  const tell = (events: readonly VisitEvent[]) => {
    for (const one of events) {
      const isMinor = one.event_type === "update";
      desk.send(`${base}/${event.topic}`, JSON.stringify(one), { isMinor });
      say("last_event", one);
      options.onEvent?.(one);
    }
  };

  const { alarm } = options;
  const sayAlarm = () => {
    if (!alarm) return;
    const { state, score, warning, siren } = alarm.view();
    say("alarm", state);
    say("alarm_siren", siren);
    say("alarm_warning", warning);
    say("alarm_score", score);
  };

  const end = new AbortController();
  let zones: readonly string[] = [];
  let { name } = options;
  let conditions: readonly Condition[] = [];
  const herald = new Herald({
    ...{ desk, clock, log, random, signal: end.signal },
    ...{ form: settings.discovery, prefix: settings.discoveryPrefix },
    device: () => ({
      ...{ id, base, name, version: options.version, zones, conditions },
      ...{ allowed: settings.commands, profiles: options.profiles, panel: alarm?.panel },
    }),
  });
  const announce = () => {
    herald.changed().catch((error) => logOnce("error", explain(error)));
  };
  let movedUs: number | undefined;
  const look = () => {
    const now = options.read();
    const isMoving = movedUs !== undefined && clock.monotonicUs() - movedUs < motionUs;
    say("motion", isMoving);
    say("recording", now.recording);
    say("being_watched", now.watched);
    say("privacy", now.privacy);
    say("detection", now.detection);
    say("threshold", now.threshold);
    say("profile", now.profile);
    say("pairing_window", now.pairing);
    if (now.relay) {
      say("relay", now.relay.isConnected);
      say("outbox_depth", now.relay.clips);
      say("outbox_age", now.relay.waitingS);
    }
    say("storage_used", now.storage.usedMiB);
    say("storage_free", now.storage.freeMiB);
    if (now.temperature !== undefined) say("temperature", now.temperature);
    if (now.throttled !== undefined) say("throttled", now.throttled);
    say("clock_trusted", now.clockTrusted);
    sayAlarm();
    say("problem", now.problem !== undefined);
    say("problem_text", now.problem ?? "none");
    const before = conditions;
    conditions = conditionsOf(now, alarm !== undefined);
    if (conditions.join() === before.join()) return;
    // What the camera cannot tell any more does not stay as it was.
    const gone = before.filter((one) => !conditions.includes(one));
    for (const topic of topicsOf(gone)) put(topic, "");
    announce();
  };
  const setZones = (names: readonly string[]) => {
    for (const gone of zones.filter((zone) => !names.includes(zone))) {
      put(zoneTopic("person", gone), "");
      put(zoneTopic("count", gone), "");
    }
    for (const zone of names) if (!zones.includes(zone)) sayZone(zone, 0);
    zones = [...names];
  };
  // Everything is said before anything has happened: nothing of an earlier start stays ON.
  say("person", false);
  say("count", 0);
  say("last_event", undefined);
  say("version", options.version);
  if (alarm) say("last_alarm", undefined);
  look();
  setZones(options.zones.map((zone) => zone.name));
  say("availability", "online");

  const safely = (act: () => void) => {
    try {
      act();
    } catch (error) {
      // A mistake of ours in one reading is not the end of all.
      logOnce("error", explain(error));
    }
  };
  const writeAlarm = createAlarmWriter(time);
  alarm?.listen((told) =>
    safely(() => {
      sayAlarm();
      for (const one of told.map(writeAlarm)) {
        desk.send(`${base}/${alarmEvent}`, JSON.stringify(one), { isMinor: false });
        say("last_alarm", one);
        options.onAlarm?.(one);
      }
    }),
  );
  const ear = createEar({
    ...{ base, clock, log, allowed: settings.commands },
    take: options.onCommand,
    onTaken: () => safely(look),
  });
  let standing: Session | undefined;
  /** What the house asks for, and what the alarm hears of it. Where the connection ends the next one asks again. */
  const listen = async (session: Session) => {
    const topics = alarm?.topics ?? [];
    const [areOrders, areSensors] = await Promise.all([
      ear.up(session),
      topics.length === 0 || session.subscribe(topics).catch(() => true),
    ]);
    if (session !== standing) return;
    trouble.heard("what it may be asked for", areOrders);
    trouble.heard("all topics of alarm.sensors", areSensors);
  };
  let triedUs = clock.monotonicUs();
  const retry = () => {
    if (clock.monotonicUs() - triedUs < retryUs) return;
    triedUs = clock.monotonicUs();
    desk.retry();
    if (standing && trouble.isDeaf()) void listen(standing);
  };

  const watch = async () => {
    while (!end.signal.aborted) {
      await clock.sleep(readEveryMs, end.signal).catch(() => {});
      safely(() => {
        look();
        tell(visits.tick());
        retry();
      });
    }
  };
  const watching = watch();

  let lately: string | undefined;
  const onDown = (failure: Failure, isProven: boolean) => {
    standing = undefined;
    desk.detach();
    herald.down(failure);
    const why = explain(failure);
    // Only the owner can mend these; a broker that is away comes back.
    if (isFailure(failure, "refused", "denied", "misuse", "absent")) trouble.down(why);
    if (isProven) logged.clear();
    logOnce("warn", why);
    if (why !== lately) onBroker?.({ isConnected: false, why });
    lately = why;
  };
  const onUp = (session: Session, version: 5 | 4) => {
    lately = undefined;
    standing = session;
    triedUs = clock.monotonicUs();
    trouble.up();
    const by = version === 5 ? "5" : "3.1.1";
    logOnce("info", `connected to the broker, by MQTT ${by}; topics are below ${base}`);
    onBroker?.({ isConnected: true });
    // First: who reads `online` may ask.
    void listen(session);
    desk.attach(session);
    void herald.up(session);
  };
  const link =
    settings.url !== "" &&
    openLink({
      broker: () => readBroker(settings),
      clientId: options.clientId,
      will: { topic: `${base}/availability`, payload: "offline" },
      onUp,
      onDown,
      onMessage: (message) => {
        if (ear.message(message)) return;
        safely(() => alarm?.message(message));
        herald.message(message.topic, message.payload, message.isRetained);
      },
      ...{ clock, random },
    });

  return {
    incident(incident) {
      const events = visits.incident(incident);
      const persons = incident.kind === "end" ? [] : incident.persons;
      const count = persons.length === 0 || incident.kind === "end" ? 0 : incident.count;
      say("person", incident.kind !== "end");
      say("count", count);
      for (const zone of zones) {
        // One box too many in one look is nobody, in a zone as in all.
        const here = persons.filter((person) => person.zones.includes(zone)).length;
        sayZone(zone, Math.min(here, Math.max(count, 1)));
      }
      tell(events);
    },
    motion() {
      movedUs = clock.monotonicUs();
      say("motion", true);
    },
    part: visits.part,
    sealed: visits.sealed,
    set(next) {
      const names = next.zones.map((zone) => zone.name);
      if (next.name === name && names.join() === zones.join()) return;
      name = next.name;
      setZones(names);
      announce();
    },
    async close() {
      end.abort();
      await watching;
      await ear.idle();
      // Nothing moves before a camera that is off; it hands no picture out, lets nobody pair, and would end
      // no siren.
      movedUs = undefined;
      for (const name of ["motion", "being_watched", "pairing_window"] as const) say(name, false);
      for (const name of ["alarm_warning", "alarm_siren"] as const) if (alarm) say(name, false);
      say("recording", options.read().recording);
      say("availability", "offline");
      const enough = new AbortController();
      const late = clock.sleep(lastWordMs, enough.signal).catch(() => {});
      await Promise.race([desk.settled(), late]);
      enough.abort();
      if (link) await link.close();
    },
  };
}

/** The conditions under which topics are there, as this camera is now. */
function conditionsOf({ relay, temperature, throttled }: Reading, hasAlarm: boolean): Condition[] {
  return [
    ...(hasAlarm ? (["alarm"] as const) : []),
    ...(relay ? (["relay"] as const) : []),
    ...(temperature === undefined ? [] : (["temperature"] as const)),
    ...(throttled === undefined ? [] : (["throttled"] as const)),
  ];
}
