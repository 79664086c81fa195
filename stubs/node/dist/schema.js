import { OutputError } from "./errors.js";
/** The JSON Schema of any kind of schema, as text. */
export function jsonSchemaText(schema) {
    if (!isStandard(schema))
        return JSON.stringify(schema);
    const { jsonSchema, vendor } = schema["~standard"];
    if (!jsonSchema) {
        throw new TypeError(`this ${vendor} does not implement Standard JSON Schema; zod does from 4.2`);
    }
    return JSON.stringify(jsonSchema.input({ target: "draft-2020-12" }));
}
/**
 * Parses JSON text and, with a schema object, checks it and applies its transforms.
 *
 * Throws `OutputError` with reason `INVALID_JSON` or `SCHEMA_MISMATCH`.
 */
export async function parseValue(schema, text) {
    let value;
    try {
        value = JSON.parse(text);
    }
    catch (cause) {
        throw new OutputError("the text is not JSON", text, { reason: "INVALID_JSON", cause });
    }
    if (!isStandard(schema))
        return value;
    const result = await schema["~standard"].validate(value);
    if (!result.issues)
        return result.value;
    const issues = result.issues.map((issue) => `${pathOf(issue)}: ${issue.message}`).join("; ");
    throw new OutputError(`the value does not match its schema: ${issues}`, text, {
        reason: "SCHEMA_MISMATCH",
    });
}
function isStandard(schema) {
    return "~standard" in schema;
}
function pathOf(issue) {
    const keys = issue.path?.map((part) => String(typeof part === "object" ? part.key : part));
    return `/${keys?.join("/") ?? ""}`;
}
//# sourceMappingURL=schema.js.map