import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Alarm,
  type AlarmSettings,
  openAlarm,
  type Told,
} from "../../../src/device/alarm/alarm.ts";
import { readConfig } from "../../../src/device/config.ts";
import type { Statement } from "../../../src/protocol/sealed/body.ts";
import { encodeBody } from "../../../src/protocol/sealed/body.ts";
import { came, left } from "../../lib/housed.ts";
import { until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const sensors: AlarmSettings["sensors"] = [
  {
    ...{ name: "door", topic: "house/door", weight: { away: 100, home: 100 } },
    ...{ field: [], counts: ["open"], isInstant: false },
  },
];

async function world() {
  const folder = await quickFolder();
  const { alarm: preset } = await readConfig(undefined);
  const code = join(folder.path, "code");
  await writeFile(code, "0815\n", { mode: 0o600 });
  const at = {
    ...{ path: folder.path, code, clock: new ManualClock() },
    told: [] as Told[],
    notes: [] as Statement[],
    faults: [] as (string | undefined)[],
    problems: [] as unknown[],
    log: "",
    async open(more: Partial<AlarmSettings> = {}, isReadOnly = false): Promise<Alarm> {
      const alarm = await openAlarm({
        settings: { ...preset, enabled: true, exitS: 0, sensors, ...more },
        ...{ path: join(folder.path, "alarm"), isReadOnly, own: "obscura/abc", clock: at.clock },
        note: async (statement) => void at.notes.push(statement),
        onFault: (text) => at.faults.push(text),
        onProblem: (error) => at.problems.push(error),
        log: openLog("alarm", "debug", (line) => {
          at.log += line;
        }),
      });
      alarm.listen((told) => at.told.push(...told));
      return alarm;
    },
    whats: () => at.told.map(({ what }) => what).join(" "),
    kept: async () => await readFile(join(folder.path, "alarm", "state"), "utf8"),
    /** Time goes on until what is due then was told. */
    async pass(seconds: number, isSo: () => boolean) {
      at.clock.advance(seconds * 1000);
      await until("as it should be", isSo, { told: () => `${at.whats()}\n${at.log}` });
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
  return at;
}
const message = (payload: string, topic = "house/door", isRetained = false) => ({
  ...{ topic, payload: Buffer.from(payload), isRetained },
});
const deny = async (act: Promise<void>, text: RegExp) => {
  const error = await act.then(
    () => undefined,
    (one) => one,
  );
  assert.ok(isFailure(error, "denied"), String(error));
  assert.match(error.message, text);
};

suite("device/alarm/live", (test) => {
  test("armed, a thief, the delay, the siren, quiet: told, kept and noted, each once and in order", async () => {
    await using at = await world();
    const alarm = await at.open({ exitS: 60 });
    assert.is(alarm.view().state, "disarmed");
    alarm.message(message("open"));
    await alarm.take("arm_away", undefined);
    assert.is(alarm.view().state, "arming");
    await at.pass(60, () => alarm.view().state === "armed_away");
    assert.match(await at.kept(), /"kind":"armed","mode":"away"/);
    alarm.motion();
    alarm.incident(came(["door"]));
    alarm.incident(left());
    assert.is(alarm.view().score, 22);
    for (const payload of ["closed", "", "open ", "open"]) alarm.message(message(payload));
    await until("pending", () => alarm.view().state === "pending");
    assert.equal([alarm.view().score, alarm.view().warning], [122, true]);
    await at.pass(30, () => alarm.view().siren);
    await at.pass(180, () => alarm.view().state === "armed_away");
    await alarm.take("disarm", undefined);
    assert.is(at.whats(), "arming armed pending siren quiet disarmed");
    await until("all is noted", () => at.notes.length === 6);
    const noted = at.notes.map((one) => (one.kind === "alarm" ? one.what : one.kind)).join(" ");
    assert.is(noted, at.whats());
    const siren = at.notes[3];
    assert.ok(siren?.kind === "alarm");
    assert.equal([siren.mode, siren.by, siren.score], ["away", "delay", 122]);
    assert.match(siren.text, /motion 2, person 20, door 100/);
    await alarm.close();
    assert.equal(at.problems, []);
    assert.equal(at.faults.filter(Boolean), []);
  });

  test("the warning begins and ends by itself", async () => {
    await using at = await world();
    const alarm = await at.open();
    await alarm.take("test", undefined);
    assert.ok(alarm.view().warning);
    await at.pass(10, () => !alarm.view().warning);
    assert.is(at.whats(), "test");
    await alarm.close();
  });

  test("the code: missing, wrong, too often, right; nothing of it in what is said", async () => {
    await using at = await world();
    const alarm = await at.open({ code: at.code });
    assert.equal(alarm.panel, { code: "digits", codeToArm: false });
    await alarm.take("arm_away", undefined);
    for (let i = 0; i < 10; i++) await deny(alarm.take("disarm", undefined), /takes the code/);
    for (const wrong of ["0816", "", "x".repeat(200)]) {
      await deny(alarm.take("disarm", wrong), /a wrong code was given/);
    }
    await deny(alarm.take("disarm", "0815"), /too many wrong codes/);
    await deny(alarm.take("arm_home", "0815"), /too many wrong codes/);
    assert.is(alarm.view().state, "armed_away");
    assert.is(at.whats(), "armed refused refused refused");
    await alarm.close();

    // Whoever pulls the plug waits as long.
    const next = await at.open({ code: at.code });
    await deny(next.take("disarm", "0815"), /too many wrong codes/);
    at.clock.advance(10_000);
    await next.take("disarm", "0815");
    assert.is(next.view().state, "disarmed");
    assert.match(await at.kept(), /"failures":0/);
    const said = at.log + JSON.stringify([at.told, at.notes, at.faults]) + (await at.kept());
    assert.not(/0815|0816|x{20}/.test(said), said);
    await next.close();
  });

  test("an owner's phone needs no code, also while none is tried; it is noted when it is done", async () => {
    await using at = await world();
    const alarm = await at.open({ code: at.code, codeToArm: true });
    await alarm.obey("arm_away");
    assert.is(alarm.view().state, "armed_away");
    assert.is(at.notes.length, 1);
    for (const wrong of ["1111", "2222", "3333"]) {
      await deny(alarm.take("disarm", wrong), /a wrong code was given/);
    }
    await deny(alarm.take("disarm", "0815"), /too many wrong codes/);
    await alarm.obey("arm_home");
    assert.is(alarm.view().state, "armed_home");
    await alarm.obey("disarm");
    await alarm.obey("disarm");
    assert.is(at.whats(), "armed refused refused refused armed disarmed");
    assert.is(at.notes.length, 6);
    await deny(alarm.take("arm_away", "0815"), /too many wrong codes/);
    await alarm.close();
  });

  test("arming takes the code where that is set, calling for help never", async () => {
    await using at = await world();
    await writeFile(at.code, "Öffne-dich");
    const alarm = await at.open({ code: at.code, codeToArm: true });
    assert.equal(alarm.panel, { code: "text", codeToArm: true });
    await deny(alarm.take("arm_away", undefined), /takes the code/);
    await alarm.take("arm_away", "Öffne-dich");
    await alarm.take("trigger", undefined);
    assert.ok(alarm.view().siren);
    await alarm.close();
  });

  test("a code that cannot be read: said, nothing disarmed, and mended without a new start", async () => {
    await using at = await world();
    await chmod(at.code, 0o644);
    const alarm = await at.open({ code: at.code });
    assert.match(at.faults.at(-1) ?? "", /cannot be disarmed: .*may be read by others\. chmod 600/);
    await alarm.take("arm_home", undefined);
    const error = await alarm.take("disarm", "0815").catch((one) => one);
    assert.ok(isFailure(error, "denied"));
    assert.is(alarm.view().state, "armed_home");
    await chmod(at.code, 0o600);
    await alarm.take("disarm", "0815");
    assert.is(at.faults.at(-1), undefined);
    await alarm.close();
  });

  test("a code's file that is mended ends the problem, without anybody giving the code", async () => {
    await using at = await world();
    await chmod(at.code, 0o644);
    const alarm = await at.open({ code: at.code });
    assert.match(at.faults.at(-1) ?? "", /cannot be disarmed/);
    const many = at.faults.length;
    await at.pass(61, () => true);
    await chmod(at.code, 0o600);
    // Not before it is looked for: a try may be under way.
    await until("mended", () => {
      at.clock.advance(61_000);
      return at.faults.at(-1) === undefined;
    });
    assert.is(at.faults.length, many + 1, "said once");
    await alarm.close();
  });

  test("a new start in each state goes on, without being closed before", async () => {
    await using at = await world();
    const wayTo: Record<string, (alarm: Alarm) => Promise<void>> = {
      armed_home: (alarm) => alarm.take("arm_home", undefined),
      armed_away: (alarm) => alarm.take("arm_away", undefined),
      async pending(alarm) {
        await alarm.take("arm_away", undefined);
        alarm.message(message("open"));
        await until("pending", () => alarm.view().state === "pending");
      },
      triggered: (alarm) => alarm.take("trigger", undefined),
    };
    for (const [state, go] of Object.entries(wayTo)) {
      const before = await at.open();
      await go(before);
      const kept = await at.kept();
      assert.is(before.view().state, state);
      await before.close();
      // As it lay there while it ran: killed then, the next finds this.
      await writeFile(join(at.path, "alarm", "state"), kept);
      at.told.length = 0;
      const next = await at.open();
      assert.is(next.view().state, state);
      assert.ok(at.told.every(({ by }) => by === "restart") && at.told.length === 1, at.whats());
      await next.take("disarm", undefined);
      await next.close();
    }
  });

  test("what lies there and is not ours: disarmed, and said until somebody decides", async () => {
    await using at = await world();
    await (await at.open()).close();
    await writeFile(join(at.path, "alarm", "state"), '{"version":1,"kind":"armed","mode":"hall"}');
    const alarm = await at.open();
    assert.is(alarm.view().state, "disarmed");
    assert.match(at.faults.at(-1) ?? "", /how the alarm stood cannot be read/);
    await alarm.take("arm_away", undefined);
    assert.is(at.faults.at(-1), undefined);
    await alarm.close();
  });

  test("on a card that failed it stays armed as it was, works, and writes nothing", async () => {
    await using at = await world();
    const before = await at.open();
    await before.take("arm_away", undefined);
    await before.close();
    const kept = await at.kept();
    const alarm = await at.open({}, true);
    assert.is(alarm.view().state, "armed_away");
    alarm.message(message("open"));
    await until("pending", () => alarm.view().state === "pending");
    await alarm.take("disarm", undefined);
    assert.is(await at.kept(), kept);
    await alarm.close();
    assert.equal(at.problems, []);
  });

  test("a topic of the camera's own is not heard; what is retained, foreign or too long is nothing", async () => {
    await using at = await world();
    const own = {
      ...(sensors[0] as (typeof sensors)[0]),
      name: "loop",
      topic: "obscura/abc/alarm_siren",
    };
    const alarm = await at.open({ sensors: [...sensors, own] });
    assert.equal(alarm.topics, ["house/door"]);
    assert.match(at.faults.at(-1) ?? "", /a topic of this camera's own/);
    await alarm.take("arm_away", undefined);
    alarm.message(message("open", "house/door", true));
    alarm.message(message("open", "obscura/abc/alarm_siren"));
    alarm.message(message("open", "house/+"));
    alarm.message(message(`open${" ".repeat(5000)}`));
    assert.is(alarm.view().score, 0);
    // A flood of what counts counts once.
    for (let i = 0; i < 10_000; i++) alarm.message(message("open"));
    assert.is(alarm.view().score, 100);
    await until("pending", () => alarm.view().state === "pending");
    await alarm.close();
    assert.is(at.whats(), "armed pending");
  });

  test("the log's entry is one that can be written, whatever the sensors are called", async () => {
    await using at = await world();
    const many = Array.from({ length: 32 }, (_, i) => ({
      ...(sensors[0] as (typeof sensors)[0]),
      ...{ name: `${i} ${"𝒟".repeat(14)}`, topic: `house/${i}`, counts: [] },
    }));
    const alarm = await at.open({ sensors: many, sirenAt: 3200 });
    await alarm.take("arm_away", undefined);
    for (let i = 0; i < 32; i++) alarm.message(message("x", `house/${i}`));
    await until("noted", () => at.notes.length >= 3, { told: () => at.log });
    for (const statement of at.notes) {
      encodeBody({ wallMs: 1, clockTrusted: true, statement });
    }
    await alarm.close();
  });
});
