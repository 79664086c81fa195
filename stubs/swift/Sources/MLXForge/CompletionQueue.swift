import CMLXForge
import Foundation

/// One thread that waits for all calls of an engine, and wakes the task of each.
final class CompletionQueue: Sendable {
    private let handle: Handle
    private let calls = Calls()

    /// `nil` when there is no memory for one.
    init?() {
        guard let queue = mlxforge_queue_new() else { return nil }
        handle = Handle(pointer: queue)
        let (handle, calls) = (handle, calls)
        let thread = Thread {
            // Ends when the queue is freed.
            var tag: UnsafeMutableRawPointer?
            while true {
                _ = mlxforge_queue_next(handle.pointer, -1, &tag)
                guard let tag else { return }
                calls.wake(UInt(bitPattern: tag))
            }
        }
        thread.name = "mlxforge-queue"
        thread.start()
    }

    deinit {
        mlxforge_queue_free(handle.pointer)
    }

    /// Has the signal raised whenever the call has something. Returns the tag for ``remove(_:)``.
    func add(_ call: Handle, _ signal: Signal) -> UInt {
        let tag = calls.add(signal)
        mlxforge_queue_add(handle.pointer, call.pointer, UnsafeMutableRawPointer(bitPattern: tag))
        return tag
    }

    func remove(_ tag: UInt) {
        calls.remove(tag)
    }
}

/// Who waits for which call, by tag.
private final class Calls: Sendable {
    private struct State: Sendable {
        var lastTag: UInt = 0  // 0 stands for none
        var signals: [UInt: Signal] = [:]
    }

    private let state = Locked(State())

    func add(_ signal: Signal) -> UInt {
        state.withLock { state in
            state.lastTag += 1
            state.signals[state.lastTag] = signal
            return state.lastTag
        }
    }

    func remove(_ tag: UInt) {
        _ = state.withLock { $0.signals.removeValue(forKey: tag) }
    }

    func wake(_ tag: UInt) {
        state.withLock { $0.signals[tag] }?.raise()
    }
}

/// Wakes the one task that waits for it, or the next that comes.
final class Signal: Sendable {
    private enum State: Sendable {
        case quiet
        case raised
        case awaited(CheckedContinuation<Void, Never>)
    }

    private let state = Locked(State.quiet)

    func raise() {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard case .awaited(let waiting) = state else {
                state = .raised
                return nil
            }
            state = .quiet
            return waiting
        }
        waiting?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let raised = state.withLock { state in
                if case .raised = state {
                    state = .quiet
                    return true
                }
                state = .awaited(continuation)
                return false
            }
            if raised { continuation.resume() }
        }
    }
}
