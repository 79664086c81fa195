import type { GenEnum, GenFile, GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Pooling } from "./embedding_pb.js";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/model.proto.
 */
export declare const file_mlxforge_v1_model: GenFile;
/**
 * What a model is and can do.
 *
 * @generated from message mlxforge.v1.Model
 */
export type Model = Message<"mlxforge.v1.Model"> & {
    /**
     * The name by which requests ask for it.
     *
     * @generated from field: string id = 1;
     */
    id: string;
    /**
     * What the model can do.
     *
     * @generated from field: repeated mlxforge.v1.ModelCapability capabilities = 2;
     */
    capabilities: ModelCapability[];
    /**
     * Its architecture, as `model_type` in its configuration.
     *
     * @generated from field: string architecture = 3;
     */
    architecture: string;
    /**
     * Type of its weights in memory: `float32`, `bfloat16`, `4-bit`, …
     *
     * @generated from field: string dtype = 4;
     */
    dtype: string;
    /**
     * Its state.
     *
     * @generated from field: mlxforge.v1.ModelState state = 5;
     */
    state: ModelState;
    /**
     * What was wrong, in state FAILED.
     *
     * @generated from field: string error = 6;
     */
    error: string;
    /**
     * Limits of a request. Set once loaded.
     *
     * @generated from field: mlxforge.v1.ModelLimits limits = 7;
     */
    limits?: ModelLimits | undefined;
    /**
     * Bytes of its weights in memory. Set once loaded.
     *
     * @generated from field: uint64 weight_bytes = 8;
     */
    weightBytes: bigint;
    /**
     * How embeddings are made. Set for a model that can embed.
     *
     * @generated from field: mlxforge.v1.EmbeddingInfo embedding = 9;
     */
    embedding?: EmbeddingInfo | undefined;
    /**
     * Never unloaded to make room.
     *
     * @generated from field: bool pinned = 10;
     */
    pinned: boolean;
    /**
     * When it became READY.
     *
     * @generated from field: google.protobuf.Timestamp ready_time = 11;
     */
    readyTime?: Timestamp | undefined;
    /**
     * The model that answers requests which name none.
     *
     * @generated from field: bool default = 12;
     */
    default: boolean;
};
/**
 * Describes the message mlxforge.v1.Model.
 * Use `create(ModelSchema)` to create a new message.
 */
export declare const ModelSchema: GenMessage<Model>;
/**
 * Limits of one request to a model.
 *
 * @generated from message mlxforge.v1.ModelLimits
 */
export type ModelLimits = Message<"mlxforge.v1.ModelLimits"> & {
    /**
     * Prompt and completion together, in tokens.
     *
     * @generated from field: uint32 max_model_len = 1;
     */
    maxModelLen: number;
    /**
     * Largest `max_tokens`.
     *
     * @generated from field: uint32 max_tokens = 2;
     */
    maxTokens: number;
    /**
     * Largest `n`.
     *
     * @generated from field: uint32 max_n = 3;
     */
    maxN: number;
    /**
     * Width of the logits: ids must be below it.
     *
     * @generated from field: uint32 vocab_size = 4;
     */
    vocabSize: number;
    /**
     * Requests that run at once.
     *
     * @generated from field: uint32 max_running_requests = 5;
     */
    maxRunningRequests: number;
    /**
     * Requests that may wait.
     *
     * @generated from field: uint32 max_waiting_requests = 6;
     */
    maxWaitingRequests: number;
    /**
     * Inputs of one EmbedRequest.
     *
     * @generated from field: uint32 max_embed_inputs = 7;
     */
    maxEmbedInputs: number;
};
/**
 * Describes the message mlxforge.v1.ModelLimits.
 * Use `create(ModelLimitsSchema)` to create a new message.
 */
export declare const ModelLimitsSchema: GenMessage<ModelLimits>;
/**
 * How a model embeds.
 *
 * @generated from message mlxforge.v1.EmbeddingInfo
 */
export type EmbeddingInfo = Message<"mlxforge.v1.EmbeddingInfo"> & {
    /**
     * Length of its vectors.
     *
     * @generated from field: uint32 dimensions = 1;
     */
    dimensions: number;
    /**
     * Longest input, in tokens.
     *
     * @generated from field: uint32 max_input_tokens = 2;
     */
    maxInputTokens: number;
    /**
     * Its own pooling.
     *
     * @generated from field: mlxforge.v1.Pooling pooling = 3;
     */
    pooling: Pooling;
};
/**
 * Describes the message mlxforge.v1.EmbeddingInfo.
 * Use `create(EmbeddingInfoSchema)` to create a new message.
 */
export declare const EmbeddingInfoSchema: GenMessage<EmbeddingInfo>;
/**
 * Asks for all models.
 *
 * @generated from message mlxforge.v1.ListModelsRequest
 */
export type ListModelsRequest = Message<"mlxforge.v1.ListModelsRequest"> & {};
/**
 * Describes the message mlxforge.v1.ListModelsRequest.
 * Use `create(ListModelsRequestSchema)` to create a new message.
 */
