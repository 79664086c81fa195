export { MlxForge, type ToolParams } from "./client.js";
export type { EmbedOptions } from "./embedded/options.js";
export * from "./errors.js";
export type {
  CallOptions,
  ClientOptions,
  ConnectOptions,
  RetryPolicy,
  TlsOptions,
} from "./options.js";
export type {
  ChatMessage,
  EmbedParams,
  GenerateInput,
  GenerateParams,
  ToolChoiceInput,
} from "./request.js";
export type { JsonSchema, StandardSchema, ValueSchema } from "./schema.js";
export { GenerationStream, TextStream } from "./stream.js";
export { type ToolContext, type ToolDefinition, type ToolRun, tool } from "./tools.js";
