import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import type { EmbedOptions } from "./embedded/options.js";
import { openEmbedded } from "./embedded/transport.js";
import { errorFrom, OutputError } from "./errors.js";
import {
  EmbeddingService,
  type EmbedResponse,
  type StreamEmbedResponse,
} from "./gen/mlxforge/v1/embedding_pb.js";
import {
  FinishReason,
  type GenerateResponse,
  GenerationService,
} from "./gen/mlxforge/v1/generation_pb.js";
import {
  type LoadModelRequestSchema,
  type LoadModelResponse,
  type Model,
  ModelService,
} from "./gen/mlxforge/v1/model_pb.js";
import {
  type DetokenizeRequestSchema,
  type TokenizeRequestSchema,
  type TokenizeResponse,
  TokenizerService,
} from "./gen/mlxforge/v1/tokenizer_pb.js";
import { openGrpc } from "./grpc.js";
import type { CallOptions, ClientOptions, ConnectOptions } from "./options.js";
import {
  type ChatMessage,
  type EmbedParams,
  embedRequest,
  type GenerateInput,
  type GenerateParams,
  generateRequest,
} from "./request.js";
import { retryStream, retryUnary } from "./retry.js";
import { jsonSchemaText, parseValue, type ValueSchema } from "./schema.js";
import { GenerationStream } from "./stream.js";
import { answerCall, type ToolDefinition, type ToolRun, toolDeclarations } from "./tools.js";

