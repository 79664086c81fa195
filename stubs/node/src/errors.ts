import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/details_pb.js";

/** A gRPC status code, by name. */
export type StatusCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

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
export class MlxForgeError extends Error {
  override name = "MlxForgeError";
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

  constructor(message: string, facts: ErrorFacts) {
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
  override name = "InvalidArgumentError";
}
/** No such model. */
export class NotFoundError extends MlxForgeError {
  override name = "NotFoundError";
}
/** The model cannot do what is asked. */
export class FailedPreconditionError extends MlxForgeError {
  override name = "FailedPreconditionError";
}
/** A queue, memory or a quota is full; `retryAfterMs` says when to come back, if ever. */
export class ResourceExhaustedError extends MlxForgeError {
  override name = "ResourceExhaustedError";
}
/** The time given to the call ran out. */
export class DeadlineExceededError extends MlxForgeError {
  override name = "DeadlineExceededError";
}
/** The call was cancelled. */
export class CancelledError extends MlxForgeError {
  override name = "CancelledError";
}
/** The server cannot be reached, or its model is loading, restarting or draining. */
export class UnavailableError extends MlxForgeError {
  override name = "UnavailableError";
}
/** The token is missing or wrong. */
export class UnauthenticatedError extends MlxForgeError {
  override name = "UnauthenticatedError";
}
/** The token does not allow this. */
export class PermissionDeniedError extends MlxForgeError {
  override name = "PermissionDeniedError";
}
/** This build of the engine does not have the method or feature. */
export class UnimplementedError extends MlxForgeError {
  override name = "UnimplementedError";
}
/** A fault of the server's. */
export class InternalError extends MlxForgeError {
  override name = "InternalError";
}

/** The text ended before the value was whole, or is not what the schema asked for. */
export class OutputError extends MlxForgeError {
  override name = "OutputError";
  /** What the model wrote. */
  readonly text: string;

  constructor(message: string, text: string, options: { reason: string; cause?: unknown }) {
    super(message, { code: "FAILED_PRECONDITION", ...options });
    this.text = text;
  }
}

type ErrorClass = new (message: string, facts: ErrorFacts) => MlxForgeError;

const table: Record<Code, readonly [StatusCode, ErrorClass]> = {
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
export function errorFrom(thrown: unknown, signal?: AbortSignal): MlxForgeError {
  if (thrown instanceof MlxForgeError) return thrown;
  const error = ConnectError.from(thrown);
  const timedOut =
    error.code === Code.Canceled && signal?.aborted && isNamed(signal.reason, "TimeoutError");
  const [code, ErrorType] = table[timedOut ? Code.DeadlineExceeded : error.code];
  const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === "mlxforge");
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return new ErrorType(error.rawMessage || code, {
    code,
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    fieldViolations: error
      .findDetails(BadRequestSchema)
      .flatMap((detail) =>
        detail.fieldViolations.map(({ field, description }) => ({ field, description })),
      ),
    retryAfterMs: delay && durationMs(delay),
    cause: thrown,
  });
}

function isNamed(value: unknown, name: string): boolean {
  return value instanceof Error && value.name === name;
}
