import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { alarmEvent } from "../../../src/device/mqtt/alarms.ts";
import { commandOf, commands } from "../../../src/device/mqtt/commands.ts";
import {
  announce,
  announcedAt,
  componentsOf,
  type Device,
  partsOf,
} from "../../../src/device/mqtt/discovery.ts";
import { stateOf } from "../../../src/device/mqtt/topics.ts";
import { orderNames } from "../../../src/device/order.ts";
import { suite } from "../../lib/suite.ts";
import { printTables } from "../../lib/topics.ts";

/**
 * What Home Assistant takes, of its schemas as of 2026.9 (components/mqtt: schemas.py, discovery.py,
 * event.py, device_trigger.py; extract github.com/SukramJ/go-ha-catalog data/mqtt.json at 3f4718a).
 * An unknown key at the root, in `device` or in `origin` has the whole document refused; one in a component
 * is dropped without a word, so that a slip of the pen would never show.
 */
const root = [
  ...["device", "origin", "components", "availability", "availability_mode"],
  ...["availability_template", "availability_topic", "command_topic", "encoding"],
  ...[
    "message_expiry_interval",
    "payload_available",
    "payload_not_available",
    "qos",
    "state_topic",
  ],
];
const deviceKeys = [
  ...["identifiers", "connections", "name", "manufacturer", "model", "model_id", "hw_version"],
  ...["sw_version", "serial_number", "suggested_area", "via_device", "configuration_url"],
];
const originKeys = ["name", "sw_version", "support_url"];
const availabilityKeys = [
  ...["topic", "payload_available", "payload_not_available", "value_template"],
];
const entity = [
  ...["availability", "availability_mode", "availability_template", "availability_topic"],
  ...["default_entity_id", "device", "enabled_by_default", "encoding", "entity_category"],
  ...["entity_picture", "group", "icon", "json_attributes_template", "json_attributes_topic"],
  ...["message_expiry_interval", "name", "origin", "payload_available", "payload_not_available"],
  ...["qos", "unique_id", "visible_by_default", "platform"],
];
const platforms: Record<string, { keys: string[]; required: string[] }> = {
  binary_sensor: {
    keys: [
      ...[...entity, "device_class", "expire_after", "force_update", "off_delay", "payload_off"],
      ...["payload_on", "state_topic", "value_template"],
    ],
    required: ["state_topic", "unique_id"],
  },
  sensor: {
    keys: [
      ...[...entity, "device_class", "expire_after", "force_update", "last_reset_value_template"],
      ...["options", "state_class", "state_topic", "suggested_display_precision"],
      ...["unit_of_measurement", "value_template"],
    ],
    required: ["state_topic", "unique_id"],
  },
  event: {
    keys: [...entity, "device_class", "event_types", "state_topic", "value_template"],
    required: ["state_topic", "event_types", "unique_id"],
  },
  switch: {
    keys: [
      ...[...entity, "command_template", "command_topic", "device_class", "optimistic"],
      ...["payload_off", "payload_on", "retain", "state_off", "state_on", "state_topic"],
      "value_template",
    ],
    required: ["command_topic", "state_topic", "unique_id"],
  },
  number: {
    keys: [
      ...[...entity, "command_template", "command_topic", "device_class", "max", "min", "mode"],
      ...["optimistic", "payload_reset", "retain", "state_topic", "step", "unit_of_measurement"],
      "value_template",
    ],
    required: ["command_topic", "state_topic", "min", "max", "step", "unique_id"],
  },
  select: {
    keys: [
      ...[...entity, "command_template", "command_topic", "optimistic", "options", "retain"],
      ...["state_topic", "value_template"],
    ],
    required: ["command_topic", "state_topic", "options", "unique_id"],
  },
  button: {
    keys: [
      ...[...entity, "command_template", "command_topic", "device_class", "payload_press"],
      "retain",
    ],
    required: ["command_topic", "unique_id"],
  },
  alarm_control_panel: {
    keys: [
      ...[...entity, "code", "code_arm_required", "code_disarm_required", "code_trigger_required"],
      ...["command_template", "command_topic", "payload_arm_away", "payload_arm_custom_bypass"],
      ...["payload_arm_home", "payload_arm_night", "payload_arm_vacation", "payload_disarm"],
      ...["payload_trigger", "retain", "state_topic", "supported_features", "value_template"],
    ],
    required: ["command_topic", "state_topic", "unique_id"],
  },
  update: {
    keys: [
      ...[...entity, "command_topic", "device_class", "display_precision", "payload_install"],
      ...["latest_version_template", "latest_version_topic", "release_summary", "release_url"],
      ...["retain", "state_topic", "title", "value_template"],
    ],
    required: ["state_topic", "unique_id"],
  },
  device_automation: {
    keys: [
      ...["platform", "automation_type", "device", "encoding", "origin", "payload", "qos"],
      ...["subtype", "topic", "type", "value_template"],
    ],
    required: ["automation_type", "topic", "type", "subtype"],
  },
};
/** components/<platform>/__init__.py: the classes, and the units that each takes. */
const classes: Record<string, Record<string, string[]>> = {
  binary_sensor: {
    ...{ occupancy: [], motion: [], running: [], connectivity: [], problem: [] },
    safety: [],
  },
  sensor: {
    ...{ timestamp: [], duration: ["d", "h", "min", "s", "ms"] },
    data_size: ["B", "kB", "MB", "GB", "KiB", "MiB", "GiB"],
    temperature: ["°C", "°F", "K"],
  },
  event: { doorbell: [], button: [], motion: [] },
  update: { firmware: [] },
};

