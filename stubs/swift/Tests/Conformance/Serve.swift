import Foundation
import MLXForgeClient

/// A call to make.
struct CallLine {
    let id: String
    let method: String
    let timeout: Duration?
    let cancelAfter: Int?
    var requests: [Data] = []

    /// From `call ID METHOD TIMEOUT_MS CANCEL_AFTER COUNT`, with the requests that follow.
    init(_ head: String, _ lines: inout AsyncStream<String>.Iterator) async throws {
        let words = head.split(separator: " ").map(String.init)
        guard words.count == 6, let timeout = Int(words[3]), let cancel = Int(words[4]),
            let count = Int(words[5])
        else { throw ProtocolError(description: "not a call: \(head)") }
        id = words[1]
        method = words[2]
        self.timeout = timeout < 0 ? nil : .milliseconds(timeout)
        cancelAfter = cancel < 0 ? nil : cancel
        for _ in 0..<count {
            guard let line = await lines.next() else {
                throw ProtocolError(description: "a request is missing")
            }
            requests.append(Data(line.utf8))
        }
    }
}

struct ProtocolError: Error {
    let description: String
}

/// Makes the calls that standard input asks for, side by side, until it ends.
func serve(_ client: Client) async throws {
    var lines = standardInput().makeAsyncIterator()
    try await withThrowingTaskGroup(of: Void.self) { calls in
        while let head = await lines.next() {
            let call = try await CallLine(head, &lines)
            calls.addTask { await make(call, client) }
        }
        try await calls.waitForAll()
    }
}

/// Lines of standard input, read on a thread of its own.
private func standardInput() -> AsyncStream<String> {
    let (lines, continuation) = AsyncStream.makeStream(of: String.self)
    Thread.detachNewThread {
        while let line = readLine() { continuation.yield(line) }
        continuation.finish()
    }
    return lines
}

private let output = NSLock()

func say(_ line: String) {
    output.withLock { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}

/// Makes a call, says its responses and how it ended.
private func make(_ call: CallLine, _ client: Client) async {
    let client = call.timeout.map(client.withTimeout) ?? client
    // A task of its own, for a cancel that is this call's alone.
    let end = await Task {
        var taken = 0
        func took(_ response: any SchemaMessage) throws {
            taken += 1
            let json = String(decoding: try JSONEncoder().encode(response), as: UTF8.self)
            say("message \(call.id) \(json)")
            if call.cancelAfter == taken { cancelThisTask() }
        }
        if call.cancelAfter == 0 { cancelThisTask() }
        do {
            try await respond(to: call, client, took)
            return "0 {}"
        } catch let error as MLXForgeError {
            return "\(error.code.rawValue) \(facts(error))"
        } catch {
            return "2 {\"message\": \"the runner failed\"}"
        }
    }.value
    say("end \(call.id) \(end)")
}

private func cancelThisTask() {
    withUnsafeCurrentTask { $0?.cancel() }
}

private func facts(_ error: MLXForgeError) -> String {
    let fields = error.violations.map { violation -> JSONValue in
        ["field": .string(violation.field), "description": .string(violation.description)]
    }
    let milliseconds = error.retryAfter.map { JSONValue.number($0 / .milliseconds(1)) }
    let facts: JSONObject = [
        "message": .string(error.message), "reason": .string(error.reason),
        "fields": .array(fields), "retryAfterMs": milliseconds ?? .null,
    ]
    let data = (try? JSONEncoder().encode(facts)) ?? Data("{}".utf8)
    return String(decoding: data, as: UTF8.self)
}

/// Calls the client's method for an RPC.
private func respond(
    to call: CallLine, _ client: Client, _ took: (any SchemaMessage) throws -> Void
) async throws {
    func request<Request: SchemaMessage>(_ index: Int = 0) throws -> Request {
        try JSONDecoder().decode(Request.self, from: call.requests[index])
    }
    switch call.method.split(separator: "/").last {
    case "Generate": try took(try await client.generate(request()))
    case "StreamGenerate": for try await one in client.stream(try request()) { try took(one) }
    case "Embed":
        let embed: EmbedRequest = try request()
        try took(try await client.embed(embed))
    case "StreamEmbed":
        let requests: [EmbedRequest] = try call.requests.indices.map { try request($0) }
        let stream = AsyncStream { continuation in
            for request in requests { continuation.yield(request) }
            continuation.finish()
        }
        for try await one in client.embed(stream: stream) { try took(one) }
    case "Tokenize":
        let tokenize: TokenizeRequest = try request()
        try took(try await client.tokenize(tokenize))
    case "Detokenize":
        try took(DetokenizeResponse(text: try await client.detokenize(request())))
    case "ListModels": try took(ListModelsResponse(models: try await client.models()))
    case "GetModel":
        let get: GetModelRequest = try request()
        try took(GetModelResponse(model: try await client.model(get.model)))
    case "LoadModel": for try await one in client.loadModel(try request()) { try took(one) }
    case "UnloadModel":
        let unload: UnloadModelRequest = try request()
        try took(UnloadModelResponse(freedBytes: try await client.unloadModel(unload.model)))
    default: throw ProtocolError(description: "the client has no \(call.method)")
    }
}