/** Parameters of `MlxForge.runTools`. */
export interface ToolParams
  extends Omit<GenerateParams, "messages" | "tools" | "chat" | "prompt" | "promptTokenIds"> {
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
export class MlxForge implements AsyncDisposable {
  /** The transport below, for services of `@mlxforge/client/v1` used directly. */
  readonly transport: Transport;
  readonly #close: () => Promise<void>;
  readonly #defaults: ClientOptions;
  readonly #generation: Client<typeof GenerationService>;
  readonly #embedding: Client<typeof EmbeddingService>;
  readonly #tokenizer: Client<typeof TokenizerService>;
  readonly #models: Client<typeof ModelService>;

  /** Over a transport of the caller's. Most callers want `connect` or `embed`. */
  constructor(transport: Transport, options: ClientOptions & { close?: () => Promise<void> } = {}) {
    this.transport = transport;
    this.#defaults = options;
    this.#close = options.close ?? (async () => {});
    this.#generation = createClient(GenerationService, transport);
    this.#embedding = createClient(EmbeddingService, transport);
    this.#tokenizer = createClient(TokenizerService, transport);
    this.#models = createClient(ModelService, transport);
  }

  /**
   * Connects to a server.
   *
   * @param address `host:port`, `https://host:port`, or `unix:/path/of/socket`
   */
  static async connect(
    address = "127.0.0.1:50051",
    options: ConnectOptions = {},
  ): Promise<MlxForge> {
    try {
      const { transport, close } = await openGrpc(address, options);
      return new MlxForge(transport, { ...options, close });
    } catch (error) {
      throw errorFrom(error);
    }
  }

  /**
   * Opens an engine inside this process, through libmlxforge. Resolves when its models
   * are loaded.
   */
  static async embed(options: EmbedOptions = {}): Promise<MlxForge> {
    try {
      const { transport, close } = await openEmbedded(options);
      return new MlxForge(transport, { ...options, close });
    } catch (error) {
      throw errorFrom(error);
    }
  }

  /** Generates a whole answer. */
  async generate(input: GenerateInput, options: CallOptions = {}): Promise<GenerateResponse> {
    const request = generateRequest(input);
    return retryUnary(this.#options(options), (attempt) =>
      this.#generation.generate(request, attempt),
    );
  }

  /** Streams an answer as it is generated. */
  stream(input: GenerateInput, options: CallOptions = {}): GenerationStream {
    const request = generateRequest(input);
    return new GenerationStream(
      retryStream(this.#options(options), (attempt) =>
        this.#generation.streamGenerate(request, attempt),
      ),
    );
  }

  /**
   * Generates a value that conforms to a schema.
   *
   * @param schema a JSON Schema, or a schema object such as zod's, which also gives the type
   * @throws {OutputError} with reason `INCOMPLETE` when the text ended before the value did
   */
  async generateJson<T = unknown>(
    input: GenerateInput,
    schema: ValueSchema<T>,
    options: CallOptions = {},
  ): Promise<T> {
    const request = generateRequest(input);
    request.constraint = { case: "jsonSchema", value: jsonSchemaText(schema) };
    const { choices } = await this.generate(request, options);
    const text = choices[0]?.text ?? "";
    if (choices[0]?.finishReason === FinishReason.LENGTH) {
      throw new OutputError("the text ended before the value did: raise maxTokens", text, {
        reason: "INCOMPLETE",
      });
    }
    return parseValue(schema, text);
  }

  /**
   * Asks the model, answers the tools it calls, and asks again, until it calls none.
   * Calls of one answer run side by side.
   */
  async runTools(params: ToolParams, options: CallOptions = {}): Promise<ToolRun> {
    const { messages, tools, maxRounds = 8, ...rest } = params;
    const conversation = [...messages];
    const declarations = toolDeclarations(tools);
    for (let rounds = 1; ; rounds++) {
      const response = await this.generate(
        { ...rest, messages: [...conversation], tools: declarations },
        options,
      );
      const choice = response.choices[0];
      const calls = choice?.toolCalls ?? [];
      conversation.push({ role: "assistant", content: choice?.text ?? "", toolCalls: calls });
      if (calls.length === 0 || rounds >= maxRounds) {
        return { response, messages: conversation, rounds };
      }
      const { signal } = options;
      conversation.push(
        ...(await Promise.all(calls.map((call) => answerCall(tools, { call, signal })))),
      );
    }
  }

  /** Turns texts into vectors. */
  async embed(input: EmbedParams, options: CallOptions = {}): Promise<EmbedResponse> {
    const request = embedRequest(input);
    return retryUnary(this.#options(options), (attempt) => this.#embedding.embed(request, attempt));
  }

  /**
   * Embeds one list after the other: one response for each, in order. Never tried again,
   * because what was sent is gone. Leaving the loop cancels the call.
   */
  streamEmbed(
    inputs: AsyncIterable<EmbedParams> | Iterable<EmbedParams>,
    options: CallOptions = {},
  ): AsyncGenerator<StreamEmbedResponse, void, undefined> {
    return retryStream({ ...this.#options(options), retry: false }, (attempt) =>
      this.#embedding.streamEmbed(embedRequests(inputs), attempt),
    );
  }

  /** The tokens of a text, or of a conversation under the model's template. */
  async tokenize(
    input: string | MessageInitShape<typeof TokenizeRequestSchema>,
    options: CallOptions = {},
  ): Promise<TokenizeResponse> {
    const request: MessageInitShape<typeof TokenizeRequestSchema> =
      typeof input === "string" ? { input: { case: "text", value: input } } : input;
    return retryUnary(this.#options(options), (attempt) =>
      this.#tokenizer.tokenize(request, attempt),
    );
  }

  /** The text of tokens. */
  async detokenize(
    input: number[] | MessageInitShape<typeof DetokenizeRequestSchema>,
    options: CallOptions = {},
  ): Promise<string> {
    const request = Array.isArray(input) ? { tokenIds: input } : input;
    const { text } = await retryUnary(this.#options(options), (attempt) =>
      this.#tokenizer.detokenize(request, attempt),
    );
    return text;
  }

  /** All models, loaded or not; defaults first. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    const { models } = await retryUnary(this.#options(options), (attempt) =>
      this.#models.listModels({}, attempt),
    );
    return models;
  }

  /** One model; without an id the default one. */
  async model(id = "", options: CallOptions = {}): Promise<Model> {
    const { model } = await retryUnary(this.#options(options), (attempt) =>
      this.#models.getModel({ model: id }, attempt),
    );
    return model as Model;
  }

  /** Loads a model; yields its progress. Leaving the loop cancels the load. */
  loadModel(
    input: string | MessageInitShape<typeof LoadModelRequestSchema>,
    options: CallOptions = {},
  ): AsyncGenerator<LoadModelResponse, void, undefined> {
    const request = typeof input === "string" ? { model: input } : input;
    return retryStream(this.#options(options), (attempt) =>
      this.#models.loadModel(request, attempt),
    );
  }

  /** Unloads a model; resolves to the bytes given back. */
  async unloadModel(id: string, options: CallOptions = {}): Promise<bigint> {
    const { freedBytes } = await retryUnary(this.#options(options), (attempt) =>
      this.#models.unloadModel({ model: id }, attempt),
    );
    return freedBytes;
  }

  /** Ends the client; calls that still run end with `CancelledError`. */
  async close(): Promise<void> {
    await this.#close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #options(options: CallOptions): CallOptions {
    return {
      ...options,
      timeoutMs: options.timeoutMs ?? this.#defaults.timeoutMs,
      retry: options.retry ?? this.#defaults.retry,
    };
  }
}

async function* embedRequests(inputs: AsyncIterable<EmbedParams> | Iterable<EmbedParams>) {
  for await (const each of inputs) yield embedRequest(each);
}
