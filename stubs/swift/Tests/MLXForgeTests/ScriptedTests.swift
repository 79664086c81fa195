import Foundation
import Testing

@testable import MLXForge

/// The client on engines that fail on purpose: what a sound engine never shows.
@Suite(.enabled(if: TestEngine.scripted.runs), .timeLimit(.minutes(15)))
struct ScriptedTests {
    struct Expected: CustomTestStringConvertible {
        let model: String
        let code: StatusCode
        let reason: String
        var retryAfter: Duration?

        var testDescription: String { model }
    }

    @Test(arguments: [
        Expected(
            model: "full", code: .resourceExhausted, reason: "QUEUE_FULL",
            retryAfter: .milliseconds(250)),
        Expected(model: "never-fits", code: .resourceExhausted, reason: "NO_MEMORY"),
        Expected(
            model: "restarting", code: .unavailable, reason: "WORKER_RESTARTING",
            retryAfter: .milliseconds(500)),
        Expected(
            model: "restarts-midway", code: .unavailable, reason: "WORKER_RESTARTING",
            retryAfter: .milliseconds(500)),
        Expected(model: "cannot", code: .failedPrecondition, reason: "CANNOT"),
        Expected(model: "aborted", code: .cancelled, reason: "CANCELLED"),
        Expected(model: "fails-at-once", code: .internal, reason: "INTERNAL"),
        Expected(model: "fails-midway", code: .internal, reason: "INTERNAL"),
        Expected(model: "no such", code: .notFound, reason: "MODEL_NOT_FOUND"),
    ])
    func errors(_ expected: Expected) async throws {
        let client = try await Shared.client
        let request = GenerateRequest.counting(8).on(expected.model)
        let unary = try await failure {
            try await client.generate(request)
        }
        let streamed = try await failure {
            try await client.stream(request).response()
        }
        for error in [unary, streamed] {
            #expect(error.code == expected.code)
            #expect(error.reason == expected.reason)
            #expect(error.retryAfter == expected.retryAfter)
            #expect(!error.message.isEmpty)
            #expect(MLXForgeError(code: error.code, error.details!) == error)
        }
    }

    @Test func violationsNameTheFields() async throws {
        var request = GenerateRequest.counting(8).on("words")
        request.samplingParams = SamplingParams(temperature: -1, topP: 7)
        let error = try await failure {
            try await Shared.client.generate(request)
        }
        guard case .invalidArgument = error else {
            Issue.record("\(error)")
            return
        }
        let fields = error.violations.map(\.field).sorted()
        #expect(fields == ["sampling_params.temperature", "sampling_params.top_p"])
        #expect(error.violations.allSatisfy { !$0.description.isEmpty })
    }

    @Test func anUnknownMethodIsUnimplemented() async throws {
        let method = Method<ListModelsRequest, ListModelsResponse>("mlxforge.v1.ModelService/Guess")
        let error = try await failure {
            try await Shared.client.unary(method, ListModelsRequest())
        }
        #expect(error.code == .unimplemented)
    }

    @Test func anAnswerOfAnotherTypeIsAMismatch() async throws {
        var request = GenerateRequest(prompt: "no JSON").on("words")
        request.maxTokens = 2
        request.constraint = .jsonObject(true)
        let error = try await failure {
            try await Shared.client.generate(request, as: [Int].self)
        }
        #expect([.failedPrecondition, .invalidArgument].contains(error.code))
    }

    @Test func deadlinesAndCancelsMidway() async throws {
        let client = try await Shared.client
        let slow = GenerateRequest.counting(4000).on("steady")
        let late = try await failure {
            try await client.withTimeout(.milliseconds(300)).stream(slow).response()
        }
        #expect(late.code == .deadlineExceeded)

        let task = Task { try await client.stream(slow).response() }
        try await Task.sleep(for: .milliseconds(300))
        task.cancel()
        let started = ContinuousClock.now
        let error = try await failure { try await task.value }
        #expect(error.code == .cancelled)
        #expect(ContinuousClock.now - started < .seconds(5))
    }

    @Test func closingEndsCalls() async throws {
        let client = try await MLXForge.embed()
        var running = client.stream(.counting(4000).on("steady")).makeAsyncIterator()
        #expect(try await running.next() != nil)
        await client.close()
        await client.close()
        await #expect(throws: MLXForgeError.self) {
            while try await running.next() != nil {}
        }
        let error = try await failure { try await client.models() }
        #expect(error.code == .invalidArgument)
    }

    @Test func settingsThatAreWrong() async throws {
        let error = try await failure {
            try await MLXForge.embed(EmbedOptions(settings: ["no_such_setting": 1]))
        }
        #expect(error.code == .invalidArgument)
        #expect(error.message.contains("no_such_setting"))
    }

    /// A thousand calls of every fate leave memory, descriptors and threads as they were.
    @Test(.enabled(if: Resources.known)) func athousandCallsLeaveNothing() async throws {
        let client = try await Shared.client
        try await calls(200, client)
        let before = Resources.now()
        try await calls(1000, client)
        let after = Resources.now()
        #expect(after.descriptors <= before.descriptors + 2)
        #expect(after.threads <= before.threads + 2)
        // A call's own memory, held by each, would come to more.
        #expect(after.residentBytes - before.residentBytes < 24 << 20, "\(before) \(after)")
    }

    private func calls(_ count: Int, _ client: Client) async throws {
        for round in 0..<(count / 20) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for i in 0..<20 { group.addTask { try await one(round + i, client) } }
                try await group.waitForAll()
            }
        }
    }

    private func one(_ kind: Int, _ client: Client) async throws {
        switch kind % 5 {
        case 0: _ = try await client.generate(.counting(8).on("words"))
        case 1: _ = try await client.stream(.counting(8).on("words")).response()
        case 2: for try await _ in client.stream(.counting(64).on("slow")) { break }
        case 3:
            await #expect(throws: MLXForgeError.self) {
                _ = try await client.generate(.counting(8).on("fails-midway"))
            }
        default:
            let task = Task { try await client.generate(.counting(640).on("slow")) }
            task.cancel()
            await #expect(throws: MLXForgeError.self) { _ = try await task.value }
        }
    }
}

/// What this process holds, as Linux counts it.
struct Resources {
    static let known = FileManager.default.fileExists(atPath: "/proc/self/statm")

    let residentBytes: Int
    let descriptors: Int
    let threads: Int

    static func now() -> Resources {
        let files = FileManager.default
        let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        func entries(_ folder: String) -> Int {
            (try? files.contentsOfDirectory(atPath: folder).count) ?? 0
        }
        return Resources(
            residentBytes: (pages.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
                * Int(sysconf(Int32(_SC_PAGESIZE))),
            descriptors: entries("/proc/self/fd"), threads: entries("/proc/self/task"))
    }
}
