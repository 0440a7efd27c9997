import { listingType, listMost, objectType, waitMostS } from "../../protocol/wire/mailbox.ts";
import { longestName } from "../../protocol/wire/name.ts";
import {
  type AlarmEvent,
  alarmFields,
  alarmTypes,
  eventFields,
  eventTypes,
  onlyWhen,
  states,
  type Topic,
  type VisitEvent,
} from "../mqtt/mqtt.ts";
import { idPattern, mostEvents, splitTopic } from "./board.ts";
import {
  type Answer,
  boxType,
  jsonType,
  metricsType,
  type OpenApi,
  type Operation,
  type Parameter,
  type Path,
  pageType,
  problemType,
  type Schema,
  streamType,
} from "./document.ts";

// The local interface as an OpenAPI 3.1 document, made of the map of states that MQTT has. local.md is
// for people; tests hold every answer against this.

const object = (
  properties: Record<string, Schema>,
  required = Object.keys(properties),
): Schema => ({
  ...{ type: "object", properties, required, additionalProperties: false },
});
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const list = (items: Schema, maxItems?: number): Schema => ({
  ...{ type: "array", items },
  ...(maxItems === undefined ? {} : { maxItems }),
});
const hex = (digits: number): Schema => ({ type: "string", pattern: `^[0-9a-f]{${digits}}$` });
const count: Schema = { type: "integer", minimum: 0 };
const share: Schema = { type: "number" };
const score: Schema = { type: "number", minimum: 0, maximum: 1 };
const flag: Schema = { type: "boolean" };
const zone: Schema = { type: "string", pattern: "^[A-Za-z0-9_-]{1,32}$" };
const time: Schema = { type: "string", format: "date-time" };

const eventSchemas: { readonly [K in keyof VisitEvent]: Schema } = {
  event_type: { type: "string", enum: eventTypes },
  ...{ id: hex(32), run: hex(8), number: { type: "integer", minimum: 1 } },
  ...{ at: time, since: time, clock_trusted: flag, seconds: { type: "number" } },
  ...{ count, most: count, score, zones: list(zone), entered: list(zone) },
  persons: list(
    object({
      ...{ track: { type: "integer" }, box: { ...list(share), minItems: 4, maxItems: 4 } },
      ...{ score, zones: list(zone), still: flag },
    }),
    16,
  ),
  clip: { anyOf: [hex(32), { type: "null" }] },
  ...{ clips: count, sealed: flag, delivered: flag },
};

const alarmSchemas: { readonly [K in keyof AlarmEvent]: Schema } = {
  event_type: { type: "string", enum: alarmTypes },
  ...{ run: hex(8), number: { type: "integer", minimum: 1 }, at: time, clock_trusted: flag },
  state: { type: "string", pattern: "^[a-z_]+$" },
  mode: { anyOf: [{ type: "string", enum: ["home", "away"] }, { type: "null" }] },
  by: { type: "string", enum: ["command", "evidence", "delay", "restart"] },
  ...{ score: count, why: { type: "string", maxLength: 512 } },
  contributions: list(object({ source: { type: "string" }, points: count, at: time }), 48),
  others: count,
};

const described = <E extends object>(
  schemas: { readonly [K in keyof E]: Schema },
  fields: { readonly [K in keyof E]: string },
): Schema =>
  object(
    Object.fromEntries(
      Object.entries<Schema>(schemas).map(([name, schema]) => [
        name,
        { ...schema, description: fields[name as keyof E] },
      ]),
    ),
  );

function schemaOf(name: string, { kind, about, only, payload }: Topic<never>): Schema {
  const unit = kind === "whole" && !payload.startsWith("a ") ? `, in ${payload}` : "";
  const description = only ? `${about}${unit} (${onlyWhen[only]})` : `${about}${unit}`;
  if (kind === "flag") return { type: "boolean", description };
  if (kind === "whole") return { type: "integer", description };
  if (kind === "number") return { type: "number", description };
  if (name === "last_event") return { description, anyOf: [ref("Visit"), { type: "null" }] };
  if (name === "last_alarm") return { description, anyOf: [ref("Alarm"), { type: "null" }] };
  if (kind === "object") return { type: ["object", "null"], description };
  return { type: "string", description };
}

/** Of the camera itself, or of one of its zones. */
function stateSchemas(ofZone: boolean): Schema {
  const all = Object.entries(states as Record<string, Topic<never>>).flatMap(([topic, about]) => {
    const { zone, name } = splitTopic(topic);
    return (zone !== undefined) === ofZone ? [{ name, about }] : [];
  });
  const properties = Object.fromEntries(
    all.map(({ name, about }) => [name, schemaOf(name, about)]),
  );
  const always = all.filter(({ about }) => about.only === undefined);
  return object(
    properties,
    always.map(({ name }) => name),
  );
}

