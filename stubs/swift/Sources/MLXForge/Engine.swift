import CMLXForge
import Foundation

/// A handle of libmlxforge's.
///
/// Handles are no addresses: the library takes each from every thread and checks it, so that a
/// stale one is refused and never followed (mlxforge.h). That is why sending one is safe.
struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
}

/// An engine inside this process. Closed when nobody holds it any more.
final class Engine: Transport {
    private let handle: Handle
    private let queue: CompletionQueue
    private let closed = Locked(false)

    private init(_ handle: Handle, _ queue: CompletionQueue) {
        self.handle = handle
        self.queue = queue
    }

    deinit {
        guard !closed.withLock({ $0 }) else { return }
        // Closing takes about an engine step, for which no task should be held up.
        let handle = handle
        Thread.detachNewThread { mlxforge_engine_close(handle.pointer) }
    }

    static func open(_ options: EmbedOptions) async throws(MLXForgeError) -> Engine {
        let config = try configuration(options)
        let opened: Result<Handle, MLXForgeError> = await blocking {
            var error: OpaquePointer?
            guard let engine = mlxforge_engine_open(config, &error) else {
                return .failure(MLXForgeError(taking: error))
            }
            return .success(Handle(pointer: engine))
        }
        let handle = try opened.get()
        guard let queue = CompletionQueue() else {
            mlxforge_engine_close(handle.pointer)
            throw .resourceExhausted(.init(message: "no memory for a completion queue"))
        }
        return Engine(handle, queue)
    }

    func start(
        _ method: String, request: Data?, timeout: Duration?
    ) async throws(MLXForgeError) -> any Call {
        let milliseconds = timeout.map(milliseconds) ?? -1
        var error: OpaquePointer?
        let call = withBytes(request) { bytes, size in
            mlxforge_call_start(
                handle.pointer, method, bytes, size, MLXFORGE_CODEC_JSON, milliseconds, &error)
        }
        guard let call else { throw MLXForgeError(taking: error) }
        return EmbeddedCall(Handle(pointer: call), of: self, queue)
    }

    func close() async {
        let first = closed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        guard first else { return }
        let handle = handle
        await blocking { mlxforge_engine_close(handle.pointer) }
    }
}

/// Runs what blocks on a thread of its own, so that it holds up no task.
private func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: body()) }
    }
}

private func configuration(_ options: EmbedOptions) throws(MLXForgeError) -> String {
    var settings = options.settings
    if !options.models.isEmpty {
        settings["model"] = .array(options.models.map(JSONValue.string))
    }
    do {
        return String(decoding: try JSONEncoder().encode(settings), as: UTF8.self)
    } catch {
        throw .invalidArgument(.init(message: "settings that JSON does not know: \(error)"))
    }
}

/// Whole milliseconds, at least the time given.
private func milliseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let whole = seconds.multipliedReportingOverflow(by: 1000)
    guard !whole.overflow else { return seconds < 0 ? 0 : Int64.max }
    return max(0, whole.partialValue + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
}

/// Pointer and size; `nil` only for no request, as an empty one is one all the same.
func withBytes<Value>(
    _ data: Data?, _ body: (UnsafeRawPointer?, Int) -> Value
) -> Value {
    guard let data else { return body(nil, 0) }
    return data.withUnsafeBytes { body($0.baseAddress, $0.count) }
}

extension MLXForgeError {
    /// From an error of the library's, which is freed.
    init(taking error: OpaquePointer?) {
        self.init(copying: error)
        mlxforge_error_free(error)
    }

    /// From an error that belongs to a call.
    init(copying error: OpaquePointer?) {
        var size = 0
        let status = mlxforge_error_details(error, &size)
        self.init(
            status: status.map { Data(bytes: $0, count: size) } ?? Data(),
            code: StatusCode(rawValue: mlxforge_error_code(error)) ?? .unknown,
            message: String(cString: mlxforge_error_message(error)))
    }
}
