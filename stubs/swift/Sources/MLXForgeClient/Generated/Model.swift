// Generated from mlxforge/v1/model.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// The models that the server holds.
public enum ModelService {
    /// All models, loaded or not, by id.
    public static let listModels = Method<ListModelsRequest, ListModelsResponse>(
        "mlxforge.v1.ModelService/ListModels")

    /// One model.
    public static let getModel = Method<GetModelRequest, GetModelResponse>(
        "mlxforge.v1.ModelService/GetModel")

    /// Loads a model, reporting progress; the last message has it READY.
    /// Cancelling the call cancels the load.
    public static let loadModel = Method<LoadModelRequest, LoadModelResponse>(
        "mlxforge.v1.ModelService/LoadModel")

    /// Unloads a model and gives its memory back. Its running requests finish
    /// first, up to the grace time, then end with UNAVAILABLE.
    public static let unloadModel = Method<UnloadModelRequest, UnloadModelResponse>(
        "mlxforge.v1.ModelService/UnloadModel")
}

/// What a model is and can do.
public struct Model: SchemaMessage {
    /// The name by which requests ask for it.
    public var id: String
    /// What the model can do.
    public var capabilities: [ModelCapability]
    /// Its architecture, as `model_type` in its configuration.
    public var architecture: String
    /// Type of its weights in memory: `float32`, `bfloat16`, `4-bit`, …
    public var dtype: String
    /// Its state.
    public var state: ModelState
    /// What was wrong, in state FAILED.
    public var error: String
    /// Limits of a request. Set once loaded.
    public var limits: ModelLimits?
    /// Bytes of its weights in memory. Set once loaded.
    public var weightBytes: UInt64
    /// How embeddings are made. Set for a model that can embed.
    public var embedding: EmbeddingInfo?
    /// Never unloaded to make room.
    public var pinned: Bool
    /// When it became READY.
    public var readyTime: Timestamp?
    /// The model that answers requests which name none.
    public var `default`: Bool

    public init(
        id: String = "",
        capabilities: [ModelCapability] = [],
        architecture: String = "",
        dtype: String = "",
        state: ModelState = .init(number: 0),
        error: String = "",
        limits: ModelLimits? = nil,
        weightBytes: UInt64 = 0,
        embedding: EmbeddingInfo? = nil,
        pinned: Bool = false,
        readyTime: Timestamp? = nil,
        `default`: Bool = false
    ) {
        self.id = id
        self.capabilities = capabilities
        self.architecture = architecture
        self.dtype = dtype
        self.state = state
        self.error = error
        self.limits = limits
        self.weightBytes = weightBytes
        self.embedding = embedding
        self.pinned = pinned
        self.readyTime = readyTime
        self.`default` = `default`
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.id = try fields.implicit("id")
        self.capabilities = try fields.repeated("capabilities")
        self.architecture = try fields.implicit("architecture")
        self.dtype = try fields.implicit("dtype")
        self.state = try fields.implicit("state")
        self.error = try fields.implicit("error")
        self.limits = try fields.optional("limits")
        self.weightBytes = try fields.implicit("weightBytes", "weight_bytes")
        self.embedding = try fields.optional("embedding")
        self.pinned = try fields.implicit("pinned")
        self.readyTime = try fields.optional("readyTime", "ready_time")
        self.`default` = try fields.implicit("default")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("id", self.id)
        try fields.repeated("capabilities", self.capabilities)
        try fields.implicit("architecture", self.architecture)
        try fields.implicit("dtype", self.dtype)
        try fields.implicit("state", self.state)
        try fields.implicit("error", self.error)
        try fields.optional("limits", self.limits)
        try fields.implicit("weightBytes", self.weightBytes)
        try fields.optional("embedding", self.embedding)
        try fields.implicit("pinned", self.pinned)
        try fields.optional("readyTime", self.readyTime)
        try fields.implicit("default", self.`default`)
    }
}

