import type { Schema } from "../../src/device/local/document.ts";

/**
 * What is wrong with a value by a schema, in the part of JSON Schema that openapi.ts uses; a keyword that
 * is not known here throws, for it would prove nothing.
 */
export function faultsOf(
  value: unknown,
  schema: Schema,
  schemas: Readonly<Record<string, Schema>>,
  at = "$",
): string[] {
  for (const key of Object.keys(schema)) {
    if (!known.includes(key)) throw new Error(`${at}: the schema's ${key} is not known here`);
  }
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace("#/components/schemas/", "");
    const target = schemas[name];
    if (!target) throw new Error(`${at}: there is no ${schema.$ref}`);
    return faultsOf(value, target, schemas, at);
  }
  const inner = (part: unknown, of: Schema, where: string) => faultsOf(part, of, schemas, where);
  const faults: string[] = [];
  const need = (isRight: boolean, what: string) => {
    if (!isRight) faults.push(`${at}: ${what}: ${JSON.stringify(value)?.slice(0, 100)}`);
  };
  if (schema.anyOf && !schema.anyOf.some((one) => inner(value, one, at).length === 0)) {
    need(false, "none of these");
  }
  if (schema.type !== undefined)
    need(
      [schema.type].flat().includes(typeOf(value)) ||
        (schema.type === "number" && typeOf(value) === "integer"),
      `not ${schema.type}`,
    );
  if (schema.enum) need(schema.enum.includes(value as string), "not in the list");
  if (typeof value === "string") {
    if (schema.pattern !== undefined) need(new RegExp(schema.pattern, "u").test(value), "pattern");
    if (schema.format === "date-time") {
      need(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value), "not a time");
    }
    if (schema.maxLength !== undefined) need(value.length <= schema.maxLength, "too long");
  }
  if (typeof value === "number") {
    if (schema.minimum !== undefined) need(value >= schema.minimum, "too small");
    if (schema.maximum !== undefined) need(value <= schema.maximum, "too large");
  }
  if (Array.isArray(value)) {
    if (schema.minItems !== undefined) need(value.length >= schema.minItems, "too few");
    if (schema.maxItems !== undefined) need(value.length <= schema.maxItems, "too many");
    const { items } = schema;
    if (items) faults.push(...value.flatMap((one, i) => inner(one, items, `${at}[${i}]`)));
  } else if (typeof value === "object" && value !== null) {
    for (const name of schema.required ?? []) need(Object.hasOwn(value, name), `no ${name}`);
    for (const [name, part] of Object.entries(value)) {
      const of = schema.properties?.[name];
      const { additionalProperties: more } = schema;
      if (of) faults.push(...inner(part, of, `${at}.${name}`));
      else if (typeof more === "object") faults.push(...inner(part, more, `${at}.${name}`));
      else need(more !== false, `${name} is not in the schema`);
    }
  }
  return faults;
}

const known = [
  ...["type", "description", "properties", "required", "additionalProperties", "items", "enum"],
  ...[
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxLength",
    "anyOf",
    "$ref",
  ],
];

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number" && Number.isInteger(value)) return "integer";
  return typeof value;
}
