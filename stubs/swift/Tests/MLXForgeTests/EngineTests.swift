import Foundation
import Testing

@testable import MLXForge

/// The client on the real engine with SmolLM2 and all-MiniLM-L6-v2.
@Suite(.enabled(if: TestEngine.default.runs), .timeLimit(.minutes(15)))
struct EngineTests {
    @Test func streamsAsItGenerates() async throws {
        let client = try await Shared.client
        let whole = try await client.generate(.counting(12))
        #expect(whole.choices[0].tokenIds.count == 12)
        #expect(whole.choices[0].finishReason == .length)

        var pieces: [String] = []
        for try await piece in client.stream(.counting(12)).text { pieces.append(piece) }
        #expect(pieces.count > 1)
        #expect(pieces.joined() == whole.choices[0].text)

        let gathered = try await client.stream(.counting(12)).response()
        #expect(gathered.choices == whole.choices)
        #expect(gathered.usage?.completionTokens == 12)
        #expect(gathered.model == whole.model)
    }

    @Test func answersAQuestion() async throws {
        var question: GenerateRequest = "What is the capital of France?"
        question.samplingParams = SamplingParams(temperature: 0)
        let text = try await Shared.client.stream(question).text.joined()
        #expect(text == "The capital of France is Paris.")
    }

    @Test func cancellingTheTaskEndsTheCall() async throws {
        let client = try await Shared.client
        let task = Task { () -> Int in
            var taken = 0
            for try await _ in client.stream(.counting(2000)) {
                taken += 1
                if taken == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            return taken
        }
        let error = try await failure { try await task.value }
        #expect(error.code == .cancelled)

        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await client.generate(.counting(2000))
        }
        let cancelled = try await failure { try await early.value }
        #expect(cancelled.code == .cancelled)
        // Others go on.
        #expect(try await client.generate(.counting(2)).choices[0].tokenIds.count == 2)
    }

    @Test func leavingTheLoopFreesTheCall() async throws {
        weak var call: (any Call)?
        let client = Client(
            transport: Watched(engine: try await Shared.engine) { started in call = started })
        for try await message in client.stream(.counting(2000)) {
            #expect(call != nil)
            if case .delta? = message.event { break }
        }
        #expect(call == nil)
    }

    @Test func thirtyTwoStreamsAtOnce() async throws {
        let client = try await Shared.client
        let expected = try await client.generate(.counting(16)).choices[0].tokenIds
        let answers = try await withThrowingTaskGroup(of: GenerateResponse.self) { group in
            for _ in 0..<32 { group.addTask { try await client.stream(.counting(16)).response() } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.count == 32)
        #expect(answers.allSatisfy { $0.choices[0].tokenIds == expected })
        #expect(Set(answers.map(\.id)).count == 32)
    }

    struct City: Decodable, Equatable {
        enum Continent: String, Decodable, CaseIterable { case africa, asia, europe }
        let continent: Continent
        let large: Bool
    }

    @Test func decodesAConstrainedAnswer() async throws {
        var request: GenerateRequest = "Describe Paris as JSON."
        request.samplingParams = SamplingParams(temperature: 0)
        request.maxTokens = 64
        let city = try await Shared.client.generate(request, as: City.self)
        #expect(City.Continent.allCases.contains(city.continent))

        request.constraint = .jsonSchema(#"{"enum": [{"continent": "asia", "large": true}]}"#)
        let named = try await Shared.client.generate(request, as: City.self)
        #expect(named == City(continent: .asia, large: true))

        request.maxTokens = 3
        let cut = try await failure {
            try await Shared.client.generate(request, as: City.self)
        }
        guard case .incomplete(let text) = cut else {
            Issue.record("\(cut)")
            return
        }
        #expect(!text.isEmpty)
    }

    @Test func embedsTexts() async throws {
        let client = try await Shared.client
        let texts = [
            "A man is eating food.", "A man is eating a piece of bread.",
            "The girl is carrying a baby.",
        ]
        let vectors = try await client.embed(texts)
        func cosine(_ i: Int, _ j: Int) -> Float {
            zip(vectors[i], vectors[j]).map(*).reduce(0, +)
        }
        #expect(vectors.map(\.count) == [384, 384, 384])
        #expect(abs(cosine(0, 1) - 0.755) < 0.01)
        #expect(abs(cosine(0, 2) + 0.105) < 0.01)

        let lists = AsyncStream<EmbedRequest> { continuation in
            for text in texts {
                continuation.yield(EmbedRequest(inputs: [EmbedInput(input: .text(text))]))
            }
            continuation.finish()
        }
        var streamed: [[Float]] = []
        for try await answer in client.embed(stream: lists) {
            #expect(answer.sequence == UInt64(streamed.count))
            streamed += answer.embeddings.map(\.values)
        }
        #expect(streamed.count == 3)
        #expect(zip(streamed.joined(), vectors.joined()).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    @Test func tokenizesAndListsModels() async throws {
        let client = try await Shared.client
        let text = "Schöne Grüße 🦊"
        let tokens = try await client.tokenize(text)
        #expect(tokens.count == tokens.tokenIds.count)
        #expect(try await client.detokenize(DetokenizeRequest(tokenIds: tokens.tokenIds)) == text)
        let models = try await client.models()
        #expect(models.contains { $0.capabilities.contains(.generate) && $0.state == .ready })
        #expect(try await client.model().id == models.first { $0.default }?.id)
    }

    @Test func deadlinesEndCalls() async throws {
        let hasty = try await Shared.client.withTimeout(.milliseconds(20))
        let error = try await failure {
            try await hasty.stream(.counting(2000)).response()
        }
        #expect(error.code == .deadlineExceeded)
    }

    @Test func streamsOutliveTheClient() async throws {
        var client: Client? = try await MLXForge.embed(.init(model: "smollm2-135m-instruct"))
        var orphan = client!.stream(.counting(2000)).makeAsyncIterator()
        #expect(try await orphan.next() != nil)
        client = nil
        #expect(try await orphan.next() != nil)
    }
}

/// An engine whose calls a test sees.
private struct Watched: Transport {
    let engine: Engine
    let started: @Sendable (any Call) -> Void

    init(engine: Engine, started: @escaping (any Call) -> Void) {
        self.engine = engine
        // The test awaits the call, so the two never run at the same time.
        nonisolated(unsafe) let started = started
        self.started = { started($0) }
    }

    func start(
        _ method: String, request: Data?, timeout: Duration?
    ) async throws(MLXForgeError) -> any Call {
        let call = try await engine.start(method, request: request, timeout: timeout)
        started(call)
        return call
    }

    func close() async {
        await engine.close()
    }
}
