import { setTimeout as sleep } from "node:timers/promises";
import { errorFrom } from "./errors.js";
/** The tries of one call under one deadline. */
export class Attempts {
    #signal;
    #deadline;
    #headers;
    #policy;
    #failed = 0;
    constructor(options) {
        this.#signal = options.signal;
        this.#deadline =
            options.timeoutMs === undefined ? undefined : performance.now() + options.timeoutMs;
        this.#headers = options.headers ?? {};
        const policy = options.retry === false ? { maxAttempts: 1 } : options.retry;
        this.#policy = { maxAttempts: 4, initialBackoffMs: 100, maxBackoffMs: 5000, ...policy };
    }
    /** What the next try is given: the time that is left of the deadline. */
    next() {
        return { signal: this.#signal, timeoutMs: this.#left(), headers: this.#headers };
    }
    /** Waits before the next try, or throws when there is to be none. */
    async failed(thrown) {
        const error = errorFrom(thrown, this.#signal);
        this.#failed += 1;
        if (error.code !== "UNAVAILABLE" || this.#failed >= this.#policy.maxAttempts)
            throw error;
        const wait = this.#wait(error);
        const left = this.#left();
        if (left !== undefined && wait >= left)
            throw error;
        await sleep(wait, undefined, { signal: this.#signal, ref: true }).catch((aborted) => {
            throw errorFrom(aborted, this.#signal);
        });
    }
    /** The server's word, else exponential backoff with full jitter (gRPC A6). */
    #wait(error) {
        if (error.retryAfterMs !== undefined)
            return error.retryAfterMs;
        const { initialBackoffMs, maxBackoffMs } = this.#policy;
        return Math.random() * Math.min(maxBackoffMs, initialBackoffMs * 2 ** (this.#failed - 1));
    }
    #left() {
        // gRPC's timeout header holds whole numbers only.
        return this.#deadline === undefined ? undefined : Math.ceil(this.#deadline - performance.now());
    }
}
/** Runs a unary call, again while it ends UNAVAILABLE. */
export async function retryUnary(options, call) {
    const attempts = new Attempts(options);
    for (;;) {
        try {
            return await call(attempts.next());
        }
        catch (thrown) {
            await attempts.failed(thrown);
        }
    }
}
/**
 * Runs a streaming call, again while it ends UNAVAILABLE before its first message.
 *
 * Leaving the iteration early cancels the call.
 */
export async function* retryStream(options, call) {
    const leave = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal;
    const attempts = new Attempts({ ...options, signal });
    let started = false;
    try {
        while (true) {
            try {
                for await (const message of call(attempts.next())) {
                    started = true;
                    yield message;
                }
                return;
            }
            catch (thrown) {
                if (started)
                    throw errorFrom(thrown, options.signal);
                await attempts.failed(thrown);
            }
        }
    }
    finally {
        leave.abort();
    }
}
//# sourceMappingURL=retry.js.map