// Generated from mlxforge/v1/sampling.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// How a token is chosen from the model's distribution. Every scalar is
/// `optional`, because 0 means something. A field that is not set takes the
/// model's `generation_config.json`, then the default named here.
///
/// The order is: logit_bias, repetition, presence and frequency penalties,
/// constraint mask, temperature, top_k, top_p, min_p, draw.
public struct SamplingParams: SchemaMessage {
    /// Divides the logits. 0 = greedy (always the likeliest token).
    /// Range 0 to 100. Default: 1.
    public var temperature: Double?
    /// Draw from the smallest set of tokens whose probability reaches top_p.
    /// Above 0, up to 1. Default: 1 (off).
    public var topP: Double?
    /// Draw from the top_k likeliest tokens. 0 = off. Default: 0.
    public var topK: UInt32?
    /// Drop tokens less likely than min_p times the likeliest. 0 to 1. Default: 0.
    public var minP: Double?
    /// Makes the draw repeatable: the same request with the same seed gives the
    /// same tokens whatever else is in the batch (for one build and chip).
    /// Default: a random one.
    public var seed: UInt64?
    /// Divides (multiplies, when negative) the logits of tokens that stand in the
    /// prompt or the output. Above 0, up to 100. 1 = off. Default: 1.
    public var repetitionPenalty: Double?
    /// Subtracted once from the logits of tokens in the output. -2 to 2. Default: 0.
    public var presencePenalty: Double?
    /// Subtracted from the logits of a token for each time it stands in the
    /// output. -2 to 2. Default: 0.
    public var frequencyPenalty: Double?
    /// Token id to a number added to its logit, -100 to 100. At most 1,024
    /// entries; ids below the width of the logits.
    public var logitBias: [UInt32: Double]

    public init(
        temperature: Double? = nil,
        topP: Double? = nil,
        topK: UInt32? = nil,
        minP: Double? = nil,
        seed: UInt64? = nil,
        repetitionPenalty: Double? = nil,
        presencePenalty: Double? = nil,
        frequencyPenalty: Double? = nil,
        logitBias: [UInt32: Double] = [:]
    ) {
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        self.seed = seed
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.logitBias = logitBias
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.temperature = try fields.optional("temperature")
        self.topP = try fields.optional("topP", "top_p")
        self.topK = try fields.optional("topK", "top_k")
        self.minP = try fields.optional("minP", "min_p")
        self.seed = try fields.optional("seed")
        self.repetitionPenalty = try fields.optional("repetitionPenalty", "repetition_penalty")
        self.presencePenalty = try fields.optional("presencePenalty", "presence_penalty")
        self.frequencyPenalty = try fields.optional("frequencyPenalty", "frequency_penalty")
        self.logitBias = try fields.map("logitBias", "logit_bias")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.optional("temperature", self.temperature)
        try fields.optional("topP", self.topP)
        try fields.optional("topK", self.topK)
        try fields.optional("minP", self.minP)
        try fields.optional("seed", self.seed)
        try fields.optional("repetitionPenalty", self.repetitionPenalty)
        try fields.optional("presencePenalty", self.presencePenalty)
        try fields.optional("frequencyPenalty", self.frequencyPenalty)
        try fields.map("logitBias", self.logitBias)
    }
}

extension SamplingParams: JSONForm {}
