/**
 * The schema: every message, enum and service of package `mlxforge.v1`.
 *
 * Import from `@mlxforge/client/v1`.
 */
export * from "./gen/mlxforge/v1/chat_pb.js";
export * from "./gen/mlxforge/v1/embedding_pb.js";
export * from "./gen/mlxforge/v1/generation_pb.js";
export * from "./gen/mlxforge/v1/model_pb.js";
export * from "./gen/mlxforge/v1/sampling_pb.js";
export * from "./gen/mlxforge/v1/tokenizer_pb.js";
export * from "./gen/mlxforge/v1/usage_pb.js";
