// How an OpenAPI 3.1 document is written, as far as openapi.ts has need of it, and the types of what is told.

export type Schema = {
  type?: string | readonly string[];
  description?: string;
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  enum?: readonly string[];
  const?: string;
  pattern?: string;
  format?: "date-time";
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
  anyOf?: readonly Schema[];
  $ref?: string;
};
export type Answer = {
  description: string;
  content?: Readonly<Record<string, { schema: Schema }>>;
  headers?: Readonly<Record<string, { description: string; schema: Schema }>>;
};
export type Parameter = {
  name: string;
  in: "header" | "path" | "query";
  required: boolean;
  description: string;
  schema: Schema;
};
export type Operation = {
  operationId: string;
  summary: string;
  /** None: whoever asks. */
  security: readonly Readonly<Record<string, readonly string[]>>[];
  parameters?: readonly Parameter[];
  requestBody?: { required: true; content: Readonly<Record<string, { schema: Schema }>> };
  responses: Readonly<Record<string, Answer>>;
};
export type Path = Partial<Record<"get" | "post", Operation>>;
export type OpenApi = {
  openapi: "3.1.0";
  info: {
    title: string;
    version: string;
    description: string;
    license: { name: string; identifier: string };
  };
  servers: readonly { url: string }[];
  paths: Readonly<Record<string, Path>>;
  components: {
    schemas: Readonly<Record<string, Schema>>;
    securitySchemes: Readonly<Record<string, unknown>>;
  };
};

export const boxType = "application/octet-stream";
export const jsonType = "application/json";
export const problemType = "application/problem+json";
export const streamType = "text/event-stream";
export const metricsType = "text/plain; version=0.0.4; charset=utf-8";
export const pageType = "text/html; charset=utf-8";
