// Generated from mlxforge/v1/generation.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// Generates text. Requests of all callers run in one continuous batch.
///
/// Errors of both RPCs: INVALID_ARGUMENT with `BadRequest.field_violations`,
/// NOT_FOUND (model), FAILED_PRECONDITION (the model cannot do what is asked),
/// RESOURCE_EXHAUSTED with `RetryInfo` (queue full, no memory),
/// DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE with `RetryInfo` (model loading or
/// restarting, server draining), INTERNAL. Each carries one `ErrorInfo` of the
/// domain `mlxforge`.
public enum GenerationService {
    /// Answers when the whole text is there.
    public static let generate = Method<GenerateRequest, GenerateResponse>(
        "mlxforge.v1.GenerationService/Generate")

    /// Streams the text as it is generated. Each choice ends with one `finish`.
    /// Cancelling the call frees the request's memory within one step.
    public static let streamGenerate = Method<GenerateRequest, StreamGenerateResponse>(
        "mlxforge.v1.GenerationService/StreamGenerate")
}

/// What to generate from, how, and how much.
public struct GenerateRequest: SchemaMessage {
    /// The prompt. Required.
    public enum Input: Hashable, Sendable {
        /// Text, tokenized as it stands; special tokens spelled in it stay plain
        /// characters.
        case prompt(String)
        /// Token ids, used as they are.
        case promptTokenIds(TokenIds)
        /// A conversation for the model's chat template.
        case chat(Chat)
    }

    /// What the text must conform to. With a chat's forced tool call, unset.
    public enum Constraint: Hashable, Sendable {
        /// A JSON Schema (Draft 2020-12) as JSON text. Keywords that cannot be
        /// enforced are refused, named by JSON pointer.
        case jsonSchema(String)
        /// Any JSON object. Must be true when set.
        case jsonObject(Bool)
        /// A regular expression for the whole text (Rust regex syntax, no
        /// look-around, no back-references).
        case regex(String)
        /// A context-free grammar in llguidance's form of Lark.
        case grammar(String)
        /// One of these texts.
        case choice(Choices)
    }

    /// Id of a loaded model. Empty: the server's default generating model.
    public var model: String
    /// The prompt. Required.
    public var input: Input?
    /// How tokens are chosen.
    public var samplingParams: SamplingParams?
    /// Most tokens to generate, per choice. Default: what is left of the model's
    /// context, up to the server's limit. 1 or more.
    public var maxTokens: UInt32?
    /// Tokens to generate before the end token or a stop can end the text.
    /// Default: 0. At most max_tokens.
    public var minTokens: UInt32
    /// The text ends before the first of these strings. At most 16, of 1 to 256
    /// characters.
    public var stop: [String]
    /// The text ends at the first of these tokens. At most 128.
    public var stopTokenIds: [UInt32]
    /// Go on after the model's end token, until max_tokens or a stop.
    public var ignoreEos: Bool
    /// What the text must conform to. With a chat's forced tool call, unset.
    public var constraint: Constraint?
    /// Report each token's log probability, with this many likeliest
    /// alternatives. 0 to 20. Default: not reported.
    public var logprobs: UInt32?
    /// How many answers, sampled independently after one shared prefill.
    /// 1 to 16. Default: 1. Choice i of a seeded request uses seed + i.
    public var n: UInt32?
    /// Prompts share cached prefixes only with requests of the same salt. Give
    /// each tenant its own, so that none can time another's prompts. At most 128
    /// characters.
    public var cacheSalt: String
    /// Whether the tokenizer adds the model's own opening tokens to `prompt`.
    /// Default: true. No effect on token ids and chats.
    public var addSpecialTokens: Bool?
    /// How much a reasoning model may think.
    public var reasoningParams: ReasoningParams?