const json = (schema: Schema) => ({ [jsonType]: { schema } });
const problem = (description: string, headers?: Answer["headers"]): Answer => ({
  ...{ description, content: { [problemType]: { schema: ref("Problem") } } },
  ...(headers ? { headers } : {}),
});
const text: Schema = { type: "string" };
const header = (name: string, description: string) => ({ [name]: { description, schema: text } });
const later = header("Retry-After", "seconds");
const refusals = {
  "400": problem("not a request that is understood, or one with content where none belongs"),
  "421": problem(
    "not a name of this camera (`local.names`); below `/mailbox` not the address that was connected to",
  ),
  "429": problem("too many requests", later),
  "503": problem("not now: too much at once, or the camera is not ready", later),
};
const token = [{ token: [] }];
const read = (about: Omit<Operation, "security" | "responses">, ok: Answer): Operation => ({
  ...about,
  security: token,
  responses: {
    "200": ok,
    "401": problem("no token, or none that is good", header("WWW-Authenticate", "Bearer")),
    ...refusals,
  },
});
const open = (about: Omit<Operation, "security" | "responses">, ok: Answer): Operation => ({
  ...about,
  security: [],
  responses: { "200": ok, ...refusals },
});

const field = (name: string, pattern: string, description: string): Parameter => ({
  ...{ name, in: "path", required: true, description },
  schema: { type: "string", pattern },
});
const asked = (name: string, description: string, schema: Schema): Parameter => ({
  ...{ name, in: "query", required: false, description, schema },
});
const signature = (name: string): Parameter => ({
  ...{ name, in: "header", required: true, description: "as protocol/wire/request.md has it" },
  schema: text,
});
const upTo = (maximum: number): Schema => ({ type: "integer", minimum: 1, maximum });
const mailbox = field("mailbox", "^[0-9a-f]{64}$", "the owner's");
const incarnation = field("incarnation", "^[0-9]{10}$", "of the camera's keys");
const hash = field("hash", "^[0-9a-f]{64}$", "of the bytes");

/** What is sealed, by where it lies below its mailbox: the shape of requests, not what is in the bytes. */
const sealed = (
  operationId: string,
  summary: string,
  more: { fields?: Parameter[]; page?: Parameter[] },
): Path => {
  const { fields = [], page } = more;
  const opaque = { description: "its bytes, sealed", content: { [objectType]: { schema: {} } } };
  const listing = {
    description: "a line for each: its name, a space, its bytes",
    content: {
      [listingType]: { schema: { ...text, pattern: "^([0-9a-z/]+ [1-9][0-9]{0,6}\\n)*$" } },
    },
  };
  const signed = [signature("Content-Digest"), signature("Signature-Input")];
  const get: Operation = {
    ...{ operationId, summary, security: [{ phone: [] }] },
    parameters: [mailbox, ...fields, ...(page ?? []), ...signed],
    responses: {
      "200": page ? listing : opaque,
      "401": problem(
        "no signature, a wrong one, or one of another time",
        header("Date", "the camera's clock, by which it was judged"),
      ),
      "403": problem("another mailbox, or the key of none of this camera's phones"),
      ...(page ? {} : { "404": problem("nothing under this name") }),
      ...refusals,
    },
  };
  return { get };
};

