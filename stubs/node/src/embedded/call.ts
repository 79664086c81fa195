import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { Event, type Handle, type Library, type Out } from "./library.js";
import { errorOf } from "./status.js";

/** How long to let an engine that is behind catch up before it is sent more. */
const behindMs = 2;

/** What a call tells its engine. */
export interface CallOwner {
  /** One more, or one less, waits for a message. */
  waiting(more: 1 | -1): void;
  /** The call is gone. */
  freed(): void;
}

/** One running RPC of libmlxforge: its responses, as bytes, are iterated. */
export class EmbeddedCall implements AsyncIterableIterator<Uint8Array> {
  readonly #library: Library;
  readonly #owner: CallOwner;
  readonly #message: Out<bigint> = [null];
  readonly #size: [number] = [0];
  #handle: Handle | null;
  #wake: (() => void) | undefined;
  #abortReason: unknown;

  constructor(library: Library, handle: Handle, owner: CallOwner) {
    this.#library = library;
    this.#handle = handle;
    this.#owner = owner;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next response. Rejects with the call's error. */
  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    while (this.#handle !== null) {
      const { callNext, callError, bytes } = this.#library;
      switch (callNext(this.#handle, 0, this.#message, this.#size)) {
        case Event.Message:
          return { done: false, value: bytes(this.#message[0], Number(this.#size[0])) };
        case Event.End:
          this.free();
          return { done: true, value: undefined };
        case Event.Timeout:
          await this.#woken();
          break;
        default: {
          const error = errorOf(this.#library, callError(this.#handle));
          this.free();
          throw error;
        }
      }
    }
    if (this.#abortReason !== undefined) throw this.#abortReason;
    return { done: true, value: undefined };
  }

  /** Sends a further request; null: there are no more. */
  async send(request: Uint8Array | null): Promise<void> {
    while (this.#handle !== null) {
      const status = this.#library.callSend(this.#handle, request, request?.length ?? 0);
      // Any other failure is the call's own, which `next` reports.
      if (status !== Code.ResourceExhausted) return;
      await sleep(behindMs);
    }
  }

  /** Ends the call: whoever waits for a response gets the reason. */
  abort(reason: unknown): void {
    if (this.#handle === null) return;
    this.#abortReason = reason;
    this.#library.callCancel(this.#handle);
    this.free();
  }

  /** Frees the call, which cancels it when it still runs. */
  free(): void {
    if (this.#handle === null) return;
    this.#library.callFree(this.#handle);
    this.#handle = null;
    this.#owner.freed();
    this.wake();
  }

  /** The call has something. */
  wake(): void {
    this.#wake?.();
  }

  async #woken(): Promise<void> {
    this.#owner.waiting(1);
    try {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    } finally {
      this.#wake = undefined;
      this.#owner.waiting(-1);
    }
  }
}
