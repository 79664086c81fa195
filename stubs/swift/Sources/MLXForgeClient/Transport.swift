import Foundation

/// A way to an engine: one inside this process, or a server. Messages are in protobuf's JSON form.
public protocol Transport: Sendable {
    /// Starts a call. `method`: as `mlxforge.v1.GenerationService/Generate`. `request`: the first
    /// request, which for most methods is the only one; `nil` when a stream of them begins.
    func start(
        _ method: String, request: Data?, timeout: Duration?
    ) async throws(MLXForgeError) -> any Call

    /// Ends all calls, and gives the engine's memory or the connection back.
    func close() async
}

/// A running call. It is cancelled when nobody holds it any more.
public protocol Call: AnyObject, Sendable {
    /// The next response; `nil` at the end. One caller at a time. Cancelling the task cancels the
    /// call.
    func next() async throws(MLXForgeError) -> Data?

    /// Sends a further request; `nil`: there are no more. Waits while the engine is behind.
    /// Returns `false` when the call takes no more; why, ``next()`` says.
    func send(_ request: Data?) async -> Bool

    /// Ends the call.
    func cancel()
}
