extension GenerateRequest: ExpressibleByStringLiteral {
    /// A conversation of one user's message.
    public init(_ message: String) {
        self.init(messages: [.user(message)])
    }

    /// A conversation.
    public init(messages: [Message]) {
        self.init(input: .chat(Chat(messages: messages)))
    }

    /// Text as it stands, without the model's chat template.
    public init(prompt: String) {
        self.init(input: .prompt(prompt))
    }

    public init(stringLiteral message: String) {
        self.init(message)
    }
}

extension Message {
    /// A user's turn.
    public static func user(_ content: String) -> Message {
        Message(role: "user", content: content)
    }

    /// A system message.
    public static func system(_ content: String) -> Message {
        Message(role: "system", content: content)
    }

    /// The model's turn.
    public static func assistant(_ content: String) -> Message {
        Message(role: "assistant", content: content)
    }
}
