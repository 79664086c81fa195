import Foundation
import Testing

@testable import MLXForge

/// Which engine is behind the library that these tests run with; test.sh runs them with both.
enum TestEngine: String {
    /// The real one, with the default models.
    case `default`
    /// Models that fail on purpose: tests/conformance/scripted_engine.py.
    case scripted

    var runs: Bool {
        ProcessInfo.processInfo.environment["MLXFORGE_TEST_ENGINE"] == rawValue
    }
}

/// The engine of all tests, opened by the first that asks.
enum Shared {
    private static let opened = Task { try await Engine.open(EmbedOptions()) }

    static var engine: Engine {
        get async throws { try await opened.value }
    }

    static var client: Client {
        get async throws { Client(transport: try await engine) }
    }
}

extension GenerateRequest {
    /// Greedy, of so many tokens.
    static func counting(_ tokens: UInt32) -> GenerateRequest {
        var request = GenerateRequest(prompt: "one two three")
        request.samplingParams = SamplingParams(temperature: 0)
        request.maxTokens = tokens
        request.ignoreEos = true
        return request
    }

    func on(_ model: String) -> GenerateRequest {
        var request = self
        request.model = model
        return request
    }
}

/// The error that an operation ends with.
func failure(_ operation: () async throws -> some Any) async throws -> MLXForgeError {
    do {
        let value = try await operation()
        throw UnexpectedSuccess(value: "\(value)")
    } catch let error as MLXForgeError {
        return error
    }
}

struct UnexpectedSuccess: Error {
    let value: String
}