export declare const ListModelsRequestSchema: GenMessage<ListModelsRequest>;
/**
 * All models.
 *
 * @generated from message mlxforge.v1.ListModelsResponse
 */
export type ListModelsResponse = Message<"mlxforge.v1.ListModelsResponse"> & {
    /**
     * The models, defaults first.
     *
     * @generated from field: repeated mlxforge.v1.Model models = 1;
     */
    models: Model[];
};
/**
 * Describes the message mlxforge.v1.ListModelsResponse.
 * Use `create(ListModelsResponseSchema)` to create a new message.
 */
export declare const ListModelsResponseSchema: GenMessage<ListModelsResponse>;
/**
 * Asks for one model.
 *
 * @generated from message mlxforge.v1.GetModelRequest
 */
export type GetModelRequest = Message<"mlxforge.v1.GetModelRequest"> & {
    /**
     * Its id. Empty: the server's default.
     *
     * @generated from field: string model = 1;
     */
    model: string;
};
/**
 * Describes the message mlxforge.v1.GetModelRequest.
 * Use `create(GetModelRequestSchema)` to create a new message.
 */
export declare const GetModelRequestSchema: GenMessage<GetModelRequest>;
/**
 * One model.
 *
 * @generated from message mlxforge.v1.GetModelResponse
 */
export type GetModelResponse = Message<"mlxforge.v1.GetModelResponse"> & {
    /**
     * The model.
     *
     * @generated from field: mlxforge.v1.Model model = 1;
     */
    model?: Model | undefined;
};
/**
 * Describes the message mlxforge.v1.GetModelResponse.
 * Use `create(GetModelResponseSchema)` to create a new message.
 */
export declare const GetModelResponseSchema: GenMessage<GetModelResponse>;
/**
 * Which model to load.
 *
 * @generated from message mlxforge.v1.LoadModelRequest
 */
export type LoadModelRequest = Message<"mlxforge.v1.LoadModelRequest"> & {
    /**
     * Hugging Face id, folder or `.gguf` file, as the server's settings allow.
     * Required.
     *
     * @generated from field: string model = 1;
     */
    model: string;
    /**
     * The name for requests. Default: the last part of `model`.
     *
     * @generated from field: string id = 2;
     */
    id: string;
    /**
     * Never unload it to make room.
     *
     * @generated from field: bool pinned = 3;
     */
    pinned: boolean;
    /**
     * Unload it after this many seconds without a request. Default: never.
     *
     * @generated from field: optional uint32 idle_ttl_seconds = 4;
     */
    idleTtlSeconds?: number | undefined;
};
/**
 * Describes the message mlxforge.v1.LoadModelRequest.
 * Use `create(LoadModelRequestSchema)` to create a new message.
 */
export declare const LoadModelRequestSchema: GenMessage<LoadModelRequest>;
/**
 * Progress of a load.
 *
 * @generated from message mlxforge.v1.LoadModelResponse
 */
export type LoadModelResponse = Message<"mlxforge.v1.LoadModelResponse"> & {
    /**
     * What is being done.
     *
     * @generated from field: mlxforge.v1.LoadModelResponse.Stage stage = 1;
     */
    stage: LoadModelResponse_Stage;
    /**
     * How much of it is done.
     *
     * @generated from field: uint64 done = 2;
     */
    done: bigint;
    /**
     * How much there is. 0: not known.
     *
     * @generated from field: uint64 total = 3;
     */
    total: bigint;
    /**
     * The model, in the last message.
     *
     * @generated from field: mlxforge.v1.Model model = 4;
     */
    model?: Model | undefined;
};
/**
 * Describes the message mlxforge.v1.LoadModelResponse.
 * Use `create(LoadModelResponseSchema)` to create a new message.
 */
export declare const LoadModelResponseSchema: GenMessage<LoadModelResponse>;
/**
 * What is being done.
 *
 * @generated from enum mlxforge.v1.LoadModelResponse.Stage
 */
export declare enum LoadModelResponse_Stage {
    /**
     * Never sent.
     *
     * @generated from enum value: STAGE_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * Fetching files; `done` and `total` are bytes.
     *
     * @generated from enum value: STAGE_FETCHING = 1;
     */
    FETCHING = 1,
    /**
     * Reading weights; `done` and `total` are bytes.
     *
     * @generated from enum value: STAGE_READING = 2;
     */
    READING = 2,
    /**
     * Running first steps.
     *
     * @generated from enum value: STAGE_WARMING_UP = 3;
     */
    WARMING_UP = 3,
    /**
     * Serving; `model` is set.
     *
     * @generated from enum value: STAGE_READY = 4;
     */
    READY = 4
}
/**
 * Describes the enum mlxforge.v1.LoadModelResponse.Stage.
 */
export declare const LoadModelResponse_StageSchema: GenEnum<LoadModelResponse_Stage>;
/**
 * Which model to unload.
 *
 * @generated from message mlxforge.v1.UnloadModelRequest
 */