/// Limits of one request to a model.
public struct ModelLimits: SchemaMessage {
    /// Prompt and completion together, in tokens.
    public var maxModelLen: UInt32
    /// Largest `max_tokens`.
    public var maxTokens: UInt32
    /// Largest `n`.
    public var maxN: UInt32
    /// Width of the logits: ids must be below it.
    public var vocabSize: UInt32
    /// Requests that run at once.
    public var maxRunningRequests: UInt32
    /// Requests that may wait.
    public var maxWaitingRequests: UInt32
    /// Inputs of one EmbedRequest.
    public var maxEmbedInputs: UInt32

    public init(
        maxModelLen: UInt32 = 0,
        maxTokens: UInt32 = 0,
        maxN: UInt32 = 0,
        vocabSize: UInt32 = 0,
        maxRunningRequests: UInt32 = 0,
        maxWaitingRequests: UInt32 = 0,
        maxEmbedInputs: UInt32 = 0
    ) {
        self.maxModelLen = maxModelLen
        self.maxTokens = maxTokens
        self.maxN = maxN
        self.vocabSize = vocabSize
        self.maxRunningRequests = maxRunningRequests
        self.maxWaitingRequests = maxWaitingRequests
        self.maxEmbedInputs = maxEmbedInputs
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.maxModelLen = try fields.implicit("maxModelLen", "max_model_len")
        self.maxTokens = try fields.implicit("maxTokens", "max_tokens")
        self.maxN = try fields.implicit("maxN", "max_n")
        self.vocabSize = try fields.implicit("vocabSize", "vocab_size")
        self.maxRunningRequests = try fields.implicit("maxRunningRequests", "max_running_requests")
        self.maxWaitingRequests = try fields.implicit("maxWaitingRequests", "max_waiting_requests")
        self.maxEmbedInputs = try fields.implicit("maxEmbedInputs", "max_embed_inputs")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("maxModelLen", self.maxModelLen)
        try fields.implicit("maxTokens", self.maxTokens)
        try fields.implicit("maxN", self.maxN)
        try fields.implicit("vocabSize", self.vocabSize)
        try fields.implicit("maxRunningRequests", self.maxRunningRequests)
        try fields.implicit("maxWaitingRequests", self.maxWaitingRequests)
        try fields.implicit("maxEmbedInputs", self.maxEmbedInputs)
    }
}

/// How a model embeds.
public struct EmbeddingInfo: SchemaMessage {
    /// Length of its vectors.
    public var dimensions: UInt32
    /// Longest input, in tokens.
    public var maxInputTokens: UInt32
    /// Its own pooling.
    public var pooling: Pooling

    public init(
        dimensions: UInt32 = 0,
        maxInputTokens: UInt32 = 0,
        pooling: Pooling = .init(number: 0)
    ) {
        self.dimensions = dimensions
        self.maxInputTokens = maxInputTokens
        self.pooling = pooling
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.dimensions = try fields.implicit("dimensions")
        self.maxInputTokens = try fields.implicit("maxInputTokens", "max_input_tokens")
        self.pooling = try fields.implicit("pooling")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("dimensions", self.dimensions)
        try fields.implicit("maxInputTokens", self.maxInputTokens)
        try fields.implicit("pooling", self.pooling)
    }
}

/// Asks for all models.
public struct ListModelsRequest: SchemaMessage {

    public init() {}

    public init(from decoder: any Decoder) throws {
        _ = try MessageReader(decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        _ = MessageWriter(encoder)
    }
}

/// All models.
public struct ListModelsResponse: SchemaMessage {
    /// The models, defaults first.
    public var models: [Model]

    public init(
        models: [Model] = []
    ) {
        self.models = models
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.models = try fields.repeated("models")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.repeated("models", self.models)
    }
}

/// Asks for one model.
public struct GetModelRequest: SchemaMessage {
    /// Its id. Empty: the server's default.
    public var model: String