const camera: Device = {
  ...{ id: "abc", base: "obscura/abc", name: "Porch", version: "0.1.0" },
  ...{ zones: ["door", "path"], conditions: ["relay", "temperature", "throttled", "alarm"] },
  ...{ allowed: [], profiles: ["day", "night"] },
  panel: { code: "none", codeToArm: false },
};
const all = { form: "device", prefix: "homeassistant" } as const;

function only(object: object, keys: readonly string[], where: string): void {
  const wrong = Object.keys(object).filter((key) => !keys.includes(key));
  assert.equal(wrong, [], `${where} has keys that Home Assistant does not know`);
}

type Component = Record<string, unknown> & { platform: string };

/** One part, by the rules whose breach costs it or the whole. */
function checkComponent(name: string, component: Component): void {
  const platform = platforms[component.platform];
  assert.ok(platform, `${name}: ${component.platform}`);
  only(component, platform.keys, name);
  for (const key of platform.required) assert.ok(component[key] !== undefined, `${name}.${key}`);
  for (const [key, value] of Object.entries(component)) {
    assert.ok(value !== undefined && value !== "", `${name}.${key} is empty`);
  }
  const { device_class: deviceClass, unit_of_measurement: unit } = component;
  const units = classes[component.platform]?.[deviceClass as string];
  if (deviceClass !== undefined) assert.ok(units, `${name}: no class ${deviceClass}`);
  if (units && units.length > 0) assert.ok(units.includes(unit as string), `${name}: ${unit}`);
  if (units?.length === 0) assert.is(unit, undefined, `${name}: a class without units has one`);
  // `config` would keep an entity that only reads from being added, `diagnostic` one that writes.
  const category = component.command_topic === undefined ? "diagnostic" : "config";
  assert.ok([undefined, category].includes(component.entity_category as string), name);
  if (component.platform === "event") assert.is(component.entity_category, undefined);
  assert.is(component.qos, 1, `${name}: qos is not inherited`);
  // The device's name stands before each of these.
  if (component.name) assert.not(String(component.name).includes("Porch"));
}

const parse = (text: string | undefined) => JSON.parse(text ?? "null");

