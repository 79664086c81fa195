import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { OutputError } from "./errors.js";

/** A JSON Schema as a plain object. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * A schema object of zod (4.2 or later), ArkType, Valibot and others: it follows
 * Standard Schema, so it can check a value, and Standard JSON Schema, so it can be
 * written as JSON Schema for the engine.
 */
export type StandardSchema<T = unknown> = {
  readonly "~standard": StandardSchemaV1.Props<unknown, T> & StandardJSONSchemaV1.Props<unknown, T>;
};

/** What says how a JSON value must look. */
export type ValueSchema<T = unknown> = StandardSchema<T> | JsonSchema;

/** The JSON Schema of any kind of schema, as text. */
export function jsonSchemaText(schema: ValueSchema): string {
  if (!isStandard(schema)) return JSON.stringify(schema);
  const { jsonSchema, vendor } = schema["~standard"];
  if (!jsonSchema) {
    throw new TypeError(
      `this ${vendor} does not implement Standard JSON Schema; zod does from 4.2`,
    );
  }
  return JSON.stringify(jsonSchema.input({ target: "draft-2020-12" }));
}

/**
 * Parses JSON text and, with a schema object, checks it and applies its transforms.
 *
 * Throws `OutputError` with reason `INVALID_JSON` or `SCHEMA_MISMATCH`.
 */
export async function parseValue<T>(schema: ValueSchema<T>, text: string): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OutputError("the text is not JSON", text, { reason: "INVALID_JSON", cause });
  }
  if (!isStandard(schema)) return value as T;
  const result = await schema["~standard"].validate(value);
  if (!result.issues) return result.value;
  const issues = result.issues.map((issue) => `${pathOf(issue)}: ${issue.message}`).join("; ");
  throw new OutputError(`the value does not match its schema: ${issues}`, text, {
    reason: "SCHEMA_MISMATCH",
  });
}

function isStandard<T>(schema: ValueSchema<T>): schema is StandardSchema<T> {
  return "~standard" in schema;
}

function pathOf(issue: StandardSchemaV1.Issue): string {
  const keys = issue.path?.map((part) => String(typeof part === "object" ? part.key : part));
  return `/${keys?.join("/") ?? ""}`;
}
