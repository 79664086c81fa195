import { fromBinary, toBinary, } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, } from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import { Engine } from "./engine.js";
/** Opens an engine in this process. */
export async function openEmbedded(options) {
    const engine = await Engine.open(options);
    return { transport: new EmbeddedTransport(engine), close: () => engine.close() };
}
/** A Connect transport over libmlxforge. */
class EmbeddedTransport {
    #engine;
    constructor(engine) {
        this.#engine = engine;
    }
    async unary(method, signal, timeoutMs, header, input, contextValues) {
        return runUnaryCall({
            req: { ...common(method, header, contextValues), stream: false, method, message: input },
            ...limits(signal, timeoutMs),
            next: async (request) => {
                const call = this.#start(method, request.message, timeoutMs, request.signal);
                const first = await call.next();
                if (first.done)
                    throw new ConnectError("the call ended without a response", Code.Internal);
                await call.next();
                const message = fromBinary(method.output, first.value);
                return { ...responded(method), stream: false, method, message };
            },
        });
    }
    async stream(method, signal, timeoutMs, header, input, contextValues) {
        return runStreamingCall({
            req: { ...common(method, header, contextValues), stream: true, method, message: input },
            ...limits(signal, timeoutMs),
            next: async (request) => {
                const { message, signal } = request;
                const call = method.methodKind === "server_streaming"
                    ? this.#start(method, await only(message), timeoutMs, signal)
                    : this.#start(method, null, timeoutMs, signal);
                if (method.methodKind !== "server_streaming")
                    sendAll(call, method, message);
                return { ...responded(method), stream: true, method, message: decoded(call, method) };
            },
        });
    }
    #start(method, message, timeoutMs, signal) {
        signal.throwIfAborted();
        const request = message && toBinary(method.input, message);
        const name = `${method.parent.typeName}/${method.name}`;
        const call = this.#engine.start(name, request, timeoutMs);
        signal.addEventListener("abort", () => call.abort(signal.reason), { once: true });
        return call;
    }
}
/** Sends what the caller iterates; when that fails, so does the call. */
async function sendAll(call, method, messages) {
    try {
        for await (const message of messages)
            await call.send(toBinary(method.input, message));
        await call.send(null);
    }
    catch (error) {
        call.abort(error);
    }
}
async function* decoded(call, method) {
    for await (const bytes of call)
        yield fromBinary(method.output, bytes);
}
/** The one request of a call whose responses alone are a stream. */
async function only(messages) {
    for await (const message of messages)
        return message;
    throw new ConnectError("there is no request", Code.Internal);
}
function common(method, header, contextValues) {
    return {
        service: method.parent,
        requestMethod: "POST",
        url: `embedded:/${method.parent.typeName}/${method.name}`,
        header: new Headers(header),
        contextValues: contextValues ?? createContextValues(),
    };
}
function limits(signal, timeoutMs) {
    return { ...(signal && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
}
function responded(method) {
    return { service: method.parent, header: new Headers(), trailer: new Headers() };
}
//# sourceMappingURL=transport.js.map