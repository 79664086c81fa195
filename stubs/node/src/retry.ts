import { setTimeout as sleep } from "node:timers/promises";
import { errorFrom, type MlxForgeError } from "./errors.js";
import type { CallOptions, RetryPolicy } from "./options.js";

/** What one try of a call is given. */
export interface Attempt {
  signal: AbortSignal | undefined;
  timeoutMs: number | undefined;
  headers: Record<string, string>;
}

/** The tries of one call under one deadline. */
export class Attempts {
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: number | undefined;
  readonly #headers: Record<string, string>;
  readonly #policy: Required<RetryPolicy>;
  #failed = 0;

  constructor(options: CallOptions) {
    this.#signal = options.signal;
    this.#deadline =
      options.timeoutMs === undefined ? undefined : performance.now() + options.timeoutMs;
    this.#headers = options.headers ?? {};
    const policy = options.retry === false ? { maxAttempts: 1 } : options.retry;
    this.#policy = { maxAttempts: 4, initialBackoffMs: 100, maxBackoffMs: 5000, ...policy };
  }

  /** What the next try is given: the time that is left of the deadline. */
  next(): Attempt {
    return { signal: this.#signal, timeoutMs: this.#left(), headers: this.#headers };
  }

  /** Waits before the next try, or throws when there is to be none. */
  async failed(thrown: unknown): Promise<void> {
    const error = errorFrom(thrown, this.#signal);
    this.#failed += 1;
    if (error.code !== "UNAVAILABLE" || this.#failed >= this.#policy.maxAttempts) throw error;
    const wait = this.#wait(error);
    const left = this.#left();
    if (left !== undefined && wait >= left) throw error;
    await sleep(wait, undefined, { signal: this.#signal, ref: true }).catch((aborted) => {
      throw errorFrom(aborted, this.#signal);
    });
  }

  /** The server's word, else exponential backoff with full jitter (gRPC A6). */
  #wait(error: MlxForgeError): number {
    if (error.retryAfterMs !== undefined) return error.retryAfterMs;
    const { initialBackoffMs, maxBackoffMs } = this.#policy;
    return Math.random() * Math.min(maxBackoffMs, initialBackoffMs * 2 ** (this.#failed - 1));
  }

  #left(): number | undefined {
    // gRPC's timeout header holds whole numbers only.
    return this.#deadline === undefined ? undefined : Math.ceil(this.#deadline - performance.now());
  }
}

/** Runs a unary call, again while it ends UNAVAILABLE. */
export async function retryUnary<T>(
  options: CallOptions,
  call: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  const attempts = new Attempts(options);
  for (;;) {
    try {
      return await call(attempts.next());
    } catch (thrown) {
      await attempts.failed(thrown);
    }
  }
}

/**
 * Runs a streaming call, again while it ends UNAVAILABLE before its first message.
 *
 * Leaving the iteration early cancels the call.
 */
export async function* retryStream<T>(
  options: CallOptions,
  call: (attempt: Attempt) => AsyncIterable<T>,
): AsyncGenerator<T, void, undefined> {
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
      } catch (thrown) {
        if (started) throw errorFrom(thrown, options.signal);
        await attempts.failed(thrown);
      }
    }
  } finally {
    leave.abort();
  }
}
