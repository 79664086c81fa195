import Foundation

/// What a call, or this client, can end with. The same over both doors.
public enum MLXForgeError: Error, Sendable, Equatable {
    /// The request is wrong; ``violations`` says where.
    case invalidArgument(Details)
    /// No such model.
    case notFound(Details)
    /// The model cannot do what is asked.
    case failedPrecondition(Details)
    /// A queue, memory or a quota is full; ``retryAfter`` says when to come back, if ever.
    case resourceExhausted(Details)
    /// The time given to the call ran out.
    case deadlineExceeded(Details)
    /// The task was cancelled, or the engine's host cancelled the call.
    case cancelled(Details)
    /// The engine cannot be reached, or its model is loading, restarting or draining.
    case unavailable(Details)
    /// The token is missing or wrong.
    case unauthenticated(Details)
    /// The token does not allow this.
    case permissionDenied(Details)
    /// This build of the engine does not have the method.
    case unimplemented(Details)
    /// A fault of the engine's.
    case `internal`(Details)
    /// Any other status.
    case other(StatusCode, Details)
    /// The text ended before the value was whole: raise `maxTokens`.
    case incomplete(text: String)
    /// The text, or the engine's answer, is not of the type asked for.
    case mismatch(text: String, reason: String)

    /// What a status carries besides its code.
    public struct Details: Sendable, Equatable {
        /// What went wrong, for people.
        public var message: String
        /// A stable `UPPER_SNAKE` word for programs; empty when there is none.
        public var reason: String
        /// Further facts that belong to the reason.
        public var metadata: [String: String]
        /// The fields that are wrong.
        public var violations: [FieldViolation]
        /// When the call may be tried again, if the engine says so.
        public var retryAfter: Duration?

        public init(
            message: String, reason: String = "", metadata: [String: String] = [:],
            violations: [FieldViolation] = [], retryAfter: Duration? = nil
        ) {
            self.message = message
            self.reason = reason
            self.metadata = metadata
            self.violations = violations
            self.retryAfter = retryAfter
        }
    }

    /// What is wrong with one field of a request.
    public struct FieldViolation: Sendable, Hashable {
        /// Path of the field as the schema spells it, as `sampling_params.top_p`.
        public var field: String
        /// What is wrong with it.
        public var description: String
    }

    /// The status code. What this client finds by itself has one too.
    public var code: StatusCode {
        switch self {
        case .invalidArgument: .invalidArgument
        case .notFound: .notFound
        case .failedPrecondition, .incomplete, .mismatch: .failedPrecondition
        case .resourceExhausted: .resourceExhausted
        case .deadlineExceeded: .deadlineExceeded
        case .cancelled: .cancelled
        case .unavailable: .unavailable
        case .unauthenticated: .unauthenticated
        case .permissionDenied: .permissionDenied
        case .unimplemented: .unimplemented
        case .internal: .internal
        case .other(let code, _): code
        }
    }

    /// What the status carried; `nil` for what this client found by itself.
    public var details: Details? {
        switch self {
        case .invalidArgument(let details), .notFound(let details),
            .failedPrecondition(let details), .resourceExhausted(let details),
            .deadlineExceeded(let details), .cancelled(let details), .unavailable(let details),
            .unauthenticated(let details), .permissionDenied(let details),
            .unimplemented(let details), .internal(let details), .other(_, let details):
            details
        case .incomplete, .mismatch: nil
        }
    }

    /// What went wrong, for people.
    public var message: String {
        switch self {
        case .incomplete: "the text ended before the value did: raise maxTokens"
        case .mismatch(_, let reason): "the text is not of the type asked for: \(reason)"
        default: details?.message ?? ""
        }
    }

    /// The status's `UPPER_SNAKE` reason, or an empty string.
    public var reason: String { details?.reason ?? "" }
    /// The fields that are wrong.
    public var violations: [FieldViolation] { details?.violations ?? [] }
    /// When the call may be tried again.
    public var retryAfter: Duration? { details?.retryAfter }

    /// The error of a status.
    public init(code: StatusCode, _ details: Details) {
        self =
            switch code {
            case .invalidArgument: .invalidArgument(details)
            case .notFound: .notFound(details)
            case .failedPrecondition: .failedPrecondition(details)
            case .resourceExhausted: .resourceExhausted(details)
            case .deadlineExceeded: .deadlineExceeded(details)
            case .cancelled: .cancelled(details)
            case .unavailable: .unavailable(details)
            case .unauthenticated: .unauthenticated(details)
            case .permissionDenied: .permissionDenied(details)
            case .unimplemented: .unimplemented(details)
            case .internal: .internal(details)
            default: .other(code, details)
            }
    }
}

/// gRPC's status codes.
public enum StatusCode: Int32, Sendable {
    case ok, cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists
    case permissionDenied, resourceExhausted, failedPrecondition, aborted, outOfRange
    case unimplemented, `internal`, unavailable, dataLoss, unauthenticated
}

extension MLXForgeError: CustomStringConvertible, LocalizedError {
    public var description: String {
        let fields = violations.map { "\n  \($0.field): \($0.description)" }
        return "\(code): \(message)\(fields.joined())"
    }

    public var errorDescription: String? { description }
}
