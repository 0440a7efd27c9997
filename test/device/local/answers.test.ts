import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { openapi } from "../../../src/device/local/openapi.ts";
import { faultOf } from "../../lib/document.ts";
import { came, left } from "../../lib/housed.ts";
import { call, deedOf, lentOf, openLocalWorld, type Reply } from "../../lib/local.ts";
import { freePort, until } from "../../lib/mosquitto.ts";
import { faultsOf } from "../../lib/schema.ts";
import { suite } from "../../lib/suite.ts";
import { expectedStates, holdsPicture } from "../../lib/topics.ts";

const root = new URL("../../../../", import.meta.url).pathname;
const { schemas } = openapi.components;
const whose: Readonly<Record<string, string>> = {
  ...{ "": "none", token: "token", phone: "a phone's signature" },
};
const json = (reply: Reply) => JSON.parse(reply.body.toString());

suite("device/local answers", (test) => {
  test("every path of the document answers as its schema says, and nothing holds a picture", async () => {
    await using at = await openLocalWorld({ zones: [{ name: "door" }, { name: "gate" }] });
    at.house.incident(came(["door"]));
    at.house.motion();
    at.house.incident(left());
    at.local.lend(lentOf(async () => false));
    const paths = Object.entries(openapi.paths);
    assert.ok(paths.length >= 12);
    for (const [path, { get, post }] of paths) {
      // Signed by a phone: mailbox.test.ts.
      if (path.startsWith("/mailbox/")) continue;
      if (get && get.operationId !== "stream") {
        const isOpen = get.security.length === 0;
        const good = await at.read(path);
        assert.is(good.status, 200, path);
        assert.equal(faultOf(good, get), [], path);
        const bare = await at.ask(path);
        assert.is(bare.status, isOpen ? 200 : 401, path);
        assert.equal(faultOf(bare, get), [], path);
        const head = await at.read(path, { method: "HEAD" });
        assert.equal([head.status, head.body.length], [200, 0], path);
        for (const reply of [good, bare]) assert.not(holdsPicture(reply.body), path);
        assert.is((await at.read(path, { method: "POST" })).status, 405, path);
      }
      if (post) {
        const headers = { "content-type": "application/octet-stream" };
        const refused = await at.ask(path, { method: "POST", headers, body: Buffer.alloc(100) });
        assert.is(refused.status, 403, path);
        assert.equal(faultOf(refused, post), [], path);
        assert.is((await at.read(path)).status, 405, path);
      }
    }
    const unknown = await at.read("/v1/picture");
    assert.is(unknown.status, 404);
    assert.equal(faultsOf(json(unknown), schemas.Problem ?? {}, schemas), []);
  });

  test("states are those that MQTT is told, with types of their own", async () => {
    await using at = await openLocalWorld();
    const before = json(await at.read("/v1/states"));
    assert.is(before.name, "Porch");
    assert.equal([before.states.person, before.states.count], [false, 0]);
    assert.is(before.states.last_event, null);
    assert.equal([before.states.privacy, before.states.threshold], [false, 0.4]);
    at.house.incident(came(["door"]));
    const { states, zones } = json(await at.read("/v1/states"));
    assert.equal([states.person, states.count, states.availability], [true, 1, "online"]);
    assert.is(states.last_event.event_type, "new");
    assert.equal(zones, { door: { person: true, count: 1 } });
    const has = ["relay", "temperature", "throttled"];
    const names = [
      ...Object.keys(states),
      ...Object.keys(zones.door).map((name) => `zone/door/${name}`),
    ];
    assert.equal(names.sort(), expectedStates(["door"], has).sort());
    at.house.set({ name: "Porch", zones: [] });
    assert.equal(json(await at.read("/v1/states")).zones, {});
    const { events } = json(await at.read("/v1/events"));
    assert.equal(
      events.map((one: { number: number }) => one.number),
      [1],
    );
  });

  test("whatever MQTT has a topic for is in the document, with its type", async () => {
    await using at = await openLocalWorld();
    const told = { alarm: "armed_home", alarm_score: "3", alarm_siren: "OFF", alarm_warning: "ON" };
    for (const [topic, payload] of Object.entries(told)) at.local.put(topic, payload);
    at.local.put("last_alarm", JSON.stringify(deedOf(1)));
    at.local.alarm(deedOf(1));
    const reply = await at.read("/v1/states");
    const { states } = json(reply);
    assert.equal([states.alarm, states.alarm_score, states.alarm_siren], ["armed_home", 3, false]);
    assert.equal(states.last_alarm, deedOf(1));
    const alarms = await at.read("/v1/alarms");
    assert.equal(json(alarms), { events: [deedOf(1)] });
    const about = openapi.paths["/v1/alarms"]?.get;
    assert.equal(about && faultOf(alarms, about), []);
    at.local.alarm(deedOf(2, { why: 7 as unknown as string }));
    assert.match(about ? faultOf(await at.read("/v1/alarms"), about).join() : "", /why/);
    const operation = openapi.paths["/v1/states"]?.get;
    assert.equal(operation && faultOf(reply, operation), []);
    assert.match((await at.read("/metrics")).body.toString(), /^obscura_camera_alarm_score 3$/m);
    // A mistake of ours in a topic shows.
    at.local.put("count", "many");
    assert.match(operation ? faultOf(await at.read("/v1/states"), operation).join() : "", /count/);
  });

  test("the comparison with the document can fail", () => {
    const operation = openapi.paths["/v1/states"]?.get;
    assert.ok(operation);
    const reply = (value: unknown, status = 200, type = "application/json") => ({
      ...{ status, headers: { "content-type": type } },
      body: Buffer.from(JSON.stringify(value)),
    });
    const right = { name: "x", at: "2026-01-01T00:00:00.000Z", states: {}, zones: {} };
    assert.match(faultOf(reply(right), operation).join(), /no person/);
    assert.match(faultOf(reply({ ...right, more: 1 }), operation).join(), /more is not in the/);
    assert.match(faultOf(reply({ ...right, at: "now" }), operation).join(), /not a time/);
    assert.match(faultOf(reply({}, 500), operation).join(), /500 is not in/);
    assert.match(faultOf(reply({}, 200, "image/jpeg"), operation).join(), /image\/jpeg/);
    assert.throws(() => faultsOf(1, { oneOf: [] } as object, {}), /not known here/);
  });

  test("health turns bad when pictures are stale, and says no more to strangers", async () => {
    await using at = await openLocalWorld();
    const well = await at.ask("/health");
    assert.equal([well.status, well.body.toString()], [200, '{"status":"ok"}']);
    at.pictures.isStale = true;
    const stale = await at.ask("/health");
    assert.equal([stale.status, stale.body.toString()], [503, '{"status":"stale"}']);
    const operation = openapi.paths["/health"]?.get;
    assert.equal(operation && faultOf(stale, operation), []);
    const text = (await at.read("/metrics")).body.toString();
    assert.match(text, /^obscura_camera_pictures_stale 1$/m);
    at.pictures.isStale = false;
    assert.is((await at.ask("/health")).status, 200);
  });

  test("only its own names: a page that made another point here is not heard", async () => {
    await using at = await openLocalWorld();
    const status = async (host: string | string[]) =>
      (await at.read("/v1/states", { headers: { host } })).status;
    for (const host of [
      ...["127.0.0.1", "192.168.1.2:8480", "[::1]:8480", "[fe80::1]", "localhost:1"],
      ...["LOCALHOST", "camera.home", "camera.home:8480"],
    ]) {
      assert.is(await status(host), 200, host);
    }
    for (const host of [
      ...["evil.example", "evil.example:8480", "127.0.0.1.evil.example", "camera.home.evil"],
      ...["camera.home@evil.example", "[::1", "localhost:1:2", "a b", "1.2.3"],
    ]) {
      assert.is(await status(host), 421, host);
    }
    // Also the page and health: what is told nothing is not asked again.
    assert.is((await at.ask("/", { headers: { host: "evil.example" } })).status, 421);
  });

  test("what every answer says to browsers", async () => {
    await using at = await openLocalWorld();
    const preflight = {
      origin: "http://evil.example",
      "access-control-request-method": "GET",
      "access-control-request-headers": "authorization",
    };
    const asked = await at.ask("/v1/states", { method: "OPTIONS", headers: preflight });
    assert.is(asked.status, 405);
    for (const path of ["/", "/health", "/v1/states", "/nowhere", "/v1/stream"]) {
      const { headers } = await at.ask(path, { headers: { origin: "http://evil.example" } });
      assert.is(headers["x-content-type-options"], "nosniff");
      assert.is(headers["cache-control"], "no-store");
      assert.match(String(headers["content-security-policy"]), /default-src 'none'.*frame-anc/);
      assert.is(headers["set-cookie"], undefined);
      const cors = Object.keys(headers).filter((name) => name.startsWith("access-control"));
      assert.equal(cors, []);
    }
  });

  test("a proxy before it is told to hand events on as they come", async () => {
    await using at = await openLocalWorld();
    const { headers } = await at.read("/v1/stream", { method: "HEAD" });
    assert.is(headers["x-accel-buffering"], "no");
  });

  test("local.md says what the document does", async () => {
    const text = await readFile(`${root}src/device/local/local.md`, "utf8");
    const rows = Object.entries(openapi.paths).flatMap(([path, of]) =>
      Object.entries(of).map(
        ([
          method,
          {
            summary,
            security: [needed],
          },
        ]) => {
          const who =
            method === "post" ? "its own seal" : whose[Object.keys(needed ?? {})[0] ?? ""];
          return `| \`${method.toUpperCase()} ${path}\` | ${who} | ${summary} |`;
        },
      ),
    );
    const table = ["| request | needs | gives |", "| --- | --- | --- |", ...rows].join("\n");
    assert.ok(text.includes(`\n\n${table}\n\n`), table);
  });

  test("a port that is taken is a problem, and tried again", async () => {
    const port = await freePort();
    const settings = { port, host: "", names: [], certificate: "", key: "", announce: false };
    await using first = await openLocalWorld({ settings });
    await using second = await openLocalWorld({ settings, bounds: { againMs: 50 } });
    assert.match(second.faults[0] ?? "", /cannot listen at port/);
    assert.is(second.log().split("cannot listen").length, 2, "said once");
    await first.local.close();
    await until("mended", () => second.faults.at(-1) === undefined);
    assert.is((await call(first.port, "/health")).status, 200);
  });
});
