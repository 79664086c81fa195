import type { CallOptions } from "./options.js";
/** What one try of a call is given. */
export interface Attempt {
    signal: AbortSignal | undefined;
    timeoutMs: number | undefined;
    headers: Record<string, string>;
}
/** The tries of one call under one deadline. */
export declare class Attempts {
    #private;
    constructor(options: CallOptions);
    /** What the next try is given: the time that is left of the deadline. */
    next(): Attempt;
    /** Waits before the next try, or throws when there is to be none. */
    failed(thrown: unknown): Promise<void>;
}
/** Runs a unary call, again while it ends UNAVAILABLE. */
export declare function retryUnary<T>(options: CallOptions, call: (attempt: Attempt) => Promise<T>): Promise<T>;
/**
 * Runs a streaming call, again while it ends UNAVAILABLE before its first message.
 *
 * Leaving the iteration early cancels the call.
 */
export declare function retryStream<T>(options: CallOptions, call: (attempt: Attempt) => AsyncIterable<T>): AsyncGenerator<T, void, undefined>;
//# sourceMappingURL=retry.d.ts.map