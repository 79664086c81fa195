import Foundation

/// A value that one thread at a time reads or changes.
///
/// Not `Synchronization.Mutex`: on Linux the thread sanitizer does not see its locks, and takes
/// each use for a race.
final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        lock.withLock { body(&value) }
    }
}
