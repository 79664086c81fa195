import { type Transport } from "@connectrpc/connect";
import type { ConnectOptions } from "./options.js";
/** Where a server listens. */
interface Endpoint {
    /** `http://…` or `https://…`; of a socket only a placeholder. */
    readonly url: string;
    /** Path of a Unix domain socket. */
    readonly socketPath?: string;
}
/** A gRPC transport and the way to end it. */
export interface OpenTransport {
    readonly transport: Transport;
    close(): Promise<void>;
}
/**
 * Reads `host:port`, `host`, `http(s)://host:port`, `unix:path`, `unix:///path` or a path
 * that starts with `/` or `./`.
 */
export declare function parseAddress(address: string, tls: boolean): Endpoint;
/** Opens a connection. Rejects with UNAVAILABLE when there is none in time. */
export declare function openGrpc(address: string, options: ConnectOptions): Promise<OpenTransport>;
export {};
//# sourceMappingURL=grpc.d.ts.map