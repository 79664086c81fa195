/** A gRPC status code, by name. */
export type StatusCode = "CANCELLED" | "UNKNOWN" | "INVALID_ARGUMENT" | "DEADLINE_EXCEEDED" | "NOT_FOUND" | "ALREADY_EXISTS" | "PERMISSION_DENIED" | "RESOURCE_EXHAUSTED" | "FAILED_PRECONDITION" | "ABORTED" | "OUT_OF_RANGE" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS" | "UNAUTHENTICATED";
/** What is wrong with one field of a request. */
export interface FieldViolation {
    /** Path of the field as the schema spells it, for example `sampling_params.top_p`. */
    readonly field: string;
    /** What is wrong, for people. */
    readonly description: string;
}
/** What an error carries besides its message. */
export interface ErrorFacts {
    code: StatusCode;
    reason?: string;
    metadata?: Readonly<Record<string, string>>;
    fieldViolations?: readonly FieldViolation[];
    retryAfterMs?: number | undefined;
    cause?: unknown;
}
/** Base of all errors of this package. */
export declare class MlxForgeError extends Error {
    name: string;
    /** The gRPC status code, by name; the same over both doors. */
    readonly code: StatusCode;
    /** A stable UPPER_SNAKE word from the server, or `""` when it sent none. */
    readonly reason: string;
    /** Further facts that belong to the reason. */
    readonly metadata: Readonly<Record<string, string>>;
    /** The fields that are wrong, for INVALID_ARGUMENT. */
    readonly fieldViolations: readonly FieldViolation[];
    /** When the server says the call may be tried again, in milliseconds. */
    readonly retryAfterMs: number | undefined;
    constructor(message: string, facts: ErrorFacts);
}
/** The request is wrong; `fieldViolations` says where. */
export declare class InvalidArgumentError extends MlxForgeError {
    name: string;
}
/** No such model. */
export declare class NotFoundError extends MlxForgeError {
    name: string;
}
/** The model cannot do what is asked. */
export declare class FailedPreconditionError extends MlxForgeError {
    name: string;
}
/** A queue, memory or a quota is full; `retryAfterMs` says when to come back, if ever. */
export declare class ResourceExhaustedError extends MlxForgeError {
    name: string;
}
/** The time given to the call ran out. */
export declare class DeadlineExceededError extends MlxForgeError {
    name: string;
}
/** The call was cancelled. */
export declare class CancelledError extends MlxForgeError {
    name: string;
}
/** The server cannot be reached, or its model is loading, restarting or draining. */
export declare class UnavailableError extends MlxForgeError {
    name: string;
}
/** The token is missing or wrong. */
export declare class UnauthenticatedError extends MlxForgeError {
    name: string;
}
/** The token does not allow this. */
export declare class PermissionDeniedError extends MlxForgeError {
    name: string;
}
/** This build of the engine does not have the method or feature. */
export declare class UnimplementedError extends MlxForgeError {
    name: string;
}
/** A fault of the server's. */
export declare class InternalError extends MlxForgeError {
    name: string;
}
/** The text ended before the value was whole, or is not what the schema asked for. */
export declare class OutputError extends MlxForgeError {
    name: string;
    /** What the model wrote. */
    readonly text: string;
    constructor(message: string, text: string, options: {
        reason: string;
        cause?: unknown;
    });
}
/**
 * Turns whatever a transport threw into an error of this package.
 *
 * `signal` is the caller's: a call that ended because of `AbortSignal.timeout()`
 * is a missed deadline, not a cancel.
 */
export declare function errorFrom(thrown: unknown, signal?: AbortSignal): MlxForgeError;
//# sourceMappingURL=errors.d.ts.map