import type { GenEnum, GenFile, GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import type { TokenIds } from "./generation_pb.js";
import type { Usage } from "./usage_pb.js";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/embedding.proto.
 */
export declare const file_mlxforge_v1_embedding: GenFile;
/**
 * What to embed, and how.
 *
 * @generated from message mlxforge.v1.EmbedRequest
 */
export type EmbedRequest = Message<"mlxforge.v1.EmbedRequest"> & {
    /**
     * Id of a loaded model. Empty: the server's default embedding model.
     *
     * @generated from field: string model = 1;
     */
    model: string;
    /**
     * The inputs. 1 to 2,048.
     *
     * @generated from field: repeated mlxforge.v1.EmbedInput inputs = 2;
     */
    inputs: EmbedInput[];
    /**
     * How a text's token vectors become one. Default: the model's own.
     *
     * @generated from field: mlxforge.v1.Pooling pooling = 3;
     */
    pooling: Pooling;
    /**
     * Cut vectors to this many leading values (Matryoshka models), before
     * normalisation. 1 to the model's dimensions. Default: all.
     *
     * @generated from field: optional uint32 dimensions = 4;
     */
    dimensions?: number | undefined;
    /**
     * Scale vectors to length 1. Default: true.
     *
     * @generated from field: optional bool normalize = 5;
     */
    normalize?: boolean | undefined;
    /**
     * Task instruction, put before each text in the model's own form. At most
     * 4,096 characters. Not for token ids.
     *
     * @generated from field: string instruction = 6;
     */
    instruction: string;
    /**
     * Cut inputs that are longer than the model takes. Default: refuse them with
     * INVALID_ARGUMENT.
     *
     * @generated from field: bool truncate = 7;
     */
    truncate: boolean;
};
/**
 * Describes the message mlxforge.v1.EmbedRequest.
 * Use `create(EmbedRequestSchema)` to create a new message.
 */
export declare const EmbedRequestSchema: GenMessage<EmbedRequest>;
/**
 * One input.
 *
 * @generated from message mlxforge.v1.EmbedInput
 */
export type EmbedInput = Message<"mlxforge.v1.EmbedInput"> & {
    /**
     * Required.
     *
     * @generated from oneof mlxforge.v1.EmbedInput.input
     */
    input: {
        /**
         * Text; may be empty.
         *
         * @generated from field: string text = 1;
         */
        value: string;
        case: "text";
    } | {
        /**
         * Token ids, used as they are, special tokens included.
         *
         * @generated from field: mlxforge.v1.TokenIds token_ids = 2;
         */
        value: TokenIds;
        case: "tokenIds";
    } | {
        case: undefined;
        value?: undefined;
    };
};
/**
 * Describes the message mlxforge.v1.EmbedInput.
 * Use `create(EmbedInputSchema)` to create a new message.
 */
export declare const EmbedInputSchema: GenMessage<EmbedInput>;
/**
 * The vectors of a request.
 *
 * @generated from message mlxforge.v1.EmbedResponse
 */
export type EmbedResponse = Message<"mlxforge.v1.EmbedResponse"> & {
    /**
     * The request's id, as in the server's log.
     *
     * @generated from field: string id = 1;
     */
    id: string;
    /**
     * Id of the model that answered.
     *
     * @generated from field: string model = 2;
     */
    model: string;
    /**
     * One for each input, in order.
     *
     * @generated from field: repeated mlxforge.v1.Embedding embeddings = 3;
     */
    embeddings: Embedding[];
    /**
     * Tokens of all inputs.
     *
     * @generated from field: mlxforge.v1.Usage usage = 4;
     */
    usage?: Usage | undefined;
};
/**
 * Describes the message mlxforge.v1.EmbedResponse.
 * Use `create(EmbedResponseSchema)` to create a new message.
 */
export declare const EmbedResponseSchema: GenMessage<EmbedResponse>;
/**
 * The vectors of one request of a stream.
 *
 * @generated from message mlxforge.v1.StreamEmbedResponse
 */
export type StreamEmbedResponse = Message<"mlxforge.v1.StreamEmbedResponse"> & {
    /**
     * Position of the request in the stream, from 0.
     *
     * @generated from field: uint64 sequence = 1;
     */
    sequence: bigint;
    /**
     * Id of the model that answered.
     *
     * @generated from field: string model = 2;
     */
    model: string;
    /**
     * One for each input, in order.
     *
     * @generated from field: repeated mlxforge.v1.Embedding embeddings = 3;
     */
    embeddings: Embedding[];
    /**
     * Tokens of the request's inputs.
     *
     * @generated from field: mlxforge.v1.Usage usage = 4;
     */
    usage?: Usage | undefined;
};
/**
 * Describes the message mlxforge.v1.StreamEmbedResponse.
 * Use `create(StreamEmbedResponseSchema)` to create a new message.
 */
export declare const StreamEmbedResponseSchema: GenMessage<StreamEmbedResponse>;
/**
 * One vector.
 *
 * @generated from message mlxforge.v1.Embedding
 */
export type Embedding = Message<"mlxforge.v1.Embedding"> & {
    /**
     * Position of its input in the request, from 0.
     *
     * @generated from field: uint32 index = 1;
     */
    index: number;
    /**
     * The values, f32.
     *
     * @generated from field: repeated float values = 2 [packed = true];
     */
    values: number[];
    /**
     * The input was cut to the model's limit.
     *
     * @generated from field: bool truncated = 3;
     */
    truncated: boolean;
};
/**
 * Describes the message mlxforge.v1.Embedding.
 * Use `create(EmbeddingSchema)` to create a new message.
 */
export declare const EmbeddingSchema: GenMessage<Embedding>;
/**
 * How a text's token vectors become one.
 *
 * @generated from enum mlxforge.v1.Pooling
 */
export declare enum Pooling {
    /**
     * The model's own setting (`1_Pooling/config.json`, else its type's usual).
     *
     * @generated from enum value: POOLING_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * The mean over all tokens.
     *
     * @generated from enum value: POOLING_MEAN = 1;
     */
    MEAN = 1,
    /**
     * The first token's vector.
     *
     * @generated from enum value: POOLING_CLS = 2;
     */
    CLS = 2,
    /**
     * The last token's vector.
     *
     * @generated from enum value: POOLING_LAST = 3;
     */
    LAST = 3
}
/**
 * Describes the enum mlxforge.v1.Pooling.
 */
export declare const PoolingSchema: GenEnum<Pooling>;
/**
 * Turns texts into vectors. Inputs of all callers are batched by length.
 *
 * Errors are those of GenerationService; a model that cannot embed answers
 * FAILED_PRECONDITION.
 *
 * @generated from service mlxforge.v1.EmbeddingService
 */
export declare const EmbeddingService: GenService<{
    /**
     * Embeds a list of inputs.
     *
     * @generated from rpc mlxforge.v1.EmbeddingService.Embed
     */
    embed: {
        methodKind: "unary";
        input: typeof EmbedRequestSchema;
        output: typeof EmbedResponseSchema;
    };
    /**
     * Embeds one list after the other, for large corpora: one response for each
     * request, in order. A bad request ends the stream with its error.
     *
     * @generated from rpc mlxforge.v1.EmbeddingService.StreamEmbed
     */
    streamEmbed: {
        methodKind: "bidi_streaming";
        input: typeof EmbedRequestSchema;
        output: typeof StreamEmbedResponseSchema;
    };
}>;
//# sourceMappingURL=embedding_pb.d.ts.map