    public init(
        model: String = "",
        input: Input? = nil,
        samplingParams: SamplingParams? = nil,
        maxTokens: UInt32? = nil,
        minTokens: UInt32 = 0,
        stop: [String] = [],
        stopTokenIds: [UInt32] = [],
        ignoreEos: Bool = false,
        constraint: Constraint? = nil,
        logprobs: UInt32? = nil,
        n: UInt32? = nil,
        cacheSalt: String = "",
        addSpecialTokens: Bool? = nil,
        reasoningParams: ReasoningParams? = nil
    ) {
        self.model = model
        self.input = input
        self.samplingParams = samplingParams
        self.maxTokens = maxTokens
        self.minTokens = minTokens
        self.stop = stop
        self.stopTokenIds = stopTokenIds
        self.ignoreEos = ignoreEos
        self.constraint = constraint
        self.logprobs = logprobs
        self.n = n
        self.cacheSalt = cacheSalt
        self.addSpecialTokens = addSpecialTokens
        self.reasoningParams = reasoningParams
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.model = try fields.implicit("model")
        var inputField = OneOf<Input>("input")
        try inputField.set(fields.optional("prompt").map(Input.prompt))
        try inputField.set(fields.optional("promptTokenIds", "prompt_token_ids").map(Input.promptTokenIds))
        try inputField.set(fields.optional("chat").map(Input.chat))
        self.input = inputField.value
        self.samplingParams = try fields.optional("samplingParams", "sampling_params")
        self.maxTokens = try fields.optional("maxTokens", "max_tokens")
        self.minTokens = try fields.implicit("minTokens", "min_tokens")
        self.stop = try fields.repeated("stop")
        self.stopTokenIds = try fields.repeated("stopTokenIds", "stop_token_ids")
        self.ignoreEos = try fields.implicit("ignoreEos", "ignore_eos")
        var constraintField = OneOf<Constraint>("constraint")
        try constraintField.set(fields.optional("jsonSchema", "json_schema").map(Constraint.jsonSchema))
        try constraintField.set(fields.optional("jsonObject", "json_object").map(Constraint.jsonObject))
        try constraintField.set(fields.optional("regex").map(Constraint.regex))
        try constraintField.set(fields.optional("grammar").map(Constraint.grammar))
        try constraintField.set(fields.optional("choice").map(Constraint.choice))
        self.constraint = constraintField.value
        self.logprobs = try fields.optional("logprobs")
        self.n = try fields.optional("n")
        self.cacheSalt = try fields.implicit("cacheSalt", "cache_salt")
        self.addSpecialTokens = try fields.optional("addSpecialTokens", "add_special_tokens")
        self.reasoningParams = try fields.optional("reasoningParams", "reasoning_params")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("model", self.model)
        switch self.input {
        case .prompt(let value):
            try fields.optional("prompt", value)
        case .promptTokenIds(let value):
            try fields.optional("promptTokenIds", value)
        case .chat(let value):
            try fields.optional("chat", value)
        case nil: break
        }
        try fields.optional("samplingParams", self.samplingParams)
        try fields.optional("maxTokens", self.maxTokens)
        try fields.implicit("minTokens", self.minTokens)
        try fields.repeated("stop", self.stop)
        try fields.repeated("stopTokenIds", self.stopTokenIds)
        try fields.implicit("ignoreEos", self.ignoreEos)
        switch self.constraint {
        case .jsonSchema(let value):
            try fields.optional("jsonSchema", value)
        case .jsonObject(let value):
            try fields.optional("jsonObject", value)
        case .regex(let value):
            try fields.optional("regex", value)
        case .grammar(let value):
            try fields.optional("grammar", value)
        case .choice(let value):
            try fields.optional("choice", value)
        case nil: break
        }
        try fields.optional("logprobs", self.logprobs)
        try fields.optional("n", self.n)
        try fields.implicit("cacheSalt", self.cacheSalt)
        try fields.optional("addSpecialTokens", self.addSpecialTokens)
        try fields.optional("reasoningParams", self.reasoningParams)
    }
}

/// Token ids, each below the width of the model's logits.
public struct TokenIds: SchemaMessage {
    /// The ids, in order. At least one.
    public var ids: [UInt32]

    public init(
        ids: [UInt32] = []
    ) {
        self.ids = ids
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.ids = try fields.repeated("ids")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.repeated("ids", self.ids)
    }
}

/// The texts of which one must be generated.
public struct Choices: SchemaMessage {
    /// 1 to 1,024 texts, none empty, 64 KiB in all.
    public var values: [String]

