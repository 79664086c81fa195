import { type MessageInitShape } from "@bufbuild/protobuf";
import { type ChatSchema, type MessageSchema, type ToolSchema } from "./gen/mlxforge/v1/chat_pb.js";
import { EmbedInputSchema, type EmbedRequest, EmbedRequestSchema } from "./gen/mlxforge/v1/embedding_pb.js";
import { type GenerateRequest, GenerateRequestSchema } from "./gen/mlxforge/v1/generation_pb.js";
import type { SamplingParamsSchema } from "./gen/mlxforge/v1/sampling_pb.js";
/** Fields of a message, without what marks it as one. */
type Fields<T> = Omit<T, "$typeName" | "$unknown">;
type GenerateInit = Exclude<MessageInitShape<typeof GenerateRequestSchema>, GenerateRequest>;
type EmbedInit = Exclude<MessageInitShape<typeof EmbedRequestSchema>, EmbedRequest>;
type SamplingInit = Fields<MessageInitShape<typeof SamplingParamsSchema>>;
/** One turn of a conversation, as a plain object. */
export type ChatMessage = MessageInitShape<typeof MessageSchema>;
/** Which tools are to be called. */
export type ToolChoiceInput = "auto" | "none" | "required" | {
    name: string;
};
/**
 * What to generate from, how, and how much: the fields of the schema's
 * `GenerateRequest`, the input and the constraint given by their names.
 */
export interface GenerateParams extends Omit<Fields<GenerateInit>, "input" | "constraint" | "samplingParams"> {
    /** Raw text, tokenized as it stands. */
    prompt?: string;
    /** Token ids, used as they are. */
    promptTokenIds?: number[];
    /** A conversation for the model's chat template. */
    messages?: ChatMessage[];
    /** Functions the model may call. With `messages`. */
    tools?: MessageInitShape<typeof ToolSchema>[];
    /** Which of them. With `messages`. */
    toolChoice?: ToolChoiceInput;
    /** A whole `Chat`, instead of `messages`. */
    chat?: MessageInitShape<typeof ChatSchema>;
    /** How tokens are chosen. */
    samplingParams?: Omit<SamplingInit, "seed"> & {
        seed?: number | bigint;
    };
    /** A JSON Schema that the text must conform to, as an object or as text. */
    jsonSchema?: string | Readonly<Record<string, unknown>>;
    /** The text must be a JSON object. */
    jsonObject?: boolean;
    /** A regular expression for the whole text. */
    regex?: string;
    /** A grammar in llguidance's form of Lark. */
    grammar?: string;
    /** The text must be one of these. */
    choice?: readonly string[];
}
/** A user's message, a conversation, parameters, or a schema message. */
export type GenerateInput = string | readonly ChatMessage[] | GenerateParams | GenerateRequest;
/** Makes the schema's message from any form of the input. */
export declare function generateRequest(input: GenerateInput): GenerateRequest;
/** A text, texts, inputs of the schema, or its whole message. */
export type EmbedParams = string | readonly string[] | (Omit<Fields<EmbedInit>, "inputs"> & {
    inputs: readonly (string | MessageInitShape<typeof EmbedInputSchema>)[];
}) | EmbedRequest;
/** Makes the schema's message from any form of the input. */
export declare function embedRequest(input: EmbedParams): EmbedRequest;
export {};
//# sourceMappingURL=request.d.ts.map