import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { Code, ConnectError } from "@connectrpc/connect";
import { EmbeddedCall } from "./call.js";
import { type Handle, type Library, loadLibrary, type Out } from "./library.js";
import { configJson, type EmbedOptions } from "./options.js";
import { takeError } from "./status.js";

const protobufCodec = 0;

/** An engine inside this process, with its calls and the thread that waits for them. */
export class Engine {
  readonly #library: Library;
  readonly #handle: Handle;
  readonly #queue: Handle;
  readonly #waiter: Worker;
  readonly #calls = new Map<number, EmbeddedCall>();
  readonly #onExit = () => this.#library.queueFree(this.#queue);
  #lastTag = 0;
  #waiting = 0;
  #closed = false;

  private constructor(library: Library, handle: Handle, queue: Handle) {
    this.#library = library;
    this.#handle = handle;
    this.#queue = queue;
    this.#waiter = new Worker(new URL("./waiter.js", import.meta.url), {
      workerData: { path: library.path, queue },
    });
    this.#waiter.on("message", (tags: number[]) => {
      for (const tag of tags) this.#calls.get(tag)?.wake();
    });
    // Only a call that is waited for keeps the process alive.
    this.#waiter.unref();
    // A thread that sleeps in native code would keep the process from exiting.
    process.once("exit", this.#onExit);
  }

  /** Loads the library and the models. Off the main thread, as it takes seconds. */
  static async open(options: EmbedOptions): Promise<Engine> {
    const library = await loadLibrary(options.library);
    const error: Out<Handle> = [null];
    const handle = await promisify(library.engineOpen.async)(configJson(options), error);
    if (handle === null) throw takeError(library, error[0]);
    const queue = library.queueNew();
    if (queue === null) throw new ConnectError("no memory for a queue", Code.ResourceExhausted);
    return new Engine(library, handle, queue);
  }

  /**
   * Starts an RPC.
   *
   * @param method as `mlxforge.v1.GenerationService/Generate`
   * @param request the first message; null when it comes later by `send`
   */
  start(method: string, request: Uint8Array | null, timeoutMs: number | undefined): EmbeddedCall {
    if (this.#closed) throw new ConnectError("the client was closed", Code.Canceled);
    const error: Out<Handle> = [null];
    const timeout = timeoutMs === undefined ? -1 : Math.max(0, Math.ceil(timeoutMs));
    const { callStart, queueAdd } = this.#library;
    const size = request?.length ?? 0;
    const handle = callStart(this.#handle, method, request, size, protobufCodec, timeout, error);
    if (handle === null) throw takeError(this.#library, error[0]);
    const tag = this.#tag();
    const call = new EmbeddedCall(this.#library, handle, {
      waiting: (more) => this.#count(more),
      freed: () => this.#calls.delete(tag),
    });
    this.#calls.set(tag, call);
    queueAdd(this.#queue, handle, tag);
    return call;
  }

  /** Ends running calls with CANCELLED and gives the memory back. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await promisify(this.#library.engineClose.async)(this.#handle);
    for (const call of this.#calls.values()) call.wake();
    process.removeListener("exit", this.#onExit);
    const ended = new Promise((resolve) => this.#waiter.once("exit", resolve));
    this.#waiter.ref();
    this.#library.queueFree(this.#queue);
    await ended;
  }

  /** Not 0, which stands for none, and no other running call's. */
  #tag(): number {
    do this.#lastTag = (this.#lastTag + 1) >>> 0 || 1;
    while (this.#calls.has(this.#lastTag));
    return this.#lastTag;
  }

  #count(more: 1 | -1): void {
    this.#waiting += more;
    if (this.#waiting === 0) this.#waiter.unref();
    else if (this.#waiting === 1 && more === 1) this.#waiter.ref();
  }
}
