import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import type { KoffiFunc } from "koffi";

/** A handle of libmlxforge: opaque, not an address; `null` stands for NULL. */
export type Handle = bigint;
/** A place for what a function gives out besides its result. */
export type Out<T> = [T | null];

/** `mlxforge_event`. */
export const Event = { Message: 1, End: 2, Timeout: 3, Error: 4 } as const;

/** The functions of mlxforge.h that are used here. */
export interface Library {
  readonly path: string;
  abiVersion(): number;
  engineOpen: KoffiFunc<(config: string, error: Out<Handle>) => Handle | null>;
  engineClose: KoffiFunc<(engine: Handle) => void>;
  callStart(
    engine: Handle,
    method: string,
    request: Uint8Array | null,
    size: number,
    codec: number,
    timeoutMs: number,
    error: Out<Handle>,
  ): Handle | null;
  callNext(call: Handle, timeoutMs: number, message: Out<bigint>, size: [number]): number;
  callSend(call: Handle, request: Uint8Array | null, size: number): number;
  callError(call: Handle): Handle;
  callCancel(call: Handle): void;
  callFree(call: Handle): void;
  queueNew(): Handle | null;
  queueAdd(queue: Handle, call: Handle, tag: number): void;
  queueFree(queue: Handle): void;
  errorCode(error: Handle): number;
  errorMessage(error: Handle): string;
  errorDetails(error: Handle, size: [number]): bigint | null;
  errorFree(error: Handle): void;
  /** A copy of bytes of the library's. */
  bytes(address: bigint | null, size: number): Uint8Array;
}

/** What this code was written for; libraries of a higher version have it all. */
const abiVersion = 1;
const name = process.platform === "darwin" ? "libmlxforge.dylib" : "libmlxforge.so";

/** Loads the library that is named, else `MLXFORGE_LIBRARY`, else the one installed. */
export async function loadLibrary(named: string | undefined): Promise<Library> {
  const path = named ?? process.env.MLXFORGE_LIBRARY ?? (await installed());
  const koffi = await loadKoffi();
  const loaded = attempt(path, () => koffi.load(path));
  const declare = (prototype: string) => loaded.func(prototype);
  const library: Library = {
    path,
    abiVersion: declare("uint32_t mlxforge_abi_version(void)"),
    engineOpen: declare("void *mlxforge_engine_open(const char *config, _Out_ void **error)"),
    engineClose: declare("void mlxforge_engine_close(void *engine)"),
    callStart: declare(
      "void *mlxforge_call_start(void *engine, const char *method, const void *request," +
        " size_t size, int codec, int64_t timeout_ms, _Out_ void **error)",
    ),
    callNext: declare(
      "int mlxforge_call_next(void *call, int64_t timeout_ms, _Out_ void **message," +
        " _Out_ size_t *size)",
    ),
    callSend: declare("int32_t mlxforge_call_send(void *call, const void *request, size_t size)"),
    callError: declare("void *mlxforge_call_error(void *call)"),
    callCancel: declare("void mlxforge_call_cancel(void *call)"),
    callFree: declare("void mlxforge_call_free(void *call)"),
    queueNew: declare("void *mlxforge_queue_new(void)"),
    queueAdd: declare("void mlxforge_queue_add(void *queue, void *call, uintptr_t tag)"),
    queueFree: declare("void mlxforge_queue_free(void *queue)"),
    errorCode: declare("int32_t mlxforge_error_code(void *error)"),
    errorMessage: declare("const char *mlxforge_error_message(void *error)"),
    errorDetails: declare("void *mlxforge_error_details(void *error, _Out_ size_t *size)"),
    errorFree: declare("void mlxforge_error_free(void *error)"),
    bytes: (address, size) =>
      size === 0 ? new Uint8Array() : koffi.decode(address, "uint8_t", size),
  };
  if (library.abiVersion() < abiVersion) {
    throw new ConnectError(
      `${path} is too old: its ABI is below ${abiVersion}`,
      Code.Unimplemented,
    );
  }
  return library;
}

async function loadKoffi() {
  try {
    return (await import("koffi")).default;
  } catch (cause) {
    throw new ConnectError(
      "the package koffi is needed to embed the engine: npm install koffi",
      Code.FailedPrecondition,
      undefined,
      undefined,
      cause,
    );
  }
}

function attempt<T>(path: string, load: () => T): T {
  try {
    return load();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError(
      `cannot load ${path}: ${why}. Install it with \`pip install mlxforge\`, and name it by` +
        " MLXFORGE_LIBRARY when `mlxforge` is not on PATH",
      Code.FailedPrecondition,
      undefined,
      undefined,
      cause,
    );
  }
}

/** The library of the `mlxforge` command; without the command, what the system's loader finds. */
async function installed(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)("mlxforge", ["config", "--libs"]);
    const folders = [...stdout.matchAll(/(?:^|\s)-L(\S+)/g)].map(([, folder]) => folder as string);
    const paths = folders.map((folder) => join(folder, name));
    return paths.find((path) => existsSync(path)) ?? name;
  } catch {
    return name;
  }
}
