import type { GenFile, GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import type { Chat } from "./chat_pb.js";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/tokenizer.proto.
 */
export declare const file_mlxforge_v1_tokenizer: GenFile;
/**
 * What to tokenize.
 *
 * @generated from message mlxforge.v1.TokenizeRequest
 */
export type TokenizeRequest = Message<"mlxforge.v1.TokenizeRequest"> & {
    /**
     * Id of a loaded model. Empty: the server's default.
     *
     * @generated from field: string model = 1;
     */
    model: string;
    /**
     * Required.
     *
     * @generated from oneof mlxforge.v1.TokenizeRequest.input
     */
    input: {
        /**
         * Text; special tokens spelled in it stay plain characters.
         *
         * @generated from field: string text = 2;
         */
        value: string;
        case: "text";
    } | {
        /**
         * A conversation, rendered as Generate would.
         *
         * @generated from field: mlxforge.v1.Chat chat = 3;
         */
        value: Chat;
        case: "chat";
    } | {
        case: undefined;
        value?: undefined;
    };
    /**
     * Whether the model's own opening and closing tokens are added to `text`.
     * Default: true.
     *
     * @generated from field: optional bool add_special_tokens = 4;
     */
    addSpecialTokens?: boolean | undefined;
};
/**
 * Describes the message mlxforge.v1.TokenizeRequest.
 * Use `create(TokenizeRequestSchema)` to create a new message.
 */
export declare const TokenizeRequestSchema: GenMessage<TokenizeRequest>;
/**
 * The tokens.
 *
 * @generated from message mlxforge.v1.TokenizeResponse
 */
export type TokenizeResponse = Message<"mlxforge.v1.TokenizeResponse"> & {
    /**
     * The ids, in order.
     *
     * @generated from field: repeated uint32 token_ids = 1;
     */
    tokenIds: number[];
    /**
     * The vocabulary's own spelling of each token.
     *
     * @generated from field: repeated string tokens = 2;
     */
    tokens: string[];
    /**
     * How many there are.
     *
     * @generated from field: uint32 count = 3;
     */
    count: number;
};
/**
 * Describes the message mlxforge.v1.TokenizeResponse.
 * Use `create(TokenizeResponseSchema)` to create a new message.
 */
export declare const TokenizeResponseSchema: GenMessage<TokenizeResponse>;
/**
 * What to turn into text.
 *
 * @generated from message mlxforge.v1.DetokenizeRequest
 */
export type DetokenizeRequest = Message<"mlxforge.v1.DetokenizeRequest"> & {
    /**
     * Id of a loaded model. Empty: the server's default.
     *
     * @generated from field: string model = 1;
     */
    model: string;
    /**
     * The ids, each below the width of the model's logits.
     *
     * @generated from field: repeated uint32 token_ids = 2;
     */
    tokenIds: number[];
    /**
     * Leave special tokens out. Default: true.
     *
     * @generated from field: optional bool skip_special_tokens = 3;
     */
    skipSpecialTokens?: boolean | undefined;
};
/**
 * Describes the message mlxforge.v1.DetokenizeRequest.
 * Use `create(DetokenizeRequestSchema)` to create a new message.
 */
export declare const DetokenizeRequestSchema: GenMessage<DetokenizeRequest>;
/**
 * The text.
 *
 * @generated from message mlxforge.v1.DetokenizeResponse
 */
export type DetokenizeResponse = Message<"mlxforge.v1.DetokenizeResponse"> & {
    /**
     * The text; bytes that are no UTF-8 become U+FFFD.
     *
     * @generated from field: string text = 1;
     */
    text: string;
};
/**
 * Describes the message mlxforge.v1.DetokenizeResponse.
 * Use `create(DetokenizeResponseSchema)` to create a new message.
 */
export declare const DetokenizeResponseSchema: GenMessage<DetokenizeResponse>;
/**
 * Text to tokens and back, as the model's tokenizer does it.
 *
 * @generated from service mlxforge.v1.TokenizerService
 */
export declare const TokenizerService: GenService<{
    /**
     * The tokens of a text, or of a conversation under the model's template.
     *
     * @generated from rpc mlxforge.v1.TokenizerService.Tokenize
     */
    tokenize: {
        methodKind: "unary";
        input: typeof TokenizeRequestSchema;
        output: typeof TokenizeResponseSchema;
    };
    /**
     * The text of tokens.
     *
     * @generated from rpc mlxforge.v1.TokenizerService.Detokenize
     */
    detokenize: {
        methodKind: "unary";
        input: typeof DetokenizeRequestSchema;
        output: typeof DetokenizeResponseSchema;
    };
}>;
//# sourceMappingURL=tokenizer_pb.d.ts.map