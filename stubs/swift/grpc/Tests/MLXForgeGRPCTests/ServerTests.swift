import Foundation
import MLXForgeGRPC
import Testing

/// The client over gRPC, against `mlxforge serve` with SmolLM2.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct ServerTests {
    @Test func everythingOverOneConnection() async throws {
        let server = try await Server.start()
        defer { server.stop() }
        let client = try await MLXForgeGRPC.connect(server.address)
        try await generates(client)
        try await cancels(client)
        try await fails(client)
        try await thirtyTwoAtOnce(client)
        await client.close()
        await #expect(throws: MLXForgeError.self) { _ = try await client.models() }
    }

    @Test func nobodyThere() async throws {
        let client = try await MLXForgeGRPC.connect("127.0.0.1:9").withTimeout(.seconds(20))
        await #expect(throws: MLXForgeError.self) { _ = try await client.models() }
        for address in ["nowhere", ":1", "host:0", "host:x"] {
            await #expect(throws: MLXForgeError.self, "\(address)") {
                _ = try await MLXForgeGRPC.connect(address)
            }
        }
    }

    private func counting(_ tokens: UInt32) -> GenerateRequest {
        var request = GenerateRequest(prompt: "one two three")
        request.samplingParams = SamplingParams(temperature: 0)
        request.maxTokens = tokens
        request.ignoreEos = true
        return request
    }

    private func generates(_ client: Client) async throws {
        let whole = try await client.generate(counting(12))
        var pieces: [String] = []
        for try await piece in client.stream(counting(12)).text { pieces.append(piece) }
        #expect(pieces.count > 1)
        #expect(pieces.joined() == whole.choices[0].text)

        struct Answer: Decodable {
            let yes: Bool
        }
        _ = try await client.generate("Is water wet? Answer as JSON.", as: Answer.self)

        let tokens = try await client.tokenize("Grüße 🦊")
        let again = try await client.detokenize(DetokenizeRequest(tokenIds: tokens.tokenIds))
        #expect(again == "Grüße 🦊")
    }

    private func cancels(_ client: Client) async throws {
        let task = Task {
            for try await message in client.stream(counting(4000)) {
                if case .delta? = message.event { withUnsafeCurrentTask { $0?.cancel() } }
            }
        }
        do {
            try await task.value
            Issue.record("it was not cancelled")
        } catch let error as MLXForgeError {
            #expect(error.code == .cancelled)
        }
        for try await _ in client.stream(counting(4000)) { break }
    }

    private func fails(_ client: Client) async throws {
        var wrong = counting(1)
        wrong.samplingParams?.topP = 7
        do {
            _ = try await client.generate(wrong)
            Issue.record("it was not refused")
        } catch {
            #expect(error.code == .invalidArgument)
            #expect(error.violations.map(\.field) == ["sampling_params.top_p"])
            #expect(error.reason == "INVALID_REQUEST")
        }
        do {
            _ = try await client.withTimeout(.milliseconds(20)).generate(counting(4000))
            Issue.record("it had the time")
        } catch {
            #expect(error.code == .deadlineExceeded)
        }
    }

    private func thirtyTwoAtOnce(_ client: Client) async throws {
        let expected = try await client.generate(counting(16)).choices[0].tokenIds
        try await withThrowingTaskGroup(of: [UInt32].self) { group in
            for _ in 0..<32 {
                group.addTask {
                    try await client.stream(counting(16)).response().choices[0].tokenIds
                }
            }
            for try await tokens in group { #expect(tokens == expected) }
        }
    }
}

/// A server for the time of a test.
private struct Server {
    let address: String
    let process: Process

    static func start() async throws -> Server {
        let command = try #require(ProcessInfo.processInfo.environment["MLXFORGE_BIN"])
        let folder = FileManager.default.temporaryDirectory
        let socket = folder.appendingPathComponent("mlxforge-\(UUID().uuidString.prefix(8)).sock")
        let address = "unix:\(socket.path)"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command)
        process.arguments = [
            "serve", "smollm2-135m-instruct", "--address", address, "--log-level", "error",
        ]
        try process.run()
        let server = Server(address: address, process: process)
        for _ in 0..<600 {
            let client = try await MLXForgeGRPC.connect(address).withTimeout(.seconds(5))
            if (try? await client.tokenize("ready?")) != nil { return server }
            try #require(process.isRunning, "mlxforge serve ended")
            try await Task.sleep(for: .milliseconds(200))
        }
        server.stop()
        throw CancellationError()
    }

    func stop() {
        // Not SIGTERM: what a task starts has the signals blocked that Dispatch blocks in its threads.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
