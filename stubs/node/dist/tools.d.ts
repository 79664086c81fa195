import type { ToolCall } from "./gen/mlxforge/v1/chat_pb.js";
import type { GenerateResponse } from "./gen/mlxforge/v1/generation_pb.js";
import type { ChatMessage } from "./request.js";
import { type ValueSchema } from "./schema.js";
/** What a tool's handler is told besides its arguments. */
export interface ToolContext {
    /** The call that is answered. */
    readonly call: ToolCall;
    /** Aborted when the caller aborts the loop. */
    readonly signal: AbortSignal | undefined;
}
/** A function that the model may call, with the code that answers. */
export interface ToolDefinition<T = unknown> {
    /** 1 to 64 letters, digits, `_` and `-`. */
    readonly name: string;
    /** What it does, for the model to read. */
    readonly description?: string;
    /** Schema of its arguments. Default: none are taken. */
    readonly parameters?: ValueSchema<T>;
    /** Answers a call; what is no string is sent to the model as JSON. */
    execute(args: T, context: ToolContext): unknown;
}
/** A tool whose handler's argument type is inferred from its schema. */
export declare function tool<T>(definition: ToolDefinition<T>): ToolDefinition;
/** What the loop ends with. */
export interface ToolRun {
    /** The last answer: the one without calls, or the last of the rounds allowed. */
    readonly response: GenerateResponse;
    /** The conversation with all turns of the loop, the last answer included. */
    readonly messages: ChatMessage[];
    /** How many times the model was asked. */
    readonly rounds: number;
}
/** The schema's form of tool definitions. */
export declare function toolDeclarations(tools: readonly ToolDefinition[]): {
    name: string;
    description: string;
    parameters: string;
}[];
/**
 * Runs the handler of a call. What it throws is told to the model, which can mend
 * its arguments; only an abort ends the loop.
 */
export declare function answerCall(tools: readonly ToolDefinition[], context: ToolContext): Promise<ChatMessage>;
//# sourceMappingURL=tools.d.ts.map