    public init(
        values: [String] = []
    ) {
        self.values = values
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.values = try fields.repeated("values")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.repeated("values", self.values)
    }
}

/// How much a reasoning model thinks before it answers. No effect on models
/// without reasoning marks.
public struct ReasoningParams: SchemaMessage {
    /// false asks the template to turn thinking off; models whose template has no
    /// such switch answer FAILED_PRECONDITION. Default: the template's.
    public var enabled: Bool?
    /// Thinking is closed after this many tokens. Default: no limit.
    public var maxTokens: UInt32?

    public init(
        enabled: Bool? = nil,
        maxTokens: UInt32? = nil
    ) {
        self.enabled = enabled
        self.maxTokens = maxTokens
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.enabled = try fields.optional("enabled")
        self.maxTokens = try fields.optional("maxTokens", "max_tokens")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.optional("enabled", self.enabled)
        try fields.optional("maxTokens", self.maxTokens)
    }
}

/// What ended a choice, when a stop did.
public struct MatchedStop: SchemaMessage {
    /// One of a string or a token.
    public enum Match: Hashable, Sendable {
        /// The stop string of the request. It is not part of the text.
        case text(String)
        /// The stop token or end token.
        case tokenId(UInt32)
    }

    /// One of a string or a token.
    public var match: Match?

    public init(
        match: Match? = nil
    ) {
        self.match = match
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        var matchField = OneOf<Match>("match")
        try matchField.set(fields.optional("text").map(Match.text))
        try matchField.set(fields.optional("tokenId", "token_id").map(Match.tokenId))
        self.match = matchField.value
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        switch self.match {
        case .text(let value):
            try fields.optional("text", value)
        case .tokenId(let value):
            try fields.optional("tokenId", value)
        case nil: break
        }
    }
}

/// A token's log probability, before temperature and truncation, after
/// penalties, bias and constraint.
public struct TokenLogprob: SchemaMessage {
    /// The token.
    public var tokenId: UInt32
    /// Its text. Empty where it is a part of a character.
    public var token: String
    /// Natural logarithm of its probability.
    public var logprob: Float

    public init(
        tokenId: UInt32 = 0,
        token: String = "",
        logprob: Float = 0
    ) {
        self.tokenId = tokenId
        self.token = token
        self.logprob = logprob
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.tokenId = try fields.implicit("tokenId", "token_id")
        self.token = try fields.implicit("token")
        self.logprob = try fields.implicit("logprob")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("tokenId", self.tokenId)
        try fields.implicit("token", self.token)
        try fields.implicit("logprob", self.logprob)
    }
}

/// The chosen token and the likeliest ones beside it.
public struct TokenLogprobs: SchemaMessage {
    /// The token that was chosen.
    public var chosen: TokenLogprob?
    /// The likeliest tokens, best first, as many as asked for.
    public var top: [TokenLogprob]

    public init(
        chosen: TokenLogprob? = nil,
        top: [TokenLogprob] = []
    ) {
        self.chosen = chosen
        self.top = top
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.chosen = try fields.optional("chosen")
        self.top = try fields.repeated("top")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.optional("chosen", self.chosen)
        try fields.repeated("top", self.top)
    }
}

/// An answer, whole.
public struct GenerateResponse: SchemaMessage {
    /// The request's id, as in the server's log.
    public var id: String
    /// Id of the model that answered.
    public var model: String
    /// One for each of `n`, by index.
    public var choices: [GenerateChoice]
    /// Tokens of all choices together; the prompt is counted once.
    public var usage: Usage?
    /// Until the last choice ended.
    public var timings: Timings?

    public init(
        id: String = "",
        model: String = "",
        choices: [GenerateChoice] = [],
        usage: Usage? = nil,
        timings: Timings? = nil
    ) {
        self.id = id
        self.model = model
        self.choices = choices
        self.usage = usage
        self.timings = timings
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.id = try fields.implicit("id")
        self.model = try fields.implicit("model")
        self.choices = try fields.repeated("choices")
        self.usage = try fields.optional("usage")
        self.timings = try fields.optional("timings")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("id", self.id)
        try fields.implicit("model", self.model)
        try fields.repeated("choices", self.choices)
        try fields.optional("usage", self.usage)
        try fields.optional("timings", self.timings)
    }
}

