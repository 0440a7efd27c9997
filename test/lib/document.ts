import type { Operation } from "../../src/device/local/document.ts";
import { openapi } from "../../src/device/local/openapi.ts";
import type { Reply } from "./local.ts";
import { faultsOf } from "./schema.ts";

const { schemas } = openapi.components;

/** What the document has for a target as it stands on the request line: a path of it with its fields filled in. */
export function operationAt(method: string, target: string): Operation | undefined {
  const path = target.split("?", 1)[0] ?? "";
  for (const [template, { get, post }] of Object.entries(openapi.paths)) {
    const operation = method === "POST" ? post : get;
    if (operation && patternOf(template, operation).test(path)) return operation;
  }
  return undefined;
}

function patternOf(template: string, { parameters = [] }: Operation): RegExp {
  const pieces = template.split(/[{}]/).map((piece, i) => {
    if (i % 2 === 0) return piece.replace(/[.]/g, "\\$&");
    const field = parameters.find((one) => one.in === "path" && one.name === piece);
    if (!field?.schema.pattern) throw new Error(`${template}: what is ${piece}?`);
    return field.schema.pattern.slice(1, -1);
  });
  return new RegExp(`^${pieces.join("")}$`);
}

/** What is wrong with an answer by the document, or nothing. */
export function faultOf({ status, headers, body }: Reply, operation: Operation): string[] {
  const answer = operation.responses[String(status)];
  if (!answer) return [`${operation.operationId}: ${status} is not in the document`];
  const type = String(headers["content-type"] ?? "");
  if (!answer.content) return body.length === 0 ? [] : [`${status} with content`];
  const of = answer.content[type];
  if (!of) return [`${status}: ${type} is not in the document`];
  // A health that is bad is a 503 too, in plain JSON, and knows no moment to come back at.
  const missing = Object.keys(answer.headers ?? {}).filter(
    (name) => headers[name.toLowerCase()] === undefined && !type.endsWith("/json"),
  );
  if (missing.length > 0) return [`${status} without ${missing}`];
  if (type.endsWith("json")) return faultsOf(JSON.parse(body.toString()), of.schema, schemas);
  return type.startsWith("text/") ? faultsOf(body.toString(), of.schema, schemas) : [];
}
