import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Transport } from "@connectrpc/connect";
import type { EmbedOptions } from "./embedded/options.js";
import { type EmbedResponse, type StreamEmbedResponse } from "./gen/mlxforge/v1/embedding_pb.js";
import { type GenerateResponse } from "./gen/mlxforge/v1/generation_pb.js";
import { type LoadModelRequestSchema, type LoadModelResponse, type Model } from "./gen/mlxforge/v1/model_pb.js";
import { type DetokenizeRequestSchema, type TokenizeRequestSchema, type TokenizeResponse } from "./gen/mlxforge/v1/tokenizer_pb.js";
import type { CallOptions, ClientOptions, ConnectOptions } from "./options.js";
import { type ChatMessage, type EmbedParams, type GenerateInput, type GenerateParams } from "./request.js";
import { type ValueSchema } from "./schema.js";
import { GenerationStream } from "./stream.js";
import { type ToolDefinition, type ToolRun } from "./tools.js";
/** Parameters of `MlxForge.runTools`. */
export interface ToolParams extends Omit<GenerateParams, "messages" | "tools" | "chat" | "prompt" | "promptTokenIds"> {
    /** The conversation so far. */
    messages: readonly ChatMessage[];
    /** The tools and their handlers. */
    tools: readonly ToolDefinition[];
    /** How many times the model is asked at most. Default: 8. */
    maxRounds?: number;
}
/**
 * A client of one mlxforge engine: a server, or one inside this process. What it can do
 * does not depend on which.
 */
export declare class MlxForge implements AsyncDisposable {
    #private;
    /** The transport below, for services of `@mlxforge/client/v1` used directly. */
    readonly transport: Transport;
    /** Over a transport of the caller's. Most callers want `connect` or `embed`. */
    constructor(transport: Transport, options?: ClientOptions & {
        close?: () => Promise<void>;
    });
    /**
     * Connects to a server.
     *
     * @param address `host:port`, `https://host:port`, or `unix:/path/of/socket`
     */
    static connect(address?: string, options?: ConnectOptions): Promise<MlxForge>;
    /**
     * Opens an engine inside this process, through libmlxforge. Resolves when its models
     * are loaded.
     */
    static embed(options?: EmbedOptions): Promise<MlxForge>;
    /** Generates a whole answer. */
    generate(input: GenerateInput, options?: CallOptions): Promise<GenerateResponse>;
    /** Streams an answer as it is generated. */
    stream(input: GenerateInput, options?: CallOptions): GenerationStream;
    /**
     * Generates a value that conforms to a schema.
     *
     * @param schema a JSON Schema, or a schema object such as zod's, which also gives the type
     * @throws {OutputError} with reason `INCOMPLETE` when the text ended before the value did
     */
    generateJson<T = unknown>(input: GenerateInput, schema: ValueSchema<T>, options?: CallOptions): Promise<T>;
    /**
     * Asks the model, answers the tools it calls, and asks again, until it calls none.
     * Calls of one answer run side by side.
     */
    runTools(params: ToolParams, options?: CallOptions): Promise<ToolRun>;
    /** Turns texts into vectors. */
    embed(input: EmbedParams, options?: CallOptions): Promise<EmbedResponse>;
    /**
     * Embeds one list after the other: one response for each, in order. Never tried again,
     * because what was sent is gone. Leaving the loop cancels the call.
     */
    streamEmbed(inputs: AsyncIterable<EmbedParams> | Iterable<EmbedParams>, options?: CallOptions): AsyncGenerator<StreamEmbedResponse, void, undefined>;
    /** The tokens of a text, or of a conversation under the model's template. */
    tokenize(input: string | MessageInitShape<typeof TokenizeRequestSchema>, options?: CallOptions): Promise<TokenizeResponse>;
    /** The text of tokens. */
    detokenize(input: number[] | MessageInitShape<typeof DetokenizeRequestSchema>, options?: CallOptions): Promise<string>;
    /** All models, loaded or not; defaults first. */
    models(options?: CallOptions): Promise<Model[]>;
    /** One model; without an id the default one. */
    model(id?: string, options?: CallOptions): Promise<Model>;
    /** Loads a model; yields its progress. Leaving the loop cancels the load. */
    loadModel(input: string | MessageInitShape<typeof LoadModelRequestSchema>, options?: CallOptions): AsyncGenerator<LoadModelResponse, void, undefined>;
    /** Unloads a model; resolves to the bytes given back. */
    unloadModel(id: string, options?: CallOptions): Promise<bigint>;
    /** Ends the client; calls that still run end with `CancelledError`. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
//# sourceMappingURL=client.d.ts.map