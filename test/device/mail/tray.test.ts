import * as assert from "uvu/assert";
import { decide, sent } from "../../../src/device/mail/tray.ts";
import { add, hourUs, mostWaiting, newTray, type Visit } from "../../../src/device/visit/visit.ts";
import { generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

const visit = (number: number): Visit => ({
  clip: number.toString(16).padStart(32, "0"),
  ...{ atMs: number, clockTrusted: true, persons: 1, picture: 1, refusals: 0 },
});

suite("device/mail/tray", (test) => {
  test("nothing waits: nothing is sent", () => {
    assert.equal(decide(newTray(), 0, 6), { kind: "wait", untilUs: undefined });
  });

  test("a visit is one message, once", () => {
    const tray = newTray();
    add(tray, visit(1));
    add(tray, visit(1));
    const plan = decide(tray, 10, 6);
    assert.equal(plan, { kind: "letter", visit: visit(1) });
    sent(tray, plan, 10);
    assert.is(decide(tray, 11, 6).kind, "wait");
  });

  test("after days without a network: the newest as themselves, the others in one, and no more", () => {
    const tray = newTray();
    for (let i = 1; i <= 250; i++) add(tray, visit(i));
    assert.is(tray.visits.length, mostWaiting);
    const kinds: string[] = [];
    let told = 0;
    for (;;) {
      const plan = decide(tray, 5, 6);
      if (plan.kind === "wait") {
        assert.is(plan.untilUs, undefined);
        break;
      }
      told += plan.kind === "letter" ? 1 : plan.visits.length + plan.earlier;
      kinds.push(plan.kind);
      sent(tray, plan, 5);
    }
    assert.equal(kinds, ["summary", "letter", "letter", "letter", "letter", "letter"]);
    assert.is(told, 250);
  });

  test("what is too much for an hour waits for its end, and is summed up", () => {
    const tray = newTray();
    for (let i = 0; i < 3; i++) {
      add(tray, visit(i));
      sent(tray, decide(tray, i, 3), i);
    }
    for (let i = 3; i < 8; i++) add(tray, visit(i));
    assert.equal(decide(tray, 10, 3), { kind: "wait", untilUs: hourUs });
    const plan = decide(tray, hourUs, 3);
    assert.is(plan.kind === "summary" && plan.visits.length, 5);
    sent(tray, plan, hourUs);
    assert.equal(tray.visits, []);
  });

  test("what came while a message was on its way is not lost with it", () => {
    const tray = newTray();
    for (let i = 0; i < 101; i++) add(tray, visit(i));
    const plan = decide(tray, 1, 1);
    assert.is(plan.kind === "summary" && plan.earlier, 1);
    for (let i = 200; i < 203; i++) add(tray, visit(i));
    sent(tray, plan, 1);
    assert.is(tray.visits.length, 3);
  });

  test("10,000 random hours: never more than allowed, nobody forgotten, nobody twice", () => {
    const random = generator(4711);
    for (let round = 0; round < 100; round++) {
      const tray = newTray();
      const perHour = 1 + random(10);
      const times: number[] = [];
      const told = new Map<string, number>();
      let [nowUs, next, counted] = [0, 0, 0];
      for (let step = 0; step < 100; step++) {
        nowUs += random(hourUs / 3);
        const burst = random(10) === 0 ? 40 : 3;
        for (let i = random(burst); i > 0; i--) add(tray, visit(next++));
        for (;;) {
          const plan = decide(tray, nowUs, perHour);
          if (plan.kind === "wait") {
            const isWaiting = tray.visits.length + tray.earlier > 0;
            assert.is(plan.untilUs !== undefined, isWaiting);
            assert.ok(plan.untilUs === undefined || plan.untilUs > nowUs);
            break;
          }
          const visits = plan.kind === "letter" ? [plan.visit] : plan.visits;
          for (const { clip } of visits) told.set(clip, (told.get(clip) ?? 0) + 1);
          if (plan.kind === "summary") counted += plan.earlier;
          sent(tray, plan, nowUs);
          times.push(nowUs);
        }
        assert.ok(times.filter((atUs) => atUs > nowUs - hourUs).length <= perHour);
        assert.ok(tray.visits.length <= mostWaiting && tray.sentUs.length <= perHour);
      }
      assert.ok([...told.values()].every((times) => times === 1));
      assert.is(told.size + counted + tray.visits.length + tray.earlier, next);
    }
  });
});
