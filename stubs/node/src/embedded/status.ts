import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { StatusSchema } from "../gen/google/rpc/details_pb.js";
import type { Handle, Library } from "./library.js";

/** Takes an error's place in JavaScript. */
export function takeError(library: Library, error: Handle | null): ConnectError {
  if (error === null) return new ConnectError("libmlxforge gave no reason", Code.Internal);
  const taken = errorOf(library, error);
  library.errorFree(error);
  return taken;
}

/** What an error says. It stays with its owner. */
export function errorOf(library: Library, handle: Handle): ConnectError {
  const size: [number] = [0];
  const details = library.bytes(library.errorDetails(handle, size), Number(size[0]));
  const error = new ConnectError(library.errorMessage(handle), library.errorCode(handle) as Code);
  error.details = fromBinary(StatusSchema, details).details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
