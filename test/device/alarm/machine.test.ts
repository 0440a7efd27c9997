import * as assert from "uvu/assert";
import {
  type Command,
  commands,
  createMachine,
  type Deed,
  type Kept,
  type Machine,
  type MachineSettings,
  needsCode,
  type PanelState,
} from "../../../src/device/alarm/machine.ts";
import type { Evidence } from "../../../src/device/alarm/sources.ts";
import { generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

const s = 1_000_000;
const settings: MachineSettings = {
  ...{ exitS: 60, entryS: 30, windowS: 60, sliceS: 10 },
  ...{ warnAt: 40, sirenAt: 100, warnS: 10, sirenS: 180 },
};
const open = (kept?: Kept, more: Partial<MachineSettings> = {}) => {
  const machine = createMachine({ settings: { ...settings, ...more }, kept, atUs: 0 });
  return { machine, begun: machine.tick(0) };
};
const of = (source: string, away: number, home = away, isInstant = false): Evidence => ({
  ...{ source, weight: { away, home }, isInstant },
});
const whats = (deeds: readonly Deed[]) => deeds.map(({ what }) => what).join(" ");
const away: Kept = { kind: "armed", mode: "away" };

/** One of each state, at time 0, and what it is called. */
const states: Record<string, () => Machine> = {
  disarmed: () => open().machine,
  arming: () => {
    const { machine } = open();
    machine.command("arm_away", 0);
    return machine;
  },
  armed_home: () => open({ kind: "armed", mode: "home" }).machine,
  armed_away: () => open(away).machine,
  pending: () => {
    const { machine } = open(away);
    machine.evidence([of("door", 100)], 0);
    return machine;
  },
  triggered: () => {
    const { machine } = open(away);
    machine.command("trigger", 0);
    return machine;
  },
};
/** What each command does in each state: the deed, and the state after it. */
const table: Record<string, Record<Command, [deed: string, state: PanelState]>> = {
  disarmed: {
    arm_home: ["arming", "arming"],
    arm_away: ["arming", "arming"],
    disarm: ["", "disarmed"],
    trigger: ["siren", "triggered"],
    test: ["test", "disarmed"],
  },
  arming: {
    arm_home: ["arming", "arming"],
    arm_away: ["", "arming"],
    disarm: ["disarmed", "disarmed"],
    trigger: ["siren", "triggered"],
    test: ["test", "arming"],
  },
  armed_home: {
    arm_home: ["", "armed_home"],
    arm_away: ["armed", "armed_away"],
    disarm: ["disarmed", "disarmed"],
    trigger: ["siren", "triggered"],
    test: ["test", "armed_home"],
  },
  armed_away: {
    arm_home: ["armed", "armed_home"],
    arm_away: ["", "armed_away"],
    disarm: ["disarmed", "disarmed"],
    trigger: ["siren", "triggered"],
    test: ["test", "armed_away"],
  },
  pending: {
    arm_home: ["", "pending"],
    arm_away: ["", "pending"],
    disarm: ["disarmed", "disarmed"],
    trigger: ["siren", "triggered"],
    test: ["", "pending"],
  },
  triggered: {
    arm_home: ["", "triggered"],
    arm_away: ["", "triggered"],
    disarm: ["disarmed", "disarmed"],
    trigger: ["", "triggered"],
    test: ["", "triggered"],
  },
};

suite("device/alarm/machine", (test) => {
  for (const [name, make] of Object.entries(states)) {
    test(`${name}: each command does what the table says, and nothing more`, () => {
      for (const command of commands) {
        const machine = make();
        assert.is(machine.view(0).state, name, "the state that was meant");
        const [what = "", state] = table[name]?.[command] ?? [];
        assert.is(whats(machine.command(command, 0)), what, command);
        const view = machine.view(0);
        assert.is(view.state, state, command);
        assert.is(view.siren, state === "triggered");
        const isWarned = state === "pending" || what === "test";
        assert.is(view.warning, isWarned, command);
        // Said again it does nothing more.
        if (command !== "test") assert.is(whats(machine.command(command, 0)), "", command);
      }
    });
  }

  test("the exit delay: nothing counts in it, and saying so again does not make it longer", () => {
    const { machine } = open();
    machine.command("arm_away", 0);
    machine.evidence([of("door", 500, 500, true)], 30 * s);
    for (let i = 0; i < 59; i++) machine.command(i % 2 ? "arm_away" : "arm_home", i * s);
    assert.is(machine.view(59 * s).state, "arming");
    assert.is(whats(machine.tick(60 * s - 1)), "");
    const [deed] = machine.tick(60 * s);
    assert.equal([deed?.what, deed?.by, deed?.state], ["armed", "delay", "armed_home"]);
    assert.is(machine.view(60 * s).score, 0);
    assert.is(open(undefined, { exitS: 0 }).machine.command("arm_home", 0)[0]?.state, "armed_home");
  });

  test("the whole way: a warning, the entry delay, the siren, and armed again with nothing counted", () => {
    const { machine } = open(away);
    assert.is(whats(machine.evidence([of("person", 20)], 0)), "");
    assert.is(whats(machine.evidence([of("person", 20)], 10 * s)), "warning");
    assert.ok(machine.view(10 * s).warning);
    assert.is(machine.dueUs(), 20 * s);
    machine.tick(20 * s);
    assert.not(machine.view(20 * s).warning);
    const [pending] = machine.evidence([of("person", 20), of("door", 50)], 25 * s);
    assert.equal([pending?.what, pending?.score], ["pending", 110]);
    assert.equal(
      pending?.parts.map(({ source, points, atUs }) => [source, points, atUs / s]),
      [
        ["person", 20, 0],
        ["person", 20, 10],
        ["person", 20, 25],
        ["door", 50, 25],
      ],
      "contribution by contribution",
    );
    assert.ok(machine.view(54 * s).warning && !machine.view(54 * s).siren);
    // More of it makes the delay neither longer nor shorter.
    assert.is(whats(machine.evidence([of("hall", 500)], 40 * s)), "");
    const [siren] = machine.tick(55 * s);
    assert.equal([siren?.what, siren?.by, siren?.atUs], ["siren", "delay", 55 * s]);
    assert.is(whats(machine.evidence([of("hall", 500)], 100 * s)), "");
    const [quiet] = machine.tick(235 * s);
    assert.equal([quiet?.what, quiet?.state, quiet?.atUs], ["quiet", "armed_away", 235 * s]);
    assert.is(machine.view(235 * s).score, 0);
    // Who is still there is found again.
    assert.is(whats(machine.evidence([of("hall", 100)], 236 * s)), "pending");
  });

  test("disarmed in the entry delay there is no siren, whenever that is", () => {
    const { machine } = open(away);
    machine.evidence([of("door", 100)], 0);
    assert.is(whats(machine.command("disarm", 30 * s - 1)), "disarmed");
    assert.equal(machine.tick(10_000 * s), []);
    assert.is(machine.dueUs(), undefined);
    const late = open(away).machine;
    late.evidence([of("door", 100)], 0);
    assert.is(whats(late.command("disarm", 30 * s)), "siren disarmed", "too late is too late");
  });

  test("one warning until the score was below its threshold again", () => {
    const { machine } = open(away);
    assert.is(whats(machine.evidence([of("a", 30), of("b", 20)], 0)), "warning");
    assert.is(whats(machine.evidence([of("a", 30)], 15 * s)), "");
    assert.is(whats(machine.evidence([of("c", 5)], 59 * s)), "");
    // a at 15 s and c are left.
    assert.is(machine.view(60 * s).score, 35);
    assert.is(whats(machine.evidence([of("b", 20)], 60 * s)), "warning");
  });

  test("a threshold is reached by being equal to it, and one point less is too little", () => {
    const at = (points: number) => whats(open(away).machine.evidence([of("x", points)], 0));
    assert.equal([39, 40, 99, 100].map(at), ["", "warning", "warning", "pending"]);
  });

  test("what gives no delay: at once, also while others are given one", () => {
    const { machine } = open(away);
    assert.is(whats(machine.evidence([of("window", 100, 100, true)], 0)), "siren");
    const later = open(away).machine;
    later.evidence([of("door", 100)], 0);
    assert.is(whats(later.evidence([of("window", 1, 1, true)], 5 * s)), "siren");
    const weak = open(away).machine;
    assert.is(whats(weak.evidence([of("window", 39, 39, true)], 0)), "", "its points decide");
    assert.is(whats(open(away, { entryS: 0 }).machine.evidence([of("door", 100)], 0)), "siren");
  });

  test("each mode has weights of its own", () => {
    const hall = of("hall", 100, 0, true);
    assert.is(whats(open({ kind: "armed", mode: "home" }).machine.evidence([hall], 0)), "");
    assert.is(whats(open(away).machine.evidence([hall], 0)), "siren");
  });

  test("a call for help without being armed ends disarmed, and nothing counts in it", () => {
    const { machine } = open();
    const [deed] = machine.command("trigger", 0);
    assert.equal([deed?.what, deed?.mode, deed?.state], ["siren", undefined, "triggered"]);
    machine.evidence([of("door", 1000)], 10 * s);
    assert.is(machine.tick(180 * s)[0]?.state, "disarmed");
  });

  test("a new start: what was goes on, and no delay begins anew twice", () => {
    const again = (kind: "arming" | "pending" | "triggered", isAgain: boolean): Kept => ({
      ...{ kind, mode: "away", isAgain },
    });
    const cases: [Kept, deeds: string, state: PanelState, due: number | undefined][] = [
      [{ kind: "disarmed" }, "", "disarmed", undefined],
      [away, "armed", "armed_away", undefined],
      [{ kind: "armed", mode: "home" }, "armed", "armed_home", undefined],
      [again("arming", false), "arming", "arming", 60 * s],
      [again("arming", true), "armed", "armed_away", undefined],
      [again("pending", false), "pending", "pending", 30 * s],
      [again("pending", true), "siren", "triggered", 180 * s],
      [again("triggered", false), "siren", "triggered", 180 * s],
      [again("triggered", true), "quiet", "armed_away", undefined],
      [{ kind: "triggered", mode: undefined, isAgain: false }, "siren", "triggered", 180 * s],
      [{ kind: "triggered", mode: undefined, isAgain: true }, "quiet", "disarmed", undefined],
    ];
    for (const [kept, deeds, state, due] of cases) {
      const { machine, begun } = open(kept);
      const what = JSON.stringify(kept);
      assert.is(whats(begun), deeds, what);
      assert.ok(
        begun.every(({ by }) => by === "restart"),
        what,
      );
      assert.equal([machine.view(0).state, machine.dueUs()], [state, due], what);
    }
    // However often it is started: from each state it comes to rest.
    for (const [first] of cases) {
      let kept = first;
      for (let i = 0; i < 4; i++) kept = open(kept).machine.kept();
      assert.ok(["disarmed", "armed"].includes(kept.kind), JSON.stringify(first));
    }
  });

  test("the code: what takes protection away takes it", () => {
    const view = (state: PanelState, mode?: "home" | "away") => ({ state, mode });
    const needs = (command: Command, at: ReturnType<typeof view>, codeToArm = false) =>
      needsCode(command, at, { codeToArm });
    const armed = view("armed_away", "away");
    const all = [view("disarmed"), view("arming", "away"), armed, view("pending", "away")];
    for (const at of [...all, view("triggered", "home")]) {
      assert.ok(needs("disarm", at) && needs("disarm", at, true));
      for (const codeToArm of [true, false]) {
        assert.not(needs("trigger", at, codeToArm) || needs("test", at, codeToArm));
      }
      assert.ok(needs("arm_away", at, true) && needs("arm_home", at, true));
      assert.not(needs("arm_away", at));
    }
    assert.not(needs("arm_home", view("disarmed")));
    for (const at of all.slice(1)) assert.ok(needs("arm_home", at), at.state);
    assert.not(needs("arm_home", view("armed_home", "home")));
  });

  test("1,000 random nights: it does the same however often it is looked at, and what it may", () => {
    const random = generator(11);
    const seen = new Map<string, number>();
    for (let round = 0; round < 1_000; round++) {
      const some: MachineSettings = {
        ...{ exitS: random(5), entryS: random(5), windowS: 5 + random(8), sliceS: 1 + random(5) },
        ...{ warnAt: 1 + random(6), sirenAt: 8 + random(8), warnS: 1 + random(3) },
        sirenS: 5 + random(4),
      };
      const steps = Array.from({ length: 40 }, () => ({
        gapUs: random(4 * s),
        // Mostly armed and seldom disarmed, as a house is.
        command: random(5) === 0 ? commands[random(8) % 5] : undefined,
        evidence: [of("abc"[random(3)] ?? "", random(6), random(3), random(12) === 0)],
      }));
      const run = (isWatched: boolean) => {
        const machine = createMachine({ settings: some, atUs: 0 });
        const deeds: Deed[] = [];
        let nowUs = 0;
        for (const { gapUs, command, evidence } of steps) {
          for (let i = 1; isWatched && i < 8; i++) {
            deeds.push(...machine.tick(nowUs + Math.floor((gapUs * i) / 8)));
            machine.view(nowUs + Math.floor((gapUs * i) / 8));
          }
          nowUs += gapUs;
          deeds.push(
            ...(command ? machine.command(command, nowUs) : machine.evidence(evidence, nowUs)),
          );
          const dueUs = machine.dueUs();
          assert.ok(dueUs === undefined || dueUs > nowUs, "what is due was done");
        }
        return deeds;
      };
      const deeds = run(false);
      assert.equal(run(true), deeds, `round ${round}`);
      let before: PanelState = "disarmed";
      for (const deed of deeds) {
        seen.set(deed.what, (seen.get(deed.what) ?? 0) + 1);
        const isAsked = deed.by === "command";
        if (deed.what === "warning")
          assert.ok(deed.score >= some.warnAt && deed.score < some.sirenAt);
        if (deed.what === "pending") assert.ok(deed.score >= some.sirenAt);
        if (deed.what === "siren" && !isAsked) {
          const isInstant = deed.parts.some((part) => part.isInstant) || some.entryS === 0;
          assert.ok(before === "pending" || (deed.score >= some.sirenAt && isInstant));
        }
        if (deed.what === "warning" || deed.what === "pending") assert.match(before, /^armed/);
        assert.is(
          deed.parts.reduce((sum, { points }) => sum + points, 0),
          deed.score,
        );
        before = deed.state;
      }
    }
    for (const what of ["arming", "armed", "disarmed", "warning", "pending", "siren", "quiet"]) {
      assert.ok((seen.get(what) ?? 0) > 100, `${what}: ${seen.get(what)}`);
    }
  });
});
