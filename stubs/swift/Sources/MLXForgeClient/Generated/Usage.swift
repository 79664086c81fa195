// Generated from mlxforge/v1/usage.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// What a request cost, in tokens.
public struct Usage: SchemaMessage {
    /// Tokens of the prompt, template and special tokens included.
    public var promptTokens: UInt32
    /// Tokens generated, the end token included.
    public var completionTokens: UInt32
    /// Tokens of the prompt whose attention state came from the prefix cache.
    public var cachedTokens: UInt32
    /// Tokens of the completion that were reasoning.
    public var reasoningTokens: UInt32

    public init(
        promptTokens: UInt32 = 0,
        completionTokens: UInt32 = 0,
        cachedTokens: UInt32 = 0,
        reasoningTokens: UInt32 = 0
    ) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
        self.reasoningTokens = reasoningTokens
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.promptTokens = try fields.implicit("promptTokens", "prompt_tokens")
        self.completionTokens = try fields.implicit("completionTokens", "completion_tokens")
        self.cachedTokens = try fields.implicit("cachedTokens", "cached_tokens")
        self.reasoningTokens = try fields.implicit("reasoningTokens", "reasoning_tokens")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("promptTokens", self.promptTokens)
        try fields.implicit("completionTokens", self.completionTokens)
        try fields.implicit("cachedTokens", self.cachedTokens)
        try fields.implicit("reasoningTokens", self.reasoningTokens)
    }
}

/// Where a request's time went, in seconds, measured in the engine.
public struct Timings: SchemaMessage {
    /// From arrival until the request was admitted to the batch.
    public var queueSeconds: Double
    /// From arrival until its first token.
    public var timeToFirstTokenSeconds: Double
    /// From arrival until its end.
    public var totalSeconds: Double

    public init(
        queueSeconds: Double = 0,
        timeToFirstTokenSeconds: Double = 0,
        totalSeconds: Double = 0
    ) {
        self.queueSeconds = queueSeconds
        self.timeToFirstTokenSeconds = timeToFirstTokenSeconds
        self.totalSeconds = totalSeconds
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.queueSeconds = try fields.implicit("queueSeconds", "queue_seconds")
        self.timeToFirstTokenSeconds = try fields.implicit("timeToFirstTokenSeconds", "time_to_first_token_seconds")
        self.totalSeconds = try fields.implicit("totalSeconds", "total_seconds")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("queueSeconds", self.queueSeconds)
        try fields.implicit("timeToFirstTokenSeconds", self.timeToFirstTokenSeconds)
        try fields.implicit("totalSeconds", self.totalSeconds)
    }
}

extension Usage: JSONForm {}
extension Timings: JSONForm {}
