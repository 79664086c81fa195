import CMLXForge
import Foundation

/// A call of an engine inside this process. Freed, and by that cancelled, with its last holder.
final class EmbeddedCall: Call {
    /// How long to let an engine that is behind catch up before it is sent more.
    private static let behind = Duration.milliseconds(2)

    private let handle: Handle
    private let engine: Engine
    private let queue: CompletionQueue
    private let signal = Signal()
    private let tag: UInt

    init(_ handle: Handle, of engine: Engine, _ queue: CompletionQueue) {
        self.handle = handle
        self.engine = engine
        self.queue = queue
        tag = queue.add(handle, signal)
    }

    deinit {
        queue.remove(tag)
        mlxforge_call_free(handle.pointer)
    }

    func next() async throws(MLXForgeError) -> Data? {
        let outcome = await withTaskCancellationHandler {
            while true {
                if let event = take() { return event }
                await signal.wait()
            }
        } onCancel: {
            cancel()
        }
        return try outcome.get()
    }

    /// What there is; `nil` when there is nothing yet.
    private func take() -> Result<Data?, MLXForgeError>? {
        var message: UnsafeRawPointer?
        var size = 0
        switch mlxforge_call_next(handle.pointer, 0, &message, &size) {
        case MLXFORGE_MESSAGE:
            return .success(message.map { Data(bytes: $0, count: size) } ?? Data())
        case MLXFORGE_END:
            return .success(nil)
        case MLXFORGE_TIMEOUT:
            return nil
        default:
            return .failure(MLXForgeError(copying: mlxforge_call_error(handle.pointer)))
        }
    }

    func send(_ request: Data?) async -> Bool {
        while true {
            let code = withBytes(request) { mlxforge_call_send(handle.pointer, $0, $1) }
            switch StatusCode(rawValue: code) {
            case .ok: return true
            case .resourceExhausted:
                guard (try? await Task.sleep(for: Self.behind)) != nil else { return false }
            default: return false
            }
        }
    }

    func cancel() {
        mlxforge_call_cancel(handle.pointer)
    }
}
