import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import MLXForgeClient

typealias Connection = GRPCClient<HTTP2ClientTransport.Posix>

/// A connection to a server. Ends when nobody holds it any more.
final class GRPCTransport: Transport {
    private let connection: Connection
    private let running: Task<Void, any Error>
    private let metadata: Metadata

    init(_ connection: Connection, _ token: String?) {
        self.connection = connection
        running = Task { try await connection.runConnections() }
        metadata = token.map { ["authorization": "Bearer \($0)"] } ?? [:]
    }

    deinit {
        running.cancel()
    }

    func start(
        _ method: String, request: Data?, timeout: Duration?
    ) async throws(MLXForgeError) -> any Call {
        guard let route = Route.all[method] else {
            throw .unimplemented(.init(message: "this client has no \(method)"))
        }
        return GRPCCall(route, first: request, timeout, metadata, over: self)
    }

    func close() async {
        connection.beginGracefulShutdown()
        running.cancel()
        _ = await running.result
    }

    fileprivate func run(_ route: Route, _ exchange: Exchange) async throws {
        try await route.run(connection, exchange)
    }
}

/// What a running call reads from and writes to.
struct Exchange: Sendable {
    let requests: AsyncStream<Data>
    let metadata: Metadata
    let options: CallOptions
    let responses: Mailbox
}

/// A call to a server. Cancelled with its last holder.
final class GRPCCall: Call {
    /// Largest response, in bytes, as libmlxforge's.
    private static let maxMessageBytes = 64 << 20

    private let requests: AsyncStream<Data>.Continuation
    private let responses = Mailbox()
    private let running: Task<Void, Never>

    init(
        _ route: Route, first: Data?, _ timeout: Duration?, _ metadata: Metadata,
        over transport: GRPCTransport
    ) {
        let (stream, requests) = AsyncStream.makeStream(of: Data.self)
        self.requests = requests
        if let first {
            requests.yield(first)
            requests.finish()
        }
        var options = CallOptions.defaults
        options.timeout = timeout
        options.maxResponseMessageBytes = Self.maxMessageBytes
        let exchange = Exchange(
            requests: stream, metadata: metadata, options: options, responses: responses)
        running = Task {
            do {
                try await transport.run(route, exchange)
                exchange.responses.finish(nil)
            } catch {
                // Cancelled early, grpc-swift calls it an error of the transport's.
                let error = Task.isCancelled ? CancellationError() : error
                exchange.responses.finish(MLXForgeError(grpc: error))
            }
        }
    }

    deinit {
        requests.finish()
        running.cancel()
    }

    func next() async throws(MLXForgeError) -> Data? {
        let taken = await withTaskCancellationHandler {
            await responses.take()
        } onCancel: {
            cancel()
        }
        return try taken.get()
    }

    func send(_ request: Data?) async -> Bool {
        guard let request else {
            requests.finish()
            return true
        }
        if case .enqueued = requests.yield(request) { return !running.isCancelled }
        return false
    }

    func cancel() {
        running.cancel()
    }
}

extension MLXForgeError {
    /// From what grpc-swift throws.
    init(grpc error: any Error) {
        switch error {
        case let error as MLXForgeError: self = error
        case let error as RPCError:
            let details = error.metadata[binaryValues: "grpc-status-details-bin"].first { _ in true
            }
            self.init(
                status: Data(details ?? []),
                code: StatusCode(rawValue: Int32(error.code.rawValue)) ?? .unknown,
                message: error.message)
        case is CancellationError:
            self = .cancelled(.init(message: "the task was cancelled"))
        default:
            self = .unavailable(.init(message: "\(error)"))
        }
    }
}