export type UnloadModelRequest = Message<"mlxforge.v1.UnloadModelRequest"> & {
    /**
     * Its id. Required.
     *
     * @generated from field: string model = 1;
     */
    model: string;
};
/**
 * Describes the message mlxforge.v1.UnloadModelRequest.
 * Use `create(UnloadModelRequestSchema)` to create a new message.
 */
export declare const UnloadModelRequestSchema: GenMessage<UnloadModelRequest>;
/**
 * The model is out of memory.
 *
 * @generated from message mlxforge.v1.UnloadModelResponse
 */
export type UnloadModelResponse = Message<"mlxforge.v1.UnloadModelResponse"> & {
    /**
     * Bytes given back.
     *
     * @generated from field: uint64 freed_bytes = 1;
     */
    freedBytes: bigint;
};
/**
 * Describes the message mlxforge.v1.UnloadModelResponse.
 * Use `create(UnloadModelResponseSchema)` to create a new message.
 */
export declare const UnloadModelResponseSchema: GenMessage<UnloadModelResponse>;
/**
 * Something a model can do.
 *
 * @generated from enum mlxforge.v1.ModelCapability
 */
export declare enum ModelCapability {
    /**
     * Never sent.
     *
     * @generated from enum value: MODEL_CAPABILITY_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * GenerationService.
     *
     * @generated from enum value: MODEL_CAPABILITY_GENERATE = 1;
     */
    GENERATE = 1,
    /**
     * `chat` input: it has a chat template.
     *
     * @generated from enum value: MODEL_CAPABILITY_CHAT = 2;
     */
    CHAT = 2,
    /**
     * `Chat.tools`: its template knows tools.
     *
     * @generated from enum value: MODEL_CAPABILITY_TOOLS = 3;
     */
    TOOLS = 3,
    /**
     * It marks its reasoning.
     *
     * @generated from enum value: MODEL_CAPABILITY_REASONING = 4;
     */
    REASONING = 4,
    /**
     * EmbeddingService.
     *
     * @generated from enum value: MODEL_CAPABILITY_EMBED = 5;
     */
    EMBED = 5
}
/**
 * Describes the enum mlxforge.v1.ModelCapability.
 */
export declare const ModelCapabilitySchema: GenEnum<ModelCapability>;
/**
 * State of a model.
 *
 * @generated from enum mlxforge.v1.ModelState
 */
export declare enum ModelState {
    /**
     * Never sent.
     *
     * @generated from enum value: MODEL_STATE_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * Known, not in memory.
     *
     * @generated from enum value: MODEL_STATE_UNLOADED = 1;
     */
    UNLOADED = 1,
    /**
     * Being fetched, read or warmed up.
     *
     * @generated from enum value: MODEL_STATE_LOADING = 2;
     */
    LOADING = 2,
    /**
     * Serving.
     *
     * @generated from enum value: MODEL_STATE_READY = 3;
     */
    READY = 3,
    /**
     * Finishing its requests before it is unloaded.
     *
     * @generated from enum value: MODEL_STATE_UNLOADING = 4;
     */
    UNLOADING = 4,
    /**
     * Could not be loaded; see `error`.
     *
     * @generated from enum value: MODEL_STATE_FAILED = 5;
     */
    FAILED = 5
}
/**
 * Describes the enum mlxforge.v1.ModelState.
 */
export declare const ModelStateSchema: GenEnum<ModelState>;
/**
 * The models that the server holds.
 *
 * @generated from service mlxforge.v1.ModelService
 */
export declare const ModelService: GenService<{
    /**
     * All models, loaded or not, by id.
     *
     * @generated from rpc mlxforge.v1.ModelService.ListModels
     */
    listModels: {
        methodKind: "unary";
        input: typeof ListModelsRequestSchema;
        output: typeof ListModelsResponseSchema;
    };
    /**
     * One model.
     *
     * @generated from rpc mlxforge.v1.ModelService.GetModel
     */
    getModel: {
        methodKind: "unary";
        input: typeof GetModelRequestSchema;
        output: typeof GetModelResponseSchema;
    };
    /**
     * Loads a model, reporting progress; the last message has it READY.
     * Cancelling the call cancels the load.
     *
     * @generated from rpc mlxforge.v1.ModelService.LoadModel
     */
    loadModel: {
        methodKind: "server_streaming";
        input: typeof LoadModelRequestSchema;
        output: typeof LoadModelResponseSchema;
    };
    /**
     * Unloads a model and gives its memory back. Its running requests finish
     * first, up to the grace time, then end with UNAVAILABLE.
     *
     * @generated from rpc mlxforge.v1.ModelService.UnloadModel
     */
    unloadModel: {
        methodKind: "unary";
        input: typeof UnloadModelRequestSchema;
        output: typeof UnloadModelResponseSchema;
    };
}>;
//# sourceMappingURL=model_pb.d.ts.map