// Generated from mlxforge/v1/chat.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

/// A conversation, rendered into a prompt by the model's own chat template.
public struct Chat: SchemaMessage {
    /// The turns, oldest first. At least one. The template decides which orders of
    /// roles it takes; one it refuses is INVALID_ARGUMENT.
    public var messages: [Message]
    /// Functions the model may call. At most 128. Models whose template knows no
    /// tools answer FAILED_PRECONDITION.
    public var tools: [Tool]
    /// Whether, and which, tools are to be called. Default: AUTO when there are
    /// tools, NONE otherwise.
    public var toolChoice: ToolChoice?
    /// Arguments for the chat template (for example `enable_thinking`). Names that
    /// the engine sets itself (`messages`, `tools`, `add_generation_prompt`, …)
    /// and names of templates are refused.
    public var templateKwargs: JSONObject?
    /// Whether the template opens the assistant's turn after the last message.
    /// Default: true. Set to false to have the model continue the last message.
    public var addGenerationPrompt: Bool?

    public init(
        messages: [Message] = [],
        tools: [Tool] = [],
        toolChoice: ToolChoice? = nil,
        templateKwargs: JSONObject? = nil,
        addGenerationPrompt: Bool? = nil
    ) {
        self.messages = messages
        self.tools = tools
        self.toolChoice = toolChoice
        self.templateKwargs = templateKwargs
        self.addGenerationPrompt = addGenerationPrompt
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.messages = try fields.repeated("messages")
        self.tools = try fields.repeated("tools")
        self.toolChoice = try fields.optional("toolChoice", "tool_choice")
        self.templateKwargs = try fields.optional("templateKwargs", "template_kwargs")
        self.addGenerationPrompt = try fields.optional("addGenerationPrompt", "add_generation_prompt")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.repeated("messages", self.messages)
        try fields.repeated("tools", self.tools)
        try fields.optional("toolChoice", self.toolChoice)
        try fields.optional("templateKwargs", self.templateKwargs)
        try fields.optional("addGenerationPrompt", self.addGenerationPrompt)
    }
}

/// One turn of a conversation.
public struct Message: SchemaMessage {
    /// `system`, `user`, `assistant`, `tool`, or `developer` (taken as `system`
    /// by templates that do not know it). Required.
    public var role: String
    /// The text. Special tokens spelled in it stay plain characters. May be empty
    /// for an assistant's turn that only calls tools.
    public var content: String
    /// Name of the speaker, for templates that print one. Optional.
    public var name: String
    /// The calls an assistant's turn made. Only for the role `assistant`.
    public var toolCalls: [ToolCall]
    /// The call that a `tool` turn answers. Only for the role `tool`.
    public var toolCallId: String
    /// What the model thought before an assistant's turn, for templates that take
    /// it back. Only for the role `assistant`.
    public var reasoning: String

    public init(
        role: String = "",
        content: String = "",
        name: String = "",
        toolCalls: [ToolCall] = [],
        toolCallId: String = "",
        reasoning: String = ""
    ) {
        self.role = role
        self.content = content
        self.name = name
        self.toolCalls = toolCalls
        self.toolCallId = toolCallId
        self.reasoning = reasoning
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.role = try fields.implicit("role")
        self.content = try fields.implicit("content")
        self.name = try fields.implicit("name")
        self.toolCalls = try fields.repeated("toolCalls", "tool_calls")
        self.toolCallId = try fields.implicit("toolCallId", "tool_call_id")
        self.reasoning = try fields.implicit("reasoning")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("role", self.role)
        try fields.implicit("content", self.content)
        try fields.implicit("name", self.name)
        try fields.repeated("toolCalls", self.toolCalls)
        try fields.implicit("toolCallId", self.toolCallId)
        try fields.implicit("reasoning", self.reasoning)
    }
}

/// A function that the model may call.
public struct Tool: SchemaMessage {
    /// 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`. Unique in a request.
    public var name: String
    /// What the function does, for the model to read.
    public var description: String
    /// JSON Schema (Draft 2020-12) of the arguments, an object, as JSON text, so
    /// that the order of its properties is kept. Empty: no arguments.
    public var parameters: String

