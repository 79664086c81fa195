import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/details_pb.js";
/** Base of all errors of this package. */
export class MlxForgeError extends Error {
    name = "MlxForgeError";
    /** The gRPC status code, by name; the same over both doors. */
    code;
    /** A stable UPPER_SNAKE word from the server, or `""` when it sent none. */
    reason;
    /** Further facts that belong to the reason. */
    metadata;
    /** The fields that are wrong, for INVALID_ARGUMENT. */
    fieldViolations;
    /** When the server says the call may be tried again, in milliseconds. */
    retryAfterMs;
    constructor(message, facts) {
        super(message, { cause: facts.cause });
        this.code = facts.code;
        this.reason = facts.reason ?? "";
        this.metadata = facts.metadata ?? {};
        this.fieldViolations = facts.fieldViolations ?? [];
        this.retryAfterMs = facts.retryAfterMs;
    }
}
/** The request is wrong; `fieldViolations` says where. */
export class InvalidArgumentError extends MlxForgeError {
    name = "InvalidArgumentError";
}
/** No such model. */
export class NotFoundError extends MlxForgeError {
    name = "NotFoundError";
}
/** The model cannot do what is asked. */
export class FailedPreconditionError extends MlxForgeError {
    name = "FailedPreconditionError";
}
/** A queue, memory or a quota is full; `retryAfterMs` says when to come back, if ever. */
export class ResourceExhaustedError extends MlxForgeError {
    name = "ResourceExhaustedError";
}
/** The time given to the call ran out. */
export class DeadlineExceededError extends MlxForgeError {
    name = "DeadlineExceededError";
}
/** The call was cancelled. */
export class CancelledError extends MlxForgeError {
    name = "CancelledError";
}
/** The server cannot be reached, or its model is loading, restarting or draining. */
export class UnavailableError extends MlxForgeError {
    name = "UnavailableError";
}
/** The token is missing or wrong. */
export class UnauthenticatedError extends MlxForgeError {
    name = "UnauthenticatedError";
}
/** The token does not allow this. */
export class PermissionDeniedError extends MlxForgeError {
    name = "PermissionDeniedError";
}
/** This build of the engine does not have the method or feature. */
export class UnimplementedError extends MlxForgeError {
    name = "UnimplementedError";
}
/** A fault of the server's. */
export class InternalError extends MlxForgeError {
    name = "InternalError";
}
/** The text ended before the value was whole, or is not what the schema asked for. */
export class OutputError extends MlxForgeError {
    name = "OutputError";
    /** What the model wrote. */
    text;
    constructor(message, text, options) {
        super(message, { code: "FAILED_PRECONDITION", ...options });
        this.text = text;
    }
}
const table = {
    [Code.Canceled]: ["CANCELLED", CancelledError],
    [Code.Unknown]: ["UNKNOWN", MlxForgeError],
    [Code.InvalidArgument]: ["INVALID_ARGUMENT", InvalidArgumentError],
    [Code.DeadlineExceeded]: ["DEADLINE_EXCEEDED", DeadlineExceededError],
    [Code.NotFound]: ["NOT_FOUND", NotFoundError],
    [Code.AlreadyExists]: ["ALREADY_EXISTS", MlxForgeError],
    [Code.PermissionDenied]: ["PERMISSION_DENIED", PermissionDeniedError],
    [Code.ResourceExhausted]: ["RESOURCE_EXHAUSTED", ResourceExhaustedError],
    [Code.FailedPrecondition]: ["FAILED_PRECONDITION", FailedPreconditionError],
    [Code.Aborted]: ["ABORTED", MlxForgeError],
    [Code.OutOfRange]: ["OUT_OF_RANGE", MlxForgeError],
    [Code.Unimplemented]: ["UNIMPLEMENTED", UnimplementedError],
    [Code.Internal]: ["INTERNAL", InternalError],
    [Code.Unavailable]: ["UNAVAILABLE", UnavailableError],
    [Code.DataLoss]: ["DATA_LOSS", MlxForgeError],
    [Code.Unauthenticated]: ["UNAUTHENTICATED", UnauthenticatedError],
};
/**
 * Turns whatever a transport threw into an error of this package.
 *
 * `signal` is the caller's: a call that ended because of `AbortSignal.timeout()`
 * is a missed deadline, not a cancel.
 */
export function errorFrom(thrown, signal) {
    if (thrown instanceof MlxForgeError)
        return thrown;
    const error = ConnectError.from(thrown);
    const timedOut = error.code === Code.Canceled && signal?.aborted && isNamed(signal.reason, "TimeoutError");
    const [code, ErrorType] = table[timedOut ? Code.DeadlineExceeded : error.code];
    const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === "mlxforge");
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    return new ErrorType(error.rawMessage || code, {
        code,
        reason: info?.reason ?? "",
        metadata: info?.metadata ?? {},
        fieldViolations: error
            .findDetails(BadRequestSchema)
            .flatMap((detail) => detail.fieldViolations.map(({ field, description }) => ({ field, description }))),
        retryAfterMs: delay && durationMs(delay),
        cause: thrown,
    });
}
function isNamed(value, name) {
    return value instanceof Error && value.name === name;
}
//# sourceMappingURL=errors.js.map