/// One of the `n` answers.
public struct GenerateChoice: SchemaMessage {
    /// Its position, from 0.
    public var index: UInt32
    /// The text.
    public var text: String
    /// What a reasoning model thought before it.
    public var reasoning: String
    /// The calls the model made.
    public var toolCalls: [ToolCall]
    /// The generated tokens, end token included.
    public var tokenIds: [UInt32]
    /// One for each of `token_ids`, when asked for.
    public var logprobs: [TokenLogprobs]
    /// Why it ended.
    public var finishReason: FinishReason
    /// The stop that ended it, if one did.
    public var matchedStop: MatchedStop?

    public init(
        index: UInt32 = 0,
        text: String = "",
        reasoning: String = "",
        toolCalls: [ToolCall] = [],
        tokenIds: [UInt32] = [],
        logprobs: [TokenLogprobs] = [],
        finishReason: FinishReason = .init(number: 0),
        matchedStop: MatchedStop? = nil
    ) {
        self.index = index
        self.text = text
        self.reasoning = reasoning
        self.toolCalls = toolCalls
        self.tokenIds = tokenIds
        self.logprobs = logprobs
        self.finishReason = finishReason
        self.matchedStop = matchedStop
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.index = try fields.implicit("index")
        self.text = try fields.implicit("text")
        self.reasoning = try fields.implicit("reasoning")
        self.toolCalls = try fields.repeated("toolCalls", "tool_calls")
        self.tokenIds = try fields.repeated("tokenIds", "token_ids")
        self.logprobs = try fields.repeated("logprobs")
        self.finishReason = try fields.implicit("finishReason", "finish_reason")
        self.matchedStop = try fields.optional("matchedStop", "matched_stop")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("index", self.index)
        try fields.implicit("text", self.text)
        try fields.implicit("reasoning", self.reasoning)
        try fields.repeated("toolCalls", self.toolCalls)
        try fields.repeated("tokenIds", self.tokenIds)
        try fields.repeated("logprobs", self.logprobs)
        try fields.implicit("finishReason", self.finishReason)
        try fields.optional("matchedStop", self.matchedStop)
    }
}

/// A piece of one choice, or its end.
public struct StreamGenerateResponse: SchemaMessage {
    /// One of a piece or the end.
    public enum Event: Hashable, Sendable {
        /// What came since the choice's last message.
        case delta(GenerateDelta)
        /// The choice has ended. Sent once for each choice.
        case finish(GenerateFinish)
    }

    /// The request's id. In the first message of the stream only.
    public var id: String
    /// Id of the model that answers. In the first message of the stream only.
    public var model: String
    /// The choice, from 0.
    public var index: UInt32
    /// One of a piece or the end.
    public var event: Event?

    public init(
        id: String = "",
        model: String = "",
        index: UInt32 = 0,
        event: Event? = nil
    ) {
        self.id = id
        self.model = model
        self.index = index
        self.event = event
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.id = try fields.implicit("id")
        self.model = try fields.implicit("model")
        self.index = try fields.implicit("index")
        var eventField = OneOf<Event>("event")
        try eventField.set(fields.optional("delta").map(Event.delta))
        try eventField.set(fields.optional("finish").map(Event.finish))
        self.event = eventField.value
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("id", self.id)
        try fields.implicit("model", self.model)
        try fields.implicit("index", self.index)
        switch self.event {
        case .delta(let value):
            try fields.optional("delta", value)
        case .finish(let value):
            try fields.optional("finish", value)
        case nil: break
        }
    }
}

/// What came since the choice's last message.
public struct GenerateDelta: SchemaMessage {
    /// Further text: whole characters, never a part of a stop string.
    public var text: String
    /// Further reasoning.
    public var reasoning: String
    /// Further pieces of tool calls.
    public var toolCalls: [ToolCallDelta]
    /// The tokens generated, also those whose text is still held back.
    public var tokenIds: [UInt32]
    /// One for each of `token_ids`, when asked for.
    public var logprobs: [TokenLogprobs]

