import {
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import type { OpenTransport } from "../grpc.js";
import type { EmbeddedCall } from "./call.js";
import { Engine } from "./engine.js";
import type { EmbedOptions } from "./options.js";

/** Opens an engine in this process. */
export async function openEmbedded(options: EmbedOptions): Promise<OpenTransport> {
  const engine = await Engine.open(options);
  return { transport: new EmbeddedTransport(engine), close: () => engine.close() };
}

type HeadersLike = ConstructorParameters<typeof Headers>[0];

type AnyMethod<I extends DescMessage, O extends DescMessage> =
  | DescMethodUnary<I, O>
  | DescMethodStreaming<I, O>;

/** A Connect transport over libmlxforge. */
class EmbeddedTransport implements Transport {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersLike | undefined,
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    return runUnaryCall<I, O>({
      req: { ...common(method, header, contextValues), stream: false, method, message: input },
      ...limits(signal, timeoutMs),
      next: async (request) => {
        const call = this.#start(method, request.message, timeoutMs, request.signal);
        const first = await call.next();
        if (first.done) throw new ConnectError("the call ended without a response", Code.Internal);
        await call.next();
        const message = fromBinary(method.output, first.value);
        return { ...responded(method), stream: false, method, message };
      },
    });
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersLike | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
    contextValues?: ContextValues,
  ): Promise<StreamResponse<I, O>> {
    return runStreamingCall<I, O>({
      req: { ...common(method, header, contextValues), stream: true, method, message: input },
      ...limits(signal, timeoutMs),
      next: async (request) => {
        const { message, signal } = request;
        const call =
          method.methodKind === "server_streaming"
            ? this.#start(method, await only(message), timeoutMs, signal)
            : this.#start(method, null, timeoutMs, signal);
        if (method.methodKind !== "server_streaming") sendAll(call, method, message);
        return { ...responded(method), stream: true, method, message: decoded(call, method) };
      },
    });
  }

  #start<I extends DescMessage, O extends DescMessage>(
    method: AnyMethod<I, O>,
    message: MessageShape<I> | null,
    timeoutMs: number | undefined,
    signal: AbortSignal,
  ): EmbeddedCall {
    signal.throwIfAborted();
    const request = message && toBinary(method.input, message);
    const name = `${method.parent.typeName}/${method.name}`;
    const call = this.#engine.start(name, request, timeoutMs);
    signal.addEventListener("abort", () => call.abort(signal.reason), { once: true });
    return call;
  }
}

/** Sends what the caller iterates; when that fails, so does the call. */
async function sendAll<I extends DescMessage, O extends DescMessage>(
  call: EmbeddedCall,
  method: AnyMethod<I, O>,
  messages: AsyncIterable<MessageShape<I>>,
): Promise<void> {
  try {
    for await (const message of messages) await call.send(toBinary(method.input, message));
    await call.send(null);
  } catch (error) {
    call.abort(error);
  }
}

async function* decoded<I extends DescMessage, O extends DescMessage>(
  call: EmbeddedCall,
  method: AnyMethod<I, O>,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  for await (const bytes of call) yield fromBinary(method.output, bytes);
}

/** The one request of a call whose responses alone are a stream. */
async function only<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new ConnectError("there is no request", Code.Internal);
}

function common(
  method: AnyMethod<DescMessage, DescMessage>,
  header: HeadersLike | undefined,
  contextValues: ContextValues | undefined,
) {
  return {
    service: method.parent,
    requestMethod: "POST",
    url: `embedded:/${method.parent.typeName}/${method.name}`,
    header: new Headers(header),
    contextValues: contextValues ?? createContextValues(),
  };
}

function limits(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
  return { ...(signal && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
}

function responded(method: AnyMethod<DescMessage, DescMessage>) {
  return { service: method.parent, header: new Headers(), trailer: new Headers() };
}
