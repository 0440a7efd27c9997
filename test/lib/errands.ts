import { rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { alarmEvent } from "../../src/device/mqtt/alarms.ts";
import { code, door, type Household, prefix } from "./household.ts";

// What happens in a house: what it asks of its camera, and what ends there. Each waits until it has come
// about, and leaves all as it was.

export type Errand = { name: string; isOnce?: true; run(home: Household): Promise<void> };

const press = (action: string, typed?: string) => JSON.stringify({ action, code: typed ?? null });

/** Asks for a state to be something, and for what it was. */
const turn = (name: string, value: string, back: string, settle?: Errand["run"]): Errand => ({
  name: `${name} ${value}`,
  async run(home) {
    const from = home.here();
    await home.ask(name, value);
    await home.says(name, value, from);
    await settle?.(home);
    const later = home.here();
    await home.ask(name, back);
    await home.says(name, back, later);
  },
});
const isAtRest = (home: Household, ...names: string[]) =>
  home.wait(`${names.join()} at rest`, () =>
    names.every((name) => ["OFF", "0"].includes(home.state(name) ?? "")),
  );

async function arm(home: Household, action: string, states: readonly string[]): Promise<void> {
  const from = home.here();
  await home.ask("alarm", press(action));
  for (const state of states) await home.says("alarm", state, from);
}
async function disarm(home: Household): Promise<void> {
  const from = home.here();
  await home.ask("alarm", press("DISARM", code));
  await home.says("alarm", "disarmed", from);
}
/** Somebody opens the door until something comes of it. */
async function knock(home: Household, isEnough: () => boolean): Promise<void> {
  let isOver = false;
  const knocking = (async () => {
    while (!isOver) {
      await home.tell(door, JSON.stringify({ contact: false }));
      await sleep(1_000);
    }
  })();
  try {
    await home.wait("the alarm hears the door", isEnough);
  } finally {
    isOver = true;
    await knocking;
  }
}

/** What is asked for, while all are there. */
export const commands: readonly Errand[] = [
  {
    name: "record now",
    async run(home) {
      const from = home.here();
      await home.ask("record", "2");
      await home.was("recording", "ON", from);
    },
  },
  turn("threshold", "0.5", "0.4"),
  turn("profile", "dusk", "none", async (home) => {
    await home.wait("the profile's threshold", () => home.state("threshold") === "0.45");
  }),
  turn("detection", "OFF", "ON", (home) => isAtRest(home, "person", "count", "recording")),
  turn("privacy", "ON", "OFF", (home) => isAtRest(home, "person", "motion", "recording")),
  {
    name: "armed at home",
    async run(home) {
      await arm(home, "ARM_HOME", ["arming", "armed_home"]);
      await disarm(home);
    },
  },
  {
    name: "a break-in",
    async run(home) {
      const from = home.here();
      const has = (type: string) => home.types(alarmEvent, from).includes(type);
      await arm(home, "ARM_AWAY", ["arming", "armed_away"]);
      await knock(home, () => has("warning"));
      await knock(home, () => has("siren"));
      await home.ask("alarm", press("DISARM", "9999"));
      await home.wait("a wrong code is refused", () => has("refused"));
      await home.says("alarm_siren", "ON", from);
      await home.wait("the siren has sounded", () => has("quiet"));
      await disarm(home);
    },
  },
  {
    name: "a code that cannot be read",
    async run(home) {
      const from = home.here();
      await arm(home, "ARM_HOME", ["armed_home"]);
      await rename(home.codeFile, `${home.codeFile}.away`);
      await home.ask("alarm", press("DISARM", code));
      await home.says("problem", "ON", from);
      await rename(`${home.codeFile}.away`, home.codeFile);
      await disarm(home);
      await home.wait("no problem", () => home.state("problem") === "OFF");
    },
  },
  {
    name: "the alarm's test",
    async run(home) {
      const from = home.here();
      await home.ask("alarm_test", "PRESS");
      await home.says("alarm_warning", "ON", from);
      await home.wait("silent", () => home.state("alarm_warning") === "OFF");
    },
  },
  {
    name: "a call for help",
    async run(home) {
      const from = home.here();
      await home.ask("alarm", "TRIGGER");
      await home.says("alarm", "triggered", from);
      await home.wait("it is over", () => home.state("alarm") === "disarmed");
    },
  },
  {
    name: "a phone looks",
    async run(home) {
      const from = home.here();
      await home.phone("snapshot", "-o", join(home.folder, "looked.jpg"), "--wait", "240");
      await home.was("being_watched", "ON", from);
    },
  },
  {
    // It stays open for ten minutes, also over new starts.
    ...{ name: "a phone opens the window", isOnce: true },
    async run(home) {
      const from = home.here();
      await home.phone("window", "--wait", "240");
      await home.was("pairing_window", "ON", from);
    },
  },
  {
    name: "a phone arms and disarms",
    async run(home) {
      const from = home.here();
      await home.phone("arm", "away", "--wait", "240");
      await home.says("alarm", "armed_away", from);
      const said = await home.phone("disarm", "--wait", "240");
      if (!said.includes("disarmed")) throw new Error(said);
      await home.says("alarm", "disarmed", from);
    },
  },
  {
    name: "Home Assistant is started",
    async run(home) {
      const from = home.here();
      await home.tell(`${prefix}/status`, "online");
      await home.wait("all is announced again", () =>
        home.house.messages.slice(from).some(({ topic }) => topic.endsWith("_porch/config")),
      );
    },
  },
  {
    name: "the relay is away",
    async run(home) {
      const from = home.here();
      await home.setRelay(false);
      await home.says("relay", "OFF", from);
      await home.wait("a clip waits", () => Number(home.state("outbox_depth")) > 0);
      await home.setRelay(true);
      await home.wait("all is there", () => home.state("relay") === "ON");
      await home.wait("none waits", () => home.state("outbox_depth") === "0");
    },
  },
];

/** Who ends, how, and comes back; `pauseMs` for how long the broker is away. */
const restart = (
  what: string,
  {
    camera,
    broker,
    pauseMs = 0,
  }: { camera?: "SIGTERM" | "SIGKILL"; broker?: boolean; pauseMs?: number },
): Errand => {
  const isHard = camera === "SIGKILL" || (camera && broker !== undefined);
  return {
    name: what,
    run: (home) =>
      home.disturb(
        {
          what,
          ...(camera ? { ends: isHard ? "hard" : "softly" } : {}),
          ...(pauseMs > 60_000 ? { isLong: true } : {}),
        },
        async () => {
          const { broker: mosquitto } = home;
          if (broker !== undefined) await mosquitto.stop(broker);
          if (camera) await home.endCamera(camera);
          if (camera === "SIGKILL" && broker === undefined) {
            await home.wait("its end is told", () => home.state("availability") === "offline");
          }
          if (pauseMs > 0) await sleep(pauseMs);
          if (broker !== undefined) await mosquitto.start();
          if (camera) home.startCamera();
        },
      ),
  };
};

/** With `broker: true` it is killed, else stopped. */
export const restarts: readonly Errand[] = [
  restart("a broker that is stopped", { broker: false }),
  restart("a camera that is killed", { camera: "SIGKILL" }),
  restart("a broker that is killed", { broker: true, pauseMs: 3_000 }),
  restart("a camera that is stopped", { camera: "SIGTERM" }),
  restart("both stopped", { camera: "SIGTERM", broker: false }),
  restart("both killed", { camera: "SIGKILL", broker: true }),
];
/** As long as nobody waits for in an ordinary test. */
export const absence: Errand = restart("a broker that is long away", {
  ...{ broker: false, pauseMs: 150_000 },
});

/** Nobody is looked for any more, and nothing moves that counts. */
export async function comeToRest(home: Household): Promise<void> {
  const from = home.here();
  await home.ask("detection", "OFF");
  await home.says("detection", "OFF", from);
  await isAtRest(home, "person", "count", "recording", "being_watched", "alarm_score");
  await home.wait("no clip waits", () => home.state("outbox_depth") === "0");
}
