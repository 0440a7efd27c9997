import { connect } from "node:net";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { printMetrics } from "../../../src/device/local/metrics.ts";
import { came } from "../../lib/housed.ts";
import { lentOf, openLocalWorld } from "../../lib/local.ts";
import { suite } from "../../lib/suite.ts";

const sample = /^([a-z_:][a-z0-9_:]*)(\{([a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.e+]+)$/i;

/** Every sample by its name and labels; throws for what is not of the text format. */
function parse(text: string): Map<string, number> {
  const found = new Map<string, number>();
  const types = new Set<string>();
  assert.ok(text.endsWith("\n"));
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE (\S+) (gauge|counter)$/.exec(line)?.[1];
    if (type !== undefined) {
      assert.not(types.has(type), `${type} a second time`);
      types.add(type);
    } else if (!/^# HELP [a-z_]+ .+$/.test(line)) {
      const [, name = "", labels = "", , value] = sample.exec(line) ?? [];
      assert.ok(types.has(name), line);
      found.set(name + labels, Number(value));
    }
  }
  return found;
}

suite("device/local/metrics", (test) => {
  test("states in base units, zones by label, and what the interface did", async () => {
    await using at = await openLocalWorld({ zones: [{ name: "door" }, { name: "gate" }] });
    at.house.incident(came(["door"]));
    await at.ask("/nowhere");
    at.pictures.ageS = 1.26;
    const reply = await at.read("/metrics");
    assert.is(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    const all = parse(reply.body.toString());
    for (const [name, value] of Object.entries({
      person: 1,
      persons: 1,
      motion: 0,
      outbox_age_seconds: 0,
      storage_used_bytes: 2 ** 20,
      storage_free_bytes: 100 * 2 ** 20,
      temperature_celsius: 44,
      'zone_person{zone="door"}': 1,
      'zone_person{zone="gate"}': 0,
      'zone_persons{zone="door"}': 1,
      'info{name="Porch",version="0.1.0"}': 1,
      pictures_age_seconds: 1.3,
      pictures_stale: 0,
      visits_total: 1,
      'local_requests_total{status="4xx"}': 1,
      local_subscribers: 0,
    })) {
      assert.is(all.get(`obscura_camera_${name}`), value, name);
    }
    // Kept for histograms and summaries, as promtool says.
    assert.equal(
      [...all.keys()].filter((name) => /_(count|sum|bucket)(\{|$)/.test(name)),
      [],
    );
  });

  test("who is hung up on in the middle of a request was not answered", async () => {
    const periods = {
      headMs: 500,
      requestMs: 1_000,
      answerMs: 5_000,
      commandMs: 5_000,
      idleMs: 500,
    };
    await using at = await openLocalWorld({ bounds: { periods } });
    at.local.lend(lentOf(async () => true));
    const socket = connect(at.port, "127.0.0.1");
    let said = "";
    socket.on("data", (piece) => {
      said += piece;
    });
    const fields = "Host: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 9";
    socket.write(`POST /v1/commands HTTP/1.1\r\n${fields}\r\n\r\nab`);
    await new Promise((resolve) => socket.on("close", resolve));
    assert.match(said, /^HTTP\/1\.1 408 /);
    for (let before = 0; before < 5; before++) {
      const all = parse((await at.read("/metrics")).body.toString());
      assert.is(all.get('obscura_camera_local_requests_total{status="2xx"}'), before);
      await systemClock.sleep(50);
    }
  });

  test("whatever a camera is called, the format holds", () => {
    const name = 'a"b\\c\nd} 1\n# TYPE x gauge';
    const told = { name, at: "", states: { version: 'v"\\' }, zones: {} };
    const counts = { answers: new Map(), subscribers: 0, cutOff: 0 };
    const text = printMetrics({
      ...{ told, counts, visits: 0, pictures: { ageS: 0, isStale: true } },
    });
    const all = parse(text);
    assert.ok([...all.keys()].some((key) => key.startsWith("obscura_camera_info{")));
    assert.is(all.get("x"), undefined);
  });
});
