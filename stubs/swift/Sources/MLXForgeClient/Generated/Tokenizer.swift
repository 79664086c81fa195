// Generated from mlxforge/v1/tokenizer.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// Text to tokens and back, as the model's tokenizer does it.
public enum TokenizerService {
    /// The tokens of a text, or of a conversation under the model's template.
    public static let tokenize = Method<TokenizeRequest, TokenizeResponse>(
        "mlxforge.v1.TokenizerService/Tokenize")

    /// The text of tokens.
    public static let detokenize = Method<DetokenizeRequest, DetokenizeResponse>(
        "mlxforge.v1.TokenizerService/Detokenize")
}

/// What to tokenize.
public struct TokenizeRequest: SchemaMessage {
    /// Required.
    public enum Input: Hashable, Sendable {
        /// Text; special tokens spelled in it stay plain characters.
        case text(String)
        /// A conversation, rendered as Generate would.
        case chat(Chat)
    }

    /// Id of a loaded model. Empty: the server's default.
    public var model: String
    /// Required.
    public var input: Input?
    /// Whether the model's own opening and closing tokens are added to `text`.
    /// Default: true.
    public var addSpecialTokens: Bool?

    public init(
        model: String = "",
        input: Input? = nil,
        addSpecialTokens: Bool? = nil
    ) {
        self.model = model
        self.input = input
        self.addSpecialTokens = addSpecialTokens
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
        var inputField = OneOf<Input>("input")
        try inputField.set(fields.optional("text").map(Input.text))
        try inputField.set(fields.optional("chat").map(Input.chat))
        self.input = inputField.value
        self.addSpecialTokens = try fields.optional("addSpecialTokens", "add_special_tokens")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
        switch self.input {
        case .text(let value):
            try fields.optional("text", value)
        case .chat(let value):
            try fields.optional("chat", value)
        case nil: break
        }
        try fields.optional("addSpecialTokens", self.addSpecialTokens)
    }
}

/// The tokens.
public struct TokenizeResponse: SchemaMessage {
    /// The ids, in order.
    public var tokenIds: [UInt32]
    /// The vocabulary's own spelling of each token.
    public var tokens: [String]
    /// How many there are.
    public var count: UInt32

    public init(
        tokenIds: [UInt32] = [],
        tokens: [String] = [],
        count: UInt32 = 0
    ) {
        self.tokenIds = tokenIds
        self.tokens = tokens
        self.count = count
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.tokenIds = try fields.repeated("tokenIds", "token_ids")
        self.tokens = try fields.repeated("tokens")
        self.count = try fields.implicit("count")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.repeated("tokenIds", self.tokenIds)
        try fields.repeated("tokens", self.tokens)
        try fields.implicit("count", self.count)
    }
}

/// What to turn into text.
public struct DetokenizeRequest: SchemaMessage {
    /// Id of a loaded model. Empty: the server's default.
    public var model: String
    /// The ids, each below the width of the model's logits.
    public var tokenIds: [UInt32]
    /// Leave special tokens out. Default: true.
    public var skipSpecialTokens: Bool?

    public init(
        model: String = "",
        tokenIds: [UInt32] = [],
        skipSpecialTokens: Bool? = nil
    ) {
        self.model = model
        self.tokenIds = tokenIds
        self.skipSpecialTokens = skipSpecialTokens
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
        self.tokenIds = try fields.repeated("tokenIds", "token_ids")
        self.skipSpecialTokens = try fields.optional("skipSpecialTokens", "skip_special_tokens")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
        try fields.repeated("tokenIds", self.tokenIds)
        try fields.optional("skipSpecialTokens", self.skipSpecialTokens)
    }
}

/// The text.
public struct DetokenizeResponse: SchemaMessage {
    /// The text; bytes that are no UTF-8 become U+FFFD.
    public var text: String

    public init(
        text: String = ""
    ) {
        self.text = text
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.text = try fields.implicit("text")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("text", self.text)
    }
}

extension TokenizeRequest: JSONForm {}
extension TokenizeResponse: JSONForm {}
extension DetokenizeRequest: JSONForm {}
extension DetokenizeResponse: JSONForm {}