    public init(
        name: String = "",
        description: String = "",
        parameters: String = ""
    ) {
        self.name = name
        self.description = description
        self.parameters = parameters
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.name = try fields.implicit("name")
        self.description = try fields.implicit("description")
        self.parameters = try fields.implicit("parameters")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("name", self.name)
        try fields.implicit("description", self.description)
        try fields.implicit("parameters", self.parameters)
    }
}

/// Which tools are to be called.
public struct ToolChoice: SchemaMessage {
    /// How the model chooses.
    public enum Mode: SchemaEnum {
        /// As AUTO when the chat has tools, as NONE when it has none.
        case unspecified
        /// The model decides.
        case auto
        /// No calls; the template does not see the tools.
        case none
        /// At least one call of any tool, its arguments constrained by its schema.
        case required
        /// A value of a newer schema.
        case unrecognized(Int32)

        public init(number: Int32) {
            switch number {
            case 0: self = .unspecified
            case 1: self = .auto
            case 2: self = .none
            case 3: self = .required
            default: self = .unrecognized(number)
            }
        }

        public var number: Int32 {
            switch self {
            case .unspecified: 0
            case .auto: 1
            case .none: 2
            case .required: 3
            case .unrecognized(let number): number
            }
        }

        public static let allCases: [ToolChoice.Mode] = [
            .unspecified,
            .auto,
            .none,
            .required,
        ]

        public static let names: [String] = [
            "MODE_UNSPECIFIED",
            "MODE_AUTO",
            "MODE_NONE",
            "MODE_REQUIRED",
        ]
    }

    /// One of a mode or a function's name.
    public enum Choice: Hashable, Sendable {
        /// The mode.
        case mode(ToolChoice.Mode)
        /// Name of the one tool that must be called, its arguments constrained.
        case name(String)
    }

    /// One of a mode or a function's name.
    public var choice: Choice?

    public init(
        choice: Choice? = nil
    ) {
        self.choice = choice
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        var choiceField = OneOf<Choice>("choice")
        try choiceField.set(fields.optional("mode").map(Choice.mode))
        try choiceField.set(fields.optional("name").map(Choice.name))
        self.choice = choiceField.value
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        switch self.choice {
        case .mode(let value):
            try fields.optional("mode", value)
        case .name(let value):
            try fields.optional("name", value)
        case nil: break
        }
    }
}

/// A call the model made, whole.
public struct ToolCall: SchemaMessage {
    /// Made by the server, unique within the response: `call_` and 24 characters.
    public var id: String
    /// Name of the function.
    public var name: String
    /// The arguments, a JSON object as text.
    public var arguments: String

    public init(
        id: String = "",
        name: String = "",
        arguments: String = ""
    ) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.id = try fields.implicit("id")
        self.name = try fields.implicit("name")
        self.arguments = try fields.implicit("arguments")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("id", self.id)
        try fields.implicit("name", self.name)
        try fields.implicit("arguments", self.arguments)
    }
}

/// A piece of a call while it is streamed: the first piece of a call has its
/// `id` and `name`, all have the next characters of `arguments`.
public struct ToolCallDelta: SchemaMessage {
    /// Position of the call among the calls of its choice, from 0.
    public var index: UInt32
    /// Id of the call. In the first piece only.
    public var id: String
    /// Name of the function. In the first piece only.
    public var name: String
    /// Further characters of the arguments' JSON text.
    public var arguments: String

    public init(
        index: UInt32 = 0,
        id: String = "",
        name: String = "",
        arguments: String = ""
    ) {
        self.index = index
        self.id = id
        self.name = name
        self.arguments = arguments
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.index = try fields.implicit("index")
        self.id = try fields.implicit("id")
        self.name = try fields.implicit("name")
        self.arguments = try fields.implicit("arguments")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("index", self.index)
        try fields.implicit("id", self.id)
        try fields.implicit("name", self.name)
        try fields.implicit("arguments", self.arguments)
    }
}

extension Chat: JSONForm {}
extension Message: JSONForm {}
extension Tool: JSONForm {}
extension ToolChoice: JSONForm {}
extension ToolChoice.Mode: ImplicitForm {}
extension ToolCall: JSONForm {}
extension ToolCallDelta: JSONForm {}
