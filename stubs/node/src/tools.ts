import type { ToolCall } from "./gen/mlxforge/v1/chat_pb.js";
import type { GenerateResponse } from "./gen/mlxforge/v1/generation_pb.js";
import type { ChatMessage } from "./request.js";
import { jsonSchemaText, parseValue, type ValueSchema } from "./schema.js";

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
export function tool<T>(definition: ToolDefinition<T>): ToolDefinition {
  return definition as ToolDefinition;
}

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
export function toolDeclarations(tools: readonly ToolDefinition[]) {
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
export async function answerCall(
  tools: readonly ToolDefinition[],
  context: ToolContext,
): Promise<ChatMessage> {
  const { call, signal } = context;
  let content: string;
  try {
    const definition = tools.find(({ name }) => name === call.name);
    if (!definition) throw new Error(`there is no tool ${call.name}`);
    const args = await parseValue(definition.parameters ?? {}, call.arguments || "{}");
    const result = await definition.execute(args, context);
    content = typeof result === "string" ? result : (JSON.stringify(result) ?? "");
  } catch (error) {
    signal?.throwIfAborted();
    content = JSON.stringify({ error: error instanceof Error ? error.message : String(error) });
  }
  return { role: "tool", content, name: call.name, toolCallId: call.id };
}
