import Foundation
import MLXForgeClient
import Synchronization

/// Responses on their way from the connection to the caller, a few at a time: a slow caller slows
/// its own call down, through HTTP/2's flow control.
final class Mailbox: Sendable {
    private static let limit = 16

    typealias Taken = Result<Data?, MLXForgeError>

    private struct State {
        var responses: [Data] = []
        var end: Taken?
        var taker: CheckedContinuation<Taken, Never>?
        var putter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    /// Leaves a response; waits while there are many. Throws when the task is cancelled.
    func put(_ response: Data) async throws {
        await withTaskCancellationHandler {
            await withCheckedContinuation { putter in
                let (taker, goOn) = state.withLock { state in
                    if let taker = state.taker {
                        state.taker = nil
                        return (Optional(taker), true)
                    }
                    state.responses.append(response)
                    let goOn = state.responses.count < Self.limit || Task.isCancelled
                    if !goOn { state.putter = putter }
                    return (nil, goOn)
                }
                taker?.resume(returning: .success(response))
                if goOn { putter.resume() }
            }
        } onCancel: {
            wakePutter()
        }
        try Task.checkCancellation()
    }

    /// There are no more responses.
    func finish(_ error: MLXForgeError?) {
        let end: Taken = error.map { .failure($0) } ?? .success(nil)
        let taker = state.withLock { state in
            defer { state.taker = nil }
            state.end = end
            return state.taker
        }
        taker?.resume(returning: end)
    }

    /// The next response; nil at the end. One caller at a time.
    func take() async -> Taken {
        let taken = await withCheckedContinuation { taker in
            let taken: Taken? = state.withLock { state in
                if !state.responses.isEmpty { return .success(state.responses.removeFirst()) }
                if state.end == nil { state.taker = taker }
                return state.end
            }
            if let taken { taker.resume(returning: taken) }
        }
        wakePutter()
        return taken
    }

    private func wakePutter() {
        let putter = state.withLock { state in
            defer { state.putter = nil }
            return state.putter
        }
        putter?.resume()
    }
}