    public init(
        text: String = "",
        reasoning: String = "",
        toolCalls: [ToolCallDelta] = [],
        tokenIds: [UInt32] = [],
        logprobs: [TokenLogprobs] = []
    ) {
        self.text = text
        self.reasoning = reasoning
        self.toolCalls = toolCalls
        self.tokenIds = tokenIds
        self.logprobs = logprobs
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.text = try fields.implicit("text")
        self.reasoning = try fields.implicit("reasoning")
        self.toolCalls = try fields.repeated("toolCalls", "tool_calls")
        self.tokenIds = try fields.repeated("tokenIds", "token_ids")
        self.logprobs = try fields.repeated("logprobs")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("text", self.text)
        try fields.implicit("reasoning", self.reasoning)
        try fields.repeated("toolCalls", self.toolCalls)
        try fields.repeated("tokenIds", self.tokenIds)
        try fields.repeated("logprobs", self.logprobs)
    }
}

/// The end of a choice.
public struct GenerateFinish: SchemaMessage {
    /// Why.
    public var finishReason: FinishReason
    /// The stop that ended it, if one did.
    public var matchedStop: MatchedStop?
    /// The prompt's tokens and this choice's.
    public var usage: Usage?
    /// Until this choice ended.
    public var timings: Timings?

    public init(
        finishReason: FinishReason = .init(number: 0),
        matchedStop: MatchedStop? = nil,
        usage: Usage? = nil,
        timings: Timings? = nil
    ) {
        self.finishReason = finishReason
        self.matchedStop = matchedStop
        self.usage = usage
        self.timings = timings
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.finishReason = try fields.implicit("finishReason", "finish_reason")
        self.matchedStop = try fields.optional("matchedStop", "matched_stop")
        self.usage = try fields.optional("usage")
        self.timings = try fields.optional("timings")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("finishReason", self.finishReason)
        try fields.optional("matchedStop", self.matchedStop)
        try fields.optional("usage", self.usage)
        try fields.optional("timings", self.timings)
    }
}

/// Why a choice ended.
public enum FinishReason: SchemaEnum {
    /// Never sent.
    case unspecified
    /// End token, stop string, stop token, or the constraint is complete.
    case stop
    /// max_tokens or the model's context was reached.
    case length
    /// The model called tools.
    case toolCalls
    /// The engine's host cancelled it. A caller's own cancel is the gRPC status
    /// CANCELLED instead.
    case cancelled
    /// A value of a newer schema.
    case unrecognized(Int32)

    public init(number: Int32) {
        switch number {
        case 0: self = .unspecified
        case 1: self = .stop
        case 2: self = .length
        case 3: self = .toolCalls
        case 4: self = .cancelled
        default: self = .unrecognized(number)
        }
    }

    public var number: Int32 {
        switch self {
        case .unspecified: 0
        case .stop: 1
        case .length: 2
        case .toolCalls: 3
        case .cancelled: 4
        case .unrecognized(let number): number
        }
    }

    public static let allCases: [FinishReason] = [
        .unspecified,
        .stop,
        .length,
        .toolCalls,
        .cancelled,
    ]

    public static let names: [String] = [
        "FINISH_REASON_UNSPECIFIED",
        "FINISH_REASON_STOP",
        "FINISH_REASON_LENGTH",
        "FINISH_REASON_TOOL_CALLS",
        "FINISH_REASON_CANCELLED",
    ]
}

extension GenerateRequest: JSONForm {}
extension TokenIds: JSONForm {}
extension Choices: JSONForm {}
extension ReasoningParams: JSONForm {}
extension MatchedStop: JSONForm {}
extension TokenLogprob: JSONForm {}
extension TokenLogprobs: JSONForm {}
extension GenerateResponse: JSONForm {}
extension GenerateChoice: JSONForm {}
extension StreamGenerateResponse: JSONForm {}
extension GenerateDelta: JSONForm {}
extension GenerateFinish: JSONForm {}
extension FinishReason: ImplicitForm {}
