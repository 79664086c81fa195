import Foundation

/// The responses of a streaming call. Each iteration makes a call of its own, which starts with
/// the first `next()`, and ends when the loop is left or its task cancelled.
public struct ResponseStream<Response: SchemaMessage>: AsyncSequence, Sendable {
    public typealias Element = Response
    public typealias Failure = MLXForgeError

    let start: @Sendable () async throws(MLXForgeError) -> RunningCall

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(state: .ready(start))
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        enum State {
            case ready(@Sendable () async throws(MLXForgeError) -> RunningCall)
            case running(RunningCall)
            case ended
        }

        var state: State

        public mutating func next() async throws(MLXForgeError) -> Response? {
            try await next(isolation: nil)
        }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(MLXForgeError) -> Response? {
            let running: RunningCall
            do {
                switch state {
                case .ended: return nil
                case .running(let call): running = call
                case .ready(let start):
                    running = try await start()
                    state = .running(running)
                }
                if let data = try await running.call.next() { return try decoded(data) }
            } catch {
                state = .ended
                throw error
            }
            state = .ended
            return nil
        }
    }
}

/// A call, and the task that sends its further requests. Ends with the iterator that has it.
final class RunningCall: Sendable {
    let call: any Call
    private let sending: Task<Void, Never>?

    init(_ call: any Call, sending: Task<Void, Never>? = nil) {
        self.call = call
        self.sending = sending
    }

    deinit {
        sending?.cancel()
        call.cancel()
    }
}

extension ResponseStream where Response == StreamGenerateResponse {
    /// The text as it comes, of the first choice.
    public var text: TextStream { TextStream(responses: self) }

    /// What `generate` would have given, once the stream has ended.
    public func response() async throws(MLXForgeError) -> GenerateResponse {
        var whole = GenerateResponse()
        for try await message in self { whole.add(message) }
        return whole
    }
}

/// The pieces of a text. As the stream it comes from, each iteration is a call of its own.
public struct TextStream: AsyncSequence, Sendable {
    public typealias Element = String
    public typealias Failure = MLXForgeError

    let responses: ResponseStream<StreamGenerateResponse>

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(responses: responses.makeAsyncIterator())
    }

    /// The pieces put together.
    public func joined() async throws(MLXForgeError) -> String {
        var text = ""
        for try await piece in self { text += piece }
        return text
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        var responses: ResponseStream<StreamGenerateResponse>.AsyncIterator

        public mutating func next() async throws(MLXForgeError) -> String? {
            try await next(isolation: nil)
        }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(MLXForgeError) -> String? {
            while let message = try await responses.next(isolation: actor) {
                if message.index == 0, case .delta(let delta)? = message.event, !delta.text.isEmpty
                {
                    return delta.text
                }
            }
            return nil
        }
    }
}

extension GenerateResponse {
    /// Adds a message of the stream to what `Generate` would answer.
    mutating func add(_ message: StreamGenerateResponse) {
        if !message.id.isEmpty { (id, model) = (message.id, message.model) }
        while choices.count <= message.index {
            choices.append(GenerateChoice(index: UInt32(choices.count)))
        }
        switch message.event {
        case .delta(let delta): choices[Int(message.index)].add(delta)
        case .finish(let finish): add(finish, to: Int(message.index))
        case nil: break
        }
    }

    private mutating func add(_ finish: GenerateFinish, to index: Int) {
        choices[index].finishReason = finish.finishReason
        choices[index].matchedStop = finish.matchedStop
        timings = finish.timings
        guard let cost = finish.usage else { return }
        // The prompt is counted once.
        usage = Usage(
            promptTokens: cost.promptTokens,
            completionTokens: (usage?.completionTokens ?? 0) + cost.completionTokens,
            cachedTokens: cost.cachedTokens,
            reasoningTokens: (usage?.reasoningTokens ?? 0) + cost.reasoningTokens)
    }
}

extension GenerateChoice {
    fileprivate mutating func add(_ delta: GenerateDelta) {
        text += delta.text
        reasoning += delta.reasoning
        tokenIds += delta.tokenIds
        logprobs += delta.logprobs
        for piece in delta.toolCalls {
            while toolCalls.count <= piece.index { toolCalls.append(ToolCall()) }
            toolCalls[Int(piece.index)].id += piece.id
            toolCalls[Int(piece.index)].name += piece.name
            toolCalls[Int(piece.index)].arguments += piece.arguments
        }
    }
}

func encoded(_ message: some SchemaMessage) throws(MLXForgeError) -> Data {
    do {
        return try JSONEncoder().encode(message)
    } catch {
        throw .mismatch(text: "", reason: "the request cannot be encoded: \(error)")
    }
}

func decoded<Message: SchemaMessage>(_ data: Data) throws(MLXForgeError) -> Message {
    do {
        return try JSONDecoder().decode(Message.self, from: data)
    } catch {
        throw .mismatch(text: String(decoding: data, as: UTF8.self), reason: "\(error)")
    }
}