suite("device/mqtt/discovery", (test) => {
  test("the device as a whole: every key is known, and what has to be is there", () => {
    const documents = announce(camera, all);
    assert.equal([...documents.keys()], ["homeassistant/device/obscura_abc/config"]);
    const document = parse([...documents.values()][0]);
    only(document, root, "the root");
    only(document.device, deviceKeys, "device");
    only(document.origin, originKeys, "origin");
    for (const key of ["device", "origin", "components"]) assert.ok(document[key], key);
    assert.ok(document.origin.name && document.device.identifiers.length > 0);
    for (const one of document.availability) {
      only(one, availabilityKeys, "availability");
      assert.is(one.topic, "obscura/abc/availability");
    }
    for (const [name, component] of Object.entries<Component>(document.components)) {
      assert.match(name, /^[a-zA-Z0-9_-]+$/);
      checkComponent(name, component);
    }
    const ids = Object.values<Component>(document.components).flatMap((one) => one.unique_id ?? []);
    assert.is(new Set(ids).size, ids.length, "two of one unique id");
    const triggers = Object.values<Component>(document.components).filter((one) => one.type);
    assert.is(new Set(triggers.map((one) => `${one.type} ${one.subtype}`)).size, triggers.length);
  });

  test("part by part: the same, each with the device and its availability", () => {
    const documents = announce(camera, { ...all, form: "component" });
    const parts = componentsOf(camera);
    assert.is(documents.size, Object.keys(parts).length);
    for (const [topic, text] of documents) {
      const [, platform = "", node, name = "", last] = topic.split("/");
      assert.equal([node, last], ["obscura_abc", "config"]);
      const document = parse(text);
      checkComponent(name, { ...document, platform });
      assert.not("platform" in document);
      only(document.device, deviceKeys, "device");
      only(document.origin, originKeys, "origin");
      assert.is("availability" in document, platform !== "device_automation");
      assert.is(document.unique_id, parts[name]?.unique_id);
    }
  });

  test("no part of a camera is called what one of another is, whatever their ids and zones are", () => {
    const ids = ["a", "a_zone", "a_zone_b", "a_zone_b_zone", "a_alarm", "a_last", "a_set", "b"];
    const zones = ["b", "zone_b", "b_zone_c", "b_", "c", "b_person", "_"];
    const conditions = camera.conditions;
    const names = ids.flatMap((id) => {
      const parts = componentsOf({ ...camera, id, zones, conditions, allowed: orderNames });
      return Object.values(parts).flatMap((part) => part.unique_id ?? []);
    });
    const doubles = names.filter((name, i) => names.indexOf(name) !== i);
    assert.equal(doubles, []);
    // What those that are there are called stays.
    assert.is(componentsOf(camera).zone_door_person?.unique_id, "obscura_abc_zone_door_person");
    const porch = componentsOf({ ...camera, id: "front_porch-2" });
    assert.is(porch.person?.unique_id, "obscura_front_porch-2_person");
  });

  test("every topic that is named is one of the map, and there is nothing of what the camera has not", () => {
    for (const [name, component] of Object.entries(componentsOf(camera))) {
      const topic = String(component.state_topic ?? component.topic);
      assert.ok(topic.startsWith("obscura/abc/"), name);
      const rest = topic.slice("obscura/abc/".length);
      const isStream = rest === "event" || rest === alarmEvent;
      assert.ok(isStream || stateOf(rest), `${name}: ${topic}`);
    }
    const bare = componentsOf({ ...camera, zones: [], conditions: [] });
    const names = ["relay", "outbox_depth", "temperature", "throttled", "zone_door_person"];
    for (const name of [...names, "alarm_siren", "alarm_event", "trigger_alarm_siren"]) {
      assert.not(name in bare, name);
      assert.ok(name in componentsOf(camera), name);
    }
  });

  test("what may be asked for takes the place of what shows it, in both forms; the rest is not offered", () => {
    const asked: Device = { ...camera, allowed: orderNames };
    const parts = componentsOf(asked);
    for (const name of orderNames) {
      const component = parts[`set_${name}`] as Component;
      checkComponent(name, component);
      const topic = String(component.command_topic);
      assert.is(commandOf(topic.slice("obscura/abc/".length)), name);
      assert.not(`set_${name}` in componentsOf(camera), name);
      const { state } = commands[name];
      assert.is(component.state_topic, state && `obscura/abc/${state}`);
      if (!state) continue;
      assert.not(state in parts, `${state} is shown twice`);
      // A panel is nothing to be only looked at.
      assert.is(state in componentsOf(camera), state !== "alarm");
      assert.is.not(parts[`set_${name}`]?.unique_id, componentsOf(camera)[state]?.unique_id);
    }
    assert.equal(parts.set_profile?.options, ["none", "day", "night"]);
    const single = announce(asked, { ...all, form: "component" });
    const topic = "homeassistant/switch/obscura_abc/set_privacy/config";
    assert.is(parse(single.get(topic)).command_topic, "obscura/abc/privacy/set");
    // Each that was announced is known when it goes.
    const [text = ""] = announce(asked, all).values();
    assert.is(Object.keys(partsOf(Buffer.from(text))).length, Object.keys(parts).length);
  });

  test("the panel: its code is checked by the camera, and sent with what is asked for", () => {
    const panelOf = (panel: Device["panel"]) => {
      const parts = componentsOf({ ...camera, allowed: orderNames, panel });
      checkComponent("set_alarm", parts.set_alarm as Component);
      return parts.set_alarm as Component;
    };
    const features = (panel: Component) => panel.supported_features;
    const plain = panelOf({ code: "none", codeToArm: false });
    assert.equal(features(plain), ["arm_home", "arm_away", "trigger"]);
    assert.not("code" in plain || "command_template" in plain);
    assert.is(plain.code_disarm_required, false);
    assert.is(plain.json_attributes_topic, "obscura/abc/last_alarm");
    const digits = panelOf({ code: "digits", codeToArm: false });
    assert.equal(
      [digits.code, digits.code_arm_required, digits.code_disarm_required],
      ["REMOTE_CODE", false, true],
    );
    assert.is(digits.code_trigger_required, false);
    const text = panelOf({ code: "text", codeToArm: true });
    assert.equal([text.code, text.code_arm_required], ["REMOTE_CODE_TEXT", true]);
    assert.match(String(text.command_template), /action.*code.*tojson/);
  });

  test("what went is taken leave of by its platform alone; nothing is announced when that is off", () => {
    const gone = { zone_shed_person: "binary_sensor", person: "sensor" };
    const [text] = announce(camera, { ...all, gone }).values();
    assert.equal(parse(text).components.zone_shed_person, { platform: "binary_sensor" });
    // One that is there is there.
    assert.is(parse(text).components.person.platform, "binary_sensor");
    assert.is(announce(camera, { ...all, form: "off" }).size, 0);
    const [device] = announcedAt("homeassistant", "abc");
    assert.ok(announce(camera, all).has(device ?? ""));
  });

  test("what lies at the broker is read back, and nothing else is taken from it", () => {
    const [text = ""] = announce(camera, all).values();
    const parts = partsOf(Buffer.from(text));
    const platformsOf = Object.entries(componentsOf(camera)).map(([n, { platform }]) => [
      n,
      platform,
    ]);
    assert.equal(Object.entries(parts), platformsOf);
    for (const wrong of ["", "null", "[]", "{}", '{"components":7}', '{"components":{"a":null}}']) {
      assert.equal(partsOf(Buffer.from(wrong)), {}, wrong);
    }
    const odd = {
      "a/b": { platform: "sensor" },
      ok: { platform: "sensor" },
      no: { platform: "lock" },
    };
    assert.equal(partsOf(Buffer.from(JSON.stringify({ components: odd }))), { ok: "sensor" });
  });

  test("the document is small, also with as many zones as there can be", () => {
    const zones = Array.from({ length: 16 }, (_, i) => String(i).padStart(32, "z"));
    const [text = ""] = announce({ ...camera, zones }, all).values();
    console.log(`\nmeasured: discovery: ${text.length} bytes with 16 zones`);
    assert.ok(text.length < 32 * 1024);
  });

  test("HOME.md says what appears", async () => {
    const path = new URL("../../../../HOME.md", import.meta.url).pathname;
    const home = await readFile(path, "utf8");
    const { shown, offered } = printTables();
    for (const table of [shown, offered]) assert.ok(home.includes(`\n\n${table}\n\n`), table);
  });
});
