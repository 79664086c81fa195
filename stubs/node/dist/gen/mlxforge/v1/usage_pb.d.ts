import type { GenFile, GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/usage.proto.
 */
export declare const file_mlxforge_v1_usage: GenFile;
/**
 * What a request cost, in tokens.
 *
 * @generated from message mlxforge.v1.Usage
 */
export type Usage = Message<"mlxforge.v1.Usage"> & {
    /**
     * Tokens of the prompt, template and special tokens included.
     *
     * @generated from field: uint32 prompt_tokens = 1;
     */
    promptTokens: number;
    /**
     * Tokens generated, the end token included.
     *
     * @generated from field: uint32 completion_tokens = 2;
     */
    completionTokens: number;
    /**
     * Tokens of the prompt whose attention state came from the prefix cache.
     *
     * @generated from field: uint32 cached_tokens = 3;
     */
    cachedTokens: number;
    /**
     * Tokens of the completion that were reasoning.
     *
     * @generated from field: uint32 reasoning_tokens = 4;
     */
    reasoningTokens: number;
};
/**
 * Describes the message mlxforge.v1.Usage.
 * Use `create(UsageSchema)` to create a new message.
 */
export declare const UsageSchema: GenMessage<Usage>;
/**
 * Where a request's time went, in seconds, measured in the engine.
 *
 * @generated from message mlxforge.v1.Timings
 */
export type Timings = Message<"mlxforge.v1.Timings"> & {
    /**
     * From arrival until the request was admitted to the batch.
     *
     * @generated from field: double queue_seconds = 1;
     */
    queueSeconds: number;
    /**
     * From arrival until its first token.
     *
     * @generated from field: double time_to_first_token_seconds = 2;
     */
    timeToFirstTokenSeconds: number;
    /**
     * From arrival until its end.
     *
     * @generated from field: double total_seconds = 3;
     */
    totalSeconds: number;
};
/**
 * Describes the message mlxforge.v1.Timings.
 * Use `create(TimingsSchema)` to create a new message.
 */
export declare const TimingsSchema: GenMessage<Timings>;
//# sourceMappingURL=usage_pb.d.ts.map