import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { explain, isFailure } from "../../../src/base/pure/failure.ts";
import { doubtsOf, type Holder, readNotice } from "../../../src/phone/notice.ts";
import type { CameraKeys } from "../../../src/phone/vault.ts";
import type { PushMessage, Verdict } from "../../../src/protocol/wire/push.ts";
import { openBody } from "../../lib/ece.ts";
import { wallMs } from "../../lib/mailed.ts";
import { until } from "../../lib/mosquitto.ts";
import { type Browser, browserAt, openPushing } from "../../lib/pushing.ts";
import { suite } from "../../lib/suite.ts";
import { type Row, tell } from "../../lib/told.ts";

type Post = { message: PushMessage; afterMs?: number };
type Case = {
  does: string;
  /** What comes to the phone of what the camera handed on, three visits after one another. */
  post?(sent: PushMessage[], theirs: PushMessage[]): Post[];
  verdict?: Verdict;
  expect: { camera?: RegExp; phone?: RegExp; times?: number };
};

const flip = (message: PushMessage): PushMessage => {
  const body = Uint8Array.from(message.body);
  body[500] = (body[500] ?? 0) ^ 1;
  return { ...message, body };
};
const post = (messages: (PushMessage | undefined)[], afterMs = 0): Post[] =>
  messages.flatMap((message) => (message ? [{ message, afterMs }] : []));

const cases: Case[] = [
  { does: "is honest", expect: { times: 3 } },
  {
    does: "says that it handed each message on, and drops them",
    post: () => [],
    expect: { times: 0 },
  },
  {
    does: "drops one of three",
    post: ([a, , c]) => post([a, c]),
    expect: { phone: /MISSING: 1/, times: 2 },
  },
  {
    does: "doubles each message",
    post: ([a, b, c]) => post([a, a, b, b, c, c]),
    expect: { phone: /AGAIN/, times: 3 },
  },
  {
    does: "hands them on in another order",
    post: ([a, b, c]) => post([a, c, b]),
    expect: { phone: /MISSING: 1/, times: 3 },
  },
  {
    does: "holds them back for three hours",
    post: (all) => post(all, 3 * 3_600_000),
    expect: { phone: /LATE: 180 minutes/, times: 3 },
  },
  {
    does: "hands an old one on again a day later",
    post: (all) => [...post(all), ...post(all.slice(0, 1), 86_400_000)],
    expect: { phone: /AGAIN.*LATE/s, times: 3 },
  },
  { does: "flips a bit of each message", post: (all) => post(all.map(flip)), expect: { times: 0 } },
  {
    does: "gives this phone what is for another",
    post: (_, theirs) => post(theirs),
    expect: { times: 0 },
  },
  {
    does: "says that the service does not know the subscription any more",
    ...{ verdict: { kind: "gone" }, post: () => [] },
    expect: { camera: /log: push gone/, times: 0 },
  },
  {
    does: "says for ever that the service wants patience",
    ...{ verdict: { kind: "later", seconds: 3600 }, post: () => [] },
    expect: { camera: /takes nothing at present/, times: 0 },
  },
  {
    does: "says that the service refuses each message",
    ...{ verdict: { kind: "refused", status: 403 }, post: () => [] },
    expect: { camera: /refuses the message \(403\)/, times: 0 },
  },
];

const here = "https://push.example/send/";

suite("device/push: a relay that lies", (test) => {
  test("what camera and phone say, in the table of HOSTILE.md", async () => {
    const rows: Row[] = [];
    for (const one of cases) rows.push(await play(one));
    await tell("push", rows);
  });
});

async function play({ does, post: hand, verdict, expect }: Case): Promise<Row> {
  const clock = new ManualClock(wallMs);
  await using at = await openPushing({ clock });
  const [relay] = at.relays;
  if (!relay) throw new Error("no relay");
  const push = await at.open();
  const mine = browserAt(`${here}mine`, at.camera);
  const theirs = browserAt(`${here}theirs`, at.camera, 0x41);
  for (const { phone, subscription } of [mine, theirs]) await push.subscribe(phone, subscription);
  const isMine = ({ endpoint }: PushMessage) => endpoint.endsWith("mine");
  relay.verdict = () => {
    const last = relay.pushes.at(-1);
    return verdict && last && isMine(last) ? verdict : { kind: "accepted" };
  };
  for (let visit = 1; visit <= 3; visit++) {
    await at.visit(push);
    const handed = (own: boolean) => relay.pushes.filter((sent) => isMine(sent) === own).length;
    await until(
      `handed on: ${does}`,
      () => handed(false) >= visit && (verdict ? handed(true) > 0 : handed(true) >= visit),
    );
  }
  const faults = () => [...at.faults.values()];
  const gone = () => at.notes.filter((note) => note.kind === "push" && note.what === "gone");
  if (verdict) {
    const isSaid = () => faults().length + gone().length > 0 || at.log().includes("at present");
    await until(`said: ${does}`, isSaid);
  }
  const log = /takes nothing at present/.test(at.log())
    ? [
        "a phone is not told of visits: the push service takes nothing at present (in its log at once, as a problem after an hour)",
      ]
    : [];
  const camera = [...new Set([...gone().map(() => "log: push gone"), ...faults(), ...log])];
  const phone = read(mine, relay.pushes.filter(isMine), {
    come: hand?.(
      relay.pushes.filter(isMine),
      relay.pushes.filter((sent) => !isMine(sent)),
    ),
  });
  const text = phone.says.join("\n");
  if (expect.camera) assert.match(camera.join("\n"), expect.camera, does);
  else assert.equal(camera, [], does);
  if (expect.phone) assert.match(text, expect.phone, does);
  assert.is(phone.news, expect.times, `${does}: ${text}`);
  // The other phone's are whole, whatever is done to this one's.
  const others = relay.pushes
    .filter((sent) => !isMine(sent))
    .map((sent) => theirs.read(sent).number);
  assert.equal(others, [1, 2, 3], does);
  const said = [
    ...camera.map((line) => `camera: ${line}`),
    `phone: ${phone.news} of 3 visits${phone.says.length > 0 ? `; ${phone.says.join("; ")}` : ""}`,
  ];
  return { does, says: said };
}

/** What a browser and the phone behind it make of what comes. */
function read(mine: Browser, sent: PushMessage[], { come }: { come: Post[] | undefined }) {
  const pushed = { id: mine.subscription.id } as NonNullable<CameraKeys["pushes"]>[number];
  const holder = { ...mine.holder, keys: {} as CameraKeys, push: pushed } satisfies Holder;
  const says = new Set<string>();
  let news = 0;
  for (const { message, afterMs = 0 } of come ?? post(sent)) {
    try {
      const plain = openBody(message.body, mine.curve, mine.subscription.auth);
      const nowMs = wallMs + 10_000 + afterMs;
      const notice = readNotice(plain, [holder], { suite: nodeSuite, nowMs });
      if (!notice) throw new Error("sealed to another");
      notice.keep();
      for (const doubt of doubtsOf(notice)) says.add(doubt);
      if (!notice.isAgain) news += 1;
    } catch (error) {
      says.add(`does not open${isFailure(error) ? `: ${explain(error)}` : ""}`);
    }
  }
  return { news, says: [...says] };
}