    public init(
        model: String = ""
    ) {
        self.model = model
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
    }
}

/// One model.
public struct GetModelResponse: SchemaMessage {
    /// The model.
    public var model: Model?

    public init(
        model: Model? = nil
    ) {
        self.model = model
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.optional("model")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.optional("model", self.model)
    }
}

/// Which model to load.
public struct LoadModelRequest: SchemaMessage {
    /// Hugging Face id, folder or `.gguf` file, as the server's settings allow.
    /// Required.
    public var model: String
    /// The name for requests. Default: the last part of `model`.
    public var id: String
    /// Never unload it to make room.
    public var pinned: Bool
    /// Unload it after this many seconds without a request. Default: never.
    public var idleTtlSeconds: UInt32?

    public init(
        model: String = "",
        id: String = "",
        pinned: Bool = false,
        idleTtlSeconds: UInt32? = nil
    ) {
        self.model = model
        self.id = id
        self.pinned = pinned
        self.idleTtlSeconds = idleTtlSeconds
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
        self.id = try fields.implicit("id")
        self.pinned = try fields.implicit("pinned")
        self.idleTtlSeconds = try fields.optional("idleTtlSeconds", "idle_ttl_seconds")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
        try fields.implicit("id", self.id)
        try fields.implicit("pinned", self.pinned)
        try fields.optional("idleTtlSeconds", self.idleTtlSeconds)
    }
}

/// Progress of a load.
public struct LoadModelResponse: SchemaMessage {
    /// What is being done.
    public enum Stage: SchemaEnum {
        /// Never sent.
        case unspecified
        /// Fetching files; `done` and `total` are bytes.
        case fetching
        /// Reading weights; `done` and `total` are bytes.
        case reading
        /// Running first steps.
        case warmingUp
        /// Serving; `model` is set.
        case ready
        /// A value of a newer schema.
        case unrecognized(Int32)

        public init(number: Int32) {
            switch number {
            case 0: self = .unspecified
            case 1: self = .fetching
            case 2: self = .reading
            case 3: self = .warmingUp
            case 4: self = .ready
            default: self = .unrecognized(number)
            }
        }

        public var number: Int32 {
            switch self {
            case .unspecified: 0
            case .fetching: 1
            case .reading: 2
            case .warmingUp: 3
            case .ready: 4
            case .unrecognized(let number): number
            }
        }

        public static let allCases: [LoadModelResponse.Stage] = [
            .unspecified,
            .fetching,
            .reading,
            .warmingUp,
            .ready,
        ]

        public static let names: [String] = [
            "STAGE_UNSPECIFIED",
            "STAGE_FETCHING",
            "STAGE_READING",
            "STAGE_WARMING_UP",
            "STAGE_READY",
        ]
    }

    /// What is being done.
    public var stage: LoadModelResponse.Stage
    /// How much of it is done.
    public var done: UInt64
    /// How much there is. 0: not known.
    public var total: UInt64
    /// The model, in the last message.
    public var model: Model?

    public init(
        stage: LoadModelResponse.Stage = .init(number: 0),
        done: UInt64 = 0,
        total: UInt64 = 0,
        model: Model? = nil
    ) {
        self.stage = stage
        self.done = done
        self.total = total
        self.model = model
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.stage = try fields.implicit("stage")
        self.done = try fields.implicit("done")
        self.total = try fields.implicit("total")
        self.model = try fields.optional("model")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("stage", self.stage)
        try fields.implicit("done", self.done)
        try fields.implicit("total", self.total)
        try fields.optional("model", self.model)
    }
}

/// Which model to unload.
public struct UnloadModelRequest: SchemaMessage {
    /// Its id. Required.
    public var model: String

    public init(
        model: String = ""
    ) {
        self.model = model
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
    }
}

/// The model is out of memory.
public struct UnloadModelResponse: SchemaMessage {
    /// Bytes given back.
    public var freedBytes: UInt64

