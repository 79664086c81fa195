import type { SecureContextOptions } from "node:tls";

/** How calls that end UNAVAILABLE before their first message are tried again. */
export interface RetryPolicy {
  /** Tries in all. Default: 4. */
  maxAttempts?: number;
  /** First wait where the server names none, in milliseconds. Default: 100. */
  initialBackoffMs?: number;
  /** Longest wait where the server names none, in milliseconds. Default: 5000. */
  maxBackoffMs?: number;
}

/** Options of one call. */
export interface CallOptions {
  /** Aborting it cancels this call, and only this one. */
  signal?: AbortSignal | undefined;
  /** The call's deadline, from now, over all tries. Default: the client's. */
  timeoutMs?: number | undefined;
  /** Further metadata of the request. Over gRPC only. */
  headers?: Record<string, string> | undefined;
  /** `false` for a single try. Default: the client's. */
  retry?: RetryPolicy | false | undefined;
}

/** Options of both ways to open a client. */
export interface ClientOptions {
  /** Deadline of calls that name none, in milliseconds. Default: none. */
  timeoutMs?: number;
  /** How UNAVAILABLE is tried again. Default: 4 tries. */
  retry?: RetryPolicy | false;
}

/** Certificates of a TLS connection, as `node:tls` takes them. */
export interface TlsOptions extends Pick<SecureContextOptions, "ca" | "cert" | "key"> {
  /** Name that the server's certificate must have, when it is not the address. */
  serverName?: string;
}

/** Options of `MlxForge.connect`. */
export interface ConnectOptions extends ClientOptions {
  /** `true` for TLS with the system's roots, or the certificates to use. Default: none. */
  tls?: boolean | TlsOptions;
  /** Sent as `authorization: Bearer …`. A function is asked before each call. */
  token?: string | (() => string | Promise<string>);
  /** How long to wait for the connection, in milliseconds. Default: 10000. */
  connectTimeoutMs?: number;
  /**
   * Probe a silent connection this often, in milliseconds. Servers close connections
   * that probe more often than they allow (gRPC's default: five minutes). Default: never.
   */
  keepaliveMs?: number;
  /** Largest message to accept, in bytes. Default: 64 MiB. */
  maxMessageBytes?: number;
}
