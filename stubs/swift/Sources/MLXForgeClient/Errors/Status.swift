import Foundation

extension MLXForgeError {
    /// The error of a serialized `google.rpc.Status`, which is what libmlxforge gives and what
    /// stands in gRPC's `grpc-status-details-bin`. A damaged one says only what could be read.
    public init(status: Data, code: StatusCode, message: String) {
        var details = Details(message: message)
        for field in WireFields(status) where field.number == 3 {
            details.add(WireFields(field.bytes))
        }
        self.init(code: code, details)
    }
}

extension MLXForgeError.Details {
    /// Adds what a `google.protobuf.Any` holds, of the kinds in `google/rpc/error_details.proto`.
    fileprivate mutating func add(_ any: WireFields) {
        let value = WireFields(any[2]?.bytes ?? Data())
        switch any[1]?.text.split(separator: "/").last {
        case "google.rpc.ErrorInfo" where value[2]?.text == "mlxforge":
            reason = value[1]?.text ?? ""
            for entry in value.lazy.filter({ $0.number == 3 }).map({ WireFields($0.bytes) }) {
                metadata[entry[1]?.text ?? ""] = entry[2]?.text ?? ""
            }
        case "google.rpc.BadRequest":
            for violation in value.lazy.filter({ $0.number == 1 }).map({ WireFields($0.bytes) }) {
                let (field, what) = (violation[1]?.text ?? "", violation[2]?.text ?? "")
                violations.append(.init(field: field, description: what))
            }
        case "google.rpc.RetryInfo":
            guard let delay = value[1].map({ WireFields($0.bytes) }) else { return }
            let (seconds, nanos) = (delay[1]?.number64 ?? 0, delay[2]?.number64 ?? 0)
            retryAfter = .seconds(seconds) + .nanoseconds(nanos)
        default:
            break
        }
    }
}

/// The fields of a serialized message, as they stand
/// (<https://protobuf.dev/programming-guides/encoding/>). Ends where the bytes make no sense.
private struct WireFields: Sequence, IteratorProtocol {
    struct Field {
        let number: Int
        let value: UInt64
        let bytes: Data

        var text: String { String(decoding: bytes, as: UTF8.self) }
        var number64: Int64 { Int64(bitPattern: value) }
    }

    private var rest: Data.SubSequence

    init(_ message: Data) {
        rest = message[...]
    }

    /// The first field of a number.
    subscript(number: Int) -> Field? {
        first { $0.number == number }
    }

    mutating func next() -> Field? {
        guard let tag = varint() else { return nil }
        let number = Int(truncatingIfNeeded: tag >> 3)
        switch tag & 7 {
        case 0: return varint().map { Field(number: number, value: $0, bytes: Data()) }
        case 1: return bytes(8).map { Field(number: number, value: 0, bytes: $0) }
        case 2:
            guard let size = varint().flatMap(Int.init(exactly:)) else { return nil }
            return bytes(size).map { Field(number: number, value: 0, bytes: $0) }
        case 5: return bytes(4).map { Field(number: number, value: 0, bytes: $0) }
        default: return nil
        }
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    private mutating func bytes(_ size: Int) -> Data? {
        guard size <= rest.count else { return nil }
        defer { rest = rest.dropFirst(size) }
        return Data(rest.prefix(size))
    }
}
