import type { GenEnum, GenFile, GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import type { Chat, ToolCall, ToolCallDelta } from "./chat_pb.js";
import type { SamplingParams } from "./sampling_pb.js";
import type { Timings, Usage } from "./usage_pb.js";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/generation.proto.
 */
export declare const file_mlxforge_v1_generation: GenFile;
/**
 * What to generate from, how, and how much.
 *
 * @generated from message mlxforge.v1.GenerateRequest
 */
export type GenerateRequest = Message<"mlxforge.v1.GenerateRequest"> & {
    /**
     * Id of a loaded model. Empty: the server's default generating model.
     *
     * @generated from field: string model = 1;
     */
    model: string;
    /**
     * The prompt. Required.
     *
     * @generated from oneof mlxforge.v1.GenerateRequest.input
     */
    input: {
        /**
         * Text, tokenized as it stands; special tokens spelled in it stay plain
         * characters.
         *
         * @generated from field: string prompt = 2;
         */
        value: string;
        case: "prompt";
    } | {
        /**
         * Token ids, used as they are.
         *
         * @generated from field: mlxforge.v1.TokenIds prompt_token_ids = 3;
         */
        value: TokenIds;
        case: "promptTokenIds";
    } | {
        /**
         * A conversation for the model's chat template.
         *
         * @generated from field: mlxforge.v1.Chat chat = 4;
         */
        value: Chat;
        case: "chat";
    } | {
        case: undefined;
        value?: undefined;
    };
    /**
     * How tokens are chosen.
     *
     * @generated from field: mlxforge.v1.SamplingParams sampling_params = 5;
     */
    samplingParams?: SamplingParams | undefined;
    /**
     * Most tokens to generate, per choice. Default: what is left of the model's
     * context, up to the server's limit. 1 or more.
     *
     * @generated from field: optional uint32 max_tokens = 6;
     */
    maxTokens?: number | undefined;
    /**
     * Tokens to generate before the end token or a stop can end the text.
     * Default: 0. At most max_tokens.
     *
     * @generated from field: uint32 min_tokens = 7;
     */
    minTokens: number;
    /**
     * The text ends before the first of these strings. At most 16, of 1 to 256
     * characters.
     *
     * @generated from field: repeated string stop = 8;
     */
    stop: string[];
    /**
     * The text ends at the first of these tokens. At most 128.
     *
     * @generated from field: repeated uint32 stop_token_ids = 9;
     */
    stopTokenIds: number[];
    /**
     * Go on after the model's end token, until max_tokens or a stop.
     *
     * @generated from field: bool ignore_eos = 10;
     */
    ignoreEos: boolean;
    /**
     * What the text must conform to. With a chat's forced tool call, unset.
     *
     * @generated from oneof mlxforge.v1.GenerateRequest.constraint
     */
    constraint: {
        /**
         * A JSON Schema (Draft 2020-12) as JSON text. Keywords that cannot be
         * enforced are refused, named by JSON pointer.
         *
         * @generated from field: string json_schema = 11;
         */
        value: string;
        case: "jsonSchema";
    } | {
        /**
         * Any JSON object. Must be true when set.
         *
         * @generated from field: bool json_object = 12;
         */
        value: boolean;
        case: "jsonObject";
    } | {
        /**
         * A regular expression for the whole text (Rust regex syntax, no
         * look-around, no back-references).
         *
         * @generated from field: string regex = 13;
         */
        value: string;
        case: "regex";
    } | {
        /**
         * A context-free grammar in llguidance's form of Lark.
         *
         * @generated from field: string grammar = 14;
         */
        value: string;
        case: "grammar";
    } | {
        /**
         * One of these texts.
         *
         * @generated from field: mlxforge.v1.Choices choice = 15;
         */
        value: Choices;
        case: "choice";
    } | {
        case: undefined;
        value?: undefined;
    };
    /**
     * Report each token's log probability, with this many likeliest
     * alternatives. 0 to 20. Default: not reported.
     *
     * @generated from field: optional uint32 logprobs = 16;
     */
    logprobs?: number | undefined;
    /**
     * How many answers, sampled independently after one shared prefill.
     * 1 to 16. Default: 1. Choice i of a seeded request uses seed + i.
     *
     * @generated from field: optional uint32 n = 17;
     */
    n?: number | undefined;
    /**
     * Prompts share cached prefixes only with requests of the same salt. Give
     * each tenant its own, so that none can time another's prompts. At most 128
     * characters.
     *
     * @generated from field: string cache_salt = 18;
     */
    cacheSalt: string;
    /**
     * Whether the tokenizer adds the model's own opening tokens to `prompt`.
     * Default: true. No effect on token ids and chats.
     *
     * @generated from field: optional bool add_special_tokens = 19;
     */
    addSpecialTokens?: boolean | undefined;
    /**
     * How much a reasoning model may think.
     *
     * @generated from field: mlxforge.v1.ReasoningParams reasoning_params = 20;
     */
    reasoningParams?: ReasoningParams | undefined;
};
/**
 * Describes the message mlxforge.v1.GenerateRequest.
 * Use `create(GenerateRequestSchema)` to create a new message.
 */
export declare const GenerateRequestSchema: GenMessage<GenerateRequest>;
/**
 * Token ids, each below the width of the model's logits.
 *
 * @generated from message mlxforge.v1.TokenIds
 */
export type TokenIds = Message<"mlxforge.v1.TokenIds"> & {
    /**
     * The ids, in order. At least one.
     *
     * @generated from field: repeated uint32 ids = 1;
     */
    ids: number[];
};
/**
 * Describes the message mlxforge.v1.TokenIds.
 * Use `create(TokenIdsSchema)` to create a new message.
 */
export declare const TokenIdsSchema: GenMessage<TokenIds>;
/**
 * The texts of which one must be generated.
 *
 * @generated from message mlxforge.v1.Choices
 */
export type Choices = Message<"mlxforge.v1.Choices"> & {
    /**
     * 1 to 1,024 texts, none empty, 64 KiB in all.
     *
     * @generated from field: repeated string values = 1;
     */
    values: string[];
};
/**
 * Describes the message mlxforge.v1.Choices.
 * Use `create(ChoicesSchema)` to create a new message.
 */
export declare const ChoicesSchema: GenMessage<Choices>;
/**
 * How much a reasoning model thinks before it answers. No effect on models
 * without reasoning marks.
 *
 * @generated from message mlxforge.v1.ReasoningParams
 */
export type ReasoningParams = Message<"mlxforge.v1.ReasoningParams"> & {
    /**
     * false asks the template to turn thinking off; models whose template has no
     * such switch answer FAILED_PRECONDITION. Default: the template's.
     *
     * @generated from field: optional bool enabled = 1;
     */
    enabled?: boolean | undefined;
    /**
     * Thinking is closed after this many tokens. Default: no limit.
     *
     * @generated from field: optional uint32 max_tokens = 2;
     */
    maxTokens?: number | undefined;
};
/**
 * Describes the message mlxforge.v1.ReasoningParams.
 * Use `create(ReasoningParamsSchema)` to create a new message.
 */
export declare const ReasoningParamsSchema: GenMessage<ReasoningParams>;
/**
 * What ended a choice, when a stop did.
 *
 * @generated from message mlxforge.v1.MatchedStop
 */
export type MatchedStop = Message<"mlxforge.v1.MatchedStop"> & {
    /**
     * One of a string or a token.
     *
     * @generated from oneof mlxforge.v1.MatchedStop.match
     */
    match: {
        /**
         * The stop string of the request. It is not part of the text.
         *
         * @generated from field: string text = 1;
         */
        value: string;
        case: "text";
    } | {
        /**
         * The stop token or end token.
         *
         * @generated from field: uint32 token_id = 2;
         */
        value: number;
        case: "tokenId";
    } | {
        case: undefined;
        value?: undefined;
    };
};
/**
 * Describes the message mlxforge.v1.MatchedStop.
 * Use `create(MatchedStopSchema)` to create a new message.
 */
export declare const MatchedStopSchema: GenMessage<MatchedStop>;
/**
 * A token's log probability, before temperature and truncation, after
 * penalties, bias and constraint.
 *
 * @generated from message mlxforge.v1.TokenLogprob
 */
export type TokenLogprob = Message<"mlxforge.v1.TokenLogprob"> & {
    /**
     * The token.
     *
     * @generated from field: uint32 token_id = 1;
     */
    tokenId: number;
    /**
     * Its text. Empty where it is a part of a character.
     *
     * @generated from field: string token = 2;
     */
    token: string;
    /**
     * Natural logarithm of its probability.
     *
     * @generated from field: float logprob = 3;
     */
    logprob: number;
};
/**
 * Describes the message mlxforge.v1.TokenLogprob.
 * Use `create(TokenLogprobSchema)` to create a new message.
 */
export declare const TokenLogprobSchema: GenMessage<TokenLogprob>;
/**
 * The chosen token and the likeliest ones beside it.
 *
 * @generated from message mlxforge.v1.TokenLogprobs
 */
export type TokenLogprobs = Message<"mlxforge.v1.TokenLogprobs"> & {
    /**
     * The token that was chosen.
     *
     * @generated from field: mlxforge.v1.TokenLogprob chosen = 1;
     */
    chosen?: TokenLogprob | undefined;
    /**
     * The likeliest tokens, best first, as many as asked for.
     *
     * @generated from field: repeated mlxforge.v1.TokenLogprob top = 2;
     */
    top: TokenLogprob[];
};
/**
 * Describes the message mlxforge.v1.TokenLogprobs.
 * Use `create(TokenLogprobsSchema)` to create a new message.
 */
export declare const TokenLogprobsSchema: GenMessage<TokenLogprobs>;
/**
 * An answer, whole.
 *
 * @generated from message mlxforge.v1.GenerateResponse
 */
export type GenerateResponse = Message<"mlxforge.v1.GenerateResponse"> & {
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
     * One for each of `n`, by index.
     *
     * @generated from field: repeated mlxforge.v1.GenerateChoice choices = 3;
     */
    choices: GenerateChoice[];
    /**
     * Tokens of all choices together; the prompt is counted once.
     *
     * @generated from field: mlxforge.v1.Usage usage = 4;
     */
    usage?: Usage | undefined;
    /**
     * Until the last choice ended.
     *
     * @generated from field: mlxforge.v1.Timings timings = 5;
     */
    timings?: Timings | undefined;
};
/**
 * Describes the message mlxforge.v1.GenerateResponse.
 * Use `create(GenerateResponseSchema)` to create a new message.
 */
export declare const GenerateResponseSchema: GenMessage<GenerateResponse>;
/**
 * One of the `n` answers.
 *
 * @generated from message mlxforge.v1.GenerateChoice
 */
export type GenerateChoice = Message<"mlxforge.v1.GenerateChoice"> & {
    /**
     * Its position, from 0.
     *
     * @generated from field: uint32 index = 1;
     */
    index: number;
    /**
     * The text.
     *
     * @generated from field: string text = 2;
     */
    text: string;
    /**
     * What a reasoning model thought before it.
     *
     * @generated from field: string reasoning = 3;
     */
    reasoning: string;
    /**
     * The calls the model made.
     *
     * @generated from field: repeated mlxforge.v1.ToolCall tool_calls = 4;
     */
    toolCalls: ToolCall[];
    /**
     * The generated tokens, end token included.
     *
     * @generated from field: repeated uint32 token_ids = 5;
     */
    tokenIds: number[];
    /**
     * One for each of `token_ids`, when asked for.
     *
     * @generated from field: repeated mlxforge.v1.TokenLogprobs logprobs = 6;
     */
    logprobs: TokenLogprobs[];
    /**
     * Why it ended.
     *
     * @generated from field: mlxforge.v1.FinishReason finish_reason = 7;
     */
    finishReason: FinishReason;
    /**
     * The stop that ended it, if one did.
     *
     * @generated from field: mlxforge.v1.MatchedStop matched_stop = 8;
     */
    matchedStop?: MatchedStop | undefined;
};
/**
 * Describes the message mlxforge.v1.GenerateChoice.
 * Use `create(GenerateChoiceSchema)` to create a new message.
 */
export declare const GenerateChoiceSchema: GenMessage<GenerateChoice>;
/**
 * A piece of one choice, or its end.
 *
 * @generated from message mlxforge.v1.StreamGenerateResponse
 */
export type StreamGenerateResponse = Message<"mlxforge.v1.StreamGenerateResponse"> & {
    /**
     * The request's id. In the first message of the stream only.
     *
     * @generated from field: string id = 1;
     */
    id: string;
    /**
     * Id of the model that answers. In the first message of the stream only.
     *
     * @generated from field: string model = 2;
     */
    model: string;
    /**
     * The choice, from 0.
     *
     * @generated from field: uint32 index = 3;
     */
    index: number;
    /**
     * One of a piece or the end.
     *
     * @generated from oneof mlxforge.v1.StreamGenerateResponse.event
     */
    event: {
        /**
         * What came since the choice's last message.
         *
         * @generated from field: mlxforge.v1.GenerateDelta delta = 4;
         */
        value: GenerateDelta;
        case: "delta";
    } | {
        /**
         * The choice has ended. Sent once for each choice.
         *
         * @generated from field: mlxforge.v1.GenerateFinish finish = 5;
         */
        value: GenerateFinish;
        case: "finish";
    } | {
        case: undefined;
        value?: undefined;
    };
};
/**
 * Describes the message mlxforge.v1.StreamGenerateResponse.
 * Use `create(StreamGenerateResponseSchema)` to create a new message.
 */
export declare const StreamGenerateResponseSchema: GenMessage<StreamGenerateResponse>;
/**
 * What came since the choice's last message.
 *
 * @generated from message mlxforge.v1.GenerateDelta
 */
export type GenerateDelta = Message<"mlxforge.v1.GenerateDelta"> & {
    /**
     * Further text: whole characters, never a part of a stop string.
     *
     * @generated from field: string text = 1;
     */
    text: string;
    /**
     * Further reasoning.
     *
     * @generated from field: string reasoning = 2;
     */
    reasoning: string;
    /**
     * Further pieces of tool calls.
     *
     * @generated from field: repeated mlxforge.v1.ToolCallDelta tool_calls = 3;
     */
    toolCalls: ToolCallDelta[];
    /**
     * The tokens generated, also those whose text is still held back.
     *
     * @generated from field: repeated uint32 token_ids = 4;
     */
    tokenIds: number[];
    /**
     * One for each of `token_ids`, when asked for.
     *
     * @generated from field: repeated mlxforge.v1.TokenLogprobs logprobs = 5;
     */
    logprobs: TokenLogprobs[];
};
/**
 * Describes the message mlxforge.v1.GenerateDelta.
 * Use `create(GenerateDeltaSchema)` to create a new message.
 */
export declare const GenerateDeltaSchema: GenMessage<GenerateDelta>;
/**
 * The end of a choice.
 *
 * @generated from message mlxforge.v1.GenerateFinish
 */
export type GenerateFinish = Message<"mlxforge.v1.GenerateFinish"> & {
    /**
     * Why.
     *
     * @generated from field: mlxforge.v1.FinishReason finish_reason = 1;
     */
    finishReason: FinishReason;
    /**
     * The stop that ended it, if one did.
     *
     * @generated from field: mlxforge.v1.MatchedStop matched_stop = 2;
     */
    matchedStop?: MatchedStop | undefined;
    /**
     * The prompt's tokens and this choice's.
     *
     * @generated from field: mlxforge.v1.Usage usage = 3;
     */
    usage?: Usage | undefined;
    /**
     * Until this choice ended.
     *
     * @generated from field: mlxforge.v1.Timings timings = 4;
     */
    timings?: Timings | undefined;
};
/**
 * Describes the message mlxforge.v1.GenerateFinish.
 * Use `create(GenerateFinishSchema)` to create a new message.
 */
export declare const GenerateFinishSchema: GenMessage<GenerateFinish>;
/**
 * Why a choice ended.
 *
 * @generated from enum mlxforge.v1.FinishReason
 */
export declare enum FinishReason {
    /**
     * Never sent.
     *
     * @generated from enum value: FINISH_REASON_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * End token, stop string, stop token, or the constraint is complete.
     *
     * @generated from enum value: FINISH_REASON_STOP = 1;
     */
    STOP = 1,
    /**
     * max_tokens or the model's context was reached.
     *
     * @generated from enum value: FINISH_REASON_LENGTH = 2;
     */
    LENGTH = 2,
    /**
     * The model called tools.
     *
     * @generated from enum value: FINISH_REASON_TOOL_CALLS = 3;
     */
    TOOL_CALLS = 3,
    /**
     * The engine's host cancelled it. A caller's own cancel is the gRPC status
     * CANCELLED instead.
     *
     * @generated from enum value: FINISH_REASON_CANCELLED = 4;
     */
    CANCELLED = 4
}
/**
 * Describes the enum mlxforge.v1.FinishReason.
 */
export declare const FinishReasonSchema: GenEnum<FinishReason>;
/**
 * Generates text. Requests of all callers run in one continuous batch.
 *
 * Errors of both RPCs: INVALID_ARGUMENT with `BadRequest.field_violations`,
 * NOT_FOUND (model), FAILED_PRECONDITION (the model cannot do what is asked),
 * RESOURCE_EXHAUSTED with `RetryInfo` (queue full, no memory),
 * DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE with `RetryInfo` (model loading or
 * restarting, server draining), INTERNAL. Each carries one `ErrorInfo` of the
 * domain `mlxforge`.
 *
 * @generated from service mlxforge.v1.GenerationService
 */
export declare const GenerationService: GenService<{
    /**
     * Answers when the whole text is there.
     *
     * @generated from rpc mlxforge.v1.GenerationService.Generate
     */
    generate: {
        methodKind: "unary";
        input: typeof GenerateRequestSchema;
        output: typeof GenerateResponseSchema;
    };
    /**
     * Streams the text as it is generated. Each choice ends with one `finish`.
     * Cancelling the call frees the request's memory within one step.
     *
     * @generated from rpc mlxforge.v1.GenerationService.StreamGenerate
     */
    streamGenerate: {
        methodKind: "server_streaming";
        input: typeof GenerateRequestSchema;
        output: typeof StreamGenerateResponseSchema;
    };
}>;
//# sourceMappingURL=generation_pb.d.ts.map