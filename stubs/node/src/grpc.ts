import type { SecureClientSessionOptions } from "node:http2";
import { connect as connectSocket } from "node:net";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { ConnectOptions } from "./options.js";

const defaultPort = 50051;
const defaultMaxMessageBytes = 64 * 1024 * 1024;

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
export function parseAddress(address: string, tls: boolean): Endpoint {
  const socketPath = /^(?:unix:(?:\/\/)?)(.+)$/.exec(address)?.[1];
  if (socketPath || /^\.{0,2}\//.test(address)) {
    return { url: "http://localhost", socketPath: socketPath ?? address };
  }
  const scheme = /^https?:/.test(address) ? "" : tls ? "https://" : "http://";
  const url = new URL(scheme + address);
  if (tls) url.protocol = "https:";
  // A URL's own default port (443) holds for what was given as a URL.
  const hasPort = scheme === "" || /:\d+$/.test(address);
  return { url: hasPort ? url.origin : `${url.origin}:${defaultPort}` };
}

/** Opens a connection. Rejects with UNAVAILABLE when there is none in time. */
export async function openGrpc(address: string, options: ConnectOptions): Promise<OpenTransport> {
  const { url, socketPath } = parseAddress(address, Boolean(options.tls));
  const session = new Http2SessionManager(
    url,
    options.keepaliveMs === undefined ? {} : { pingIntervalMs: options.keepaliveMs },
    sessionOptions(options, socketPath),
  );
  await connected(session, socketPath ?? url, options.connectTimeoutMs ?? 10_000);
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager: session,
    readMaxBytes: options.maxMessageBytes ?? defaultMaxMessageBytes,
    // Tokens are a few bytes each: compressing them costs more than it saves.
    acceptCompression: [],
    interceptors: options.token === undefined ? [] : [bearer(options.token)],
  });
  return {
    transport,
    async close() {
      session.abort(new ConnectError("the client was closed", Code.Canceled));
    },
  };
}

function sessionOptions(
  { tls }: ConnectOptions,
  socketPath: string | undefined,
): SecureClientSessionOptions {
  const options: SecureClientSessionOptions = {};
  if (typeof tls === "object") {
    const { serverName, ...certificates } = tls;
    Object.assign(options, certificates);
    if (serverName !== undefined) options.servername = serverName;
  }
  if (socketPath !== undefined) options.createConnection = () => connectSocket(socketPath);
  return options;
}

async function connected(
  session: Http2SessionManager,
  where: string,
  timeoutMs: number,
): Promise<void> {
  const tooLate = new ConnectError(
    `no connection to ${where} in ${timeoutMs} ms`,
    Code.Unavailable,
  );
  const timer = setTimeout(() => session.abort(tooLate), timeoutMs);
  try {
    if ((await session.connect()) !== "error") return;
    const cause = session.error();
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError(`cannot connect to ${where}: ${text}`, Code.Unavailable);
  } finally {
    clearTimeout(timer);
  }
}

function bearer(token: NonNullable<ConnectOptions["token"]>): Interceptor {
  return (next) => async (request) => {
    const value = typeof token === "function" ? await token() : token;
    request.header.set("authorization", `Bearer ${value}`);
    return next(request);
  };
}