export const openapi: OpenApi = {
  openapi: "3.1.0",
  info: {
    title: "Obscura camera, in the local network",
    version: "1",
    description:
      "States, counts and events, never a picture. Nothing here changes what the camera does, but a command that an owner's phone has sealed and signed. What can be asked with GET can be with HEAD, but not below `/mailbox`. A path that is not here is 404, another method 405 with `Allow`. What is no HTTP, or not to be read to its end, has a status and no content (400, 408, 417, 431).",
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  servers: [{ url: "/" }],
  paths: {
    "/": {
      get: open(
        {
          operationId: "page",
          summary: "A page that asks for a token and shows states and events",
        },
        { description: "the page", content: { [pageType]: { schema: text } } },
      ),
    },
    "/openapi.json": {
      get: open(
        { operationId: "document", summary: "This document" },
        { description: "the document", content: json({ type: "object" }) },
      ),
    },
    "/health": {
      get: {
        ...{
          operationId: "health",
          summary: "Whether pictures come and are looked at",
          security: [],
        },
        responses: {
          "200": { description: "they are", content: json(ref("Health")) },
          ...refusals,
          "503": {
            description:
              "none was looked at for 30 s, or none is to be had yet; or too much at once",
            content: {
              ...json(ref("Health")),
              [problemType]: { schema: ref("Problem") },
            },
          },
        },
      },
    },
    "/v1/states": {
      get: read(
        { operationId: "states", summary: "All states, as they are now" },
        { description: "the states", content: json(ref("States")) },
      ),
    },
    "/v1/events": {
      get: read(
        {
          operationId: "events",
          summary: `The newest events, ${mostEvents} at most, oldest first`,
        },
        { description: "the events", content: json(ref("Events")) },
      ),
    },
    "/v1/alarms": {
      get: read(
        {
          operationId: "alarms",
          summary: `The newest of what the alarm did, ${mostEvents} at most, oldest first`,
        },
        { description: "the alarm's events", content: json(ref("Alarms")) },
      ),
    },
    "/v1/stream": {
      get: read(
        {
          operationId: "stream",
          summary: "States and events as they come about, as server-sent events",
          parameters: [
            {
              ...{ name: "Last-Event-ID", in: "header", required: false },
              description: "the id of the last event that came: those behind it come first",
              schema: { type: "string", pattern: idPattern },
            },
          ],
        },
        {
          description:
            "`event: states` with all of them, first; `state` with one that changed; `visit` with an event; `alarm` with what the alarm did; `gap` when events between are not kept any more",
          content: { [streamType]: { schema: text } },
        },
      ),
    },
    "/metrics": {
      get: read(
        { operationId: "metrics", summary: "States and counters, for Prometheus" },
        { description: "text format 0.0.4", content: { [metricsType]: { schema: text } } },
      ),
    },
    "/v1/commands": {
      post: {
        operationId: "command",
        summary: "Hands over a sealed command, as a phone puts it into its box at a relay",
        security: [],
        requestBody: { required: true, content: { [boxType]: { schema: {} } } },
        responses: {
          "202": { description: "for this camera; its log says what became of it" },
          "403": problem("nothing for this camera"),
          "411": problem("without its length"),
          "413": problem("longer than a box can be"),
          "415": problem(`not ${boxType}`),
          ...refusals,
        },
      },
    },
    "/mailbox/{mailbox}/": sealed("list", "Names of what is sealed: log, clips, beacon", {
      page: [
        asked("under", "whole fields from the beginning of a name, as `entry/`", text),
        asked("after", "only names behind it, in text order", {
          ...{ type: "string", pattern: "^[0-9a-z/]+$", maxLength: longestName },
        }),
        asked("limit", `names, ${listMost} unless said`, upTo(listMost)),
        asked("wait", "seconds to wait for one, 10 at most here", upTo(waitMostS)),
      ],
    }),
    "/mailbox/{mailbox}/beacon": sealed("beacon", "How far the log goes", {}),
    "/mailbox/{mailbox}/entry/{incarnation}/{sequence}/{hash}": sealed(
      ...(["entry", "An entry of the log, as it is sealed"] as const),
      { fields: [incarnation, field("sequence", "^[0-9]{16}$", "in the log"), hash] },
    ),
    "/mailbox/{mailbox}/part/{incarnation}/{clip}/{number}/{hash}": sealed(
      ...(["part", "A part of a clip, as it is sealed"] as const),
      {
        fields: [
          incarnation,
          field("clip", "^[0-9a-f]{32}$", "its id"),
          field("number", "^[0-9]{10}$", "in the clip"),
          hash,
        ],
      },
    ),
  },
  components: {
    securitySchemes: {
      phone: {
        ...{ type: "apiKey", in: "header", name: "Signature" },
        description:
          "HTTP Message Signatures (RFC 9421) by the key of an owner's or viewer's phone, as protocol/wire/request.md has them; names and listings as protocol/wire/mailbox.md",
      },
      token: {
        ...{ type: "http", scheme: "bearer" },
        description: "as `obscura-camera local token NAME` prints it, once",
      },
    },
    schemas: {
      Health: object({ status: { type: "string", enum: ["ok", "stale"] } }),
      Problem: object(
        {
          ...{ title: text, status: { type: "integer" } },
          stage: {
            ...{ type: "string", pattern: "^[a-z-]{1,32}$" },
            description: "below `/mailbox`: which check it was",
          },
        },
        ["title", "status"],
      ),
      Visit: described<VisitEvent>(eventSchemas, eventFields),
      Events: object({ events: list(ref("Visit"), mostEvents) }),
      Alarm: described<AlarmEvent>(alarmSchemas, alarmFields),
      Alarms: object({ events: list(ref("Alarm"), mostEvents) }),
      Zone: stateSchemas(true),
      States: object({
        name: { type: "string", description: "what the owner calls this camera" },
        at: { ...time, description: "when this was read, by the camera's clock" },
        states: stateSchemas(false),
        zones: { type: "object", additionalProperties: ref("Zone") },
      }),
    },
  },
};
