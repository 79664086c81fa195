import { jsonSchemaText, parseValue } from "./schema.js";
/** A tool whose handler's argument type is inferred from its schema. */
export function tool(definition) {
    return definition;
}
/** The schema's form of tool definitions. */
export function toolDeclarations(tools) {
    return tools.map(({ name, description, parameters }) => ({
        name,
        description: description ?? "",
        parameters: parameters ? jsonSchemaText(parameters) : "",
    }));
}
/**
 * Runs the handler of a call. What it throws is told to the model, which can mend
 * its arguments; only an abort ends the loop.
 */
export async function answerCall(tools, context) {
    const { call, signal } = context;
    let content;
    try {
        const definition = tools.find(({ name }) => name === call.name);
        if (!definition)
            throw new Error(`there is no tool ${call.name}`);
        const args = await parseValue(definition.parameters ?? {}, call.arguments || "{}");
        const result = await definition.execute(args, context);
        content = typeof result === "string" ? result : (JSON.stringify(result) ?? "");
    }
    catch (error) {
        signal?.throwIfAborted();
        content = JSON.stringify({ error: error instanceof Error ? error.message : String(error) });
    }
    return { role: "tool", content, name: call.name, toolCallId: call.id };
}
//# sourceMappingURL=tools.js.map