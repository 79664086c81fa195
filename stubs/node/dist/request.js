import { create, isMessage } from "@bufbuild/protobuf";
import { ToolChoice_Mode, } from "./gen/mlxforge/v1/chat_pb.js";
import { EmbedInputSchema, EmbedRequestSchema, } from "./gen/mlxforge/v1/embedding_pb.js";
import { GenerateRequestSchema } from "./gen/mlxforge/v1/generation_pb.js";
/** Makes the schema's message from any form of the input. */
export function generateRequest(input) {
    if (typeof input === "string")
        return generateRequest([{ role: "user", content: input }]);
    if (isMessages(input))
        return generateRequest({ messages: [...input] });
    if (isMessage(input, GenerateRequestSchema))
        return input;
    const { prompt, promptTokenIds, messages, tools, toolChoice, chat, samplingParams, jsonSchema, jsonObject, regex, grammar, choice, ...fields } = input;
    return create(GenerateRequestSchema, {
        ...fields,
        input: oneOf("one input", {
            prompt,
            promptTokenIds: promptTokenIds && { ids: promptTokenIds },
            chat: messages ? { messages, tools, toolChoice: toolChoiceOf(toolChoice) } : chat,
        }),
        constraint: oneOf("one constraint", {
            jsonSchema: typeof jsonSchema === "object" ? JSON.stringify(jsonSchema) : jsonSchema,
            jsonObject: jsonObject || undefined,
            regex,
            grammar,
            choice: choice && { values: [...choice] },
        }),
        samplingParams: samplingParams && {
            ...samplingParams,
            seed: samplingParams.seed === undefined ? undefined : BigInt(samplingParams.seed),
        },
    });
}
/** Makes the schema's message from any form of the input. */
export function embedRequest(input) {
    if (typeof input === "string")
        return embedRequest([input]);
    if (Array.isArray(input))
        return embedRequest({ inputs: input });
    const params = input;
    if (isMessage(params, EmbedRequestSchema))
        return params;
    return create(EmbedRequestSchema, {
        ...params,
        inputs: params.inputs.map((each) => embedInput(each)),
    });
}
function embedInput(input) {
    const init = typeof input === "string" ? textInput(input) : input;
    return create(EmbedInputSchema, init);
}
function textInput(value) {
    return { input: { case: "text", value } };
}
/** The schema's choice of tools. */
function toolChoiceOf(choice) {
    if (choice === undefined)
        return undefined;
    if (typeof choice === "object")
        return { choice: { case: "name", value: choice.name } };
    const mode = { auto: "AUTO", none: "NONE", required: "REQUIRED" };
    return { choice: { case: "mode", value: ToolChoice_Mode[mode[choice]] } };
}
/** The one member that is set, as protobuf-es spells a oneof. */
function oneOf(what, members) {
    const set = Object.entries(members).filter(([, value]) => value !== undefined);
    if (set.length > 1) {
        throw new TypeError(`give ${what}, not ${set.map(([name]) => name).join(" and ")}`);
    }
    const [member] = set;
    return member ? { case: member[0], value: member[1] } : { case: undefined };
}
function isMessages(input) {
    return Array.isArray(input);
}
//# sourceMappingURL=request.js.map