    public init(
        freedBytes: UInt64 = 0
    ) {
        self.freedBytes = freedBytes
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.freedBytes = try fields.implicit("freedBytes", "freed_bytes")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("freedBytes", self.freedBytes)
    }
}

/// Something a model can do.
public enum ModelCapability: SchemaEnum {
    /// Never sent.
    case unspecified
    /// GenerationService.
    case generate
    /// `chat` input: it has a chat template.
    case chat
    /// `Chat.tools`: its template knows tools.
    case tools
    /// It marks its reasoning.
    case reasoning
    /// EmbeddingService.
    case embed
    /// A value of a newer schema.
    case unrecognized(Int32)

    public init(number: Int32) {
        switch number {
        case 0: self = .unspecified
        case 1: self = .generate
        case 2: self = .chat
        case 3: self = .tools
        case 4: self = .reasoning
        case 5: self = .embed
        default: self = .unrecognized(number)
        }
    }

    public var number: Int32 {
        switch self {
        case .unspecified: 0
        case .generate: 1
        case .chat: 2
        case .tools: 3
        case .reasoning: 4
        case .embed: 5
        case .unrecognized(let number): number
        }
    }

    public static let allCases: [ModelCapability] = [
        .unspecified,
        .generate,
        .chat,
        .tools,
        .reasoning,
        .embed,
    ]

    public static let names: [String] = [
        "MODEL_CAPABILITY_UNSPECIFIED",
        "MODEL_CAPABILITY_GENERATE",
        "MODEL_CAPABILITY_CHAT",
        "MODEL_CAPABILITY_TOOLS",
        "MODEL_CAPABILITY_REASONING",
        "MODEL_CAPABILITY_EMBED",
    ]
}

/// State of a model.
public enum ModelState: SchemaEnum {
    /// Never sent.
    case unspecified
    /// Known, not in memory.
    case unloaded
    /// Being fetched, read or warmed up.
    case loading
    /// Serving.
    case ready
    /// Finishing its requests before it is unloaded.
    case unloading
    /// Could not be loaded; see `error`.
    case failed
    /// A value of a newer schema.
    case unrecognized(Int32)

    public init(number: Int32) {
        switch number {
        case 0: self = .unspecified
        case 1: self = .unloaded
        case 2: self = .loading
        case 3: self = .ready
        case 4: self = .unloading
        case 5: self = .failed
        default: self = .unrecognized(number)
        }
    }

    public var number: Int32 {
        switch self {
        case .unspecified: 0
        case .unloaded: 1
        case .loading: 2
        case .ready: 3
        case .unloading: 4
        case .failed: 5
        case .unrecognized(let number): number
        }
    }

    public static let allCases: [ModelState] = [
        .unspecified,
        .unloaded,
        .loading,
        .ready,
        .unloading,
        .failed,
    ]

    public static let names: [String] = [
        "MODEL_STATE_UNSPECIFIED",
        "MODEL_STATE_UNLOADED",
        "MODEL_STATE_LOADING",
        "MODEL_STATE_READY",
        "MODEL_STATE_UNLOADING",
        "MODEL_STATE_FAILED",
    ]
}

extension Model: JSONForm {}
extension ModelLimits: JSONForm {}
extension EmbeddingInfo: JSONForm {}
extension ListModelsRequest: JSONForm {}
extension ListModelsResponse: JSONForm {}
extension GetModelRequest: JSONForm {}
extension GetModelResponse: JSONForm {}
extension LoadModelRequest: JSONForm {}
extension LoadModelResponse: JSONForm {}
extension LoadModelResponse.Stage: ImplicitForm {}
extension UnloadModelRequest: JSONForm {}
extension UnloadModelResponse: JSONForm {}
extension ModelCapability: ImplicitForm {}
extension ModelState: ImplicitForm {}
