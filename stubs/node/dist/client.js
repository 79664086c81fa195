import { createClient } from "@connectrpc/connect";
import { openEmbedded } from "./embedded/transport.js";
import { errorFrom, OutputError } from "./errors.js";
import { EmbeddingService, } from "./gen/mlxforge/v1/embedding_pb.js";
import { FinishReason, GenerationService, } from "./gen/mlxforge/v1/generation_pb.js";
import { ModelService, } from "./gen/mlxforge/v1/model_pb.js";
import { TokenizerService, } from "./gen/mlxforge/v1/tokenizer_pb.js";
import { openGrpc } from "./grpc.js";
import { embedRequest, generateRequest, } from "./request.js";
import { retryStream, retryUnary } from "./retry.js";
import { jsonSchemaText, parseValue } from "./schema.js";
import { GenerationStream } from "./stream.js";
import { answerCall, toolDeclarations } from "./tools.js";
/**
 * A client of one mlxforge engine: a server, or one inside this process. What it can do
 * does not depend on which.
 */
export class MlxForge {
    /** The transport below, for services of `@mlxforge/client/v1` used directly. */
    transport;
    #close;
    #defaults;
    #generation;
    #embedding;
    #tokenizer;
    #models;
    /** Over a transport of the caller's. Most callers want `connect` or `embed`. */
    constructor(transport, options = {}) {
        this.transport = transport;
        this.#defaults = options;
        this.#close = options.close ?? (async () => { });
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
    static async connect(address = "127.0.0.1:50051", options = {}) {
        try {
            const { transport, close } = await openGrpc(address, options);
            return new MlxForge(transport, { ...options, close });
        }
        catch (error) {
            throw errorFrom(error);
        }
    }
    /**
     * Opens an engine inside this process, through libmlxforge. Resolves when its models
     * are loaded.
     */
    static async embed(options = {}) {
        try {
            const { transport, close } = await openEmbedded(options);
            return new MlxForge(transport, { ...options, close });
        }
        catch (error) {
            throw errorFrom(error);
        }
    }
    /** Generates a whole answer. */
    async generate(input, options = {}) {
        const request = generateRequest(input);
        return retryUnary(this.#options(options), (attempt) => this.#generation.generate(request, attempt));
    }
    /** Streams an answer as it is generated. */
    stream(input, options = {}) {
        const request = generateRequest(input);
        return new GenerationStream(retryStream(this.#options(options), (attempt) => this.#generation.streamGenerate(request, attempt)));
    }
    /**
     * Generates a value that conforms to a schema.
     *
     * @param schema a JSON Schema, or a schema object such as zod's, which also gives the type
     * @throws {OutputError} with reason `INCOMPLETE` when the text ended before the value did
     */
    async generateJson(input, schema, options = {}) {
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
    async runTools(params, options = {}) {
        const { messages, tools, maxRounds = 8, ...rest } = params;
        const conversation = [...messages];
        const declarations = toolDeclarations(tools);
        for (let rounds = 1;; rounds++) {
            const response = await this.generate({ ...rest, messages: [...conversation], tools: declarations }, options);
            const choice = response.choices[0];
            const calls = choice?.toolCalls ?? [];
            conversation.push({ role: "assistant", content: choice?.text ?? "", toolCalls: calls });
            if (calls.length === 0 || rounds >= maxRounds) {
                return { response, messages: conversation, rounds };
            }
            const { signal } = options;
            conversation.push(...(await Promise.all(calls.map((call) => answerCall(tools, { call, signal })))));
        }
    }
    /** Turns texts into vectors. */
    async embed(input, options = {}) {
        const request = embedRequest(input);
        return retryUnary(this.#options(options), (attempt) => this.#embedding.embed(request, attempt));
    }
    /**
     * Embeds one list after the other: one response for each, in order. Never tried again,
     * because what was sent is gone. Leaving the loop cancels the call.
     */
    streamEmbed(inputs, options = {}) {
        return retryStream({ ...this.#options(options), retry: false }, (attempt) => this.#embedding.streamEmbed(embedRequests(inputs), attempt));
    }
    /** The tokens of a text, or of a conversation under the model's template. */
    async tokenize(input, options = {}) {
        const request = typeof input === "string" ? { input: { case: "text", value: input } } : input;
        return retryUnary(this.#options(options), (attempt) => this.#tokenizer.tokenize(request, attempt));
    }
    /** The text of tokens. */
    async detokenize(input, options = {}) {
        const request = Array.isArray(input) ? { tokenIds: input } : input;
        const { text } = await retryUnary(this.#options(options), (attempt) => this.#tokenizer.detokenize(request, attempt));
        return text;
    }
    /** All models, loaded or not; defaults first. */
    async models(options = {}) {
        const { models } = await retryUnary(this.#options(options), (attempt) => this.#models.listModels({}, attempt));
        return models;
    }
    /** One model; without an id the default one. */
    async model(id = "", options = {}) {
        const { model } = await retryUnary(this.#options(options), (attempt) => this.#models.getModel({ model: id }, attempt));
        return model;
    }
    /** Loads a model; yields its progress. Leaving the loop cancels the load. */
    loadModel(input, options = {}) {
        const request = typeof input === "string" ? { model: input } : input;
        return retryStream(this.#options(options), (attempt) => this.#models.loadModel(request, attempt));
    }
    /** Unloads a model; resolves to the bytes given back. */
    async unloadModel(id, options = {}) {
        const { freedBytes } = await retryUnary(this.#options(options), (attempt) => this.#models.unloadModel({ model: id }, attempt));
        return freedBytes;
    }
    /** Ends the client; calls that still run end with `CancelledError`. */
    async close() {
        await this.#close();
    }
    async [Symbol.asyncDispose]() {
        await this.close();
    }
    #options(options) {
        return {
            ...options,
            timeoutMs: options.timeoutMs ?? this.#defaults.timeoutMs,
            retry: options.retry ?? this.#defaults.retry,
        };
    }
}
async function* embedRequests(inputs) {
    for await (const each of inputs)
        yield embedRequest(each);
}
//# sourceMappingURL=client.js.map