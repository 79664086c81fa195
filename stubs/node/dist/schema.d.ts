import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
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
export declare function jsonSchemaText(schema: ValueSchema): string;
/**
 * Parses JSON text and, with a schema object, checks it and applies its transforms.
 *
 * Throws `OutputError` with reason `INVALID_JSON` or `SCHEMA_MISMATCH`.
 */
export declare function parseValue<T>(schema: ValueSchema<T>, text: string): Promise<T>;
//# sourceMappingURL=schema.d.ts.map