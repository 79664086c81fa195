// Generated from mlxforge/v1/embedding.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// Turns texts into vectors. Inputs of all callers are batched by length.
///
/// Errors are those of GenerationService; a model that cannot embed answers
/// FAILED_PRECONDITION.
public enum EmbeddingService {
    /// Embeds a list of inputs.
    public static let embed = Method<EmbedRequest, EmbedResponse>(
        "mlxforge.v1.EmbeddingService/Embed")

    /// Embeds one list after the other, for large corpora: one response for each
    /// request, in order. A bad request ends the stream with its error.
    public static let streamEmbed = Method<EmbedRequest, StreamEmbedResponse>(
        "mlxforge.v1.EmbeddingService/StreamEmbed")
}

/// What to embed, and how.
public struct EmbedRequest: SchemaMessage {
    /// Id of a loaded model. Empty: the server's default embedding model.
    public var model: String
    /// The inputs. 1 to 2,048.
    public var inputs: [EmbedInput]
    /// How a text's token vectors become one. Default: the model's own.
    public var pooling: Pooling
    /// Cut vectors to this many leading values (Matryoshka models), before
    /// normalisation. 1 to the model's dimensions. Default: all.
    public var dimensions: UInt32?
    /// Scale vectors to length 1. Default: true.
    public var normalize: Bool?
    /// Task instruction, put before each text in the model's own form. At most
    /// 4,096 characters. Not for token ids.
    public var instruction: String
    /// Cut inputs that are longer than the model takes. Default: refuse them with
    /// INVALID_ARGUMENT.
    public var truncate: Bool

    public init(
        model: String = "",
        inputs: [EmbedInput] = [],
        pooling: Pooling = .init(number: 0),
        dimensions: UInt32? = nil,
        normalize: Bool? = nil,
        instruction: String = "",
        truncate: Bool = false
    ) {
        self.model = model
        self.inputs = inputs
        self.pooling = pooling
        self.dimensions = dimensions
        self.normalize = normalize
        self.instruction = instruction
        self.truncate = truncate
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
        self.inputs = try fields.repeated("inputs")
        self.pooling = try fields.implicit("pooling")
        self.dimensions = try fields.optional("dimensions")
        self.normalize = try fields.optional("normalize")
        self.instruction = try fields.implicit("instruction")
        self.truncate = try fields.implicit("truncate")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
        try fields.repeated("inputs", self.inputs)
        try fields.implicit("pooling", self.pooling)
        try fields.optional("dimensions", self.dimensions)
        try fields.optional("normalize", self.normalize)
        try fields.implicit("instruction", self.instruction)
        try fields.implicit("truncate", self.truncate)
    }
}

/// One input.
public struct EmbedInput: SchemaMessage {
    /// Required.
    public enum Input: Hashable, Sendable {
        /// Text; may be empty.
        case text(String)
        /// Token ids, used as they are, special tokens included.
        case tokenIds(TokenIds)
    }

    /// Required.
    public var input: Input?

    public init(
        input: Input? = nil
    ) {
        self.input = input
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        var inputField = OneOf<Input>("input")
        try inputField.set(fields.optional("text").map(Input.text))
        try inputField.set(fields.optional("tokenIds", "token_ids").map(Input.tokenIds))
        self.input = inputField.value
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        switch self.input {
        case .text(let value):
            try fields.optional("text", value)
        case .tokenIds(let value):
            try fields.optional("tokenIds", value)
        case nil: break
        }
    }
}

/// The vectors of a request.
public struct EmbedResponse: SchemaMessage {
    /// The request's id, as in the server's log.
    public var id: String
    /// Id of the model that answered.
    public var model: String
    /// One for each input, in order.
    public var embeddings: [Embedding]
    /// Tokens of all inputs.
    public var usage: Usage?

    public init(
        id: String = "",
        model: String = "",
        embeddings: [Embedding] = [],
        usage: Usage? = nil
    ) {
        self.id = id
        self.model = model
        self.embeddings = embeddings
        self.usage = usage
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.id = try fields.implicit("id")
        self.model = try fields.implicit("model")
        self.embeddings = try fields.repeated("embeddings")
        self.usage = try fields.optional("usage")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("id", self.id)
        try fields.implicit("model", self.model)
        try fields.repeated("embeddings", self.embeddings)
        try fields.optional("usage", self.usage)
    }
}

/// The vectors of one request of a stream.
public struct StreamEmbedResponse: SchemaMessage {
    /// Position of the request in the stream, from 0.
    public var sequence: UInt64
    /// Id of the model that answered.
    public var model: String
    /// One for each input, in order.
    public var embeddings: [Embedding]
    /// Tokens of the request's inputs.
    public var usage: Usage?

    public init(
        sequence: UInt64 = 0,
        model: String = "",
        embeddings: [Embedding] = [],
        usage: Usage? = nil
    ) {
        self.sequence = sequence
        self.model = model
        self.embeddings = embeddings
        self.usage = usage
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.sequence = try fields.implicit("sequence")
        self.model = try fields.implicit("model")
        self.embeddings = try fields.repeated("embeddings")
        self.usage = try fields.optional("usage")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("sequence", self.sequence)
        try fields.implicit("model", self.model)
        try fields.repeated("embeddings", self.embeddings)
        try fields.optional("usage", self.usage)
    }
}

/// One vector.
public struct Embedding: SchemaMessage {
    /// Position of its input in the request, from 0.
    public var index: UInt32
    /// The values, f32.
    public var values: [Float]
    /// The input was cut to the model's limit.
    public var truncated: Bool

    public init(
        index: UInt32 = 0,
        values: [Float] = [],
        truncated: Bool = false
    ) {
        self.index = index
        self.values = values
        self.truncated = truncated
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.index = try fields.implicit("index")
        self.values = try fields.repeated("values")
        self.truncated = try fields.implicit("truncated")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("index", self.index)
        try fields.repeated("values", self.values)
        try fields.implicit("truncated", self.truncated)
    }
}

/// How a text's token vectors become one.
public enum Pooling: SchemaEnum {
    /// The model's own setting (`1_Pooling/config.json`, else its type's usual).
    case unspecified
    /// The mean over all tokens.
    case mean
    /// The first token's vector.
    case cls
    /// The last token's vector.
    case last
    /// A value of a newer schema.
    case unrecognized(Int32)

    public init(number: Int32) {
        switch number {
        case 0: self = .unspecified
        case 1: self = .mean
        case 2: self = .cls
        case 3: self = .last
        default: self = .unrecognized(number)
        }
    }

    public var number: Int32 {
        switch self {
        case .unspecified: 0
        case .mean: 1
        case .cls: 2
        case .last: 3
        case .unrecognized(let number): number
        }
    }

    public static let allCases: [Pooling] = [
        .unspecified,
        .mean,
        .cls,
        .last,
    ]

    public static let names: [String] = [
        "POOLING_UNSPECIFIED",
        "POOLING_MEAN",
        "POOLING_CLS",
        "POOLING_LAST",
    ]
}

extension EmbedRequest: JSONForm {}
extension EmbedInput: JSONForm {}
extension EmbedResponse: JSONForm {}
extension StreamEmbedResponse: JSONForm {}
extension Embedding: JSONForm {}
extension Pooling: ImplicitForm {}
